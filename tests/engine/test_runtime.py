"""A runtime's life, its processors, its jobs and its events."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import anyio
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    DuplicateProcessorError,
    Event,
    JobCancelledError,
    JobOptions,
    LocalRuntime,
    ProcessorNotFoundError,
    QueueOptions,
    ResourceError,
    RuntimeStateError,
    processor,
)
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@processor
async def plus_one(n: int) -> int:
    return n + 1


async def test_it_can_be_entered_again(make_runtime):
    runtime = make_runtime()
    runtime.register(plus_one)
    for _ in range(2):
        assert not runtime.is_started
        async with runtime:
            assert runtime.is_started
            assert (await runtime.execute(plus_one, 1)).unwrap() == 2
    assert not runtime.is_started


async def test_it_cannot_be_entered_twice_at_a_time(make_runtime):
    async with make_runtime() as runtime:
        with pytest.raises(RuntimeStateError, match="entered already"):
            async with runtime:
                pass
        runtime.register(plus_one)
        assert (await runtime.execute(plus_one, 1)).unwrap() == 2


async def test_a_users_exception_leaves_the_block_as_itself(make_runtime):
    with pytest.raises(ZeroDivisionError):
        async with make_runtime():
            raise ZeroDivisionError


async def test_run_serves_a_supervisor_until_stopped(make_runtime):
    runtime = make_runtime()
    runtime.register(plus_one)
    async with anyio.create_task_group() as tasks:

        async def supervise(*, task_status: Any) -> None:
            await runtime.run(task_status=task_status)

        started = await tasks.start(supervise)
        assert started is runtime
        assert (await runtime.execute(plus_one, 1)).unwrap() == 2
        await runtime.stop()
    assert not runtime.is_started


async def test_stopping_drains(make_runtime):
    running, go_on = anyio.Event(), anyio.Event()

    @processor
    async def wait(n: int) -> int:
        running.set()
        await go_on.wait()
        return n

    results: list[Any] = []
    async with make_runtime() as runtime, anyio.create_task_group() as tasks:
        runtime.register(wait)

        async def call() -> None:
            results.append(await runtime.execute(wait, 5))

        tasks.start_soon(call)
        await running.wait()
        tasks.start_soon(partial(runtime.stop, grace=30))
        go_on.set()
    assert results[0].unwrap() == 5


async def test_leaving_hands_running_jobs_back(make_runtime):
    running = anyio.Event()
    attempts: list[tuple[int, int]] = []

    @processor
    async def hang(n: int, ctx: Context) -> int:
        attempts.append((ctx.meta.attempt, ctx.meta.deliveries))
        if len(attempts) == 1:
            running.set()
            await anyio.sleep_forever()
        return n

    runtime = make_runtime(shutdown_grace=0)
    runtime.register(hang)
    async with runtime:
        job = await runtime.submit(hang, 3, job_id="handed-back")
        await running.wait()
    failed = await job.result()
    assert isinstance(failed.error, RuntimeStateError)
    async with runtime:
        assert (await runtime.execute(hang, 3, job_id="handed-back")).unwrap() == 3
    assert attempts == [(1, 1), (1, 2)]


async def test_cancelling_the_host_hands_running_jobs_back(make_runtime):
    started: list[int] = []
    all_started = anyio.Event()

    @processor(queue=QueueOptions(concurrency=100))
    async def hang(n: int) -> int:
        started.append(n)
        if len(started) == 100:
            all_started.set()
        await anyio.sleep_forever()
        return n

    runtime = make_runtime()
    runtime.register(hang)
    with anyio.CancelScope() as host:
        async with runtime:
            for n in range(100):
                await runtime.submit(hang, n)
            await all_started.wait()
            host.cancel()
            await anyio.sleep_forever()
    assert host.cancelled_caught
    runtime.unregister(hang)
    async with runtime:
        stats = (await runtime.get_queue_stats()).get("hang")
        if stats is None:
            stats = (await runtime._running().store.stats(["hang"]))[0]
        assert (stats.waiting, stats.active, stats.failed) == (100, 0, 0)


async def test_a_cancelled_caller_ends_its_job(make_runtime):
    running, ended = anyio.Event(), anyio.Event()

    @processor
    async def hang(n: int) -> int:
        running.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return n

    async with make_runtime() as runtime:
        runtime.register(hang)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.execute, hang, 1)
            await running.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10):
            await ended.wait()


async def test_a_callers_deadline_ends_its_job(make_runtime):
    begun: list[int] = []
    ended = anyio.Event()

    @processor
    async def hang(n: int) -> int:
        begun.append(n)
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return n

    async with make_runtime() as runtime:
        runtime.register(hang)
        # Where it has not begun by then, the caller is to be more patient.
        for seconds in (0.1, 1.0, 10.0):
            with anyio.move_on_after(seconds) as scope:
                await runtime.execute(hang, 1)
            assert scope.cancelled_caught
            if begun:
                break
        with anyio.fail_after(10):
            await ended.wait()


async def test_a_job_can_be_watched_and_cancelled(make_runtime):
    reported = anyio.Event()

    @processor
    async def hang(n: int, ctx: Context) -> int:
        await ctx.update_progress(0.25)
        reported.set()
        await anyio.sleep_forever()
        return n

    async with make_runtime() as runtime:
        runtime.register(hang)
        job = await runtime.submit(hang, 1)
        await reported.wait()
        assert await job.status() == "active"
        assert await job.progress() == 0.25
        assert await job.cancel("changed my mind")
        result = await job.result()
        assert isinstance(result.error, JobCancelledError)
        assert "changed my mind" in str(result.error)
        assert await job.status() == "cancelled"
        assert not await job.cancel()


async def test_progress_is_whatever_number_a_float_can_be(make_runtime):
    @processor
    async def report(digits: int, ctx: Context) -> int:
        await ctx.update_progress(10**digits)
        return digits

    async with make_runtime() as runtime:
        runtime.register(report)
        for digits in (3, 19, 308):
            job = await runtime.submit(report, digits)
            (await job.result()).unwrap()
            assert await job.progress() == float(10**digits)
        error = (await runtime.execute(report, 309)).error
        assert type(error) is ConfigurationError
        assert str(error).startswith("progress=1000")


async def test_the_name_of_its_host_need_be_no_text(make_runtime, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "h\udcff")
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        assert (await runtime.execute(plus_one, 1)).unwrap() == 2
        await until(lambda: runtime.node.control.introduction.info().host == "h\\udcff")
        assert runtime.is_started


async def test_a_waiting_job_is_cancelled_at_once(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        job = await runtime.submit(plus_one, 1, options=JobOptions(delay=3600))
        assert await job.status() == "delayed"
        assert (await runtime.get_queue_stats())["plus_one"].delayed == 1
        assert await job.cancel()
        assert isinstance((await job.result()).error, JobCancelledError)
        assert (await runtime.get_queue_stats())["plus_one"].delayed == 0


async def test_a_delayed_job_runs_when_it_is_due(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        with anyio.fail_after(10):
            assert (await runtime.execute(plus_one, 1, options=JobOptions(delay=0.05))).unwrap() == 2


async def test_priorities_order_what_waits(make_runtime):
    order: list[int] = []
    running, go_on = anyio.Event(), anyio.Event()

    @processor(queue=QueueOptions(concurrency=1))
    async def note(n: int) -> int:
        order.append(n)
        if n == 0:
            running.set()
            await go_on.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(note)
        jobs = [await runtime.submit(note, 0)]
        await running.wait()
        for n, priority in [(5, 9), (3, 1), (4, 1), (1, 0), (2, 0)]:
            jobs.append(await runtime.submit(note, n, options=JobOptions(priority=priority)))
        go_on.set()
        for job in jobs:
            await job.result()
    assert order == [0, 1, 2, 3, 4, 5]


async def test_concurrency_is_bounded(make_runtime):
    running = most = 0

    @processor(queue=QueueOptions(concurrency=3))
    async def count(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        running -= 1
        return n

    async with make_runtime() as runtime:
        runtime.register(count)
        await runtime.execute_many(count, range(100))
    assert most == 3


async def test_registering_again_swaps_the_function(make_runtime):
    def version(k: int) -> Any:
        @processor(name="versioned")
        async def versioned(n: int) -> int:
            return k

        return versioned

    async with make_runtime() as runtime:
        runtime.register(version(1))
        assert (await runtime.execute("versioned", 0)).unwrap() == 1
        runtime.register(version(2))
        assert (await runtime.execute("versioned", 0)).unwrap() == 2
        assert runtime.list_processors() == ["versioned"]
        assert await runtime.sync_processors() == ["versioned"]


async def test_processors_come_and_go(make_runtime):
    @processor(depends_on=[plus_one])
    async def outer(n: int) -> int:
        return n

    async with make_runtime() as runtime:
        runtime.register_many([outer])
        assert runtime.list_processors() == ["plus_one", "outer"]
        assert runtime.unregister("outer")
        assert not runtime.unregister("outer")
        assert runtime.list_processors() == ["plus_one"]
        runtime.register(outer)
        assert (await runtime.execute(outer, 4)).unwrap() == 4


async def test_two_processors_of_one_name_are_refused(make_runtime):
    @processor(name="plus_one")
    async def other(n: int) -> int:
        return n

    runtime = make_runtime()
    with pytest.raises(DuplicateProcessorError, match="'plus_one'"):
        runtime.register(plus_one, other)
    assert runtime.list_processors() == []


async def test_events_tell_a_jobs_life(make_runtime):
    seen: list[str] = []

    @processor
    async def talk(n: int, ctx: Context) -> int:
        ctx.emit("said", {"n": n})
        ctx.runtime.emit("said", {"n": n + 1})
        return n

    def broken(event: Event) -> None:
        raise RuntimeError("a handler of the test raises")

    async with make_runtime() as runtime:
        runtime.register(talk)
        runtime.on("said", broken)
        runtime.on("job:*", lambda event: seen.append(event.name))
        async with runtime.events("said") as stream:
            assert (await runtime.execute(talk, 7)).success
            with anyio.fail_after(10):
                first, second = await stream.next(), await stream.next()
        assert (first.data, second.data) == ({"n": 7}, {"n": 8})
        assert first.processor == "talk"
        async with runtime.events("end") as stream:
            runtime.emit("end")
            with anyio.fail_after(10):
                await stream.next()
        assert runtime.off("said", broken) == 1
    assert seen == ["job:enqueued", "job:started", "job:completed"]


async def test_stats_count_what_happened(make_runtime):
    @processor
    async def fail(n: int) -> int:
        raise ValueError

    async with make_runtime() as runtime:
        runtime.register(plus_one, fail)
        await runtime.execute_many(plus_one, range(5))
        await runtime.execute(fail, 1)
        stats = await runtime.get_queue_stats()
        assert (stats["plus_one"].completed, stats["fail"].failed) == (5, 1)
        assert {s.waiting + s.active + s.delayed + s.paused for s in stats.values()} == {0}
        node = runtime.get_stats()
        assert (node.jobs_run, node.processors, node.claimed, node.waiting_callers) == (6, 2, 0, 0)
        assert (node.completed, node.failed) == (5, 1)
        assert set(node.connections.values()) == {"ready"}


async def test_a_cancelled_execute_many_leaves_nothing_behind(make_runtime):
    running = anyio.Event()

    @processor(queue=QueueOptions(concurrency=5))
    async def hang(n: int) -> int:
        running.set()
        await anyio.sleep_forever()
        return n

    async with make_runtime() as runtime:
        runtime.register(hang)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.execute_many, hang, range(3000))
            await running.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(30):
            while True:
                stats = (await runtime.get_queue_stats())["hang"]
                if not (stats.waiting or stats.active):
                    break
                await anyio.sleep(0.005)
        assert runtime.get_stats().waiting_callers == 0
        assert 1 <= stats.cancelled <= 3000


async def test_a_second_caller_of_a_job_does_not_end_it_for_the_first(make_runtime):
    running, go_on = anyio.Event(), anyio.Event()
    results: list[Any] = []

    @processor
    async def wait(n: int) -> int:
        running.set()
        await go_on.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(wait)

        async def first() -> None:
            results.append(await runtime.execute(wait, 1, job_id="shared"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            await running.wait()
            with anyio.move_on_after(0.05) as scope:
                await runtime.execute(wait, 1, job_id="shared")
            assert scope.cancelled_caught
            go_on.set()
    assert results[0].unwrap() == 1


async def test_a_processor_that_nobody_serves_any_more_can_be_forgotten(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        assert (await runtime.execute("plus_one", 1)).unwrap() == 2
        await runtime.sync_processors()
        with pytest.raises(RuntimeStateError, match="unregister it first"):
            await runtime.forget_processor(plus_one)
        runtime.unregister(plus_one)
        # In memory nobody else could serve it.
        job = None if isinstance(runtime, LocalRuntime) else await runtime.submit(plus_one, 1)
        if job is not None:
            with pytest.raises(ResourceError, match="has 1 jobs left"):
                await runtime.forget_processor("plus_one")
            await job.cancel()
        assert await runtime.forget_processor("plus_one") is True
        assert await runtime.forget_processor("plus_one") is False
        assert isinstance((await runtime.execute("plus_one", 1)).error, ProcessorNotFoundError)
        runtime.register(plus_one)
        assert (await runtime.execute("plus_one", 1, options=JobOptions(delay=0.01))).unwrap() == 2
