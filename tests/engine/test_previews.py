"""What an order is going to do is told before it is given, and is what then happens."""

from __future__ import annotations

import anyio
import pytest

from am2z_trio import JobNotFoundError, JobOptions, QueueOptions, SessionStoppedError, processor
from tests.engine.test_control import pair, serve
from tests.support.gates import Gate
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_of_a_session_that_is_about_to_be_stopped(make_runtime):
    gate = Gate(queue=QueueOptions(concurrency=2))
    async with pair(make_runtime) as (first, second):
        await serve(second, gate.processor)
        jobs = [await first.submit("gated", n, session="alice") for n in range(5)]
        later = await first.submit("gated", 9, session="alice", options=JobOptions(delay=1000))
        other = await first.submit("gated", 8, session="bob")
        await until(lambda: gate.running == 2)
        async with first.state.lock("alice"):
            told = await first.control.preview_stop_session("alice")
            assert (told.action, told.target) == ("stop session", "alice")
            assert {row.job for row in told.running} <= {job.id for job in jobs}
            assert told.nodes == {second.node_id: len(told.running)}
            assert told.callers == {first.node_id: len(told.running)}
            assert told.waiting + len(told.running) == 5
            assert (told.delayed, told.lock_held, told.lock_waiting) == (1, True, 0)
            assert (told.silent, told.more) == ([], False)
            assert "SessionStoppedError" in told.outcome
        await first.stop_session("alice")
        for job in (*jobs, later):
            assert type((await job.result()).error) is SessionStoppedError
        nothing = await first.control.preview_stop_session("alice")
        assert (nothing.running, nothing.waiting, nothing.delayed, nothing.lock_held) == ([], 0, 0, False)
        gate.go.set()
        await other.result()


async def test_of_a_job_wherever_it_is(make_runtime):
    gate = Gate(queue=QueueOptions(concurrency=1))
    async with pair(make_runtime) as (first, second):
        await serve(second, gate.processor)
        running = await first.submit("gated", 1)
        await until(lambda: gate.running == 1)
        waiting = await first.submit("gated", 2)
        later = await first.submit("gated", 3, options=JobOptions(delay=1000))
        told = await first.control.preview_cancel(running)
        assert [row.job for row in told.running] == [running.id]
        assert (told.nodes, told.waiting, told.delayed) == ({second.node_id: 1}, 0, 0)
        assert "JobCancelledError" in told.outcome
        told = await first.control.preview_cancel(later.id)
        assert (told.running, told.waiting, told.delayed) == ([], 0, 1)
        gate.go.set()
        await running.result()
        await waiting.result()
        told = await first.control.preview_cancel(running)
        assert told.outcome.startswith("It has ended already")
        with pytest.raises(JobNotFoundError, match="no such job"):
            await first.control.preview_cancel("no such job")
        await later.cancel("the test is over")


async def test_of_a_node_and_of_a_worker_there(make_runtime):
    gate = Gate(queue=QueueOptions(concurrency=4))
    other = Gate("other")
    async with pair(make_runtime) as (first, second):
        await serve(second, gate.processor, other.processor)
        jobs = [
            await first.submit("gated", 1, session="alice"),
            await first.submit("gated", 2),
            await first.submit("other", 3, session="alice"),
        ]
        await until(lambda: gate.running + other.running == 3)
        told = await first.control.preview_drain(second.node_id)
        assert {row.job for row in told.running} == {job.id for job in jobs}
        assert "claims no more" in told.outcome
        told = await first.control.preview_stop_worker(second.node_id, "gated")
        assert {row.job for row in told.running} == {jobs[0].id, jobs[1].id}
        told = await first.control.preview_stop_worker(second.node_id, gate.processor, "alice")
        assert [row.job for row in told.running] == [jobs[0].id]
        assert (await first.control.preview_drain("nobody")).silent == ["nobody"]
        gate.go.set()
        other.go.set()
        for job in jobs:
            await job.result()


async def test_it_changes_nothing(make_runtime):
    @processor
    async def echo(n: int) -> int:
        await anyio.lowlevel.checkpoint()
        return n

    async with make_runtime() as runtime:
        runtime.register(echo)
        job = await runtime.submit(echo, 1, session="alice", options=JobOptions(delay=0.05))
        await runtime.control.preview_cancel(job)
        await runtime.control.preview_stop_session("alice")
        await runtime.control.preview_drain(runtime.node_id)
        await runtime.control.preview_stop_worker(runtime.node_id, echo, "alice")
        assert (await job.result()).unwrap() == 1
        assert not runtime.node.control.draining.is_on
