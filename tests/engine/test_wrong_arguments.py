"""Whatever is given in place of an argument: one error that says which, what and what it must be."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from am2z_trio import (
    AM2ZError,
    ConfigurationError,
    Context,
    DeadLetters,
    Job,
    Payload,
    Processor,
    ProcessorResult,
    QueueRuntime,
    RetryPolicy,
    Session,
    StateManager,
    WorkerManager,
    batch,
    chain,
    parallel,
    processor,
    route,
)
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.sessions.session import SessionState
from am2z_trio.engine.states.job_state import JobState


@processor
async def double(n: int) -> int:
    return 2 * n


def no_parameters() -> None: ...


async def yields(value: Any):
    yield value


WRONG: dict[str, list[Any]] = {
    "processor": [5, None, object(), double.fn, [double]],
    "session": [5, b"x", [], {}, "", "x" * 20_000],
    "text": [5, b"x", [], {}, None, ""],
    "optional text": [5, b"x", [], {}, ""],
    "id": [5, b"x", [], {}, None, ""],
    "optional id": [5, b"x", [], {}, ""],
    "seconds": ["1", -1, math.nan, [], {}, True],
    "count": ["1", -1, 1.5, [], True],
    "processors": [5, None, double, {"double": double}, [5], ["double"]],
    "many ids": [5, 1.5, "abc", b"abc", {"a": 1}, [5], [None], ["x/y"], [""], []],
    "states": [5, None, 1.5, "abc", b"abc", {"a": 1}, object(), double],
    "function": [5, None, "x", [], no_parameters, yields],
    "optional function": [5, "x", [], no_parameters, yields],
    "handler to drop": [5, "x", []],
    "options": [5, {}, "x", {"delay": 1}],
    "flag": [5, "yes", None],
    "number": ["x", None, math.nan, [], True],
    "type": [5, object(), "int"],
    "mark": [5, "x", {}],
}
"""What is no argument of a kind."""

FEED: dict[str, str | None] = {
    "processor": "processor",
    "state": None,
    "session": "session",
    "timeout": "seconds",
    "wait_for_worker": "seconds",
    "total_timeout": "seconds",
    "options": "options",
}
"""How a job is asked for. `None`: a parameter whose value is data of any kind."""

MANY: dict[str, str | None] = {
    **{name: kind for name, kind in FEED.items() if name != "wait_for_worker"},
    "state": None,
    "states": "states",
    "job_ids": "many ids",
}
"""How many are asked for, for which nobody waits."""

EVENTS: dict[str, str | None] = {"pattern": "text", "session": "session", "job": "optional id"}

TABLE: dict[type, dict[str, dict[str, str | None]]] = {
    Runtime: {
        "execute": {**FEED, "job_id": "optional text"},
        "execute_many": {**FEED, "state": None, "states": "states"},
        "submit": {**FEED, "job_id": "optional text"},
        "submit_many": MANY,
        "execute_in_session": {**FEED, "session_id": "id"},
        "register": {"processors": "processor"},
        "register_many": {"processors": "processors"},
        "unregister": {"processor": "processor"},
        "forget_processor": {"processor": "processor"},
        "pause": {"processor": "processor"},
        "resume": {"processor": "processor"},
        "session": {"id": "session", "processors": "processors", "ttl": "seconds"},
        "stop_session": {"id": "session", "grace": "seconds"},
        "get_session_stats": {"id": "session"},
        "on": {**EVENTS, "handler": "function"},
        "off": {**EVENTS, "handler": "handler to drop"},
        "events": EVENTS,
        "emit": {"event": "text", "data": None},
        "stop": {"grace": "seconds"},
        "run": {"task_status": None},
    },
    StateManager: {
        "get": {"session": "session", "type": "type"},
        "set": {"session": "session", "state": None, "expected": "mark", "type": "type", "ttl": "seconds"},
        "update": {"session": "session", "fn": "function", "type": "type", "max_conflicts": "count"},
        "delete": {"session": "session"},
        "exists": {"session": "session"},
        "get_version": {"session": "session"},
        "history": {"session": "session", "type": "type"},
        "lock": {"session": "session", "lease": "seconds"},
    },
    WorkerManager: {
        "has_worker": {"processor": "processor", "session": "session"},
        "stop_worker": {"processor": "processor", "session": "session"},
        "create_session_worker": {"processor": "processor", "session": "session"},
        "stop_session_workers": {"session": "session"},
    },
    DeadLetters: {
        "count": {"processor": "processor"},
        "list": {"processor": "processor", "offset": "count", "limit": "count"},
        "show": {"job_id": "id"},
        "retry": {"job_id": "id"},
        "retry_all": {"processor": "processor", "where": "optional function"},
        "drop": {"job_id": "id"},
        "drop_all": {"processor": "processor", "where": "optional function"},
    },
    Session: {
        "execute": {**FEED, "job_id": "optional text"},
        "execute_many": {**FEED, "states": "states"},
        "submit": {**FEED, "job_id": "optional text"},
        "submit_many": MANY,
    },
    SessionState: {
        "get": {"type": "type"},
        "set": {"state": None, "expected": "mark", "type": "type", "ttl": "seconds"},
        "update": {"fn": "function", "type": "type", "max_conflicts": "count"},
        "lock": {"lease": "seconds"},
    },
    Job: {"cancel": {"reason": "reason"}},
    Context: {
        "call": {**FEED, "key": "optional text", "inline": "flag"},
        "emit": {"event": "text", "data": None},
        "update_progress": {"progress": "number"},
    },
    JobState: {"read": {"type": "type"}, "update": {"fn": "function", "type": "type"}},
}
"""Every public method with parameters, and what kind each of them is."""

WRONG["reason"] = [5, None, b"x", []]

INTERNAL = {(Context, "own"), (Context, "call_part"), (Context, "call_each"), (JobState, "commit")}
"""Public by name; called by the engine alone."""

TOLD = {"id": "session", "job_ids": "job_id", "type": "a state of type", "processors": "processor"}
"""What a parameter is called in its error, where it is not as in the signature."""

GOOD: dict[str, Any] = {
    "processor": double,
    "processors": [double],
    "state": 1,
    "states": [1],
    "session": "alice",
    "session_id": "alice",
    "id": "alice",
    "pattern": "*",
    "handler": print,
    "event": "paid",
    "type": int,
    "fn": lambda state: 1,
    "job_id": "no such job",
    "progress": 0.5,
}


def test_every_public_method_is_in_the_table():
    for owner, table in TABLE.items():
        for name, method in inspect.getmembers(owner, inspect.isfunction):
            parameters = [*inspect.signature(method).parameters][1:]
            if name[0] != "_" and parameters and (owner, name) not in INTERNAL:
                assert {*parameters} <= {*table[name]}, f"{owner.__name__}.{name}"


async def error_of(call: Callable[[], Any]) -> AM2ZError | None:
    """What a call is refused with, raised or as a result."""
    try:
        answer = call()
        if inspect.isawaitable(answer):
            answer = await answer
        elif hasattr(answer, "__aenter__"):
            async with answer:
                pass
    except AM2ZError as error:
        return error
    results = answer if isinstance(answer, list) else [answer]
    errors = [result.error for result in results if isinstance(result, ProcessorResult)]
    return errors[0] if errors else None


async def refuses_everything_wrong(owner: type, target: Any) -> None:
    for name, parameters in TABLE[owner].items():
        method = getattr(target, name)
        signature = inspect.signature(method)
        for field, kind in parameters.items():
            if kind is None or field not in signature.parameters:
                continue
            for value in WRONG[kind]:
                positional, named = arguments(signature, field, value)
                error = await error_of(lambda: method(*positional, **named))  # noqa: B023
                place = f"{owner.__name__}.{name}({field}={value!r:.60})"
                assert error is not None, f"{place} was accepted"
                assert not error.retryable, place
                assert TOLD.get(field, field) in error.message, f"{place}: {error.message}"


def arguments(signature: inspect.Signature, field: str, value: Any) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.name == field:
            given = value
        elif parameter.default is parameter.empty or parameter.name == "state":
            given = GOOD[parameter.name]
        else:
            continue
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            positional.append(given)
        else:
            named[parameter.name] = given
    return positional, named


@pytest.mark.anyio
async def test_methods_of_a_runtime_say_what_is_wrong(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        await refuses_everything_wrong(Runtime, runtime)
        await refuses_everything_wrong(StateManager, runtime.state)
        await refuses_everything_wrong(WorkerManager, runtime.workers)
        job = await runtime.submit(double, 1)
        await refuses_everything_wrong(Job, job)
        assert (await job.result()).unwrap() == 2
        assert runtime.list_processors() == ["double"]


@pytest.mark.anyio
async def test_methods_of_dead_letters_say_what_is_wrong(make_runtime):
    @processor
    async def fails(n: int) -> int:
        raise OSError("no")

    async with make_runtime() as runtime:
        runtime.register(double, fails)
        await runtime.execute(fails, 1)
        await refuses_everything_wrong(DeadLetters, runtime.dead_letters)
        assert await runtime.dead_letters.count(fails) == 1


@pytest.mark.anyio
async def test_methods_of_a_session_say_what_is_wrong(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        async with runtime.session("alice") as session:
            await refuses_everything_wrong(Session, session)
            await refuses_everything_wrong(SessionState, session.state)
        assert await runtime.state.get("alice") is None


@pytest.mark.anyio
async def test_methods_of_a_context_say_what_is_wrong(make_runtime):
    @processor
    async def asks(n: int, ctx: Context) -> int:
        await refuses_everything_wrong(Context, ctx)
        await refuses_everything_wrong(JobState, ctx.state)
        return n

    async with make_runtime() as runtime:
        runtime.register(double, asks)
        assert (await runtime.execute(asks, 1, session="alice")).unwrap() == 1


@pytest.mark.anyio
async def test_a_text_or_one_state_is_not_taken_for_many(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        for given in (5, "abc", {"n": 1}, None):
            with pytest.raises(ConfigurationError) as caught:
                await runtime.execute_many(double, given)
            told = f"states={given!r}: must be states, in a list or another iterable"
            assert str(caught.value) == told
        results = await runtime.execute_many(double, (n for n in range(3)))
        assert [result.unwrap() for result in results] == [0, 2, 4]


@pytest.mark.anyio
async def test_a_type_error_within_an_update_is_its_own(make_runtime):
    def wrong(state: Any) -> Any:
        return state + "x"

    async with make_runtime() as runtime:
        await runtime.state.set("alice", 1)
        with pytest.raises(TypeError, match="unsupported operand"):
            await runtime.state.update("alice", wrong)
        with pytest.raises(ConfigurationError, match=r"fn=<.*must be a function \(state\), and takes \(\)"):
            await runtime.state.update("alice", no_parameters)
        assert (await runtime.state.get("alice")).state == 1


def definitions() -> Iterator[tuple[str, Callable[[], Any]]]:
    make: dict[str, tuple[Any, dict[str, Any]]] = {
        "chain": (chain, {"name": "x", "steps": [double]}),
        "parallel": (parallel, {"name": "x", "children": [double]}),
        "route": (route, {"name": "x", "key": str, "routes": {"1": double}}),
        "batch": (batch, {"name": "x", "processor": double, "payloads": [1]}),
        "Processor": (Processor, {"fn": double.fn}),
        "Payload": (Payload, {"state": 1, "session": "alice"}),
        "RetryPolicy": (RetryPolicy, {}),
        "QueueRuntime": (QueueRuntime, {}),
    }
    common = {"name": [5, b"x", "", []], "timeout": WRONG["seconds"], "retry": [5, {}], "queue": [5, {}]}
    common["description"] = [5, b"x"]
    inline = {**common, "inline": WRONG["flag"]}
    wrong: dict[str, dict[str, list[Any]]] = {
        "chain": {**inline, "steps": [5, None, double, [], [5], "double", ["double"]]},
        "parallel": {**inline, "children": [5, None, double, [], [5]], "merge": [5, "x", no_parameters]}
        | {"collect": WRONG["flag"]},
        "route": {**inline, "key": WRONG["function"], "routes": [5, None, double, {}, [double], {"x": 5}]}
        | {"fallback": [5, "double", double.fn]},
        "batch": {**inline, "processor": [5, None, "double"], "payloads": [5, None, "x", {"a": 1}]}
        | {"merge": [5, "x", no_parameters, yields], "state_type": [5, object()]},
        "Processor": {**common, "fn": [5, None, "x", yields], "depends_on": [5, double, {"a": double}, [5]]}
        | {"breaker": [5, {}], "fallback": [5, double.fn], "state_type": [5, object()]},
        "Payload": {"session": [5, None, "", b"x"]},
        "RetryPolicy": {"should_retry": [5, "x", no_parameters, double.fn, lambda error: True]},
        "QueueRuntime": {"redis": [5, [], {}, "", "http://x", b"redis://x"], "embedded": WRONG["flag"]},
    }
    for name, (function, good) in make.items():
        for field, values in wrong[name].items():
            for number, value in enumerate(values):
                # No address of an object: the ids of tests are the same in every process.
                shown = value if isinstance(value, int | float | str | bytes | None) else type(value).__name__
                yield f"{name}({field}={shown!r}) {number}", partial(function, **{**good, field: value})


DEFINITIONS = dict(definitions())


@pytest.mark.parametrize("define", DEFINITIONS.values(), ids=DEFINITIONS)
def test_a_definition_says_what_is_wrong(define: Callable[[], Any], request: pytest.FixtureRequest):
    with pytest.raises(ConfigurationError) as caught:
        define()
    field = request.node.callspec.id.partition("(")[2].partition("=")[0]
    assert field in str(caught.value) or "a state of type" in str(caught.value)


def test_a_composition_has_a_name():
    with pytest.raises(ConfigurationError, match=r"Processor\.name=None: must be"):
        chain(None, [double])  # type: ignore[arg-type]
