"""`runtime.drain`: waiting until nothing waits and nothing runs."""

from __future__ import annotations

import anyio
import pytest

from am2z_trio import (
    Context,
    JobOptions,
    LocalRuntime,
    QueueRuntime,
    RetryPolicy,
    RuntimeStateError,
    processor,
)
from tests.support.gates import Gate
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@processor
async def double(n: int) -> int:
    return 2 * n


async def test_it_returns_at_once_where_nothing_is_to_do(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        with anyio.fail_after(20):
            await runtime.drain()
            await runtime.drain(double, "double", timeout=0)
            await runtime.drain("what nobody knows")


async def test_it_waits_for_what_waits_and_runs_and_for_what_that_submits(make_runtime):
    ran: list[int] = []

    async with make_runtime() as runtime:

        @processor
        async def spread(n: int) -> int:
            if n:
                await runtime.submit(spread, n - 1)
            ran.append(n)
            return n

        runtime.register(spread)
        await runtime.submit_many(spread, [3, 3, 3])
        with anyio.fail_after(60):
            await runtime.drain()
        assert sorted(ran) == sorted([3, 2, 1, 0] * 3)


async def test_of_named_processors_only_their_jobs_are_waited_for(make_runtime):
    gate = Gate()
    async with make_runtime() as runtime:
        runtime.register(gate.processor, double)
        await runtime.submit(gate.processor, 1)
        await runtime.submit_many(double, range(10))
        with anyio.fail_after(60):
            await runtime.drain(double)
            assert (await runtime.get_queue_stats())["double"].completed == 10
            with pytest.raises(TimeoutError, match=r"after 0\.1 s there are jobs left: gated: 1 active"):
                await runtime.drain(timeout=0.1)
            gate.go.set()
            await runtime.drain()


async def test_jobs_that_are_due_later_are_waited_for_where_that_is_asked(make_runtime):
    runs: list[int] = []

    @processor(retry=RetryPolicy(max_attempts=2, backoff=0.2, jitter=0))
    async def flaky(n: int) -> int:
        runs.append(n)
        if len(runs) == 1:
            raise OSError
        return n

    async with make_runtime() as runtime:
        runtime.register(flaky, double)
        await runtime.submit(double, 1, options=JobOptions(delay=3600))
        await runtime.submit(flaky, 1)
        with anyio.fail_after(60):
            await runtime.drain(flaky, delayed=True)
            assert runs == [1, 1]
            await runtime.drain()
            with pytest.raises(TimeoutError, match="double: 1 delayed"):
                await runtime.drain(delayed=True, timeout=0.05)


async def test_what_nobody_can_run_is_told(redis_url):
    async with QueueRuntime(redis_url, workers=False) as client:
        await client.submit(double, 1)
        with pytest.raises(TimeoutError, match="double: 1 waiting, and nobody serves it"):
            await client.drain(timeout=0.05)
        async with QueueRuntime(redis_url) as worker:
            worker.register(double)
            with anyio.fail_after(60):
                await client.drain()
        await client.pause(double)
        await client.submit(double, 1)
        with pytest.raises(TimeoutError, match="double: 1 paused"):
            await client.drain(timeout=0.05)


async def test_what_is_due_is_waited_for_though_nobody_has_claimed_it(redis_url):
    async with QueueRuntime(redis_url, workers=False) as client:
        await client.submit(double, 1, options=JobOptions(delay=0.01))
        with anyio.fail_after(60), pytest.raises(TimeoutError, match="double: 1 delayed"):
            while True:
                await client.drain(timeout=0)


async def test_a_job_does_not_wait_for_itself():
    @processor
    async def waits(n: int, ctx: Context) -> int:
        with pytest.raises(RuntimeStateError, match="waits for itself"):
            await runtime.drain()
        return n

    async with LocalRuntime() as runtime:
        runtime.register(waits)
        assert (await runtime.execute(waits, 1)).unwrap() == 1


async def test_cancelled_it_changes_nothing(make_runtime):
    gate = Gate()
    async with make_runtime() as runtime:
        runtime.register(gate.processor)
        job = await runtime.submit(gate.processor, 1)
        await until(gate.began.is_set)
        with anyio.move_on_after(0.05) as scope:
            await runtime.drain()
        assert scope.cancelled_caught
        gate.go.set()
        assert (await job.result()).unwrap() == 1
