"""`raise Retry(...)`: a processor says that it is to be run again, and when."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import anyio
import pytest
import trio

from am2z_trio import (
    AM2ZError,
    CircuitBreaker,
    ConfigurationError,
    Context,
    JobOptions,
    LocalRuntime,
    ProcessorExecutionError,
    Retry,
    RetryPolicy,
    processor,
)
from tests.support.waiting import until

NO_FAILURE_IS_RETRIED = RetryPolicy(max_attempts=3, should_retry=lambda error, attempt: False, backoff=0)


@pytest.mark.anyio
async def test_a_job_that_asks_for_it_is_run_again_and_no_failure_is_logged(make_runtime, caplog):
    @processor(retry=NO_FAILURE_IS_RETRIED, breaker=CircuitBreaker(failures=1, recovery=3600))
    async def busy(n: int, ctx: Context) -> int:
        if ctx.meta.attempt < 3:
            raise Retry(f"the bank is closed, day {ctx.meta.attempt}", defer=0)
        return n

    told = list[Any]()
    with anyio.fail_after(20), caplog.at_level(logging.INFO, "am2z_trio.jobs"):
        async with make_runtime() as runtime:
            runtime.register(busy)
            runtime.on("job:retrying", lambda event: told.append(event.data))
            result = await runtime.execute(busy, 1)
            await until(lambda: len(told) == 2)
    assert result.unwrap() == 1
    assert result.metadata.attempt == 3
    assert [type(error) for error in result.metadata.earlier_errors] == [Retry, Retry]
    assert told[0] == {"attempt": 1, "code": "RETRY", "message": "the bank is closed, day 1"}
    assert [record.levelname for record in caplog.records] == ["INFO"] * 6
    assert "run again in 0 s, as it asked at attempt 1: the bank is closed, day 1" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("policy", "options", "attempts"),
    [(None, None, 3), (None, JobOptions(attempts=2), 2), (RetryPolicy(max_attempts=1), None, 1)],
    ids=["nobody says how often", "the job does", "its processor does"],
)
async def test_one_that_asks_for_ever_fails_with_its_last_attempt(
    make_runtime, policy: RetryPolicy | None, options: JobOptions | None, attempts: int
):
    hooks = list[tuple[str, int]]()

    def note(error: AM2ZError, attempt: int) -> None:
        hooks.append((error.code, attempt))

    @processor(retry=policy)
    async def busy(n: int) -> int:
        raise Retry("still closed", defer=0) from OSError("no route")

    @processor
    async def calls(n: int, ctx: Context) -> int:
        return await ctx.call(busy, n, options=options)

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(busy, calls)
            result = await runtime.execute(busy, 1, options=options)
            assert type(result.error) is ProcessorExecutionError
            assert f"at attempt {attempts}, which was the last: still closed" in result.error.message
            assert "no route" in str(result.error.cause)
            assert result.metadata.attempt == attempts
            # Its caller has not asked for anything.
            result = await runtime.execute(calls, 1)
            assert type(result.error) is ProcessorExecutionError
            assert result.metadata.attempt == 1


@pytest.mark.anyio
async def test_hooks_and_the_fallback_hear_of_it_as_of_a_failure(make_runtime):
    hooks = list[tuple[str, str, int]]()

    @processor
    async def instead(n: int) -> int:
        return -n

    @processor(
        fallback=instead,
        retry=RetryPolicy(
            max_attempts=2,
            backoff=0,
            on_retry=lambda error, attempt: hooks.append(("retry", error.code, attempt)),
            on_exhausted=lambda error, attempt: hooks.append(("exhausted", error.code, attempt)),
        ),
    )
    def busy(n: int) -> int:
        raise Retry

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(instead, busy)
            assert (await runtime.execute(busy, 1)).unwrap() == -1
    assert hooks == [("retry", "RETRY", 1)]


@pytest.mark.anyio
async def test_explain_says_what_it_waits_for(make_runtime):
    @processor
    async def busy(n: int) -> int:
        raise Retry("the bank is closed", defer=timedelta(hours=2))

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(busy)
            async with runtime.events("job:retrying") as events:
                job = await runtime.submit(busy, 1)
                await events.next()
            explained = await runtime.explain(job.id)
            assert explained.blocked_by == "due"
            assert "attempt 1 asked to be run again: the bank is closed" in explained.verdict
            assert explained.starts_in is not None
            assert 7100 < explained.starts_in <= 7200
            await job.cancel()


@pytest.mark.trio
@pytest.mark.parametrize("inline", [False, True])
async def test_it_is_run_again_when_it_says(autojump_clock, inline: bool):
    began = list[float]()
    waits: list[Any] = [
        None,
        30,
        timedelta(minutes=2),
        datetime.now(UTC) + timedelta(hours=1),
        datetime(2001, 1, 1, tzinfo=UTC),
    ]

    @processor(retry=RetryPolicy(max_attempts=6, backoff=5, jitter=0))
    async def busy(n: int, ctx: Context) -> int:
        began.append(trio.current_time())
        if waits:
            raise Retry(defer=waits.pop(0))
        return n

    @processor
    async def calls(n: int, ctx: Context) -> int:
        return await ctx.call(busy, n, inline=inline)

    async with LocalRuntime() as runtime:
        runtime.register(busy, calls)
        assert (await runtime.execute(calls, 1)).unwrap() == 1
    passed = [later - earlier for earlier, later in pairwise(began)]
    assert passed[:3] == pytest.approx([5, 30, 120], abs=0.01)
    # By the clock on the wall, which does not jump.
    assert passed[3:] == pytest.approx([3600, 0], abs=60)


@pytest.mark.parametrize("defer", ["1", -1, float("nan"), True, datetime(2030, 1, 1), timedelta(-1)])
def test_a_bad_time_is_refused(defer: Any):
    with pytest.raises(ConfigurationError, match=r"Retry\.defer"):
        Retry(defer=defer)
