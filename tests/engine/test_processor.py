"""What may be a processor, and what a bad one is told."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import pytest

from am2z_trio import (
    Backoff,
    ConfigurationError,
    Context,
    JobOptions,
    LocalRuntime,
    Processor,
    QueueOptions,
    Retention,
    RetryPolicy,
    processor,
)

T = TypeVar("T")


class Order(msgspec.Struct):
    n: int


async def plain(order: Order) -> Order:
    """Say hello."""
    return order


def test_bare_and_called_and_programmatic_are_the_same():
    for made in (processor(plain), processor()(plain), Processor(plain)):
        assert (made.name, made.state_type, made.takes_context) == ("plain", Order, False)
        assert made.description == "Say hello."


@pytest.mark.trio
async def test_the_decorated_function_can_still_be_called():
    assert (await processor(plain)(Order(1))).n == 1


def test_the_state_type_is_the_annotation_of_the_first_parameter():
    @dataclasses.dataclass
    class Local:
        n: int

    @processor
    async def local(state: Local, ctx: Context) -> Local:
        return state

    @processor
    async def untyped(state, ctx):
        return state

    @processor
    async def generic(state: T) -> T:
        return state

    @processor(state_type=dict[str, int])
    async def told(state) -> Any:
        return state

    assert local.state_type is Local
    assert local.takes_context
    assert untyped.state_type is Any
    assert generic.state_type is Any
    assert told.state_type == dict[str, int]


def test_methods_and_callables_serve_too():
    class Service:
        async def price(self, order: Order) -> Order:
            return order

        async def __call__(self, order: Order, ctx: Context) -> Order:
            return order

    assert Processor(Service().price).state_type is Order
    called = Processor(Service(), name="service")
    assert called.takes_context
    assert called.is_async
    assert called.state_type is Order


async def no_state() -> None: ...


async def three(a: int, b: int, c: int) -> None: ...


async def keyword(a: int, *, b: int) -> None: ...


@pytest.mark.parametrize("fn", [no_state, three, keyword])
def test_a_wrong_signature_is_refused(fn):
    with pytest.raises(ConfigurationError, match=r"\(state\) or \(state, ctx\)"):
        processor(fn)


def test_an_annotation_that_cannot_be_resolved_is_named():
    async def lost(state: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match=r"Nowhere.*state_type="):
        processor(lost)


def test_a_type_that_cannot_be_decoded_is_named():
    async def impossible(state: Order | msgspec.Raw | dict[Order, int] | list[int] | set[int]) -> None: ...

    with pytest.raises(ConfigurationError, match="impossible"):
        LocalRuntime().register(processor(impossible))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"name": ""}, "name"),
        ({"name": "x" * 300}, "name"),
        ({"retry": 3}, "retry"),
        ({"queue": {"concurrency": 3}}, "queue"),
        ({"depends_on": ["price"]}, "depends_on"),
    ],
)
def test_a_bad_option_of_a_processor_is_named(options, field):
    with pytest.raises(ConfigurationError, match=rf"Processor\.{field}="):
        processor(**options)(plain)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (RetryPolicy, {"max_attempts": 0}),
        (RetryPolicy, {"max_attempts": 2.5}),
        (RetryPolicy, {"backoff": -1}),
        (RetryPolicy, {"backoff": float("nan")}),
        (RetryPolicy, {"backoff_multiplier": 0.5}),
        (Backoff, {"delay": -1}),
        (Retention, {"age": -1}),
        (Retention, {"count": 1.5}),
        (JobOptions, {"commit": 1}),
        (JobOptions, {"lifo": "yes"}),
        (JobOptions, {"delay": -1}),
        (JobOptions, {"delay": datetime(2030, 1, 1)}),
        (JobOptions, {"delay": "2030-01-01T00:00Z"}),
        (JobOptions, {"expires": 0}),
        (JobOptions, {"expires": datetime(2030, 1, 1)}),
        (JobOptions, {"debounce": ""}),
        (JobOptions, {"remove_on_fail": -1}),
        (JobOptions, {"tags": "spring"}),
        (JobOptions, {"tags": [str(n) for n in range(17)]}),
        (JobOptions, {"remove_on_complete": "yes"}),
        (QueueOptions, {"stalled_interval": 0}),
        (RetryPolicy, {"jitter": 2}),
        (RetryPolicy, {"max_backoff": float("inf")}),
        (RetryPolicy, {"should_retry": "yes"}),
        (QueueOptions, {"concurrency": 0}),
        (QueueOptions, {"concurrency": True}),
        (QueueOptions, {"priority": -1}),
        (QueueOptions, {"priority": 2**21}),
        (QueueOptions, {"max_stalled_count": -1}),
        (QueueOptions, {"default_job_options": {}}),
        (JobOptions, {"attempts": 0}),
        (JobOptions, {"backoff": "1s"}),
        (JobOptions, {"delay": -0.1}),
        (JobOptions, {"priority": 1.5}),
    ],
)
def test_a_bad_option_names_field_value_and_rule(kind: Any, options: dict[str, Any]):
    if kind is Backoff:
        options = {**options, "type": "fixed"}
    (field, value), *_ = options.items()
    with pytest.raises(ConfigurationError) as caught:
        kind(**options)
    assert str(caught.value).startswith(f"{kind.__name__}.{field}={value!r}: must be ")


def test_a_backoff_is_fixed_or_exponential():
    with pytest.raises(ConfigurationError, match=r"Backoff\.type='linear': must be 'fixed' or 'exponential'"):
        Backoff(type="linear", delay=1)  # type: ignore[arg-type]


def test_dependencies_come_along_and_circles_are_refused():
    async def step(order: Order) -> Order:
        return order

    one = Processor(step, name="one")
    two = Processor(step, name="two", depends_on=[one])
    three = Processor(step, name="three", depends_on=[two, one])
    runtime = LocalRuntime()
    runtime.register(three)
    assert runtime.list_processors() == ["one", "two", "three"]
    one.depends_on = (three,)
    with pytest.raises(ConfigurationError, match="three -> two -> one -> three"):
        LocalRuntime().register(three)


def test_a_circle_by_name_is_refused_though_no_processor_depends_on_itself():
    def named(name: str, *depends_on: Processor[int]) -> Processor[int]:
        @processor(name=name, depends_on=depends_on)
        async def one(n: int) -> int:
            return n

        return one

    runtime = LocalRuntime()
    older = named("a")
    runtime.register(older)
    for circle in (named("a", named("b", named("c", older))), named("d", named("a", named("b", older)))):
        with pytest.raises(ConfigurationError, match=r"a -> b -> (c -> )?a \('a' is .*one and .*one\)"):
            runtime.register(named("x"), circle)
        assert runtime.list_processors() == ["a"]
    with pytest.raises(ConfigurationError, match="a -> a"):
        runtime.register(named("a", older))
    # The same one by two ways is no circle.
    runtime.register(named("d", named("b", older), named("c", older)))
    assert runtime.list_processors() == ["a", "b", "c", "d"]
