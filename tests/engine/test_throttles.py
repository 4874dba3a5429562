"""`JobOptions(throttle=...)`: at most one job per key and window; later ones are that job."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    Every,
    JobOptions,
    QueueOptions,
    Schedule,
    Throttle,
    processor,
)

HOUR = JobOptions(throttle=Throttle(key="report", window=3600))


class Reports:
    def __init__(self) -> None:
        self.ran = list[int]()

        @processor(name="report")
        async def report(n: int) -> int:
            self.ran.append(n)
            if n < 0:
                raise ValueError(n)
            return 2 * n

        self.processor = report


@pytest.fixture
def noon(monkeypatch) -> list[float]:
    """What the clock says where jobs are submitted: it is in the midst of an hour."""
    clock = [1_900_000_000.0 // 3600 * 3600 + 1800]
    monkeypatch.setattr("am2z_trio.engine.submission.preparation.time.time", lambda: clock[0])
    return clock


@pytest.mark.anyio
async def test_of_a_window_the_first_job_is_run_and_is_what_all_get(make_runtime, noon):
    reports = Reports()
    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(reports.processor)
            first = await runtime.submit(reports.processor, 1, options=HOUR)
            second = await runtime.submit(reports.processor, 2, options=HOUR)
            assert first.id == second.id
            assert (await second.result()).unwrap() == 2
            assert (await runtime.execute(reports.processor, 3, options=HOUR)).unwrap() == 2
            results = await runtime.execute_many(reports.processor, [4, 5], options=HOUR)
            assert [result.unwrap() for result in results] == [2, 2]
            # Another session, another key and another window are others.
            other = JobOptions(throttle=Throttle(key="other", window=3600))
            assert (await runtime.execute(reports.processor, 6, session="s", options=HOUR)).unwrap() == 12
            assert (await runtime.execute(reports.processor, 7, options=other)).unwrap() == 14
            noon[0] += 3600
            assert (await runtime.execute(reports.processor, 8, options=HOUR)).unwrap() == 16
    assert reports.ran == [1, 6, 7, 8]


@pytest.mark.anyio
async def test_one_that_has_failed_is_not_run_again_in_its_window(make_runtime, noon):
    reports = Reports()
    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(reports.processor)
            for n in (-1, 2):
                assert not (await runtime.execute(reports.processor, n, options=HOUR)).success
            # However soon its record was to go, it is kept for the window.
            options = JobOptions(throttle=Throttle(key="long", window=7200), remove_on_complete=True)
            job = await runtime.submit(reports.processor, 3, options=options)
            assert (await job.result()).success
            (row,) = await runtime._running().store.inspection.rows([job.id])
            assert row.on_complete.age == 7200
    assert reports.ran == [-1, 3]


@pytest.mark.anyio
async def test_it_goes_on_when_who_has_asked_for_it_first_is_cancelled(make_runtime, noon):
    begun, gate = anyio.Event(), anyio.Event()

    @processor
    async def slow(n: int) -> int:
        begun.set()
        await gate.wait()
        return n

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(slow)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(runtime.execute, slow, 1, options=HOUR))
                await begun.wait()
                tasks.cancel_scope.cancel()
            job = await runtime.submit(slow, 2, options=HOUR)
            gate.set()
            assert (await job.result()).unwrap() == 1


@pytest.mark.anyio
async def test_where_a_throttle_means_nothing_it_is_refused(make_runtime):
    reports, errors = Reports(), list[Exception]()

    @processor
    async def calls(n: int, ctx: Context) -> int:
        for call in (ctx.call, ctx.submit):
            try:
                await call(reports.processor, n, options=HOUR)
            except ConfigurationError as error:
                errors.append(error)
        return n

    refusals: list[Any] = [
        lambda: QueueOptions(default_job_options=HOUR),
        lambda: Schedule("s", reports.processor, Every(60), 1, options=HOUR),
        lambda: JobOptions(throttle="report"),  # type: ignore[arg-type]
        lambda: Throttle(key="", window=1),
        lambda: Throttle(key="report", window=0),
    ]
    for refusal in refusals:
        with pytest.raises(ConfigurationError, match="hrottle"):
            refusal()
    async with make_runtime() as runtime:
        runtime.register(reports.processor, calls)
        assert (await runtime.execute(calls, 1)).success
        assert len(errors) == 2
        for refused in (
            runtime.submit(reports.processor, 1, options=HOUR, job_id="one"),
            runtime.submit_many(reports.processor, [1], options=HOUR),
        ):
            with pytest.raises(ConfigurationError, match=r"options\.throttle"):
                await refused
    assert reports.ran == []
