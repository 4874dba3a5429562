"""`JobOptions(expires=...)`: a job that has not begun by then is never run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest
import trio

from am2z_trio import (
    ConfigurationError,
    Context,
    JobExpiredError,
    JobOptions,
    LocalRuntime,
    QueueOptions,
    Retry,
    processor,
)

SOON = JobOptions(expires=0.05)


@pytest.mark.anyio
async def test_who_waits_for_a_job_that_nobody_begins_hears_when_it_expires(make_runtime):
    ran = list[int]()

    @processor
    async def note(n: int) -> int:
        ran.append(n)
        return n

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(note)
            await runtime.pause(note)
            result = await runtime.execute(note, 1, options=SOON)
            assert type(result.error) is JobExpiredError
            job = await runtime.submit(note, 2, options=SOON, job_id="two")
            assert type((await job.result()).error) is JobExpiredError
            assert "was not begun in its time" in (await runtime.explain(job.id)).verdict
            assert (await runtime.get_queue_stats())["note"].expired == 2
            # It may be asked for anew.
            assert type((await runtime.execute(note, 2, options=SOON, job_id="two")).error) is JobExpiredError
            later = await runtime.submit(note, 3, options=JobOptions(expires=timedelta(hours=1)))
            gates = {gate.name: gate for gate in (await runtime.explain(later.id)).gates}
            assert gates["deadline"].evidence.startswith("expires in ")
            await later.cancel()
    assert ran == []


@pytest.mark.anyio
async def test_those_that_nobody_waits_for_expire_before_a_worker_that_comes_to_them(make_runtime):
    ran, gate = list[int](), anyio.Event()

    @processor(queue=QueueOptions(concurrency=1))
    async def one_by_one(n: int) -> int:
        ran.append(n)
        await gate.wait()
        return n

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(one_by_one)
            first = await runtime.submit(one_by_one, 0)
            jobs = await runtime.submit_many(one_by_one, [1, 2], options=SOON)
            last = await runtime.submit(one_by_one, 3, options=JobOptions(expires=3600))
            await anyio.sleep(0.06)
            gate.set()
            assert (await last.result()).unwrap() == 3
            assert (await first.result()).unwrap() == 0
            assert [type((await job.result()).error) for job in jobs] == [JobExpiredError] * 2
    assert ran == [0, 3]


@pytest.mark.trio
async def test_one_that_has_begun_is_run_to_its_end(autojump_clock):
    @processor
    async def slow(n: int, ctx: Context) -> int:
        await trio.sleep(100)
        if ctx.meta.attempt == 1:
            raise Retry(defer=100)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(slow)
        at = datetime.now(UTC) + timedelta(seconds=50)
        result = await runtime.execute(slow, 1, options=JobOptions(expires=at))
        assert (result.unwrap(), result.metadata.attempt) == (1, 2)


@pytest.mark.anyio
async def test_a_job_that_could_never_begin_is_refused(make_runtime):
    @processor
    async def note(n: int) -> int:
        return n

    async with make_runtime() as runtime:
        runtime.register(note)
        for options in (
            JobOptions(delay=60, expires=60),
            JobOptions(delay=datetime.now(UTC) + timedelta(hours=1), expires=60),
        ):
            with pytest.raises(ConfigurationError, match=r"JobOptions\.expires=60.* later than the delay"):
                await runtime.submit(note, 1, options=options)
        passed = JobOptions(expires=datetime(2001, 1, 1, tzinfo=UTC))
        assert type((await runtime.execute(note, 1, options=passed)).error) is JobExpiredError
