"""Options that do not exist, are missing or come without their name: one error, with the nearest name."""

from __future__ import annotations

import copy
import pickle
from inspect import Parameter, signature
from typing import Any, get_type_hints

import msgspec
import pytest

import am2z_trio
from am2z_trio import (
    ConfigurationError,
    JobOptions,
    Processor,
    QueueOptions,
    RedisStateManager,
    RuntimeOptions,
    processor,
)
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.runtime.state_managers import MemoryStateManager
from am2z_trio.model.arguments import Options
from am2z_trio.model.runtime_options import RuntimeKeywords

a: Any = am2z_trio
"""Without its types: it is called as a type checker would not let one."""


@processor
async def double(n: int) -> int:
    return 2 * n


def is_configured(public: Any) -> bool:
    """Whether users give it options, and not the engine."""
    if not isinstance(public, type):
        kinds = (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)
        return callable(public) and any(one.kind in kinds for one in signature(public).parameters.values())
    return issubclass(public, Options | Runtime | Processor | RedisStateManager | MemoryStateManager)


CONFIGURED = [name for name in am2z_trio.__all__ if is_configured(getattr(am2z_trio, name))]


def test_they_are_all_here():
    assert {"JobOptions", "QueueRuntime", "Payload", "Processor", "processor", "batch"} <= {*CONFIGURED}
    assert len(CONFIGURED) >= 21


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_misspelt_option_is_one_error(name: str):
    public = getattr(a, name)
    with pytest.raises(
        ConfigurationError, match=r"^misspelt: is no option of \w+; .*[Tt]here are: \w+"
    ) as caught:
        public(misspelt=1)
    assert caught.value.__cause__ is None
    assert caught.value.context["field"] == "misspelt"


@pytest.mark.parametrize(
    ("call", "near"),
    [
        (lambda: a.JobOptions(delai=3), "delay"),
        (lambda: a.LocalRuntime(max_runing=3), "max_running"),
        (lambda: a.QueueRuntime(embeded=True), "embedded"),
        (lambda: a.QueueRuntime(leese=5), "lease"),
        (lambda: a.Processor(double, timout=5), "timeout"),
        (lambda: a.chain("c", [double], inlined=True), "inline"),
        (lambda: a.Payload(1, sesion="alice"), "session"),
    ],
)
def test_the_nearest_option_is_suggested(call: Any, near: str):
    with pytest.raises(ConfigurationError, match=f"did you mean '{near}'"):
        call()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: a.processor(concurrency=100),
            "no option of processor; it is one of QueueOptions. Here there are: name,",
        ),
        (lambda: a.QueueOptions(delay=3), "it is one of Backoff and of JobOptions. Here there are: "),
    ],
)
def test_an_option_that_belongs_elsewhere_is_told_where(call: Any, told: str):
    with pytest.raises(ConfigurationError, match=told):
        call()


def test_what_is_given_under_a_wrong_name_is_not_told():
    with pytest.raises(ConfigurationError, match="did you mean 'password'") as caught:
        a.RedisOptions(pasword="hunter2")
    assert "hunter2" not in f"{caught.value} {caught.value.context}"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: a.JobOptions(5), r"JobOptions: too many positional arguments; it takes \(attempts="),
        (a.Backoff, r"Backoff: missing a required argument: 'delay'"),
        (lambda: a.LocalRuntime("redis://localhost"), "LocalRuntime: too many positional"),
        (lambda: a.route("r", str), "route: missing a required argument: 'routes'"),
    ],
)
def test_options_without_a_name_and_missing_ones_are_one_error(call: Any, told: str):
    with pytest.raises(ConfigurationError, match=told):
        call()


def test_one_process_has_no_options_for_several():
    with pytest.raises(ConfigurationError, match="lease: is no option of LocalRuntime"):
        a.LocalRuntime(lease=5)
    with pytest.raises(ConfigurationError, match="workers: is no option of RedisStateManager"):
        a.RedisStateManager(workers=True)


def test_the_keywords_of_a_runtime_are_the_options_of_a_runtime():
    assert get_type_hints(RuntimeKeywords) == get_type_hints(RuntimeOptions)


def test_options_are_copied_pickled_replaced_and_decoded_as_ever():
    options = QueueOptions(concurrency=3, default_job_options=JobOptions(delay=1))
    assert copy.deepcopy(options) == pickle.loads(pickle.dumps(options)) == options
    assert msgspec.structs.replace(options, concurrency=4).concurrency == 4
    blob = msgspec.msgpack.encode({**msgspec.to_builtins(options), "of_a_newer_version": 1})
    assert msgspec.msgpack.decode(blob, type=QueueOptions) == options


def test_a_type_error_of_an_options_own_code_is_told_as_it_is():
    class Mine(Options, frozen=True, kw_only=True):
        n: int = 0

        def __post_init__(self) -> None:
            raise TypeError("of my own")

    with pytest.raises(TypeError, match="of my own"):
        Mine()
