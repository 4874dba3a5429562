"""A job that nobody serves: what is said of it, for how long its caller waits, and who counts as serving
it."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import anyio
import pytest
import trio

from am2z_trio import (
    AccessDeniedError,
    ConfigurationError,
    Context,
    DeadlineExceededError,
    JobOptions,
    LocalRuntime,
    NoWorkerError,
    Processor,
    ProcessorNotFoundError,
    ProcessorTimeoutError,
    QueueOptions,
    QueueRuntime,
    RetryPolicy,
    RuntimeStateError,
    ServerReplyError,
    TotalTimeoutError,
    batch,
    processor,
)
from am2z_trio.concurrency import current_host
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.submission import looking, vacancies
from am2z_trio.engine.submission.submissions import CALLER_GONE
from am2z_trio.engine.submission.waiter import Limits, Waiter
from am2z_trio.model.codec import encode_record
from am2z_trio.model.ids import child_id
from am2z_trio.model.records import NO_STATE, WIRE_VERSION, Enqueue, JobSpec, QueueInfo, QueueStats
from am2z_trio.store.memory.store import MemoryStore
from tests.support.gates import Gate
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio


@processor
async def plus_one(n: int) -> int:
    return n + 1


@asynccontextmanager
async def unserved(runtime: Runtime, one: Processor[Any]) -> AsyncIterator[None]:
    """A runtime that has registered it, and serves it no more."""
    runtime.register(one)
    await runtime.sync_processors()
    assert await runtime.workers.stop_worker(one)
    with anyio.fail_after(30):
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said after a moment."""
    monkeypatch.setattr(looking, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(vacancies, "SAID_AFTER", 0.05)
    monkeypatch.setattr(vacancies, "SERVED_FOR", 0.01)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "nobody serves" in one.getMessage()]


# --- what is said ---------------------------------------------------------------------------------


@on_both_hosts
async def test_that_nobody_serves_a_job_is_said_once_and_told_with_its_result(make_runtime, quick, caplog):
    async with make_runtime() as runtime, unserved(runtime, plus_one):
        with caplog.at_level(logging.INFO, "am2z_trio.results"):
            jobs = [await runtime.submit(plus_one, n) for n in range(3)]
            await until(lambda: len(said(caplog)) > 0)
            jobs.append(await runtime.submit("plus_one", 3))
            stats = (await runtime.get_queue_stats())["plus_one"]
            assert (stats.waiting, stats.workers) == (4, 0)
            runtime.register(plus_one)
            outcomes = [await job.result() for job in jobs]
        assert [outcome.unwrap() for outcome in outcomes] == [1, 2, 3, 4]
        assert all(outcome.metadata.waited_for_worker > 0 for outcome in outcomes[:3])
        assert (await runtime.execute(plus_one, 1)).metadata.waited_for_worker == 0
        assert (await runtime.get_queue_stats())["plus_one"].workers == 1
    (words,) = said(caplog)
    assert "'plus_one'" in words
    assert caplog.records[0].levelname == "WARNING"


@pytest.mark.trio
async def test_it_is_not_said_of_what_a_node_that_is_left_served_itself(autojump_clock, caplog):
    """A job that waits for another when its node is left cannot end there: nobody is to look after that."""

    @processor
    async def parent(n: int, ctx: Context) -> int:
        began.set()
        await trio.sleep(0.2)
        return await ctx.call(plus_one, n)

    began = trio.Event()
    async with LocalRuntime() as runtime:
        runtime.register(plus_one, parent)
        await runtime.submit(parent, 1)
        await began.wait()
        left = trio.current_time()
    assert trio.current_time() - left >= 5
    assert said(caplog) == []


@pytest.mark.trio
async def test_it_is_said_after_a_second_and_not_again(autojump_clock, caplog):
    async with LocalRuntime() as runtime:
        runtime.register(plus_one)
        await trio.sleep(10.3)
        await runtime.workers.stop_worker(plus_one)
        job = await runtime.submit(plus_one, 1)
        await trio.sleep(0.99)
        assert said(caplog) == []
        await trio.sleep(1.1)
        assert len(said(caplog)) == 1
        await trio.sleep(1_000)
        await runtime.submit(plus_one, 1)
        await trio.sleep(10)
        assert len(said(caplog)) == 1
        runtime.register(plus_one)
        result = await job.result()
        assert result.metadata.waited_for_worker == pytest.approx(1_012, abs=2)
        # One more absence is news.
        await trio.sleep(10)
        await runtime.workers.stop_worker(plus_one)
        later = await runtime.submit(plus_one, 1)
        await trio.sleep(10)
        assert len(said(caplog)) == 2
        await later.cancel()


@pytest.mark.trio
async def test_nothing_is_said_of_what_is_served_paused_delayed_or_runs_for_long(autojump_clock, caplog):
    @processor
    async def slow(n: int) -> int:
        await trio.sleep(60)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(slow, plus_one)
        await runtime.pause(plus_one)
        paused = await runtime.submit(plus_one, 1)
        assert (await runtime.execute(slow, 1)).metadata.waited_for_worker == 0
        await runtime.resume(plus_one)
        await paused.result()
        await runtime.workers.stop_worker(plus_one)
        await runtime.submit(plus_one, 1, options=JobOptions(delay=3600))
        await trio.sleep(60)
    assert said(caplog) == []


@pytest.mark.trio
async def test_the_store_is_asked_neither_for_each_job_nor_while_nobody_waits(autojump_clock, monkeypatch):
    asked: list[float] = []
    real = MemoryStore.stats

    async def stats(self: MemoryStore, queues: Any) -> Any:
        asked.append(trio.current_time() - start)
        return await real(self, queues)

    monkeypatch.setattr(MemoryStore, "stats", stats)

    @processor(queue=QueueOptions(concurrency=1000))
    async def slow(n: int) -> int:
        await trio.sleep(60)
        return n

    async with LocalRuntime() as runtime:
        start = trio.current_time()
        runtime.register(slow, plus_one)
        for n in range(100):
            assert (await runtime.execute(plus_one, n)).success
        await trio.sleep(100)
        assert asked == []
        assert all(result.success for result in await runtime.execute_many(slow, range(500)))
        assert 1 <= len(asked) <= 13


# --- clients --------------------------------------------------------------------------------------


@on_both_hosts
async def test_a_client_that_has_the_processor_needs_no_worker_first(redis_url, quick, caplog):
    async with (
        QueueRuntime(redis_url, workers=False) as client,
        QueueRuntime(redis_url, workers=False) as other,
    ):
        with anyio.fail_after(30):
            job = await client.submit(plus_one, 1)
            await until(lambda: len(said(caplog)) == 1)
            # By name it is an error: nobody serves it, and nobody did.
            result = await other.execute("plus_one", 1)
            assert isinstance(result.error, ProcessorNotFoundError)
            stats = (await other.get_queue_stats())["plus_one"]
            assert (stats.waiting, stats.workers) == (1, 0)
            async with QueueRuntime(redis_url) as worker:
                worker.register(plus_one)
                outcome = await job.result()
                assert outcome.unwrap() == 2
                assert outcome.metadata.waited_for_worker > 0
                assert (await other.execute("plus_one", 1)).unwrap() == 2
                assert (await client.get_queue_stats())["plus_one"].workers == 1
            # It was served lately: whoever has the name waits.
            assert (await client.get_queue_stats())["plus_one"].workers == 0
            late = await other.execute("plus_one", 1, wait_for_worker=0.1)
            assert isinstance(late.error, NoWorkerError)


@on_both_hosts
async def test_a_client_that_has_registered_it_needs_no_worker_first(redis_url):
    async with QueueRuntime(redis_url, workers=False) as client:
        client.register(plus_one)
        with anyio.fail_after(30):
            job = await client.submit("plus_one", 1)
            async with QueueRuntime(redis_url) as worker:
                worker.register(plus_one)
                assert (await job.result()).unwrap() == 2


@on_both_hosts
async def test_unregistered_on_its_last_node_a_processor_is_known_no_more(redis_url, quick):
    async with (
        QueueRuntime(redis_url) as one,
        QueueRuntime(redis_url) as two,
        QueueRuntime(redis_url, workers=False) as client,
        QueueRuntime(redis_url, workers=False) as fresh,
    ):
        for node in (one, two):
            node.register(plus_one)
            await node.sync_processors()
        with anyio.fail_after(30):
            assert (await client.execute("plus_one", 1)).success
            assert (await client.get_queue_stats())["plus_one"].workers == 2
            one.unregister(plus_one)
            await one.connection.check_health()
            assert (await client.get_queue_stats())["plus_one"].workers == 1
            assert (await client.execute("plus_one", 1)).success
            with pytest.raises(RuntimeStateError, match="served by 1 nodes"):
                await one.forget_processor(plus_one)
            two.unregister("plus_one")
            await two.connection.check_health()
            assert await fresh.sync_processors() == []
            # Who has known it until now finds out, too.
            for node in (one, two, fresh, client):
                result = await node.execute("plus_one", 1)
                assert isinstance(result.error, ProcessorNotFoundError)
            await client.connection.check_health()
            assert await one.forget_processor(plus_one)
            one.register(plus_one)
            await one.sync_processors()
            assert (await client.execute("plus_one", 1)).success


@on_both_hosts
async def test_what_is_unregistered_between_two_entries_is_known_no_more_from_the_second_on(
    make_runtime,
):
    runtime = make_runtime()
    runtime.register(plus_one)
    async with runtime:
        assert (await runtime.execute("plus_one", 1)).success
    assert runtime.unregister(plus_one)
    async with runtime:
        with anyio.fail_after(30):
            result = await runtime.execute("plus_one", 1)
            assert isinstance(result.error, ProcessorNotFoundError)
            runtime.register(plus_one)
            assert (await runtime.execute("plus_one", 1)).success


@on_both_hosts
async def test_what_a_node_says_again_retires_nothing_that_another_has_announced_since(redis_url):
    async with (
        QueueRuntime(redis_url) as one,
        QueueRuntime(redis_url, workers=False) as client,
    ):
        with anyio.fail_after(30):
            one.register(plus_one)
            await one.sync_processors()
            one.unregister(plus_one)
            await one.connection.check_health()
            assert await client.sync_processors() == []
            async with QueueRuntime(redis_url) as two:
                two.register(plus_one)
                await two.sync_processors()
            # It will be back: its jobs wait for it until then.
            assert await client.sync_processors() == ["plus_one"]
            one.node.fleet.say_again()
            await one.connection.check_health()
            assert await client.sync_processors() == ["plus_one"]


@on_both_hosts
async def test_a_node_that_drains_serves_no_more(make_runtime):
    gate = Gate()
    async with make_runtime(shutdown_grace=30.0) as runtime, anyio.create_task_group() as tasks:
        runtime.register(gate.processor)
        job = await runtime.submit(gate.processor, 1)
        await gate.began.wait()
        assert (await runtime.get_queue_stats())["gated"].workers == 1
        tasks.start_soon(runtime.stop)
        await until(lambda: not runtime.is_started)
        assert (await runtime.get_queue_stats())["gated"].workers == 0
        gate.go.set()
        assert (await job.result()).unwrap() == 1


@pytest.mark.trio
async def test_a_worker_that_is_stopped_while_it_is_announced_is_announced_no_more(
    autojump_clock, monkeypatch
):
    slow = trio.Event()
    real = MemoryStore.announce

    async def announce(self: MemoryStore, queues: list[QueueInfo], **how: Any) -> None:
        slow.set()
        await trio.sleep(1)
        await real(self, queues, **how)

    async with LocalRuntime() as runtime:
        monkeypatch.setattr(MemoryStore, "announce", announce)
        runtime.register(plus_one)
        await slow.wait()
        runtime.unregister(plus_one)
        await trio.sleep(10)
        assert [info.workers for info in await runtime.node.store.known_queues()] == [0]
        assert await runtime.get_queue_stats() == {}
        assert await runtime.sync_processors() == []
        # One that comes after it is announced as ever.
        runtime.register(plus_one)
        await trio.sleep(10)
        assert await runtime.sync_processors() == ["plus_one"]


# --- for how long a caller waits ------------------------------------------------------------------


@on_both_hosts
@pytest.mark.parametrize("seconds", [0, 0.05])
async def test_a_caller_waits_so_long_for_a_worker_and_its_job_is_taken_back(make_runtime, seconds):
    gate = Gate()
    gate.go.set()

    async def end_of(*job: Any, **how: Any) -> Any:
        try:
            return (await (await runtime.submit(*job, **how)).result()).error
        except NoWorkerError as at_once:
            return at_once

    async with make_runtime() as runtime, unserved(runtime, gate.processor):
        result = await runtime.execute(gate.processor, 1, wait_for_worker=seconds)
        assert isinstance(result.error, NoWorkerError)
        assert result.error.context["seconds"] == seconds
        assert "'gated'" in str(result.error)
        assert isinstance(
            await end_of("gated", 2, options=JobOptions(wait_for_worker=seconds)), NoWorkerError
        )
        several = await runtime.execute_many(gate.processor, [3, 4], wait_for_worker=seconds)
        assert [type(result.error) for result in several] == [NoWorkerError] * 2
        named = await end_of(gate.processor, 5, job_id="five", wait_for_worker=seconds)
        assert isinstance(named, NoWorkerError)
        while (await runtime.get_queue_stats())["gated"].waiting:
            await anyio.sleep(0.005)
        runtime.register(gate.processor)
        assert (await runtime.execute(gate.processor, 6)).unwrap() == 6
    assert gate.runs == [6]


@on_both_hosts
async def test_who_has_a_worker_waits_on(make_runtime):
    gate = Gate(queue=QueueOptions(concurrency=1))
    async with make_runtime() as runtime:
        runtime.register(gate.processor)
        await runtime.sync_processors()
        with anyio.fail_after(30):
            jobs = [await runtime.submit(gate.processor, n, wait_for_worker=0.02) for n in range(2)]
            await gate.began.wait()
            await anyio.sleep(0.1)
            # The first has begun, though nobody serves its processor any more.
            third = await runtime.submit(gate.processor, 2, wait_for_worker=0.1)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runtime.workers.stop_worker, gate.processor)
                assert isinstance((await third.result()).error, NoWorkerError)
                gate.go.set()
                assert (await jobs[0].result()).unwrap() == 0
            runtime.register(gate.processor)
            assert (await jobs[1].result()).unwrap() == 1


@on_both_hosts
async def test_a_caller_of_a_shared_job_gives_up_for_itself(make_runtime):
    async with make_runtime() as runtime, unserved(runtime, plus_one):
        patient: list[Any] = []

        async def wait() -> None:
            patient.append(await runtime.execute(plus_one, 1, job_id="shared"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            while not (await runtime.get_queue_stats())["plus_one"].waiting:
                await anyio.sleep(0.005)
            hasty = await runtime.execute(plus_one, 1, job_id="shared", wait_for_worker=0.02)
            assert isinstance(hasty.error, NoWorkerError)
            late = await runtime.execute(plus_one, 1, job_id="shared", total_timeout=0.02)
            assert isinstance(late.error, TotalTimeoutError)
            assert (await runtime.get_queue_stats())["plus_one"].waiting == 1
            runtime.register(plus_one)
        assert patient[0].unwrap() == 2


@on_both_hosts
async def test_a_total_timeout_bounds_waiting(make_runtime):
    async with make_runtime() as runtime, unserved(runtime, plus_one):
        result = await runtime.execute(plus_one, 1, total_timeout=0.05)
        assert isinstance(result.error, TotalTimeoutError)
        assert isinstance(result.error, DeadlineExceededError)
        assert "0.05 s" in str(result.error)
        several = await runtime.execute_many(plus_one, [1, 2], options=JobOptions(total_timeout=0.05))
        assert [type(result.error) for result in several] == [TotalTimeoutError] * 2
        for name in (None, "mine"):
            job = await runtime.submit(plus_one, 1, job_id=name, total_timeout=0.05)
            assert isinstance((await job.result()).error, TotalTimeoutError)
            while await job.status() != "cancelled":
                await anyio.sleep(0.005)
        async with runtime.session("s") as session:
            result = await session.execute(plus_one, 1, total_timeout=0.05)
            assert isinstance(result.error, TotalTimeoutError)


@on_both_hosts
async def test_a_total_timeout_bounds_running_and_the_job_is_cancelled(make_runtime):
    gate = Gate()
    async with make_runtime() as runtime:
        runtime.register(gate.processor)
        with anyio.fail_after(30):
            result = await runtime.execute(gate.processor, 1, total_timeout=0.1)
            assert isinstance(result.error, TotalTimeoutError)
            job = await runtime.submit(gate.processor, 2, total_timeout=0.1)
            # Also while nobody waits for it.
            await until(lambda: gate.cancelled == [1, 2])
            assert isinstance((await job.result()).error, TotalTimeoutError)
            assert await runtime.dead_letters.count(gate.processor) == 0


@on_both_hosts
async def test_whoever_has_its_answer_is_not_kept_until_its_time_would_be_over(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        for n in range(20):
            result = await runtime.execute(plus_one, n, total_timeout=3600, wait_for_worker=3600)
            assert result.state == n + 1
        gc.collect()
        # The one that was sent last may be at hand yet.
        assert len(of_an_hour()) <= 1


def of_an_hour() -> list[Waiter]:
    there = [one for one in gc.get_objects() if type(one) is Waiter]
    return [one for one in there if one.limits is not None and one.limits.total == 3600]


@pytest.mark.trio
async def test_a_total_timeout_bounds_all_attempts_and_a_timeout_each(autojump_clock):
    began: list[float] = []

    @processor(timeout=10, retry=RetryPolicy(max_attempts=9, backoff=20, backoff_multiplier=1, jitter=0))
    async def slow(n: int) -> int:
        began.append(trio.current_time() - start)
        await trio.sleep_forever()
        return n

    async with LocalRuntime() as runtime:
        runtime.register(slow)
        start = trio.current_time()
        result = await runtime.execute(slow, 1, total_timeout=100)
        assert trio.current_time() - start == pytest.approx(100, abs=0.1)
        assert isinstance(result.error, TotalTimeoutError)
        assert [round(at) for at in began] == [0, 30, 60, 90]
        start = trio.current_time()
        options = JobOptions(total_timeout=5, delay=60)
        assert isinstance((await runtime.execute(slow, 1, options=options)).error, TotalTimeoutError)
        assert trio.current_time() - start == pytest.approx(5, abs=0.1)
        one = JobOptions(attempts=1)
        result = await runtime.execute(slow, 1, options=one, total_timeout=1000)
        assert isinstance(result.error, ProcessorTimeoutError)


@pytest.mark.trio
async def test_a_call_whose_total_timeout_is_over_is_not_called_again(autojump_clock):
    runs: list[int] = []

    @processor(queue=QueueOptions(default_job_options=JobOptions(total_timeout=5)))
    async def slow(n: int) -> int:
        runs.append(n)
        await trio.sleep_forever()
        return n

    @processor(depends_on=[slow])
    async def outer(n: int, ctx: Context) -> int:
        with pytest.raises(TotalTimeoutError):
            await ctx.call(slow, 1)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(outer)
        assert (await runtime.execute(outer, 1)).unwrap() == 1
    assert runs == [1]


@pytest.mark.trio
@pytest.mark.parametrize("how", ["shared", "called", "one of many"])
async def test_a_total_timeout_bounds_a_job_that_is_asked_for_anew(autojump_clock, how):
    """Its earlier run was given up by whoever had asked for it: the next one has what is left of the time."""
    began: list[float] = []

    @processor(queue=QueueOptions(default_job_options=JobOptions(total_timeout=10)))
    async def slow(n: int) -> int:
        began.append(trio.current_time() - start)
        await trio.sleep_forever()
        return n

    @processor(depends_on=[slow])
    async def caller(n: int, ctx: Context) -> int:
        return await ctx.call(slow, n)

    many = batch("many", slow, lambda n: [n], merge=lambda n, found: found[0], state_type=int)
    async with LocalRuntime() as runtime:
        runtime.register(caller, many)
        start = trio.current_time()
        if how == "shared":
            owner = await runtime.submit(slow, 1, job_id="shared", total_timeout=1000)
            child = owner.id
        else:
            owner = await runtime.submit(caller if how == "called" else many, 1)
            child = child_id(owner.id, "#1" if how == "called" else "0", "slow", encode_record(1))
        heard: list[Any] = []

        async def ask() -> None:
            if how == "shared":
                heard.append((await runtime.execute(slow, 1, job_id="shared")).error)
            else:
                heard.append((await owner.result()).error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(6)
            assert await runtime._cancel(child, CALLER_GONE) == "active"  # pyright: ignore[reportPrivateUsage]
        assert [round(at) for at in began] == [0, 6]
        assert trio.current_time() - start == pytest.approx(10, abs=0.1)
    (error,) = heard
    if how == "one of many":
        (error,) = error.causes
    assert isinstance(error, TotalTimeoutError)
    assert "10 s after it was submitted" in error.message


@pytest.mark.trio
async def test_limits_of_those_who_were_answered_are_not_kept(autojump_clock, monkeypatch):
    monkeypatch.setattr(vacancies, "FEW", 10)
    async with LocalRuntime() as runtime:
        runtime.register(plus_one)
        for n in range(200):
            result = await runtime.execute(plus_one, n, total_timeout=3600, wait_for_worker=3600)
            assert result.success
        assert len(runtime.node.in_flight._vacancies._due) <= 30


@on_both_hosts
async def test_a_total_timeout_holds_while_the_store_is_away(redis_url, spawn_redis):
    @processor
    async def registered(n: int) -> int:
        return n

    server = spawn_redis({})
    async with QueueRuntime(server.url, workers=False) as client:
        client.register(registered)
        with anyio.fail_after(30):
            job = await client.submit(plus_one, 1, total_timeout=0.5)
            server.stop()
            assert isinstance((await job.result()).error, TotalTimeoutError)
            for what in (plus_one, "plus_one", "another", registered):
                result = await client.execute(what, 1, total_timeout=0.05)
                assert isinstance(result.error, TotalTimeoutError)
            with pytest.raises(TotalTimeoutError):
                await client.submit(plus_one, 1, total_timeout=0.05)
            server.start()


@on_both_hosts
async def test_many_jobs_of_one_processor_at_once_tell_the_store_of_it_once(redis_url, monkeypatch):
    async with QueueRuntime(redis_url, workers=False) as client:
        announce, told = client.node.store.announce, 0

        async def count(infos: Any, **how: Any) -> None:
            nonlocal told
            told += 1
            if told == 1:
                raise AccessDeniedError("not now")
            await announce(infos, **how)

        monkeypatch.setattr(client.node.store, "announce", count)
        with anyio.fail_after(30):
            # One that the store has not taken is told again.
            assert isinstance((await client.execute(plus_one, 1)).error, AccessDeniedError)
            async with anyio.create_task_group() as tasks:
                for n in range(50):
                    tasks.start_soon(client.submit, plus_one, n)
            assert (await client.get_queue_stats())["plus_one"].waiting == 50
        assert told == 2


@on_both_hosts
@pytest.mark.parametrize(
    "limits",
    [
        {"wait_for_worker": -1},
        {"wait_for_worker": "1"},
        {"total_timeout": 0},
        {"total_timeout": float("nan")},
    ],
)
async def test_limits_are_numbers_of_seconds(make_runtime, limits):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        for name in ("plus_one", plus_one):
            result = await runtime.execute(name, 1, **limits)
            assert isinstance(result.error, ConfigurationError)
        with pytest.raises(ConfigurationError, match=next(iter(limits))):
            await runtime.submit(plus_one, 1, **limits)
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        JobOptions(**limits)


@pytest.mark.trio
async def test_who_had_a_worker_when_its_time_was_over_waits_no_longer_once_it_has_none(autojump_clock):
    async with LocalRuntime() as runtime:
        runtime.register(plus_one)
        await runtime.pause(plus_one)
        job = await runtime.submit(plus_one, 1, wait_for_worker=5)
        await trio.sleep(100)
        assert await job.status() == "waiting"
        await runtime.workers.stop_worker(plus_one)
        start = trio.current_time()
        assert isinstance((await job.result()).error, NoWorkerError)
        assert 5 <= trio.current_time() - start <= 13


@on_both_hosts
async def test_a_processor_without_jobs_that_nobody_knows_any_more_is_in_no_figures(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        assert (await runtime.execute("plus_one", 1)).success
        assert [*await runtime.get_queue_stats()] == ["plus_one"]
        await runtime.pause(plus_one)
        job = await runtime.submit(plus_one, 1)
        runtime.unregister(plus_one)
        assert (await runtime.get_queue_stats())["plus_one"].paused == 1
        await job.cancel()
        assert await runtime.get_queue_stats() == {}


@on_both_hosts
async def test_who_has_its_answer_is_not_asked_for_however_long_the_store_refuses(monkeypatch):
    """To ask may be what is refused: of an outcome that is too large to be looked at, say."""
    monkeypatch.setattr(vacancies, "ASK_AGAIN_AFTER", 0.001)
    asked: list[list[str]] = []

    class Refusing:
        async def stats(self, queues: list[str]) -> list[QueueStats]:
            asked.append(queues)
            raise ServerReplyError("refused")

    host = current_host()
    spec = JobSpec(WIRE_VERSION, "j", "orphan", "", NO_STATE, "n")
    limits = Limits(0.0, inf, inf)
    request = Enqueue(spec=spec, queue="orphan")
    waiter = Waiter(host, "j", request, None, host.now(), shared=False, limits=limits)
    waiting = [waiter]

    async def nobody(_: object) -> dict[str, Any]:
        return {}

    one = vacancies.Vacancies(
        host,
        Refusing(),  # type: ignore[arg-type]
        waits=lambda other: other in waiting,
        give_up=lambda *_: pytest.fail("nobody has said that it is not served"),
        judge=nobody,
    )
    with anyio.fail_after(30):
        async with host.open_nursery() as nursery:
            await nursery.start(one.run)
            one.watch(waiter, limits)
            await until(lambda: len(asked) > 2, "it to be asked again")
            waiting.clear()
            await until(lambda: not one._impatient, "it to be asked for no more")
            nursery.cancel_scope.cancel()
