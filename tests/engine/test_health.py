"""A node's judgement of itself: what it says while it is well, and what it says when it is not."""

from __future__ import annotations

import anyio
import pytest

from am2z_trio import JobOptions, LocalRuntime, QueueOptions, QueueRuntime, ResourceLimits, processor
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.policy import health
from am2z_trio.store.memory.nodes import REST
from tests.support.gates import Gate
from tests.support.servers import SpawnRedis
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def codes(runtime: Runtime) -> list[str]:
    return [reason.code for reason in (await runtime.health()).reasons]


async def until_codes(runtime: Runtime, *wanted: str) -> None:
    with anyio.fail_after(60):
        while await codes(runtime) != list(wanted):
            await anyio.sleep(0.01)


async def test_a_node_that_works_is_live_and_ready(make_runtime):
    gate = Gate()
    async with make_runtime() as runtime:
        runtime.register(gate.processor)
        job = await runtime.submit(gate.processor, 1)
        await until(lambda: gate.running)
        told = await runtime.health()
        assert (told.node, told.live, told.ready, told.reasons) == (runtime.node_id, True, True, [])
        figures = told.figures
        assert (figures.claims, figures.running, figures.store_silent) == (1, 1, 0.0)
        assert figures.round_trip is not None
        assert figures.lease_left is not None
        # In memory it is renewed so much later while there is nothing to look after.
        assert 0 < figures.lease_left <= 10 + (REST if isinstance(runtime, LocalRuntime) else 0)
        assert figures.memory_mb > 1
        gate.go.set()
        await job.result()


async def test_a_worker_that_sleeps_beside_a_job_it_could_claim_is_wedged(make_runtime, monkeypatch):
    monkeypatch.setattr(health, "WEDGED", 0.05)

    @processor
    async def work(n: int) -> int:
        return n

    async with make_runtime() as runtime:
        runtime.register(work)
        assert (await runtime.execute(work, 0)).unwrap() == 0
        await runtime.pause(work)
        job = await runtime.submit(work, 1)
        (feeder,) = runtime.node.fleet.workers.values()
        await until(lambda: feeder._parked)
        assert await codes(runtime) == []
        # Whatever wakes it is not heard.
        monkeypatch.setattr(feeder, "wake", lambda: None)
        await runtime.resume(work)
        await until_codes(runtime, "wedged")
        (reason,) = (await runtime.health()).reasons
        assert "'work'" in reason.text
        assert reason.value is not None
        assert reason.since is not None
        monkeypatch.undo()
        feeder.wake()
        assert (await job.result()).unwrap() == 1
        await until_codes(runtime)


@pytest.mark.parametrize("why", ["paused", "no place is free", "a turn is another's", "due later"])
async def test_jobs_that_wait_for_a_reason_wedge_nobody(make_runtime, monkeypatch, why):
    monkeypatch.setattr(health, "WEDGED", 0.0)
    gate = Gate(queue=QueueOptions(concurrency=1 if why == "no place is free" else 5))

    @processor(name="on-state")
    async def on_state(n: int) -> int:
        await gate.go.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(gate.processor, on_state)
        if why == "paused":
            await runtime.pause(gate.processor)
            jobs = [await runtime.submit(gate.processor, 1)]
        elif why == "no place is free":
            jobs = [await runtime.submit(gate.processor, n) for n in range(3)]
            await until(lambda: gate.running == 1)
        elif why == "due later":
            jobs = [await runtime.submit(gate.processor, 1, options=JobOptions(delay=0.2))]
        else:
            await runtime.state.set("alice", 1)
            jobs = [await runtime.submit(on_state, session="alice") for _ in range(3)]
            await until(lambda: runtime.node.fleet.busy == 1)
        for _ in range(5):
            assert await codes(runtime) == []
            await anyio.sleep(0.01)
        gate.go.set()
        if why == "paused":
            await runtime.resume(gate.processor)
        for job in jobs:
            await job.result()


async def test_a_process_that_is_too_large_is_not_ready(make_runtime):
    async with make_runtime(limits=ResourceLimits(max_memory_mb=1)) as runtime:
        told = await runtime.health()
        assert (told.live, told.ready) == (True, False)
        (reason,) = (one for one in told.reasons if one.code == "memory")
        assert reason.value is not None
        assert reason.value > (reason.limit or 0) == 1


async def test_a_store_that_does_not_answer_makes_a_node_unready_within_seconds(spawn_redis: SpawnRedis):
    server = spawn_redis()
    async with QueueRuntime(server.url) as runtime:
        assert await codes(runtime) == []
        server.pause()
        try:
            await until_codes(runtime, "store_silent")
            told = await runtime.health()
            assert told.live
            assert told.figures.round_trip is None
            assert told.figures.store_silent >= health.SILENT
        finally:
            server.resume()
        await until_codes(runtime)


async def test_a_runtime_that_is_stopping_says_so(make_runtime):
    gate = Gate()
    async with make_runtime() as runtime:
        runtime.register(gate.processor)
        job = await runtime.submit(gate.processor, 1)
        await until(lambda: gate.running)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.stop, 30)
            await until(lambda: not runtime.is_started)
            assert "stopping" in await codes(runtime)
            gate.go.set()
        await job.result()
    assert await codes(runtime) == ["stopping"]
