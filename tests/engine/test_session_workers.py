"""Sessions own their workers: how long they are here, what they run in, and what is counted."""

from __future__ import annotations

import gc
import threading
from functools import partial
from math import inf
from types import FrameType
from typing import Any

import anyio
import pytest
import trio
import trio.lowlevel
import trio.testing

from am2z_trio import (
    Context,
    Job,
    JobCancelledError,
    LocalRuntime,
    Processor,
    QueueOptions,
    QueueRuntime,
    ResourceError,
    ResourceLimits,
    RuntimeStateError,
    processor,
)
from am2z_trio.engine.execution.lines import other_threads
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.sessions.hosted import HostedSession
from am2z_trio.engine.work import hogs
from am2z_trio.engine.work.slots import Slot
from am2z_trio.engine.work.worker import Worker
from tests.support.waiting import PATIENCE, until

on_both_hosts = pytest.mark.anyio

ONE = QueueOptions(concurrency=1)


@processor(queue=QueueOptions(concurrency=50))
async def plus_one(n: int) -> int:
    return n + 1


def here(runtime: Runtime) -> list[str]:
    return sorted(runtime.node.sessions.ids())


# --- how long one is here -------------------------------------------------------------------------


@on_both_hosts
@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "idle"])
async def test_what_a_session_was_here_is_gone_with_it(
    make_runtime, stopped: bool, monkeypatch: pytest.MonkeyPatch
):
    """No cycle is left that Python's collector would have to find: neither by it, nor by the thread that
    looks at what the loop is at."""
    looked = threading.Event()

    def looks() -> dict[int, FrameType]:
        frames = other_threads()
        looked.set()
        return frames

    monkeypatch.setattr(hogs, "other_threads", looks)
    monkeypatch.setattr(hogs, "LOOK_EVERY", 0.001)

    @processor
    async def is_looked_at(n: int) -> int:
        looked.clear()
        assert looked.wait(PATIENCE)
        return n + 1

    def left() -> int:
        return sum(isinstance(one, HostedSession | Worker | Slot) for one in gc.get_objects())

    async with make_runtime(session_idle=inf if stopped else 0) as runtime:
        runtime.register(is_looked_at)
        assert (await runtime.execute(is_looked_at, 1)).unwrap() == 2
        gc.collect()
        gc.disable()
        try:
            before = left()
            for number in range(5):
                assert (await runtime.execute(is_looked_at, 1, session=f"s{number}")).unwrap() == 2
                if stopped:
                    await runtime.stop_session(f"s{number}")
            await until(lambda: not here(runtime))
            await until(lambda: left() <= before)
        finally:
            gc.enable()


@on_both_hosts
async def test_a_session_and_its_worker_stay_after_its_last_job_until_it_is_stopped(make_runtime):
    async with make_runtime(session_idle=inf) as runtime:
        runtime.register(plus_one)
        assert (await runtime.execute(plus_one, 1, session="alice")).unwrap() == 2
        assert runtime.workers.has_worker(plus_one, "alice")
        assert runtime.workers.get_worker_count() == 2
        assert await runtime.get_active_sessions() == ["alice"]
        await runtime.stop_session("alice")
        assert not runtime.workers.has_worker(plus_one, "alice")
        assert runtime.workers.get_worker_count() == 1
        assert await runtime.get_active_sessions() == []
        # The same id can be used anew.
        assert (await runtime.execute(plus_one, session="alice")).unwrap() == 3


@on_both_hosts
async def test_a_session_without_jobs_goes_after_a_while_and_its_state_stays(make_runtime):
    async with make_runtime(session_idle=0.05) as runtime:
        runtime.register(plus_one)
        for n in range(3):
            result = await runtime.execute(plus_one, 0 if n == 0 else None, session="alice")
            assert result.unwrap() == n + 1
            await until(lambda: not here(runtime))
            assert not runtime.workers.has_worker(plus_one, "alice")
            assert await runtime.get_active_sessions() == []


@pytest.mark.trio
async def test_sessions_go_one_by_one_as_long_after_their_last_job_as_they_may_stay(autojump_clock):
    async with LocalRuntime(session_idle=10) as runtime:
        runtime.register(plus_one)
        for name in ("a", "b", "c"):
            await runtime.execute(plus_one, 1, session=name)
            await trio.sleep(3)
        # Now 9, 6 and 3 seconds ago.
        await runtime.execute(plus_one, 1, session="b")
        assert here(runtime) == ["a", "b", "c"]
        await trio.sleep(1.5)
        assert here(runtime) == ["b", "c"]
        await trio.sleep(6)
        assert here(runtime) == ["b"]
        async with runtime.session("b"):
            await trio.sleep(1000)
        await trio.sleep(9.5)
        assert here(runtime) == ["b"]
        await trio.sleep(1)
        assert here(runtime) == []


@pytest.mark.trio
async def test_a_session_is_here_for_as_long_as_a_job_of_it_runs(autojump_clock):
    @processor
    async def slow(n: int) -> int:
        await trio.sleep(100)
        return n

    async with LocalRuntime(session_idle=1) as runtime:
        runtime.register(slow)
        job = await runtime.submit(slow, 1, session="alice")
        await trio.sleep(99)
        assert here(runtime) == ["alice"]
        assert (await job.result()).unwrap() == 1
        await trio.sleep(0.5)
        assert here(runtime) == ["alice"]
        await trio.sleep(1)
        assert here(runtime) == []


@on_both_hosts
async def test_a_session_that_is_stopped_elsewhere_is_here_no_more(redis_url):
    async with QueueRuntime(redis_url, workers=False) as client, QueueRuntime(redis_url) as node:
        node.register(plus_one)
        await node.sync_processors()
        for name in ("alice", "bob"):
            assert (await client.execute(plus_one, 1, session=name)).unwrap() == 2
        assert here(node) == ["alice", "bob"]
        await client.stop_session("alice")
        await until(lambda: here(node) == ["bob"])
        assert (await client.execute(plus_one, session="alice")).unwrap() == 3


@on_both_hosts
async def test_a_processor_that_is_unregistered_takes_its_workers_with_it(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        for _ in range(3):
            assert (await runtime.execute(plus_one, 1, session="alice")).unwrap() == 2
            runtime.workers.create_session_worker(plus_one, "alice")
            runtime.unregister(plus_one)
            await until(lambda: not runtime.workers.has_worker(plus_one, "alice"))
            assert here(runtime) == ["alice"]
            runtime.register(plus_one)


# --- as many as may be ----------------------------------------------------------------------------


@on_both_hosts
async def test_the_session_without_jobs_for_longest_makes_room_for_another(make_runtime):
    async with make_runtime(limits=ResourceLimits(max_sessions=2)) as runtime:
        runtime.register(plus_one)
        for name in ("a", "b", "a"):
            await runtime.execute(plus_one, 1, session=name)
        async with runtime.session("c"):
            assert here(runtime) == ["a", "c"]
            # A job's session, too.
            await runtime.execute(plus_one, 1, session="d")
            assert here(runtime) == ["c", "d"]
            assert (await runtime.execute(plus_one, session="a")).unwrap() == 3
            assert here(runtime) == ["a", "c"]


@on_both_hosts
async def test_where_all_sessions_are_busy_or_held_one_more_is_refused_with_the_figures(make_runtime):
    running, go_on = anyio.Event(), anyio.Event()

    @processor
    async def waits(n: int) -> int:
        running.set()
        await go_on.wait()
        return n

    async with make_runtime(limits=ResourceLimits(max_sessions=3)) as runtime:
        runtime.register(waits, plus_one)
        runtime.workers.create_session_worker(plus_one, "pinned")
        job = await runtime.submit(waits, 1, session="busy")
        await running.wait()
        async with runtime.session("held"):
            with pytest.raises(
                ResourceError, match="3 sessions are open on this node, the limit is 3"
            ) as refused:
                async with runtime.session("one more"):
                    pass
            assert refused.value.context == {"sessions": 3, "limit": 3}
            with pytest.raises(ResourceError, match="the limit is 3"):
                runtime.workers.create_session_worker(plus_one, "one more")
            # A job is run all the same, and its session goes with it.
            assert (await runtime.execute(plus_one, 1, session="job")).unwrap() == 2
            assert here(runtime) == ["busy", "held", "pinned"]
            go_on.set()
            assert (await job.result()).unwrap() == 1
            await until(lambda: runtime.get_stats().claimed == 0)
        async with runtime.session("one more"):
            assert "one more" in here(runtime)
            assert "pinned" in here(runtime)


@on_both_hosts
async def test_of_sessions_beyond_the_limit_none_stays_after_its_jobs(make_runtime):
    running, go_on = 0, anyio.Event()

    @processor(queue=QueueOptions(concurrency=10))
    async def waits(n: int) -> int:
        nonlocal running
        running += 1
        await go_on.wait()
        return n

    async with make_runtime(session_idle=inf, limits=ResourceLimits(max_sessions=3)) as runtime:
        runtime.register(waits)
        jobs = [await runtime.submit(waits, n, session=f"s{n}") for n in range(10)]
        await until(lambda: running == 10)
        assert len(here(runtime)) == 10
        go_on.set()
        assert [(await job.result()).unwrap() for job in jobs] == list(range(10))
        await until(lambda: runtime.get_stats().claimed == 0)
        assert len(here(runtime)) == 3


# --- what its jobs run in -------------------------------------------------------------------------


@on_both_hosts
async def test_jobs_of_a_session_share_a_task_and_no_two_sessions_do(make_runtime):
    tasks = dict[str, set[int]]()

    @processor(queue=ONE)
    async def noted(n: int, ctx: Context) -> int:
        tasks.setdefault(ctx.session_id or "", set()).add(anyio.get_current_task().id)
        return n

    async with make_runtime() as runtime:
        runtime.register(noted)
        for _ in range(3):
            for session in ("a", "b", None):
                assert (await runtime.execute(noted, 1, session=session)).success
        assert sorted(map(len, tasks.values())) == [1, 1, 1]
        assert len(set.union(*tasks.values())) == 3


@pytest.mark.trio
async def test_the_tasks_of_a_session_are_below_its_nursery_and_one_worker_per_processor():
    found = dict[str, list[str]]()

    async def body(n: int, ctx: Context) -> int:
        names, task = list[str](), trio.lowlevel.current_task()
        while task.parent_nursery is not None:
            names.append(task.name)
            task = task.parent_nursery.parent_task
        found[f"{ctx.processor} {ctx.session_id}"] = names
        return n

    one, two = (Processor(body, name=name, state_type=int) for name in ("one", "two"))
    async with LocalRuntime() as runtime:
        runtime.register(one, two)
        for which in (one, two):
            await runtime.execute(which, 1, session="alice")
            await runtime.execute(which, 1)
    # A session's own task runs the worker that it begins with: most have no other.
    assert found["one alice"][:2] == ["session alice", "am2z sessions"]
    assert found["two alice"][:3] == ["two worker", "session alice", "am2z sessions"]
    assert found["one None"][:3] == ["one worker", "no session", "am2z sessions"]


@pytest.mark.trio
@pytest.mark.parametrize(("at_once", "tasks"), [(1, 1), (10, 2)])
async def test_a_session_without_jobs_keeps_few_tasks(at_once: int, tasks: int):
    @processor(queue=QueueOptions(concurrency=100))
    async def meets(n: int) -> int:
        await trio.testing.wait_all_tasks_blocked()
        return n

    async with LocalRuntime() as runtime:
        runtime.register(meets)
        await runtime.execute_many(meets, range(10), session="first")
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for n in range(20):
            await runtime.execute_many(meets, range(at_once), session=f"s{n}")
        await trio.testing.wait_all_tasks_blocked()
        # Its own, which its worker has, and one more where that had to grow.
        assert trio.lowlevel.current_statistics().tasks_living - before <= tasks * 20


@on_both_hosts
async def test_the_jobs_of_all_sessions_together_keep_to_the_concurrency(make_runtime):
    running, most = 0, 0

    @processor(queue=QueueOptions(concurrency=4))
    async def counted(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.001)
        running -= 1
        return n

    async with make_runtime() as runtime:
        runtime.register(counted)
        async with anyio.create_task_group() as tasks:
            for session in (None, "a", "b", "c", "d", "e"):
                tasks.start_soon(partial(runtime.execute_many, counted, range(20), session=session))
    assert most == 4


class _Ahead:
    """A runtime whose one place is taken by a job of "alice", with jobs of others claimed ahead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._running = anyio.Event()

        @processor(queue=ONE)
        async def one(n: int) -> int:
            if n < 0:
                self._running.set()
                await anyio.sleep_forever()
            return n

        self.processor = one

    async def claim(self, runtime: Runtime, *sessions: str | None) -> list[Job[int]]:
        runtime.register(self.processor)
        await runtime.execute(self.processor, 1)
        (feeder,) = runtime.node.fleet.workers.values()
        # As where a claim takes long and the jobs do not.
        feeder.delivery.prefetch.claimed(100.0)
        self._monkeypatch.setattr(feeder.delivery, "release_stranded", lambda: None)
        await runtime.submit(self.processor, -1, session="alice")
        await self._running.wait()
        jobs = [
            await runtime.submit(self.processor, n, session=session) for n, session in enumerate(sessions)
        ]
        await until(lambda: len(feeder.delivery.buffer) == len(sessions))
        return jobs


@on_both_hosts
async def test_where_a_session_is_stopped_the_jobs_of_others_that_are_here_have_its_place(
    make_runtime, monkeypatch: pytest.MonkeyPatch
):
    ahead = _Ahead(monkeypatch)
    async with make_runtime() as runtime:
        jobs = await ahead.claim(runtime, "bob", None, "carol")
        await runtime.stop_session("alice")
        with anyio.fail_after(20):
            assert [(await job.result()).unwrap() for job in jobs] == [0, 1, 2]


@on_both_hosts
async def test_a_job_that_is_stopped_before_its_turn_brings_no_worker_back(
    make_runtime, monkeypatch: pytest.MonkeyPatch
):
    ahead = _Ahead(monkeypatch)
    async with make_runtime() as runtime:
        jobs = await ahead.claim(runtime, "alice", "alice")
        assert await runtime.workers.stop_worker(ahead.processor, "alice")
        with anyio.fail_after(20):
            for job in jobs:
                assert isinstance((await job.result()).error, JobCancelledError)
        assert not runtime.workers.has_worker(ahead.processor, "alice")


@on_both_hosts
async def test_the_node_runs_no_more_than_it_may_in_whatever_sessions(make_runtime):
    running = most = 0

    def enters() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)

    async def body(n: int, ctx: Context) -> int:
        nonlocal running
        enters()
        await anyio.sleep(0.001)
        if n == 7:
            # Its room is another's meanwhile.
            running -= 1
            await ctx.call("one", 1)
            enters()
        running -= 1
        return n

    one, two = (Processor(body, name=name, state_type=int) for name in ("one", "two"))
    async with make_runtime(max_running=3) as runtime:
        runtime.register(one, two)
        async with anyio.create_task_group() as tasks:
            for which in (one, two):
                for session in (None, "a", "b", "c"):
                    tasks.start_soon(partial(runtime.execute_many, which, range(10), session=session))
        await until(lambda: runtime.get_stats().claimed == 0)
        assert runtime.get_stats().running == 0
    assert most == 3


@on_both_hosts
async def test_a_pure_client_has_no_workers_for_a_session(redis_url):
    async with QueueRuntime(redis_url, workers=False) as client:
        client.register(plus_one)
        with pytest.raises(RuntimeStateError, match="workers=False"):
            client.workers.create_session_worker(plus_one, "alice")
        assert client.workers.get_worker_count() == 0
        assert here(client) == []


@on_both_hosts
async def test_a_worker_that_is_wanted_for_a_session_serves_its_processor_again(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        assert await runtime.workers.stop_worker(plus_one)
        runtime.workers.create_session_worker(plus_one, "alice")
        assert runtime.workers.has_worker(plus_one)
        assert runtime.workers.has_worker(plus_one, "alice")
        assert (await runtime.execute(plus_one, 1, session="alice")).unwrap() == 2


def test_how_long_a_session_stays_is_a_number_of_seconds():
    for wrong in (-1, "1", None, float("nan"), -inf):
        with pytest.raises(Exception, match="session_idle"):
            LocalRuntime(session_idle=wrong)  # type: ignore[arg-type]
    _: Any = LocalRuntime(session_idle=0), LocalRuntime(session_idle=inf)


# --- figures --------------------------------------------------------------------------------------


@on_both_hosts
async def test_a_sessions_figures_tell_what_its_workers_have_done_per_processor(make_runtime):
    running, go_on = anyio.Event(), anyio.Event()

    @processor
    async def fails(n: int) -> int:
        raise ValueError("no")

    @processor
    async def waits(n: int) -> int:
        running.set()
        await go_on.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(plus_one, fails, waits)
        assert (await runtime.get_session_stats("alice")).workers == {}
        for n in range(3):
            await runtime.execute(plus_one, n, session="alice")
        await runtime.execute(plus_one, 1, session="bob")
        await runtime.execute(fails, 1, session="alice")
        job = await runtime.submit(waits, 1, session="alice")
        await running.wait()
        await until(lambda: runtime.get_stats().claimed == 1)
        stats = await runtime.get_session_stats("alice")
        assert (stats.running_here, stats.workers_here) == (1, 3)
        told = {name: (one.running, one.completed, one.failed) for name, one in stats.workers.items()}
        assert told == {"plus_one": (0, 3, 0), "fails": (0, 0, 1), "waits": (1, 0, 0)}
        go_on.set()
        await job.result()
        await runtime.stop_session("alice")
        assert (await runtime.get_session_stats("alice")).workers == {}


# --- stops that were not heard of -----------------------------------------------------------------


@on_both_hosts
async def test_a_worker_that_is_asked_for_after_a_stop_is_not_hit_by_it(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        await runtime.stop_session("alice")
        runtime.workers.create_session_worker(plus_one, "alice")
        for _ in range(3):
            await runtime.node.stops.look()
            await anyio.wait_all_tasks_blocked()
        assert runtime.workers.has_worker(plus_one, "alice")
        assert (await runtime.execute(plus_one, 1, session="alice")).unwrap() == 2


@on_both_hosts
async def test_an_idle_session_whose_stop_nobody_told_of_ends_all_the_same(redis_url):
    async with QueueRuntime(redis_url, session_idle=inf) as node, QueueRuntime(redis_url) as other:
        node.register(plus_one)
        await node.stop_session("alice")
        for session in ("alice", "bob"):
            assert (await node.execute(plus_one, 1, session=session)).unwrap() == 2
        await node.node.stops.look()
        assert here(node) == ["alice", "bob"]
        node.node.inbox.on_message = lambda message: None  # type: ignore[method-assign]
        await other.stop_session("alice")
        await node.node.stops.look()
        await until(lambda: here(node) == ["bob"])
