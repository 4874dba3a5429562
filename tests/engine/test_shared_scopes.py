"""Plain jobs of one slot share a cancel scope; whatever is meant for one of them reaches no other."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.lowlevel
from anyio._backends import _asyncio as asyncio_backend
from trio._core._run import CancelStatus

from am2z_trio import (
    Context,
    DeadlineExceededError,
    JobCancelledError,
    ProcessorExecutionError,
    ProcessorTimeoutError,
    QueueOptions,
    RetryPolicy,
    SessionStoppedError,
    processor,
)
from am2z_trio.concurrency import _asyncio, _trio
from am2z_trio.concurrency._asyncio import AsyncioHost
from am2z_trio.concurrency._trio import TrioHost
from am2z_trio.engine.claim import Claim, Stop, running_job
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.submission.job import read_result
from am2z_trio.engine.submission.request import SubmitRequest
from am2z_trio.model.codec import StateCodec

pytestmark = pytest.mark.anyio

ONE = QueueOptions(concurrency=1)


@pytest.fixture(params=[True, False], ids=["shared", "one each"], autouse=True)
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Where the host cannot tell what a job leaves open, each has a scope of its own: all else is equal."""
    for host in (TrioHost, AsyncioHost):
        monkeypatch.setattr(host, "sees_scopes", request.param)
    return bool(request.param)


def ends() -> float:
    """When the code that asks would be cancelled."""
    return anyio.current_effective_deadline()


@asynccontextmanager
async def opened(runtime: Runtime, *processors: Any, patience: float | None = 20) -> AsyncIterator[Runtime]:
    with anyio.fail_after(patience):
        async with runtime:
            runtime.register(*processors)
            yield runtime


async def deadline_of(runtime: Runtime, plain: Any, timeout: float | None = None) -> float:
    """What such a job says, which no caller's deadline applies to."""
    job = await runtime.submit(plain, 0.0, timeout=timeout)
    return float((await job.result()).unwrap())


def slots(runtime: Runtime, name: str) -> int:
    (feeder,) = (one for one in runtime.node.fleet._at_work if one.processor == name)
    worker = feeder.delivery.worker("")
    assert worker is not None
    return worker.slots


@pytest.mark.parametrize("session", [None, "alice"])
async def test_one_task_runs_all_of_them_under_one_scope(make_runtime, shared: bool, session: str | None):
    scopes = list[Any]()

    @processor(queue=ONE)
    async def plain(n: int) -> int:
        claim = running_job()
        assert claim is not None
        scopes.append(claim.scope)
        return n

    async with opened(make_runtime(), plain) as runtime:
        for n in range(3):
            assert (await runtime.execute(plain, n, session=session)).unwrap() == n
    assert len({id(scope) for scope in scopes}) == (1 if shared else 3)


async def test_a_timeout_ends_one_job_and_the_slot_takes_the_next(make_runtime):
    @processor(queue=ONE)
    async def plain(n: float) -> float:
        if n:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return ends()

    async with opened(make_runtime(), plain, patience=None) as runtime:
        for _ in range(2):
            with pytest.raises(ProcessorTimeoutError, match=r"longer than its timeout of 0\.01 s"):
                (await runtime.execute(plain, 1, timeout=0.01)).unwrap()
            assert await deadline_of(runtime, plain) == math.inf
        assert slots(runtime, "plain") == 1


async def test_a_job_that_ends_within_its_limits_leaves_none_to_the_next(make_runtime):
    @processor(queue=ONE)
    async def plain(n: float) -> float:
        await anyio.lowlevel.checkpoint()
        return ends()

    async with opened(make_runtime(), plain, patience=None) as runtime:
        first = await deadline_of(runtime, plain, timeout=3600)
        assert await deadline_of(runtime, plain) == math.inf
        second = await deadline_of(runtime, plain, timeout=7200)
        third = await deadline_of(runtime, plain, timeout=60)
        assert third < first < second < math.inf
        # As is that of a caller.
        with anyio.fail_after(20):
            assert (await runtime.execute(plain, 0)).unwrap() < math.inf
        assert await deadline_of(runtime, plain) == math.inf


async def test_the_deadline_of_a_caller_applies_to_its_job_alone(make_runtime):
    @processor(queue=ONE)
    async def plain(n: int) -> int:
        if n:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return n

    async with opened(make_runtime(), plain) as runtime:
        with anyio.move_on_after(0.2):
            # As from a client that dies: it has sent its deadline, and cancels nothing.
            request = (await runtime.node.submissions.preparation.prepare(plain, 1, SubmitRequest())).request
            await runtime.node.store.enqueue([request])
        assert (await runtime.execute(plain, 0)).unwrap() == 0
        settled = None
        while settled is None:
            await anyio.sleep(0.001)
            (view,) = await runtime.node.store.view([request.spec.id])
            assert view is not None
            settled = view.settled
        error = read_result(settled, StateCodec(int), processor="plain", session=None).error
        assert isinstance(error, DeadlineExceededError)


async def test_a_cancel_that_comes_when_the_job_has_ended_reaches_no_other(make_runtime):
    claims, go_on = list[Claim](), anyio.Event()

    @processor(queue=ONE)
    async def plain(n: int) -> int:
        claim = running_job()
        assert claim is not None
        claims.append(claim)
        if n:
            await go_on.wait()
        return n

    async with opened(make_runtime(), plain) as runtime:
        await runtime.execute(plain, 0)
        second = await runtime.submit(plain, 1)
        while len(claims) < 2:
            await anyio.sleep(0.001)
        claims[0].cancel(Stop("cancelled", "too late"))
        await anyio.lowlevel.checkpoint()
        go_on.set()
        assert (await second.result()).unwrap() == 1


async def test_a_cancel_that_the_job_does_not_notice_is_not_left_to_the_next(make_runtime):
    begun, go_on = anyio.Event(), anyio.Event()
    seen = list[int]()

    @processor(queue=ONE)
    async def plain(n: int) -> int:
        if n == 1:
            begun.set()
            with anyio.CancelScope(shield=True):
                await go_on.wait()
        else:
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
        seen.append(n)
        return n

    async with opened(make_runtime(), plain) as runtime:
        first, second = await runtime.submit(plain, 1), await runtime.submit(plain, 2)
        await begun.wait()
        claim = next(one for one in runtime.node.claims.all() if one.is_running)
        go_on.set()
        claim.cancel(Stop("cancelled", "in its last breath"))
        assert (await second.result()).unwrap() == 2
        assert (await first.result()).unwrap() == 1
    assert seen == [1, 2]


async def test_a_cancelled_job_is_told_so_and_its_slot_goes_on(make_runtime):
    begun = list[int]()

    @processor(queue=ONE)
    async def plain(n: int) -> int:
        begun.append(n)
        if n:
            await anyio.sleep_forever()
        return n

    async with opened(make_runtime(), plain) as runtime:
        for n in (1, 2):
            job = await runtime.submit(plain, n)
            while n not in begun:
                await anyio.sleep(0.001)
            assert await job.cancel("no longer wanted")
            with pytest.raises(JobCancelledError, match="no longer wanted"):
                (await job.result()).unwrap()
            assert (await runtime.execute(plain, 0)).unwrap() == 0
        assert slots(runtime, "plain") == 1


@pytest.mark.parametrize("error", [ValueError("in its cleanup"), BaseExceptionGroup("both", [SystemExit(3)])])
async def test_what_a_job_raises_while_it_times_out_does_not_reach_the_next(
    make_runtime, anyio_backend: str, error: BaseException
):
    @processor(queue=ONE)
    async def plain(n: int) -> int:
        async def cleans_up() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise error

        if n:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cleans_up)
                await anyio.sleep_forever()
        return n

    async with opened(make_runtime(), plain) as runtime:
        # AnyIO's task group on asyncio drops what it was cancelled with, where there are errors.
        expected = ProcessorTimeoutError if anyio_backend == "trio" else ProcessorExecutionError
        with pytest.raises(expected):
            (await runtime.execute(plain, 1, timeout=0.01)).unwrap()
        assert (await runtime.execute(plain, 0)).unwrap() == 0


async def test_a_job_that_answers_its_timeout_with_an_error_has_failed_with_that(make_runtime):
    @processor(queue=ONE)
    async def plain(n: int) -> int:
        try:
            await anyio.sleep_forever()
        except BaseException:
            raise ValueError("instead") from None
        return n

    async with opened(make_runtime(), plain) as runtime:
        for _ in range(2):
            with pytest.raises(ProcessorExecutionError, match="ValueError: instead"):
                (await runtime.execute(plain, 1, timeout=0.01)).unwrap()


def a_scope() -> Any:
    scope = anyio.CancelScope()
    scope.__enter__()
    return scope


async def leaves_a_nursery_open(sets: anyio.Event) -> Any:
    tasks = anyio.create_task_group()
    await tasks.__aenter__()

    async def stays() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            sets.set()

    tasks.start_soon(stays)
    await anyio.lowlevel.checkpoint()
    return tasks.cancel_scope


@pytest.mark.parametrize("shared", [True], indirect=True, ids=["shared"])
@pytest.mark.parametrize("what", ["a scope", "a cancelled scope", "two scopes", "a nursery"])
@pytest.mark.parametrize("then", ["returns", "raises", "is cancelled"])
@pytest.mark.parametrize("plainly", [True, False], ids=["plain", "with a context"])
async def test_a_job_that_leaves_a_scope_open_fails_alone(make_runtime, what: str, then: str, plainly: bool):
    left, ended = list[Any](), anyio.Event()

    async def works(n: int) -> int:
        if n:
            if what == "a nursery":
                left.append(await leaves_a_nursery_open(ended))
            else:
                left.append(a_scope())
                if what == "two scopes":
                    left.append(a_scope())
            if then == "is cancelled":
                await anyio.sleep_forever()
            if what == "a cancelled scope":
                left[-1].cancel()
            if then == "raises":
                raise ValueError("too")
        else:
            for scope in left:
                scope.cancel()
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
        return n

    @processor(queue=ONE)
    async def plain(n: int) -> int:
        return await works(n)

    @processor(queue=ONE)
    async def with_context(n: int, ctx: Context) -> int:
        return await works(n)

    one: Any = plain if plainly else with_context
    async with opened(make_runtime(), one) as runtime:
        for _ in range(2):
            error = (await runtime.execute(one, 1, timeout=0.05 if then == "is cancelled" else None)).error
            if then == "is cancelled":
                assert isinstance(error, ProcessorTimeoutError | ProcessorExecutionError)
            else:
                assert isinstance(error, ProcessorExecutionError)
            assert (await runtime.execute(one, 0)).unwrap() == 0
        if what == "a nursery":
            await ended.wait()
        assert slots(runtime, one.name) == 1


async def holds_on(what: str) -> None:
    """Wait for ever, with something open that is not closed on the way out."""
    if what == "a nursery":
        await leaves_a_nursery_open(anyio.Event())
    else:
        a_scope()
    await anyio.sleep_forever()


@pytest.mark.parametrize("shared", [True], indirect=True, ids=["shared"])
@pytest.mark.parametrize("what", ["a scope", "a nursery"])
@pytest.mark.parametrize("how", ["plain", "in a session", "with a context"])
async def test_a_timeout_that_finds_a_scope_left_open_is_a_timeout(make_runtime, what: str, how: str):
    @processor(queue=ONE)
    async def plain(n: int) -> int:
        await holds_on(what)
        return n

    @processor(queue=ONE)
    async def with_context(n: int, ctx: Context) -> int:
        await holds_on(what)
        return n

    one: Any = with_context if how == "with a context" else plain
    session = "s" if how == "in a session" else None
    async with opened(make_runtime(), one) as runtime:
        with pytest.raises(ProcessorTimeoutError):
            (await runtime.execute(one, 1, session=session, timeout=0.02)).unwrap()
        job = await runtime.submit(one, 1, session=session)
        while not any(claim.is_running for claim in runtime.node.claims.all()):
            await anyio.sleep(0.001)
        assert await job.cancel("no longer wanted")
        with pytest.raises(JobCancelledError, match="no longer wanted"):
            (await job.result()).unwrap()


@pytest.mark.parametrize("shared", [True], indirect=True, ids=["shared"])
@pytest.mark.parametrize("what", ["a scope", "a nursery"])
@pytest.mark.parametrize("how", ["plain", "in a session", "with a context"])
async def test_a_job_that_leaves_a_scope_open_is_handed_back_when_its_worker_is_stopped(
    make_runtime, what: str, how: str
):
    begun = list[int]()

    async def works(n: int) -> int:
        begun.append(n)
        if len(begun) == 1:
            await holds_on(what)
        return n

    @processor(name="one", queue=ONE)
    async def plain(n: int) -> int:
        return await works(n)

    @processor(name="one", queue=ONE)
    async def with_context(n: int, ctx: Context) -> int:
        return await works(n)

    one: Any = with_context if how == "with a context" else plain
    session = "s" if how == "in a session" else None
    runtime = make_runtime(shutdown_grace=0.01)
    async with opened(runtime, one):
        await runtime.submit(one, 7, session=session, job_id="j")
        while not begun:
            await anyio.sleep(0.001)
    async with opened(runtime, one):
        assert (await runtime.execute(one, 7, session=session, job_id="j")).unwrap() == 7
    assert begun == [7, 7]


@pytest.mark.parametrize("shared", [True], indirect=True, ids=["shared"])
async def test_scopes_that_tasks_of_a_job_are_in_are_not_left_open_by_it(make_runtime):
    @processor(queue=ONE)
    async def with_context(n: int, ctx: Context) -> int:
        inside, go_on = anyio.Event(), anyio.Event()

        async def task() -> None:
            with anyio.CancelScope():
                inside.set()
                await go_on.wait()

        ctx.nursery.start_soon(task)
        await inside.wait()
        go_on.set()
        return n

    async with opened(make_runtime(), with_context) as runtime:
        assert (await runtime.execute(with_context, 1)).unwrap() == 1


PRIVATE = {
    "Trio: task": (_trio, trio.lowlevel.Task, "_cancel_status"),
    "Trio: scope": (_trio, trio.CancelScope, "_cancel_status"),
    "Trio: nurseries": (_trio, trio.lowlevel.Task, "_child_nurseries"),
    "Trio: status": (_trio, CancelStatus, "_scope"),
    "AnyIO: tasks": (_asyncio, asyncio_backend, "_task_states"),
    "AnyIO: task": (_asyncio, asyncio_backend.TaskState, "cancel_scope"),
    "AnyIO: scope": (_asyncio, asyncio_backend.CancelScope, "_child_scopes"),
}


@pytest.mark.parametrize("shared", [True], indirect=True, ids=["shared"])
@pytest.mark.parametrize("name", PRIVATE)
def test_a_host_that_lacks_a_private_name_shares_no_scopes(monkeypatch: pytest.MonkeyPatch, name: str):
    host, owner, attribute = PRIVATE[name]
    assert host._sees_scopes()
    monkeypatch.delattr(owner, attribute)
    assert not host._sees_scopes()


@pytest.mark.parametrize("shared", [True], indirect=True, ids=["shared"])
async def test_hooks_of_a_job_that_leaves_a_scope_open_are_told_once(make_runtime):
    told = list[str]()

    @processor(
        queue=ONE,
        retry=RetryPolicy(max_attempts=1, on_exhausted=lambda error, attempt: told.append(error.message)),
    )
    async def plain(n: int) -> int:
        a_scope()
        raise ValueError("too")

    async with opened(make_runtime(), plain) as runtime:
        result = await runtime.execute(plain, 1)
        assert result.error is not None
        assert "left a cancel scope or a nursery open" in result.error.message
        assert told == [result.error.message]


async def test_hooks_of_a_job_that_timed_out_run_in_a_context_of_their_own(make_runtime):
    told = list[Any]()

    def hook(error: Any, attempt: int) -> None:
        told.append((type(error), ends()))

    @processor(queue=ONE, retry=RetryPolicy(max_attempts=1, on_exhausted=hook))
    async def plain(n: int) -> int:
        await anyio.sleep_forever()
        return n

    async with opened(make_runtime(), plain) as runtime:
        await runtime.execute(plain, 1, timeout=0.01)
        assert [kind for kind, _ in told] == [ProcessorTimeoutError]


@pytest.mark.parametrize("swallows", [True, False])
async def test_a_task_that_cancels_itself_past_its_scopes_leaves_the_next_job_alone(
    make_runtime, anyio_backend: str, swallows: bool
):
    """Only asyncio has that."""
    if anyio_backend != "asyncio":
        return

    @processor(queue=ONE)
    async def plain(n: int) -> int:
        if n == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if not swallows:
                    raise
        elif n == 2:
            await anyio.sleep_forever()
        return n

    async with opened(make_runtime(), plain) as runtime:
        for _ in range(2):
            result = await runtime.execute(plain, 1)
            if swallows:
                assert result.unwrap() == 1
            else:
                assert isinstance(result.error, ProcessorExecutionError)
            with pytest.raises(ProcessorTimeoutError):
                (await runtime.execute(plain, 2, timeout=0.01)).unwrap()
            assert (await runtime.execute(plain, 0)).unwrap() == 0
        assert slots(runtime, "plain") == 1


async def test_a_plain_job_of_a_session_that_is_stopped_ends_so_and_the_session_goes_on(make_runtime):
    begun = list[int]()

    @processor(queue=ONE)
    async def plain(n: int) -> int:
        begun.append(n)
        if n:
            await anyio.sleep_forever()
        return n + 1

    async with opened(make_runtime(), plain) as runtime:
        for n in (1, 2):
            assert (await runtime.execute(plain, 0, session="alice")).unwrap() == 1
            job = await runtime.submit(plain, n, session="alice")
            while n not in begun:
                await anyio.sleep(0.001)
            await runtime.stop_session("alice")
            with pytest.raises(SessionStoppedError):
                (await job.result()).unwrap()
            # Nothing of it was committed.
            state = await runtime.state.get("alice", int)
            assert state is not None
            assert (state.state, state.version) == (1, n)


async def test_a_job_is_handed_back_when_its_worker_is_stopped(make_runtime):
    begun = list[int]()

    @processor(queue=ONE)
    async def plain(n: int) -> int:
        begun.append(n)
        if len(begun) == 1:
            await anyio.sleep_forever()
        return n

    runtime = make_runtime(shutdown_grace=0.01)
    async with opened(runtime, plain):
        await runtime.submit(plain, 7, job_id="j")
        while not begun:
            await anyio.sleep(0.001)
    async with opened(runtime, plain):
        assert (await runtime.execute(plain, 7, job_id="j")).unwrap() == 7
    assert begun == [7, 7]
