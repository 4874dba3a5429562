"""`runtime.from_thread`: a runtime used from threads that are not its loop's."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio

from am2z_trio import (
    Context,
    DeadLetters,
    Event,
    Job,
    LocalRuntime,
    RuntimeStateError,
    ScheduleManager,
    Session,
    StateManager,
    processor,
)
from am2z_trio.engine.events.subscription import EventStream
from am2z_trio.engine.node import portal
from am2z_trio.engine.runtime import from_thread
from am2z_trio.engine.runtime.from_thread import FromThread
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.sessions.session import SessionState
from tests.support.gates import Gate
from tests.support.waiting import PATIENCE, until

on_both_hosts = pytest.mark.anyio


@processor
async def double(n: int) -> int:
    return 2 * n


@processor
async def fails(n: int) -> int:
    raise OSError("away")


async def raises(error: BaseException) -> None:
    raise error


async def in_thread(fn: Callable[[], Any]) -> Any:
    """In a thread that knows of no event loop."""
    done, box = anyio.Event(), list[Any]()
    token = anyio.lowlevel.current_token()

    def run() -> None:
        try:
            box.append(fn())
        except BaseException as error:
            box.append(error)
        anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=run, daemon=True).start()
    with anyio.fail_after(60):
        await done.wait()
    if isinstance(box[0], BaseException):
        raise box[0]
    return box[0]


NOT_OF_A_THREAD = {
    # Who has entered the runtime leaves it, or stops it.
    "Runtime": {"run", "stop", "wait_stopped"},
    # Leaving its block waits.
    "Session": {"wait_submitted"},
}


@pytest.mark.parametrize(
    ("awaited", "blocking"),
    [
        (Runtime, FromThread),
        (Session, from_thread.SyncSession),
        (SessionState, from_thread.SyncSessionState),
        (Job, from_thread.SyncJob),
        (StateManager, from_thread.SyncState),
        (ScheduleManager, from_thread.SyncSchedules),
        (DeadLetters, from_thread.SyncDeadLetters),
        (EventStream, from_thread.SyncEvents),
    ],
)
def test_what_can_be_awaited_has_a_form_for_threads_with_the_same_arguments(awaited, blocking):
    names = {
        name
        for name in dir(awaited)
        if not name.startswith("_") and inspect.iscoroutinefunction(getattr(awaited, name))
    }
    assert names
    left_out = NOT_OF_A_THREAD.get(awaited.__name__, set())
    assert left_out <= names
    for name in sorted(names - left_out):
        assert hasattr(blocking, name), f"{blocking.__name__} has no {name}"
        there = inspect.signature(getattr(blocking, name)).parameters
        if not any(one.kind is one.VAR_KEYWORD for one in there.values()):
            here = inspect.signature(getattr(awaited, name)).parameters
            assert set(here) <= set(there), f"{blocking.__name__}.{name}"


@on_both_hosts
async def test_a_thread_submits_many_in_a_session_and_signals(make_runtime):
    @processor
    async def approve(n: int, ctx: Context) -> int:
        return n + await ctx.wait_for("approval", type=int)

    async with make_runtime() as runtime:
        runtime.register(double, approve)

        def work() -> list[int]:
            with runtime.from_thread.session("ada") as session:
                jobs = session.submit_many(double, [1, 2, 3])
                waiting = session.submit(approve, 40)
                waiting.signal("approval", 2)
                assert runtime.from_thread.explain(waiting.id, ask_node=False).job == waiting.id
                return [job.result(60).unwrap() for job in (*jobs, waiting)]

        assert await in_thread(work) == [2, 4, 6, 42]


@on_both_hosts
async def test_a_thread_registers_executes_submits_and_emits(make_runtime):
    async with make_runtime() as runtime:
        heard: list[Event] = []
        runtime.on("said", heard.append)
        there: FromThread = runtime.from_thread

        def use() -> None:
            there.register(double, fails)
            assert there.execute(double, 21).unwrap() == 42
            assert [one.unwrap() for one in there.execute_many(double, [1, 2])] == [2, 4]
            assert "away" in str(there.execute(fails, 1).error)
            job = there.submit(double, 4, job_id="order-4")
            assert job.result(timeout=60).unwrap() == 8
            assert (job.id, job.processor, job.status()) == ("order-4", "double", "completed")
            assert there.job("order-4").result().unwrap() == 8
            assert [one.result().unwrap() for one in there.submit_many(double, [1, 2, 3])] == [2, 4, 6]
            there.drain()
            assert there.get_queue_stats()["double"].completed == 7
            there.emit("said", 1)
            there.state.set("alice", {"visits": 1})
            assert there.state.update("alice", lambda found: {"visits": found["visits"] + 1}).version == 2
            with there.session("bob") as session:
                assert session.execute(double, 5).unwrap() == 10
                assert session.submit(double, 6).result().unwrap() == 12
                assert session.state.get() is not None
            with there.events("job:completed", session="carol") as events:
                there.execute(double, 1, session="carol")
                assert next(events).session == "carol"
                assert events.next(timeout=0.01) is None
            assert there.dead_letters.count(fails) == 1
            assert there.call(runtime.list_processors) == ["double", "fails"]
            assert there.unregister(fails)

        await in_thread(use)
        await until(lambda: heard)
        assert heard[0].data == 1


@on_both_hosts
async def test_it_refuses_the_thread_of_the_loop_and_does_nothing(make_runtime):
    async with make_runtime() as runtime:
        for call in (
            lambda: runtime.from_thread.execute(double, 1),
            lambda: runtime.from_thread.register(double),
            lambda: runtime.from_thread.emit("said"),
            lambda: runtime.from_thread.session("s").__enter__(),
            lambda: runtime.from_thread.start_task_soon(runtime.execute, double, 1),
        ):
            with pytest.raises(RuntimeStateError, match="would wait for itself"):
                call()
        assert runtime.list_processors() == []
    with pytest.raises(RuntimeStateError, match="not running"):
        await in_thread(lambda: runtime.from_thread.execute(double, 1))


@on_both_hosts
async def test_a_thread_that_waits_hears_that_the_runtime_was_left(make_runtime):
    gate = Gate()
    said: list[BaseException] = []
    runtime = make_runtime(shutdown_grace=0)

    def use() -> None:
        result = there.execute(gate.processor, 1)
        if result.error is not None:
            said.append(result.error)

    def listen() -> None:
        with pytest.raises(RuntimeStateError, match="was left"), there.events("never") as events:
            next(events)
        said.append(KeyError())

    async with anyio.create_task_group() as tasks, runtime:
        there = runtime.from_thread
        runtime.register(gate.processor)
        tasks.start_soon(in_thread, use)
        tasks.start_soon(in_thread, listen)
        await until(gate.began.is_set)
    assert any(isinstance(one, KeyError) for one in said)


@on_both_hosts
async def test_a_future_that_is_cancelled_cancels_its_call(make_runtime):
    gate = Gate()
    async with make_runtime() as runtime:
        runtime.register(gate.processor)
        future = await in_thread(
            lambda: runtime.from_thread.start_task_soon(runtime.execute, gate.processor, 1)
        )
        await until(gate.began.is_set)
        assert future.cancel()
        await until(lambda: gate.cancelled)


@on_both_hosts
async def test_a_worker_thread_whose_task_is_cancelled_cancels_what_it_waits_for(make_runtime):
    gate = Gate()
    async with make_runtime() as runtime, anyio.create_task_group() as tasks:
        runtime.register(gate.processor)
        tasks.start_soon(anyio.to_thread.run_sync, runtime.from_thread.execute, gate.processor, 1)
        await until(gate.began.is_set)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await until(lambda: gate.cancelled)


@on_both_hosts
async def test_a_worker_thread_whose_task_is_cancelled_enters_no_block_any_more(make_runtime):
    entering, told = anyio.Event(), list[str]()

    @asynccontextmanager
    async def never() -> AsyncIterator[None]:
        entering.set()
        try:
            await anyio.sleep(PATIENCE)
            told.append("it was waited for")
        except BaseException:
            told.append("cancelled")
            raise
        yield

    def enter() -> None:
        with runtime.from_thread.wrap_async_context_manager(never()):
            told.append("entered")

    async with make_runtime() as runtime, anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, enter)
        await entering.wait()
        tasks.cancel_scope.cancel()
    assert told == ["cancelled"]


@on_both_hosts
async def test_a_result_that_comes_at_the_very_end_of_a_wait_counts(make_runtime, monkeypatch):
    class Late(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            found = super().result()
            if timeout is not None:
                raise TimeoutError
            return found

    async with make_runtime() as runtime:
        runtime.register(double)
        monkeypatch.setattr(portal, "Future", Late)
        assert (await in_thread(lambda: runtime.from_thread.execute(double, 2))).unwrap() == 4
        with pytest.raises(TimeoutError, match="mine"):
            await in_thread(lambda: runtime.from_thread.call(raises, TimeoutError("mine")))


@on_both_hosts
async def test_a_plain_processor_calls_the_runtime_and_takes_no_place_meanwhile(make_runtime):
    runtime = make_runtime(max_running=1)

    @processor
    def plain(n: int) -> int:
        return int(runtime.from_thread.execute(double, n).unwrap()) + 1

    async with runtime:
        runtime.register(plain, double)
        with anyio.fail_after(60):
            assert (await runtime.execute(plain, 1)).unwrap() == 3


@on_both_hosts
async def test_what_a_block_raises_in_a_thread_goes_through_the_session(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)

        def use() -> None:
            with runtime.from_thread.session("s") as session:
                session.execute(double, 1)
                raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await in_thread(use)
        assert (await runtime.execute(double, 1)).unwrap() == 2


@pytest.mark.trio
async def test_in_a_fork_it_is_one_error():
    async with LocalRuntime() as runtime:
        runtime.register(double)

        def use() -> int:
            read, write = os.pipe()
            if os.fork() == 0:
                try:
                    runtime.from_thread.execute(double, 1)
                except RuntimeStateError as error:
                    os.write(write, str(error).encode())
                finally:
                    os._exit(0)
            os.close(write)
            with os.fdopen(read, "rb") as said:
                assert b"was forked from" in said.read()
            os.wait()
            return runtime.from_thread.execute(double, 1).unwrap()

        assert await trio.to_thread.run_sync(use) == 2
