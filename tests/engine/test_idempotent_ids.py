"""A `job_id`: one job for all who ask for it until it has completed; each caller has its own limits."""

from __future__ import annotations

import anyio
import pytest
import trio

from am2z_trio import (
    JobCancelledError,
    LocalRuntime,
    ProcessorResult,
    ProcessorTimeoutError,
    QueueRuntime,
    RuntimeOptions,
    processor,
)
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.store.redis.keys import spell
from tests.support.gates import Gate
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio


def test_the_window_is_the_same_on_both_runtimes():
    assert LocalRuntime()._settings.result_ttl == RuntimeOptions().result_ttl == 3600.0
    assert QueueRuntime("redis://localhost")._settings.result_ttl == 3600.0


@pytest.mark.trio
async def test_in_memory_a_chosen_id_is_known_as_long_as_on_redis(autojump_clock):
    runs: list[int] = []

    @processor
    async def count(n: int) -> int:
        runs.append(n)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(count)
        assert (await runtime.execute(count, 1, job_id="a")).unwrap() == 1
        await trio.sleep(3590)
        assert (await runtime.execute(count, 1, job_id="a")).unwrap() == 1
        await trio.sleep(20)
        assert (await runtime.execute(count, 3, job_id="a")).unwrap() == 3
    assert runs == [1, 3]


@on_both_hosts
@pytest.mark.parametrize("who", ["first", "second"])
@pytest.mark.parametrize("how", ["deadline", "cancelled"])
async def test_a_caller_that_goes_takes_nobody_elses_job_away(redis_url, redis_server, who, how):
    gated = Gate()

    def nodes_that_wait() -> int:
        origin = redis_server.call("HGET", spell("am2z", "job", "a"), "origin") or b""
        return len(origin.split(b"\n"))

    results: list[ProcessorResult[int]] = []
    async with QueueRuntime(redis_url) as one, QueueRuntime(redis_url) as other:
        one.register(gated.processor)
        other.register(gated.processor)
        gone = anyio.Event()

        async def goes(runtime: Runtime) -> None:
            with anyio.CancelScope() as scope:
                if how == "deadline":
                    # Long enough for the store to know of the other.
                    scope.deadline = anyio.current_time() + 1.5
                else:
                    scope.deadline = anyio.current_time() + 20
                    tasks.start_soon(cancel_soon, scope)
                await runtime.execute(gated.processor, 1, job_id="a")
            assert scope.cancelled_caught
            gone.set()

        async def cancel_soon(scope: anyio.CancelScope) -> None:
            await until(lambda: nodes_that_wait() == 2)
            scope.cancel()

        async def stays(runtime: Runtime) -> None:
            results.append(await runtime.execute(gated.processor, 1, job_id="a"))

        async with anyio.create_task_group() as tasks:
            for runtime, waits in ((one, who == "second"), (other, who == "first")):
                tasks.start_soon(stays if waits else goes, runtime)
                await until(lambda: gated.runs == [1])
            await gone.wait()
            # Its departure has been dealt with when a later call of the same node has.
            await one.get_queue_stats()
            await other.get_queue_stats()
            gated.go.set()
    assert [result.unwrap() for result in results] == [1]
    assert gated.runs == [1]


@on_both_hosts
async def test_the_last_caller_that_goes_takes_the_job_along_but_not_one_that_was_submitted(make_runtime):
    gated = Gate()
    async with make_runtime() as runtime:
        runtime.register(gated.processor)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(lambda: runtime.execute(gated.processor, 1, job_id="a"))
            await until(lambda: gated.runs == [1])
            tasks.cancel_scope.cancel()
        job = await runtime.submit(gated.processor, 2, job_id="b")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: runtime.execute(gated.processor, 2, job_id="b"))
            await until(lambda: gated.runs == [1, 2] and runtime.get_stats().waiting_callers == 1)
            tasks.cancel_scope.cancel()
        # What was cancelled is run anew at once when it is asked for again.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: runtime.execute(gated.processor, 3, job_id="a"))
            await until(lambda: sorted(gated.runs) == [1, 2, 3])
            gated.go.set()
        assert (await job.result()).unwrap() == 2
        assert (await runtime.execute(gated.processor, 3, job_id="a")).unwrap() == 3
    assert sorted(gated.runs) == [1, 2, 3]


@on_both_hosts
async def test_an_id_that_ended_without_completing_may_be_used_again_at_once(make_runtime):
    runs: list[int] = []

    @processor(timeout=0.02)
    async def slow_at_first(n: int) -> int:
        runs.append(n)
        if n < 0:
            raise ValueError(n)
        if len(runs) < 2:
            await anyio.sleep(30)
        return n

    async with make_runtime() as runtime:
        runtime.register(slow_at_first)
        with anyio.fail_after(20):
            assert isinstance(
                (await runtime.execute(slow_at_first, 1, job_id="a")).error, ProcessorTimeoutError
            )
            assert await runtime.dead_letters.count(slow_at_first) == 1
            assert (await runtime.execute(slow_at_first, 2, job_id="a")).unwrap() == 2
            assert await runtime.dead_letters.count(slow_at_first) == 0
            await runtime.pause(slow_at_first)
            job = await runtime.submit(slow_at_first, 3, job_id="b")
            await job.cancel()
            assert isinstance((await job.result()).error, JobCancelledError)
            await runtime.resume(slow_at_first)
            assert (await runtime.execute(slow_at_first, 4, job_id="b")).unwrap() == 4
            assert not (await runtime.execute(slow_at_first, -5, job_id="c")).success
            assert (await runtime.execute(slow_at_first, 6, job_id="c")).unwrap() == 6
    assert runs == [1, 2, 4, -5, 6]
