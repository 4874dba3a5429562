"""In memory the engine lives by Trio's clock: hours of backoff and delay pass in a moment."""

from __future__ import annotations

import pytest
import trio

from am2z_trio import Context, JobOptions, LocalRuntime, ProcessorTimeoutError, RetryPolicy, processor

pytestmark = pytest.mark.trio


async def test_backoff_delay_and_timeout_take_virtual_time(autojump_clock):
    began: list[float] = []

    @processor(
        timeout=100,
        retry=RetryPolicy(max_attempts=3, backoff=600, backoff_multiplier=2, max_backoff=3600, jitter=0),
    )
    async def slow(n: int, ctx: Context) -> int:
        began.append(trio.current_time())
        await trio.sleep(1000)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(slow)
        start = trio.current_time()
        result = await runtime.execute(slow, 1, options=JobOptions(delay=60))
    assert isinstance(result.error, ProcessorTimeoutError)
    # Attempts last 100 s each; 600 s and 1,200 s lie between them. Due times are rounded up to the ms.
    assert [round(at - start) for at in began] == [60, 760, 2060]


async def test_a_deadline_passes_while_the_job_waits_for_a_slot(autojump_clock):
    ran: list[int] = []

    @processor
    async def wait(n: int) -> int:
        ran.append(n)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(wait)
        with trio.move_on_after(5) as scope:
            await runtime.execute(wait, 1, options=JobOptions(delay=60))
        assert scope.cancelled_caught
        await trio.sleep(120)
        assert (await runtime.get_queue_stats())["wait"].cancelled == 1
    assert ran == []
