"""What a job logs is kept with its record, where that is wanted, and no job waits for it."""

from __future__ import annotations

import logging

import anyio
import pytest

from am2z_trio import Context, JobNotFoundError, RetryPolicy, processor
from am2z_trio.engine.execution import job_logs
from am2z_trio.model.records import LogLine
from am2z_trio.store.memory.logs import MemoryLogs
from am2z_trio.store.redis.logs import RedisLogs
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def wait_for(runtime, job: str, texts: list[str]) -> list[LogLine]:
    """The lines of a job, once they are so many."""
    with anyio.fail_after(30):
        while True:
            found: list[LogLine] = await runtime.job_logs(job)
            if len(found) >= len(texts):
                assert [line.text for line in found] == texts
                return found
            await anyio.sleep(0.01)


async def test_what_a_job_logs_is_kept_with_its_record(make_runtime):
    @processor
    async def sell(n: int, ctx: Context) -> int:
        ctx.log.debug("looking")
        ctx.log.info("%d of %s", n, "many")
        ctx.log.warning("no\nlorry")
        try:
            raise ValueError("five")
        except ValueError:
            ctx.log.exception("it broke")
        return n

    async with make_runtime(job_logs=100) as runtime:
        runtime.register(sell)
        job = await runtime.submit(sell, 7, session="alice")
        await job.result()
        found = await wait_for(runtime, job.id, ["7 of many", "no\\nlorry", "it broke: ValueError: five"])
        assert await job.logs() == found
    assert [line.level for line in found] == ["INFO", "WARNING", "ERROR"]
    assert [line.at for line in found] == sorted(line.at for line in found)


async def test_a_thread_and_what_is_run_within_a_job_log_into_the_same(make_runtime):
    @processor
    def in_thread(n: int, ctx: Context) -> int:
        ctx.log.info("in a thread")
        return n

    @processor
    async def sell(n: int, ctx: Context) -> int:
        ctx.log.info("before")
        await ctx.call(in_thread, n, inline=True)
        ctx.log.info("after")
        return n

    async with make_runtime(job_logs=100) as runtime:
        runtime.register(sell, in_thread)
        job = await runtime.submit(sell, 7)
        await job.result()
        await wait_for(runtime, job.id, ["before", "in a thread", "after"])


async def test_lines_of_all_attempts_are_there_and_the_last_ones_stay(make_runtime):
    @processor(retry=RetryPolicy(max_attempts=2, backoff=0.01))
    async def sell(n: int, ctx: Context) -> int:
        for step in range(3):
            ctx.log.info("attempt %d, step %d", ctx.meta.attempt, step)
        raise ValueError("no lorry")

    async with make_runtime(job_logs=4) as runtime:
        runtime.register(sell)
        job = await runtime.submit(sell, 7)
        await job.result()
        await wait_for(
            runtime,
            job.id,
            ["attempt 1, step 2", *(f"attempt 2, step {step}" for step in range(3))],
        )


async def test_what_was_logged_last_is_kept_when_the_node_ends(make_runtime):
    begun = anyio.Event()

    @processor
    async def sell(n: int, ctx: Context) -> int:
        ctx.log.info("selling")
        begun.set()
        await anyio.sleep_forever()
        return n

    runtime = make_runtime(job_logs=10, shutdown_grace=0)
    async with runtime:
        runtime.register(sell)
        job = await runtime.submit(sell, 7)
        with anyio.fail_after(30):
            await begun.wait()
        runtime.unregister(sell)
    async with runtime:
        await wait_for(runtime, job.id, ["selling"])


async def test_nothing_is_kept_where_it_is_not_wanted(make_runtime, monkeypatch):
    async def refuse(*_: object) -> list[bool]:
        raise AssertionError("nobody wants that")

    monkeypatch.setattr(MemoryLogs, "keep", refuse)
    monkeypatch.setattr(RedisLogs, "keep", refuse)

    @processor
    async def sell(n: int, ctx: Context) -> int:
        ctx.log.warning("selling")
        return n

    async with make_runtime() as runtime:
        runtime.register(sell)
        job = await runtime.submit(sell, 7)
        await job.result()
        assert await runtime.job_logs(job.id) == []


async def test_a_log_that_cannot_be_kept_fails_no_job(make_runtime, monkeypatch, caplog):
    from am2z_trio import NetworkError

    async def refuse(*_: object) -> list[bool]:
        raise NetworkError("away")

    monkeypatch.setattr(MemoryLogs, "keep", refuse)
    monkeypatch.setattr(RedisLogs, "keep", refuse)

    @processor
    async def sell(n: int, ctx: Context) -> int:
        ctx.log.info("selling")
        return n

    async with make_runtime(job_logs=10) as runtime:
        runtime.register(sell)
        assert (await runtime.execute(sell, 7)).unwrap() == 7
        await until(lambda: any("could not be kept: away" in one.getMessage() for one in caplog.records))
    assert all(one.levelno <= logging.WARNING for one in caplog.records)


async def test_a_job_that_there_is_not_has_no_log(make_runtime):
    async with make_runtime(job_logs=10) as runtime:
        with pytest.raises(JobNotFoundError):
            await runtime.job_logs("no such job")


async def test_a_job_that_waits_no_longer_for_its_lines_takes_no_others_with_it(make_runtime, monkeypatch):
    """A store that is slow: the lines of all jobs are on their way when one of them is to be tried again."""
    asked, answer = anyio.Event(), anyio.Event()
    monkeypatch.setattr(job_logs, "PATIENCE", 0.01)
    monkeypatch.setattr(job_logs, "FLUSH_EVERY", 3600)
    for kind in (MemoryLogs, RedisLogs):

        async def slowly(self, told, most, keep=kind.keep):
            asked.set()
            await answer.wait()
            return await keep(self, told, most)

        monkeypatch.setattr(kind, "keep", slowly)

    @processor
    async def sell(n: int, ctx: Context) -> int:
        ctx.log.info("selling")
        return n

    @processor(retry=RetryPolicy(max_attempts=2, backoff=0.001))
    async def fail(n: int, ctx: Context) -> int:
        ctx.log.info("failing")
        raise OSError("down")

    async with make_runtime(job_logs=10) as runtime:
        runtime.register(sell, fail)
        with anyio.fail_after(30):
            job = await runtime.submit(sell, 7)
            await job.result()
            assert not (await runtime.execute(fail, 7)).success
            assert asked.is_set()
            answer.set()
            await wait_for(runtime, job.id, ["selling"])
