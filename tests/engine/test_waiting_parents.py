"""Parents: a node begins no more of them than may wait, and what they wait for is begun all the same."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from am2z_trio import ConfigurationError, Context, QueueOptions, QueueRuntime, processor
from am2z_trio.engine.runtime.runtime import Runtime

from .circles import Circle

on_both_hosts = pytest.mark.anyio

CHAINS = 300

ONE_WAITS: dict[str, Any] = {"concurrency": 1, "max_waiting_parents": 1}


def most_of(active: int, most: list[int]) -> int:
    most[0] = max(most[0], active)
    return most[0]


@on_both_hosts
@pytest.mark.parametrize("child", ["other", "own"], ids=["calls another", "calls itself"])
async def test_a_node_with_a_backlog_of_chains_begins_no_more_than_may_wait(make_runtime, child):
    begun: set[int] = set()
    most = [0]

    @processor(name="own", queue=QueueOptions(concurrency=10, max_waiting_parents=15))
    async def own(n: int, ctx: Context) -> int:
        if n < 0:
            return n
        begun.add(n)
        most_of(len(begun), most)
        # One call after another: what waits is called when the others' backlog lies there already.
        for _ in range(2):
            await ctx.call(child, -1)
        begun.remove(n)
        return n

    @processor(name="other", queue=QueueOptions(concurrency=3))
    async def other(n: int) -> int:
        return n

    async with make_runtime() as runtime:
        runtime.register(own, other)
        with anyio.fail_after(60):
            results = await runtime.execute_many(own, range(CHAINS))
        assert [result.unwrap() for result in results] == list(range(CHAINS))
    assert 10 < most[0] <= 25


@on_both_hosts
@pytest.mark.parametrize("how", ["ctx.call", "execute", "submit"])
@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("limits", [{}, {"global_concurrency": 1}, {"session_concurrency": 1}], ids=str)
async def test_no_circle_of_calls_hangs_where_one_may_wait(make_runtime, how, length, limits):
    circle = Circle(length, how, **ONE_WAITS, **limits)
    async with make_runtime() as runtime:
        circle.runtime = runtime
        runtime.register_many(circle.processors)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(goes_round, runtime, circle.processors[0], 7)
        stats = (await runtime.get_queue_stats())["circle-0"]
        assert (stats.active, stats.waiting) == (0, 0)


@on_both_hosts
@pytest.mark.parametrize("length", [1, 2, 3])
async def test_no_circle_of_calls_hangs_where_one_may_wait_on_each_of_two_nodes(redis_url, length):
    circle = Circle(length, "ctx.call", **ONE_WAITS)
    async with QueueRuntime(redis_url) as one, QueueRuntime(redis_url) as other:
        for runtime in (one, other):
            runtime.register_many(circle.processors)
        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                for n in range(8):
                    tasks.start_soon(goes_round, (one, other)[n % 2], circle.processors[n % length], 5)


@on_both_hosts
async def test_a_called_job_that_waits_for_one_that_nobody_has_called_gets_it(make_runtime):
    runtimes: list[Runtime] = []
    options = QueueOptions(concurrency=1, max_waiting_parents=1)

    @processor(name="parent", queue=options)
    async def parent(n: int, ctx: Context) -> int:
        found: int = await ctx.call("middle", n)
        return found

    @processor(name="middle", queue=options)
    async def middle(n: int) -> int:
        # Behind all the parents, whose queue it is put into.
        job = await runtimes[0].submit("leaf" if n else "parent", max(0, n - 1))
        return (await job.result()).unwrap() + 1 if n else 0

    @processor(name="leaf", queue=options)
    async def leaf(n: int, ctx: Context) -> int:
        found: int = await ctx.call("parent", n)
        return found

    async with make_runtime() as runtime:
        runtimes.append(runtime)
        runtime.register(parent, middle, leaf)
        with anyio.fail_after(30):
            results = await runtime.execute_many(parent, [3, 2, 4])
        assert [result.unwrap() for result in results] == [3, 2, 4]


@on_both_hosts
async def test_a_parent_of_many_children_of_its_own_processor_completes(make_runtime):
    @processor(name="tree", queue=QueueOptions(concurrency=2, max_waiting_parents=1))
    async def tree(n: int, ctx: Context) -> int:
        found: list[int] = []

        async def branch(below: int) -> None:
            found.append(await ctx.call("tree", below))

        async with anyio.create_task_group() as tasks:
            for below in range(n):
                for _ in range(3):
                    tasks.start_soon(branch, below)
        return 1 + sum(found)

    async with make_runtime() as runtime:
        runtime.register(tree)
        with anyio.fail_after(60):
            assert [result.unwrap() for result in await runtime.execute_many(tree, [3, 3])] == [64, 64]


@on_both_hosts
async def test_what_comes_while_parents_wait_is_begun_when_one_is_back(make_runtime):
    gate, waits = anyio.Event(), anyio.Event()

    @processor(name="calls", queue=QueueOptions(concurrency=1, max_waiting_parents=1))
    async def calls(n: int, ctx: Context) -> int:
        if n:
            await ctx.call("opens", 0)
        return n

    @processor(name="opens")
    async def opens(n: int) -> int:
        waits.set()
        await gate.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(calls, opens)
        with anyio.fail_after(20):
            first = await runtime.submit(calls, 1)
            await waits.wait()
            second = await runtime.submit(calls, 0)
            assert await second.status() == "waiting"
            gate.set()
            assert (await first.result()).unwrap() == 1
            assert (await second.result()).unwrap() == 0


@on_both_hosts
async def test_a_job_that_waits_goes_on_when_its_processor_is_not_registered_any_more(make_runtime):
    gate, waits = anyio.Event(), anyio.Event()

    @processor(name="calls", queue=QueueOptions(concurrency=1))
    async def calls(n: int, ctx: Context) -> int:
        return await ctx.call("opens", n)

    @processor(name="opens")
    async def opens(n: int) -> int:
        waits.set()
        await gate.wait()
        return n + 1

    async with make_runtime() as runtime:
        runtime.register(calls, opens)
        with anyio.fail_after(20):
            job = await runtime.submit(calls, 1)
            await waits.wait()
            runtime.unregister(calls)
            gate.set()
            assert (await job.result()).unwrap() == 2


@pytest.mark.parametrize("value", [0, -1, True, "3", 2.5])
def test_a_bound_that_is_no_count_is_refused(value):
    with pytest.raises(ConfigurationError, match="max_waiting_parents"):
        QueueOptions(max_waiting_parents=value)


def test_by_default_ten_times_as_many_wait_as_run():
    assert QueueOptions(concurrency=7).most_waiting_parents == 70


async def goes_round(runtime: Runtime, first: Any, n: int) -> None:
    assert (await runtime.execute(first, n, session="s")).unwrap() == n


# --- parents of parked jobs ---------------------------------------------------------------------------


async def _stands(runtime: Runtime, name: str, what: str, many: int) -> None:
    """Return when so many jobs are like that."""
    with anyio.fail_after(60):
        while getattr((await runtime.get_queue_stats())[name], what) != many:
            await anyio.sleep(0.005)


@on_both_hosts
async def test_parents_of_parked_jobs_keep_neither_them_nor_others_from_running(make_runtime):
    @processor(queue=QueueOptions(concurrency=1))
    async def review(n: int, ctx: Context) -> int:
        if n < 0:
            return n
        return await ctx.wait_for("approval", int)

    @processor(queue=QueueOptions(concurrency=1, max_waiting_parents=3))
    async def order(n: int, ctx: Context) -> int:
        return await ctx.call(review, n, key="review")

    async with make_runtime() as runtime:
        runtime.register(review, order)
        jobs = [await runtime.submit(order, n, session="alice") for n in range(8)]
        await _stands(runtime, "review", "delayed", 3)
        # As many wait as may: no more of these begin. What they have called has its place, as have others.
        assert (await runtime.execute(review, -1)).unwrap() == -1
        stats = await runtime.get_queue_stats()
        assert (stats["order"].active, stats["order"].waiting) == (3, 5)
        assert (await runtime.explain(jobs[-1].id)).blocked_by == "slot"
        for n in range(8):
            await runtime.signal_session("alice", "approval", n)
        with anyio.fail_after(60):
            ended = [(await job.result()).unwrap() for job in jobs]
        assert sorted(ended) == list(range(8))


@on_both_hosts
async def test_a_job_that_is_signalled_by_the_one_it_has_submitted_is_parked_meanwhile(make_runtime):
    """Thus any number may wait for parked jobs, without a claim."""
    reviews = set[str]()

    @processor(queue=QueueOptions(concurrency=1))
    async def review(asker: str, ctx: Context) -> str:
        approval = await ctx.wait_for("approval", int)
        await runtime.signal(asker, "reviewed", approval)
        return asker

    @processor(queue=QueueOptions(concurrency=1, max_waiting_parents=1))
    async def order(id: str, ctx: Context) -> str:
        reviews.add(await ctx.submit(review, id, key="review"))
        return f"{id}: {await ctx.wait_for('reviewed', int) >= 0}"

    async with make_runtime() as runtime:
        runtime.register(review, order)
        jobs = [await runtime.submit(order, f"order-{n}", job_id=f"order-{n}") for n in range(8)]
        for name in ("order", "review"):
            await _stands(runtime, name, "delayed", 8)
        assert (await runtime.get_queue_stats())["order"].active == 0
        assert len(reviews) == 8
        for id in reviews:
            await runtime.signal(id, "approval", 1)
        with anyio.fail_after(60):
            assert {(await job.result()).unwrap() for job in jobs} == {f"order-{n}: True" for n in range(8)}
