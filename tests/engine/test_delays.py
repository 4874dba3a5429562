"""A job that is to begin later: so many seconds from now, or at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import anyio
import pytest
import trio

from am2z_trio import (
    ConfigurationError,
    Cron,
    JobOptions,
    LocalRuntime,
    QueueOptions,
    Schedule,
    processor,
)

WEST = timezone(timedelta(hours=-8))


@processor
async def double(n: int) -> int:
    return 2 * n


@pytest.mark.anyio
async def test_a_job_waits_for_the_moment_that_it_is_given(make_runtime):
    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(double)
            at = datetime.now(WEST) + timedelta(hours=2)
            jobs = [
                await runtime.submit(double, 1, options=JobOptions(delay=at)),
                *await runtime.submit_many(double, [2, 3], options=JobOptions(delay=at)),
                await runtime.submit(double, 1, options=JobOptions(delay=timedelta(hours=2))),
            ]
            for job in jobs:
                starts_in = (await runtime.explain(job.id)).starts_in
                assert starts_in is not None
                assert 7100 < starts_in <= 7200.1
                await job.cancel()
            passed = JobOptions(delay=datetime(2001, 1, 1, tzinfo=UTC))
            assert (await runtime.execute(double, 4, options=passed)).unwrap() == 8


@pytest.mark.trio
async def test_the_moment_is_counted_from_when_the_job_is_submitted(autojump_clock, monkeypatch):
    options = JobOptions(delay=datetime(2030, 1, 1, tzinfo=UTC))
    now = options.delay.timestamp()  # type: ignore[union-attr]
    async with LocalRuntime() as runtime:
        runtime.register(double)
        for wait in (100, 60, 0, -100):
            monkeypatch.setattr("am2z_trio.engine.submission.preparation.time.time", lambda: now - wait)  # noqa: B023
            began = trio.current_time()
            assert (await runtime.execute(double, 1, options=options)).success
            assert trio.current_time() - began == pytest.approx(max(0, wait), abs=0.1)


@pytest.mark.parametrize(
    "many",
    [
        lambda options: QueueOptions(default_job_options=options),
        lambda options: Schedule("s", double, Cron("0 6 * * *"), 1, options=options),
    ],
    ids=["all of a queue", "all of a schedule"],
)
def test_a_moment_is_no_delay_of_many_jobs(many: Any):
    many(JobOptions(delay=timedelta(minutes=5)))
    with pytest.raises(ConfigurationError, match=r"options\.delay.*must be seconds or a timedelta"):
        many(JobOptions(delay=datetime(2030, 1, 1, tzinfo=UTC)))
