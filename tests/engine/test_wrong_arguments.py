"""Whatever is given in place of an argument: one error that says which, what and what it must be."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from am2z_trio import (
    AM2ZError,
    ConfigurationError,
    Context,
    DeadLetters,
    Every,
    Job,
    Payload,
    ProcessOptions,
    Processor,
    ProcessorResult,
    QueueRuntime,
    RetryPolicy,
    RuntimeStateError,
    Schedule,
    ScheduleManager,
    Session,
    StateManager,
    WorkerManager,
    batch,
    chain,
    parallel,
    processor,
    route,
)
from am2z_trio.admin import Admin, Principal
from am2z_trio.engine.runtime.control import ControlManager
from am2z_trio.engine.runtime.events import Events
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
    "optional version": ["1", 0, -1, 1.5, [], True, 65_536],
    "moment": [5, b"1h", "", "yesterday", "1h 2h", "11:00 queue:a", "x" * 101, {}],
    "sessions": [5, None, "s", {"s": 1}, [5], [None], [""], ["s"] * 201],
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

OF_A_JOB: dict[str, str | None] = {"job_id": "id", "reason": "reason"}
OF_A_SCHEDULE: dict[str, str | None] = {"schedule_id": "id", "reason": "reason"}

EVENTS: dict[str, str | None] = {"pattern": "text", "session": "session", "job": "optional id"}

TABLE: dict[type, dict[str, dict[str, str | None]]] = {
    Runtime: {
        "execute": {**FEED, "job_id": "optional text"},
        "execute_many": {**FEED, "state": None, "states": "states"},
        "submit": {**FEED, "job_id": "optional text"},
        "submit_many": MANY,
        "execute_in_session": {**FEED, "session_id": "id"},
        "job": {"job_id": "id", "type": "type", "session": "session"},
        "register": {"processors": "processor"},
        "register_many": {"processors": "processors"},
        "unregister": {"processor": "processor"},
        "forget_processor": {"processor": "processor"},
        "pause": {"processor": "processor"},
        "resume": {"processor": "processor"},
        "explain": {"job_id": "id", "ask_node": "flag"},
        "session": {"id": "session", "processors": "processors", "ttl": "seconds"},
        "stop_session": {"id": "session", "grace": "seconds"},
        "job_logs": {"job_id": "id"},
        "signal": {"target": "id", "name": "text", "value": None, "session": "session"},
        "signal_session": {"session": "session or none", "name": "text", "value": None},
        "get_session_stats": {"id": "session"},
        "samples": {"processor": "processor", "since": "seconds"},
        "throughput": {"processor": "processor", "since": "seconds"},
        "on": {**EVENTS, "handler": "function"},
        "off": {**EVENTS, "handler": "handler to drop"},
        "events": {**EVENTS, "since": "optional place"},
        "emit": {"event": "text", "data": None},
        "drain": {"processors": "processor", "delayed": "flag", "timeout": "seconds"},
        "stop": {"grace": "seconds"},
        "run": {"task_status": None},
    },
    Events: {"history": {**EVENTS, "since": "optional place", "before": "optional place", "limit": "count"}},
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
    ControlManager: {
        "tree": {
            "node": "optional node",
            "session": "optional node",
            "processor": "optional processor",
            "job": "optional id",
            "depth": "depth",
            "offset": "count",
            "limit": "rows",
        },
        "stack": {"job": "id"},
        "health": {"node": "id"},
        "drain_node": {"node": "id", "grace": "seconds"},
        "undrain_node": {"node": "id"},
        "stop_worker": {"node": "id", "processor": "processor", "session": "session"},
        "cancel_task": {"node": "id", "job": "id", "token": "id", "path": "id"},
        "preview_cancel": {"job": "id"},
        "preview_stop_session": {"session": "session or none"},
        "preview_drain": {"node": "id"},
        "preview_stop_worker": {"node": "id", "processor": "processor", "session": "session"},
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
    ScheduleManager: {
        "upsert": {
            "id": "id",
            "processor": "processor",
            "when": "when",
            "owner": "owner",
            "take_over": "flag",
            "options": None,
        },
        "amend": {"id": "id", "rev": "count", "terms": None},
        "get_many": {"ids": "ids"},
        "last_runs": {"ids": "ids", "limit": "count"},
        "sync": {"schedules": "schedules", "owner": "owner", "take_over": "flag"},
        "get": {"id": "id"},
        "list": {"offset": "count", "limit": "count"},
        "pause": {"id": "id", "reason": "reason"},
        "resume": {"id": "id"},
        "remove": {"id": "id"},
        "run_now": {"id": "id"},
        "next": {"id": "id", "n": "count"},
        "backfill": {"id": "id", "start": "time", "end": "time", "dry_run": "flag"},
        "runs": {"id": "id", "offset": "count", "limit": "count"},
    },
    Session: {
        "execute": {**FEED, "job_id": "optional text"},
        "execute_many": {**FEED, "states": "states"},
        "submit": {**FEED, "job_id": "optional text"},
        "submit_many": MANY,
        "signal": {"name": "text", "value": None},
    },
    SessionState: {
        "get": {"type": "type"},
        "set": {"state": None, "expected": "mark", "type": "type", "ttl": "seconds"},
        "update": {"fn": "function", "type": "type", "max_conflicts": "count"},
        "lock": {"lease": "seconds"},
    },
    Job: {
        "cancel": {"reason": "reason"},
        "events": {"pattern": "text"},
        "signal": {"name": "text", "value": None},
    },
    Context: {
        "call": {**FEED, "key": "optional text", "inline": "flag"},
        "submit": {**FEED, "key": "optional text"},
        "emit": {"event": "text", "data": None},
        "update_progress": {"progress": "number"},
        "sleep": {"seconds": "seconds", "key": "optional text"},
        "wait_for": {
            "name": "text",
            "type": "type",
            "timeout": "seconds",
            "default": None,
            "key": "optional text",
        },
    },
    JobState: {"read": {"type": "type"}, "update": {"fn": "function", "type": "type"}},
    Admin: {
        "may": {"permission": None},
        "search": {"query": "query", "limit": "count", "cursor": "cursor"},
        "count": {"query": "query", "most": "count"},
        "dead_groups": {"query": "query", "most": "count"},
        "show": {"job_id": "id", "reveal": "flag", "reason": "reason"},
        "wait": {"job_id": "id", "timeout": "seconds"},
        "loosened": {"query": "query"},
        "explain_some": {"job_ids": "ids"},
        "calls": {"job_id": "id"},
        "changes": {"job_id": "id", "reveal": "flag", "reason": "reason"},
        "as_test": OF_A_JOB,
        "cancel": OF_A_JOB,
        "retry": OF_A_JOB,
        "promote": OF_A_JOB,
        "signal": {**OF_A_JOB, "name": "text", "value": None},
        "drop": OF_A_JOB,
        "edit": {**OF_A_JOB, "state": None, "options": "options", "timeout": "seconds"},
        "enqueue": {
            "processor": "processor",
            "state": None,
            "session": "session",
            "options": "options",
            "job_id": "optional text",
            "state_version": "optional version",
            "reason": "reason",
        },
        "pause": {"queue": "id", "reason": "reason"},
        "resume": {"queue": "id", "reason": "reason"},
        "pause_all": {"reason": "reason"},
        "resume_all": {"reason": "reason"},
        "preview_pause_all": {"resume": "flag"},
        "queue": {"queue": "id"},
        "series": {"span": "span", "queue": "optional id"},
        "drain_queue": {"queue": "id", "reason": "reason"},
        "purge": {"queue": "id", "agreed": "count", "reason": "reason"},
        "signal_session": {
            "session": "session or none",
            "name": "text",
            "value": None,
            "reason": "reason",
        },
        "stop_session": {"session": "id", "grace": "seconds", "reason": "reason"},
        "stop_sessions": {"sessions": "sessions", "grace": "seconds", "reason": "reason"},
        "preview_stop_session": {"session": "id"},
        "sessions": {"prefix": "reason", "query": "query", "limit": "count", "cursor": "cursor"},
        "session_rows": {"sessions": "sessions"},
        "session": {"session": "id"},
        "state": {
            "session": "id",
            "version": "count",
            "against": "count",
            "reveal": "flag",
            "reason": "reason",
        },
        "stored_bytes": {"session": "id", "reason": "reason"},
        "verify_state": {"session": "id"},
        "restore_state": {"session": "id", "version": "count", "reason": "reason"},
        "audit": {"before": "cursor", "since": "moment", "limit": "count", "containing": "reason"},
        "explain": {"job_id": "id"},
        "job_logs": {"job_id": "id", "reveal": "flag", "reason": "reason"},
        "follow_logs": {"job_id": "id", "reason": "reason"},
        "findings": {"silenced": "flag", "watch": "watch"},
        "silence": {"code": "id", "seconds": "seconds", "reason": "needed reason", "target": "reason"},
        "samples": {"queue": "id", "since": "seconds"},
        "throughput": {"queue": "id", "since": "seconds"},
        "node_health": {"node": "id"},
        "tree": {
            "node": "optional node",
            "session": "optional node",
            "processor": "optional processor",
            "job": "optional id",
            "depth": "depth",
            "offset": "count",
            "limit": "rows",
        },
        "stack": {"job_id": "id"},
        "preview_drain": {"node": "id"},
        "drain_node": {"node": "id", "grace": "seconds", "reason": "reason"},
        "undrain_node": {"node": "id", "reason": "reason"},
        "preview_stop_worker": {"node": "id", "processor": "processor", "session": "session"},
        "stop_worker": {
            "node": "id",
            "processor": "processor",
            "session": "session",
            "reason": "reason",
        },
        "cancel_task": {**OF_A_JOB, "node": "id", "token": "id", "path": "id"},
        "events": {
            **EVENTS,
            "queue": "optional id",
            "node": "optional id",
            "since": "optional place",
            "before": "optional place",
            "oldest": "moment",
            "limit": "count",
        },
        "listen": {**EVENTS, "since": "optional place"},
        "schedules": {"offset": "count", "limit": "count"},
        "schedule": {"schedule_id": "id"},
        "schedule_times": {"schedule_id": "id", "n": "count"},
        "last_runs": {"ids": "ids", "limit": "count"},
        "amend_schedule": {**OF_A_SCHEDULE, "rev": "optional count", "terms": None},
        "what_if": {"when": "when", "n": "count", "start": "optional time", "end": "optional time"},
        "week_ahead": {"zone": "id", "most": "count", "first": "reason"},
        "preview_cancel": {"job_id": "id"},
        "lost_nodes": {"within": "seconds"},
        "schedule_runs": {"schedule_id": "id", "offset": "count", "limit": "count"},
        "add_schedule": {"plan": "plan", "reason": "reason"},
        "pause_schedule": OF_A_SCHEDULE,
        "resume_schedule": OF_A_SCHEDULE,
        "remove_schedule": OF_A_SCHEDULE,
        "run_schedule": OF_A_SCHEDULE,
        "backfill_schedule": {**OF_A_SCHEDULE, "start": "time", "end": "time", "dry_run": "flag"},
        "preview_bulk": {"action": "action", "query": "query"},
        "begin_bulk": {
            "action": "action",
            "query": "query",
            "agreed": "count",
            "rate": "rate",
            "probe": "flag",
            "reason": "reason",
        },
        "bulks": {"limit": "count"},
        "bulk": {"bulk_id": "id"},
        "stop_bulk": {"bulk_id": "id", "reason": "reason"},
        "carry_on": {"bulk_id": "id"},
    },
}
"""Every public method with parameters, and what kind each of them is."""

WRONG["rate"] = ["5/s", math.nan, 0, -1, [], True]
WRONG["query"] = [5, None, b"x", [], "colour:red", '"', "x" * 501]
WRONG["cursor"] = [5, None, b"x", [], "x"]
WRONG["action"] = [5, None, [], "delete", ""]

WRONG["span"] = [5, None, "2h", []]
WRONG["optional node"] = [5, b"x", [], {}, "x" * 20_000]
WRONG["optional processor"] = [5, object(), double.fn, [double]]
WRONG["session or none"] = [5, None, b"x", [], "", "x" * 20_000]
WRONG["depth"] = [*WRONG["count"], 5]
WRONG["rows"] = [*WRONG["count"], 0, 201]
WRONG["optional place"] = [5, "x", "1", "1-2-3", b"1-1", []]
WRONG["reason"] = [5, None, b"x", []]
WRONG["needed reason"] = [*WRONG["reason"], ""]
WRONG["watch"] = [5, "x", {}]
WRONG["ids"] = [5, None, "abc", {}, [5], [None], [""], ["x"] * 201]
WRONG["when"] = [5, None, "* * * * *", object()]
WRONG["plan"] = [5, None, "nightly", {"id": "nightly"}, double]
WRONG["owner"] = [5, None, b"x", "@processor"]
WRONG["schedules"] = [5, None, "abc", [5], {"a": 1}]
WRONG["optional count"] = [value for value in WRONG["count"] if value is not None]
WRONG["ids"] = [5, None, "alice", [5], [""], [b"x"]]
WRONG["time"] = [5, None, "2025-01-01", datetime(2025, 1, 1)]
WRONG["optional time"] = [value for value in WRONG["time"] if value is not None]

INTERNAL = {(Context, "own"), (Context, "call_part"), (Context, "call_each"), (JobState, "commit")}
"""Public by name; called by the engine alone."""

TOLD = {
    "id": "session",
    "job_ids": "job_id",
    "type": "a state of type",
    "processors": "processor",
}
"""What a parameter is called in its error, where it is not as in the signature."""

GOOD: dict[str, Any] = {
    "processor": double,
    "processors": [double],
    "state": 1,
    "states": [1],
    "session": "alice",
    "session_id": "alice",
    "sessions": ["alice"],
    "agreed": 1,
    "queue": "double",
    "id": "alice",
    "pattern": "*",
    "handler": print,
    "event": "paid",
    "type": int,
    "fn": lambda state: 1,
    "job_id": "no such job",
    "version": 1,
    "action": "retry",
    "query": "status:dead",
    "bulk_id": "no such action",
    "permission": "view",
    "code": "paused",
    "seconds": 60,
    "target": "double",
    "name": "go",
    "reason": "known",
    "job": "no such job",
    "node": "no such node",
    "token": "1:t",
    "path": "1",
    "progress": 0.5,
    "owner": "billing",
    "when": Every(10**6),
    "schedules": [],
    "schedule_id": "nightly",
    "plan": Schedule("nightly", double, Every(10**6), state=1),
    "ids": ["alice"],
    "start": datetime(2025, 1, 1, tzinfo=UTC),
    "end": datetime(2025, 1, 2, tzinfo=UTC),
}


ALWAYS = ("state", "processor", "when")
"""Parameters that are given although they have a default."""


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
                told = field if owner is ScheduleManager else TOLD.get(field, field)
                assert told in error.message, f"{place}: {error.message}"


def arguments(signature: inspect.Signature, field: str, value: Any) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.name == field:
            given = value
        elif parameter.kind is parameter.VAR_KEYWORD:
            continue
        elif parameter.default is parameter.empty or parameter.name in ALWAYS:
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
        await refuses_everything_wrong(Events, runtime.events)
        job = await runtime.submit(double, 1)
        await refuses_everything_wrong(Job, job)
        assert (await job.result()).unwrap() == 2
        assert runtime.list_processors() == ["double"]


@pytest.mark.anyio
async def test_methods_of_control_say_what_is_wrong(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        await refuses_everything_wrong(ControlManager, runtime.control)
        assert not (await runtime.control.tree()).nodes[0].silent


@pytest.mark.anyio
async def test_methods_of_schedules_say_what_is_wrong(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        await runtime.schedules.upsert("alice", double, Every(10**6), state=1)
        await refuses_everything_wrong(ScheduleManager, runtime.schedules)
        assert [view.id for view in await runtime.schedules.list()] == ["alice"]


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
        "ProcessOptions": (ProcessOptions, {}),
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
        | {"breaker": [5, {}], "fallback": [5, double.fn], "state_type": [5, object()]}
        # `double` is async: it can have no thread and no interpreter.
        | {"run_in": [5, "", "gpu", "Process", [], True, "thread", "interpreter"]},
        "Payload": {"session": [5, None, "", b"x"]},
        "RetryPolicy": {"should_retry": [5, "x", no_parameters, double.fn, lambda error: True]},
        "QueueRuntime": {"redis": [5, [], {}, "", "http://x", b"redis://x"], "embedded": WRONG["flag"]}
        | {"processes": [*WRONG["count"], 0, None, {}, 10_001]},
        "ProcessOptions": {name: [*WRONG["count"], 0] for name in ("max_processes", "max_jobs")}
        | {"start_timeout": [*WRONG["seconds"], 0, None], "cancel_grace": [*WRONG["seconds"], None]},
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


@pytest.mark.anyio
async def test_the_service_for_operators_refuses_what_is_no_argument(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        await runtime.schedules.upsert(GOOD["plan"])
        await refuses_everything_wrong(Admin, Admin(runtime, principal=Principal(name="a", role="admin")))


@pytest.mark.anyio
async def test_every_method_of_a_runtime_is_refused_in_a_foreign_thread_and_does_nothing(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        await runtime.sync_processors()
        targets: dict[type, Any] = {
            Runtime: runtime,
            Events: runtime.events,
            StateManager: runtime.state,
            WorkerManager: runtime.workers,
            ControlManager: runtime.control,
            DeadLetters: runtime.dead_letters,
            ScheduleManager: runtime.schedules,
        }

        async def call_all() -> dict[str, object]:
            said: dict[str, object] = {}
            for owner, target in targets.items():
                for name in TABLE[owner]:
                    method = getattr(target, name)
                    positional, named = arguments(inspect.signature(method), "", None)
                    error: Exception | None
                    with anyio.fail_after(20):
                        try:
                            error = await error_of(lambda: method(*positional, **named))  # noqa: B023
                        except Exception as other:
                            error = other
                    said[f"{owner.__name__}.{name}"] = type(error)
            return said

        said = await anyio.to_thread.run_sync(lambda: anyio.run(call_all))
        assert {name: kind for name, kind in said.items() if kind is not RuntimeStateError} == {}
        assert runtime.is_started
        assert runtime.list_processors() == ["double"]
        assert await runtime.schedules.list() == []
        assert await runtime.get_active_sessions() == []
        assert (await runtime.execute(double, 1)).unwrap() == 2
