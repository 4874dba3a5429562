"""What a node counts: each job once, by processor, and for as long as the runtime's object lives."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from am2z_trio import JobOptions, LocalRuntime, QueueRuntime, RetryPolicy, processor
from am2z_trio.engine.figures.figures import MOST, OTHERS, Figures
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import NetworkError
from am2z_trio.model.records.samples import QueueFigures
from am2z_trio.store.memory.samples import NodeSamples

pytestmark = pytest.mark.anyio


@processor
async def double(n: int) -> int:
    return 2 * n


@processor(retry=RetryPolicy(max_attempts=2, backoff=0.001, jitter=0))
async def fails(n: int) -> int:
    raise RuntimeError("no")


@processor(timeout=0.01)
async def slow(n: int) -> int:
    await anyio.sleep(60)
    return n


@processor
async def waits(n: int) -> int:
    await anyio.sleep_forever()
    return n


async def ended(runtime: Runtime, name: str, count: int) -> Any:
    """The figures of a processor, once so many of its jobs have been settled."""
    figures = runtime.figures.of(name)
    with anyio.fail_after(10):
        while figures.ended < count:
            await anyio.sleep(0.001)
    return figures


async def test_jobs_are_counted_by_how_they_ended(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double, fails, slow)
        for n in range(3):
            (await runtime.execute(double, n)).unwrap()
        assert not (await runtime.execute(fails, 1)).success
        assert not (await runtime.execute(slow, 1)).success
        doubled = await ended(runtime, "double", 3)
        assert (doubled.started, doubled.by_outcome()["completed"]) == (3, 3)
        failed = await ended(runtime, "fails", 1)
        assert (failed.started, failed.retried, failed.failed, failed.completed) == (2, 1, 1, 0)
        timed_out = await ended(runtime, "slow", 1)
        assert (timed_out.started, timed_out.timeout, timed_out.failed) == (1, 1, 0)
        assert sum(doubled.runs.counts) == 3
        assert timed_out.runs.total >= 0.01


async def test_a_cancelled_job_says_how_long_its_code_took_to_end(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(waits)
        job = await runtime.submit(waits, 1)
        with anyio.fail_after(10):
            while not runtime.figures.of("waits").started:
                await anyio.sleep(0.001)
        await job.cancel()
        figures = await ended(runtime, "waits", 1)
        assert (figures.cancelled, figures.completed) == (1, 0)
        assert sum(runtime.figures.cancel_latency.counts) == 1
        assert 0 <= runtime.figures.cancel_latency.total < 10


async def test_counts_go_on_where_a_runtime_is_entered_again(make_runtime):
    runtime = make_runtime()
    runtime.register(double)
    for entered in (1, 2):
        async with runtime:
            (await runtime.execute(double, 1)).unwrap()
            await ended(runtime, "double", entered)
        assert runtime.figures.reading is None
    assert runtime.figures.of("double").completed == 2


async def test_nothing_that_a_job_brings_is_counted_by_itself(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        for n in range(20):
            (await runtime.execute(double, n, session=f"s{n}", job_id=f"chosen-{n}")).unwrap()
        assert [one.processor for one in runtime.figures.all()] == ["double"]


def test_of_very_many_processors_those_that_come_last_are_counted_together():
    figures = Figures()
    for n in range(MOST + 50):
        figures.of(f"p{n}").started += 1
    assert len(figures.all()) == MOST + 1
    assert figures.all()[-1].processor == OTHERS
    assert figures.all()[-1].started == 50
    assert figures.of("p3") is figures.of("p3")


async def test_a_node_that_leaves_has_told_all_it_has_counted(make_runtime):
    runtime = make_runtime()
    runtime.register(double)
    async with runtime:
        for n in range(5):
            (await runtime.execute(double, n)).unwrap()
        assert await runtime.samples(double) == []
    async with runtime:
        (sample,) = await runtime.samples(double)
        assert (sample.started, sample.completed, sample.seconds) == (5, 5, 10)
        assert sum(sample.runs) == 5
        assert sample.ran == pytest.approx(runtime.figures.of("double").runs.total, abs=1e-5)
        going = await runtime.throughput("double", since=60)
        assert going.completed == pytest.approx(5 / 60)
        assert going.run_p95 is not None
        assert (await runtime.throughput("nobody")).run_p50 is None


async def test_what_was_told_and_not_answered_is_told_again_and_counts_once(monkeypatch):
    runtime = LocalRuntime()
    runtime.register(double)
    told = list[tuple[int, list[QueueFigures]]]()
    flush = NodeSamples.flush

    async def answer_is_lost(self: NodeSamples, seq: int, queues: list[QueueFigures]) -> None:
        told.append((seq, list(queues)))
        await flush(self, seq, queues)
        if len(told) == 1:
            raise NetworkError("the answer was lost")

    monkeypatch.setattr(NodeSamples, "flush", answer_is_lost)
    async with runtime:
        (await runtime.execute(double, 1)).unwrap()
        await ended(runtime, "double", 1)
        await runtime.node.sampling.flush()
        (await runtime.execute(double, 1)).unwrap()
        await ended(runtime, "double", 2)
        await runtime.node.sampling.flush()
        assert [seq for seq, _ in told] == [1, 1, 2]
        assert told[0] == told[1]
        (sample,) = await runtime.samples(double)
        assert (sample.started, sample.completed) == (2, 2)
        # Nothing has happened since: nothing is said.
        await runtime.node.sampling.flush()
        assert len(told) == 3


async def test_two_nodes_tell_of_one_queue(redis_url):
    async with QueueRuntime(redis_url) as one, QueueRuntime(redis_url) as other:
        one.register(double)
        other.register(double)
        results = await one.execute_many(double, list(range(40)))
        assert all(result.success for result in results)
        with anyio.fail_after(10):
            while sum(node.figures.of("double").ended for node in (one, other)) < 40:
                await anyio.sleep(0.01)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.node.sampling.flush)
            tasks.start_soon(other.node.sampling.flush)
        samples = await one.samples(double)
        assert sum(sample.completed for sample in samples) == 40
        assert samples == await other.samples(double)


async def test_the_census_says_what_is_so_now(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double, waits)
        await runtime.submit(waits, 1, session="alice")
        with anyio.fail_after(10):
            while not runtime.figures.of("waits").started:
                await anyio.sleep(0.001)
        await runtime.pause(double)
        await runtime.submit(double, 1)
        await runtime.submit(double, 1, options=JobOptions(delay=3600))
        seen = await runtime.census()
        assert (seen.nodes, seen.sessions) == (1, 1)
        assert (seen.queues["waits"].active, seen.queues["waits"].workers) == (1, 1)
        doubles = seen.queues["double"]
        assert (doubles.waiting, doubles.delayed, doubles.active, doubles.paused) == (1, 1, 0, True)
        assert 0 <= doubles.oldest < 60
        assert (doubles.held, doubles.breaker_open, doubles.dead) == (False, False, 0)


async def test_how_long_a_job_has_waited_is_counted_once(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(fails)
        jobs = await runtime.submit_many(fails, range(3))
        await runtime.submit(fails, 1, job_id="chosen")
        for job in jobs:
            await job.result()
        figures = await ended(runtime, "fails", 4)
        # Not of a second attempt; nor where the id, which says when, is somebody's choice.
        assert (figures.started, sum(figures.waits.counts)) == (8, 3)
        assert 0 < figures.waits.total < 60
