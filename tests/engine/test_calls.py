"""Calls and the runs that make them: a job that is run again meets what its earlier run has called."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
import trio
from msgspec import structs

from am2z_trio import (
    CircuitBreaker,
    Context,
    JobCancelledError,
    JobOptions,
    LocalRuntime,
    ProcessorExecutionError,
    QueueRuntime,
    ResourceLimits,
    RetryPolicy,
    SessionStoppedError,
    chain,
    parallel,
    processor,
)
from am2z_trio.engine.execution.breakers import Breakers
from am2z_trio.engine.node import memory_watch
from am2z_trio.model.records import NO_STATE, JobSpec, callers_below
from am2z_trio.store.redis import keys
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio


# --- a retry, and the children of the attempt before ----------------------------------------------


@on_both_hosts
async def test_a_retried_parallel_waits_for_a_part_that_is_still_dying_and_runs_it_anew(make_runtime):
    begun, cancelled, may_die = anyio.Event(), anyio.Event(), anyio.Event()
    runs: list[str] = []

    @processor
    async def stubborn(n: int) -> int:
        runs.append("stubborn")
        if runs.count("stubborn") == 1:
            begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.set()
                with anyio.CancelScope(shield=True):
                    await may_die.wait()
        return n

    @processor
    async def hasty(n: int) -> int:
        runs.append("hasty")
        if runs.count("hasty") == 1:
            await begun.wait()
            raise OSError("first time")
        # Until the new attempt has asked for the other part, too.
        await may_die.wait()
        return n

    both = parallel(
        "both",
        [hasty, stubborn],
        merge=lambda n, results: sum(results),
        retry=RetryPolicy(max_attempts=5, backoff=0.01),
    )
    async with make_runtime() as runtime:
        runtime.register(both)
        with anyio.fail_after(30):
            job = await runtime.submit(both, 1)
            await cancelled.wait()
            # Its caller, and a waiter for each part.
            await until(lambda: runs.count("hasty") == 2 and runtime.get_stats().waiting_callers == 3)
            may_die.set()
            result = await job.result()
    assert result.unwrap() == 2
    assert result.metadata.attempt == 2
    assert sorted(runs) == ["hasty", "hasty", "stubborn", "stubborn"]


@pytest.mark.trio
async def test_a_parent_that_timed_out_runs_its_dying_child_anew(autojump_clock):
    attempts: list[int] = []
    runs: list[float] = []

    @processor
    async def lazy(n: int) -> int:
        runs.append(trio.current_time())
        try:
            await trio.sleep(30 if len(runs) == 1 else 1)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            raise
        return n

    @processor(timeout=10, retry=RetryPolicy(max_attempts=5, backoff=1, jitter=0))
    async def parent(n: int, ctx: Context) -> int:
        attempts.append(ctx.meta.attempt)
        return await ctx.call(lazy, n)

    async with LocalRuntime() as runtime:
        runtime.register(parent, lazy)
        job = await runtime.submit(parent, 7)
        assert (await job.result()).unwrap() == 7
        assert await job.status() == "completed"
    assert attempts == [1, 2]
    assert len(runs) == 2


# --- a node that drains, ends or loses its lease ---------------------------------------------------


@on_both_hosts
@pytest.mark.parametrize("how", ["stopped", "left"])
async def test_a_workflow_on_a_node_that_drains_has_its_next_step_run_by_another(redis_url, how):
    begun, go, end = anyio.Event(), anyio.Event(), anyio.Event()
    second_ran_on: list[str] = []

    @processor
    async def first(n: int) -> int:
        begun.set()
        await go.wait()
        return n + 1

    @processor
    async def second(n: int, ctx: Context) -> int:
        second_ran_on.append(ctx.meta.node)
        return n + 1

    both = chain("both", [first, second])

    async def serve(*, task_status: anyio.abc.TaskStatus[QueueRuntime]) -> None:
        async with QueueRuntime(redis_url, shutdown_grace=20) as node:
            node.register(both)
            task_status.started(node)
            await end.wait()
            if how == "stopped":
                await node.stop(20)

    with anyio.fail_after(30):
        async with QueueRuntime(redis_url, workers=False) as client, anyio.create_task_group() as tasks:
            draining = await tasks.start(serve)
            its_id = draining.node_id
            await draining.sync_processors()
            job = await client.submit("both", 1)
            await begun.wait()
            async with QueueRuntime(redis_url) as other:
                other.register(second)
                end.set()
                await until(lambda: not draining.is_started)
                go.set()
                result = await job.result()
                assert result.unwrap() == 3
                assert result.metadata.node == its_id
                assert second_ran_on == [other.node_id]
                assert await client.dead_letters.count("both") == 0


@on_both_hosts
async def test_a_node_that_takes_no_more_jobs_lets_its_workflows_call(redis_url, monkeypatch):
    @processor
    async def first(n: int) -> int:
        return n + 1

    @processor
    async def second(n: int) -> int:
        return n + 1

    begun, go = anyio.Event(), anyio.Event()

    @processor
    async def workflow(n: int, ctx: Context) -> int:
        begun.set()
        await go.wait()
        return await ctx.call("second", await ctx.call("first", n))

    used_mb = 10.0
    monkeypatch.setattr(memory_watch, "resident_mb", lambda: used_mb)
    limits = ResourceLimits(max_memory_mb=1000)
    async with QueueRuntime(redis_url, limits=limits) as full, QueueRuntime(redis_url) as other:
        full.register(workflow)
        other.register(first, second)
        await other.sync_processors()
        with anyio.fail_after(20):
            job = await full.submit(workflow, 1)
            await begun.wait()
            used_mb = 2000.0
            while (await full.connection.check_health()).healthy:
                await anyio.sleep(0.01)
            go.set()
            assert (await job.result()).unwrap() == 3


class Work:
    """A workflow of one step, which runs until it is let go and counts how often it has begun."""

    def __init__(self, composed: bool) -> None:
        self.begun = 0
        self.go = anyio.Event()

        @processor
        async def step(n: int) -> int:
            self.begun += 1
            await self.go.wait()
            return n + 1

        @processor(name="flow")
        async def by_hand(n: int, ctx: Context) -> int:
            return await ctx.call("step", n)

        self.step = step
        self.flow = chain("flow", [step]) if composed else by_hand

    async def serve_flow(self, node: QueueRuntime) -> None:
        """Have the node serve the workflow, and not its step."""
        node.register(self.flow)
        if "step" in node.list_processors():
            node.unregister(self.step)
        await node.sync_processors()


@on_both_hosts
@pytest.mark.parametrize("composed", [True, False])
async def test_a_call_outlives_the_node_of_its_caller_and_the_next_run_joins_it(redis_url, composed):
    work, leave = Work(composed), anyio.Event()

    async def serve(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with QueueRuntime(redis_url, shutdown_grace=0) as node:
            await work.serve_flow(node)
            task_status.started()
            await leave.wait()

    with anyio.fail_after(30):
        async with QueueRuntime(redis_url) as client, anyio.create_task_group() as tasks:
            client.register(work.step)
            await client.sync_processors()
            await tasks.start(serve)
            job = await client.submit("flow", 1)
            await until(lambda: work.begun == 1)
            async with QueueRuntime(redis_url) as other:
                await work.serve_flow(other)
                leave.set()
                await until(lambda: other.get_stats().waiting_callers == 1)
                work.go.set()
                result = await job.result()
                assert result.unwrap() == 2
                assert result.metadata.node == other.node_id
    assert work.begun == 1


@on_both_hosts
@pytest.mark.parametrize("composed", [True, False])
async def test_a_node_that_has_lost_its_lease_does_not_take_back_what_the_next_run_waits_for(
    redis_url, redis_server, composed
):
    work = Work(composed)
    with anyio.fail_after(30):
        async with QueueRuntime(redis_url) as client, QueueRuntime(redis_url) as first:
            client.register(work.step)
            await client.sync_processors()
            await work.serve_flow(first)
            job = await client.submit("flow", 1)
            await until(lambda: work.begun == 1)
            async with QueueRuntime(redis_url) as other:
                await work.serve_flow(other)
                first.unregister(work.flow)
                # Its lease has ended while it was away, as other nodes see it.
                redis_server.call("ZADD", keys.spell("am2z", "nodes"), -1, first.node_id)
                await other.node.store.tick()
                await until(lambda: other.get_stats().waiting_callers == 1)
                await until(lambda: first.get_stats().claimed == 0)
                work.go.set()
                result = await job.result()
                assert result.unwrap() == 2
                assert result.metadata.node == other.node_id
    assert work.begun == 1


# --- a child that was cancelled by itself ---------------------------------------------------------


@on_both_hosts
async def test_a_job_whose_child_lost_its_session_has_failed_and_is_not_cancelled(make_runtime):
    begun = anyio.Event()

    @processor
    async def child(n: int) -> int:
        begun.set()
        await anyio.sleep_forever()
        return n

    @processor
    async def parent(n: int, ctx: Context) -> int:
        return await ctx.call(child, n, session="bob")

    async with make_runtime() as runtime:
        runtime.register(parent, child)
        with anyio.fail_after(20):
            job = await runtime.submit(parent, 1, session="alice")
            await begun.wait()
            await runtime.stop_session("bob")
            result = await job.result()
            assert isinstance(result.error, SessionStoppedError)
            assert await job.status() == "failed"
            (letter,) = await runtime.dead_letters.list(parent)
            assert letter.job_id == job.id


@on_both_hosts
async def test_a_job_whose_child_gave_way_to_another_has_failed_and_is_not_cancelled(make_runtime):
    later = JobOptions(debounce="doc", delay=600)

    @processor
    async def child(n: int) -> int:
        return n

    @processor
    async def parent(n: int, ctx: Context) -> int:
        return await ctx.call(child, n, options=later)

    async with make_runtime() as runtime:
        runtime.register(parent, child)
        with anyio.fail_after(20):
            job = await runtime.submit(parent, 1)
            while not (await runtime.get_queue_stats())["child"].delayed:
                await anyio.sleep(0.005)
            other = await runtime.submit(child, 2, options=later)
            result = await job.result()
            assert isinstance(result.error, JobCancelledError)
            assert "debounce" in result.error.message
            assert await job.status() == "failed"
            assert await runtime.dead_letters.count(parent) == 1
            await other.cancel()


# --- calls side by side ---------------------------------------------------------------------------


@pytest.mark.trio
async def test_calls_of_a_job_may_overlap_where_the_node_runs_one_job_at_a_time(autojump_clock):
    ran: list[str] = []

    @processor
    async def child(seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    @processor
    async def neighbour(n: int) -> int:
        await trio.sleep(1)
        ran.append("neighbour")
        return n

    @processor
    async def parent(n: int, ctx: Context) -> int:
        async def second() -> None:
            # Begins while the first call has come back and waits for its turn behind the neighbour.
            await trio.sleep(1.5)
            await ctx.call(child, 0.2, key="second")
            ran.append("second")

        ctx.nursery.start_soon(second)
        await ctx.call(child, 1.0, key="first")
        ran.append("first")
        return n

    async with LocalRuntime(max_running=1, shutdown_grace=0) as runtime:
        runtime.register(parent, child, neighbour)
        with trio.fail_after(600):
            job = await runtime.submit(parent, 1)
            await trio.sleep(0.5)
            beside = await runtime.submit(neighbour, 1)
            assert (await job.result()).success
            assert (await beside.result()).success
    assert sorted(ran) == ["first", "neighbour", "second"]


# --- fallbacks ------------------------------------------------------------------------------------


@on_both_hosts
async def test_a_fallback_gets_the_state_as_it_was_however_far_the_other_came(make_runtime):
    @processor
    async def plan_b(state: dict[str, int]) -> dict[str, int]:
        return {**state, "b": 1}

    @processor(fallback=plan_b)
    async def plan_a(state: dict[str, int]) -> dict[str, int]:
        state["a"] = 1
        raise OSError("half done")

    async with make_runtime() as runtime:
        runtime.register(plan_a)
        assert (await runtime.execute(plan_a, {"n": 1})).unwrap() == {"n": 1, "b": 1}
        await runtime.execute(plan_b, {"n": 2}, session="s")
        assert (await runtime.execute(plan_a, session="s")).unwrap() == {"n": 2, "b": 1}


@on_both_hosts
async def test_a_job_that_is_cancelled_before_its_fallback_begins_does_not_run_it(make_runtime, monkeypatch):
    telling, go = anyio.Event(), anyio.Event()
    ran: list[int] = []

    async def tell(breakers: Breakers, failed: Any, error: Any) -> None:
        # A round trip to the store: the processor has failed, and its fallback has yet to begin.
        if isinstance(error, ProcessorExecutionError):
            telling.set()
            await go.wait()

    monkeypatch.setattr(Breakers, "tell", tell)

    @processor
    async def plan_b(n: int) -> int:
        await anyio.lowlevel.checkpoint()
        ran.append(n)
        return n

    @processor(fallback=plan_b, breaker=CircuitBreaker(failures=100))
    async def plan_a(n: int) -> int:
        raise OSError

    async with make_runtime() as runtime:
        runtime.register(plan_a)
        with anyio.fail_after(20):
            job = await runtime.submit(plan_a, 1)
            await telling.wait()
            await job.cancel("enough")
            # What was sent to this node has arrived.
            await runtime.node.store.ping()
            go.set()
            result = await job.result()
            assert isinstance(result.error, JobCancelledError)
            assert result.error.message == "enough"
            assert await job.status() == "cancelled"
            await until(lambda: runtime.get_stats().claimed == 0)
    assert ran == []


# --- where a run comes from -------------------------------------------------------------------------


@on_both_hosts
async def test_the_call_stack_names_every_processor_above(make_runtime):
    seen: dict[str, list[str]] = {}

    @processor
    async def leaf(n: int, ctx: Context) -> int:
        seen[f"leaf {n}"] = ctx.debug.call_stack
        return n

    @processor
    def in_thread(n: int, ctx: Context) -> int:
        seen["in_thread"] = ctx.debug.call_stack
        return n

    @processor
    async def outer(n: int, ctx: Context) -> int:
        seen["outer"] = ctx.debug.call_stack
        await ctx.call(leaf, 1)
        await ctx.call(leaf, 2, inline=True)
        await ctx.call(in_thread, 1)
        assert (await runtime.execute(leaf, 3)).success
        await runtime.submit(leaf, 4)
        return n

    whole = chain("whole", [outer])
    async with make_runtime() as runtime:
        runtime.register(leaf, in_thread, whole)
        assert (await runtime.execute(whole, 1)).success
        await until(lambda: "leaf 4" in seen)
    above = ["whole", "outer"]
    assert seen == {
        "outer": above,
        "leaf 1": [*above, "leaf"],
        "leaf 2": [*above, "leaf"],
        "in_thread": [*above, "in_thread"],
        "leaf 3": [*above, "leaf"],
        # Nobody waits for it: it is nobody's call.
        "leaf 4": ["leaf"],
    }


@pytest.mark.parametrize(("length", "kept"), [(1, 101), (700, 6)], ids=["deep", "long names"])
def test_a_call_stack_is_bounded(length, kept):
    spec = JobSpec(1, "j", "first", "", NO_STATE, "")
    for n in range(200):
        spec = structs.replace(spec, callers=callers_below(spec), processor=str(n % 10) * length)
    first, left_out, *last = spec.callers
    assert (first, left_out, last[-1]) == ("first", "…", "8" * length)
    assert 1 + len(last) == kept
    assert [one[0] for one in last] == [str(n % 10) for n in range(200)][-1 - len(last) : -1]
