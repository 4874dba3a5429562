"""A caller's deadline ends its job as cancelled, wherever it is noticed first."""

from __future__ import annotations

from functools import partial

import anyio
import pytest
import trio

from am2z_trio import (
    CircuitBreaker,
    Context,
    DeadlineExceededError,
    JobCancelledError,
    JobOptions,
    LocalRuntime,
    ProcessorResult,
    QueueOptions,
    RetryPolicy,
    processor,
)
from am2z_trio.engine.submission.job import read_result
from am2z_trio.engine.submission.request import SubmitRequest
from am2z_trio.model.codec import StateCodec

on_both_hosts = pytest.mark.anyio


@on_both_hosts
async def test_a_deadline_ends_in_one_way_at_the_caller_at_the_node_and_in_the_queue(make_runtime):
    @processor(
        breaker=CircuitBreaker(failures=1, recovery=600),
        retry=RetryPolicy(max_attempts=3, backoff=0.001),
        queue=QueueOptions(concurrency=20),
    )
    async def naps(n: int) -> int:
        await anyio.sleep(0.01)
        return n

    @processor(breaker=CircuitBreaker(failures=1, recovery=600))
    async def calls(n: int, ctx: Context) -> int:
        return await ctx.call(naps, n)

    heard: list[ProcessorResult[int]] = []
    given_up = 0

    async with make_runtime() as runtime:
        runtime.register(naps, calls)

        async def caller(n: int) -> None:
            nonlocal given_up
            with anyio.move_on_after(0.003 * n) as scope:
                heard.append(await runtime.execute(calls if n % 4 == 0 else naps, n))
            given_up += scope.cancelled_caught

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for n in range(200):
                    tasks.start_soon(caller, n)
            assert all(result.success for result in heard)
            assert len(heard) + given_up == 200
            assert given_up > 0
            for name in (naps, calls):
                stats = (await runtime.get_queue_stats())[name.name]
                while stats.active or stats.waiting:
                    await anyio.sleep(0.005)
                    stats = (await runtime.get_queue_stats())[name.name]
                assert (stats.failed, stats.dead, stats.delayed) == (0, 0, 0)
                assert stats.cancelled > 0
            # The circuits have counted none of it.
            assert (await runtime.execute(calls, 1)).success


@pytest.mark.trio
async def test_what_waited_beyond_its_deadline_is_cancelled_and_no_dead_letter(autojump_clock):
    runs: list[int] = []

    @processor
    async def late(n: int, ctx: Context) -> int:
        runs.append(n)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(late)
        await runtime.pause(late)
        with trio.move_on_after(5):
            # As from a client that dies: it has sent its deadline, and cancels nothing.
            request = (await runtime.node.submissions.preparation.prepare(late, 7, SubmitRequest())).request
            await runtime.node.store.enqueue([request])
        await trio.sleep(10)
        await runtime.resume(late)
        settled = None
        while settled is None:
            await trio.sleep(0.1)
            (view,) = await runtime.node.store.view([request.spec.id])
            assert view is not None
            settled = view.settled
        error = read_result(settled, StateCodec(int), processor="late", session=None).error
        assert isinstance(error, DeadlineExceededError)
        assert isinstance(error, JobCancelledError)
        assert await runtime.dead_letters.count(late) == 0
    assert runs == []


@pytest.mark.trio
@pytest.mark.parametrize("how", ["ends", "raises", "is retried", "falls back"])
async def test_whatever_a_job_makes_of_its_deadline_it_is_cancelled(autojump_clock, how):
    @processor
    async def slow_fallback(n: int) -> int:
        await trio.sleep(60)
        return n

    @processor(
        retry=RetryPolicy(max_attempts=3, backoff=10, jitter=0) if how == "is retried" else None,
        fallback=slow_fallback if how == "falls back" else None,
    )
    async def job(n: int) -> int:
        if how in ("is retried", "falls back"):
            raise OSError("at once")
        try:
            await trio.sleep(60)
        except trio.Cancelled:
            if how == "raises":
                raise OSError("in its cleanup") from None
            raise
        return n

    async with LocalRuntime() as runtime:
        runtime.register(job, slow_fallback)
        submitted = partial(runtime.execute, job, 1, options=JobOptions())
        with trio.move_on_after(5) as scope:
            await submitted()
        assert scope.cancelled_caught
        await trio.sleep(30)
        stats = (await runtime.get_queue_stats())[job.name]
        assert (stats.cancelled, stats.failed, stats.dead) == (1, 0, 0)
