"""Sessions are nurseries: opening, stopping, cancelling, and who else notices."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from am2z_trio import (
    Context,
    JobCancelledError,
    JobOptions,
    ProcessorNotFoundError,
    QueueOptions,
    QueueRuntime,
    ResourceError,
    ResourceLimits,
    RuntimeStateError,
    SessionStoppedError,
    processor,
)
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

HOSTILE = ["1", "tenant-1", "a", "a_b", "b_c", "{a}", "a:b", "\r\n", "é", "x" * 5_000, "~a", "a@b", "a b"]


@processor(queue=QueueOptions(concurrency=50))
async def plus_one(n: int) -> int:
    return n + 1


class Slow:
    """A processor that never returns, and what it noticed."""

    def __init__(self, concurrency: int = 50) -> None:
        self.running: list[str] = []
        self.stopped: list[str] = []
        self.changed = anyio.Event()

        @processor(queue=QueueOptions(concurrency=concurrency))
        async def slow(n: int, ctx: Context) -> int:
            name = f"{ctx.session_id}/{n}"
            self.running.append(name)
            self._tell()
            try:
                await anyio.sleep_forever()
            finally:
                self.stopped.append(name)
                self._tell()
            return n

        self.processor = slow

    def _tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def wait_running(self, count: int) -> None:
        with anyio.fail_after(20):
            while len(self.running) < count:
                await self.changed.wait()


@pytest.mark.parametrize("idle", [0, 60])
async def test_an_open_session_executes_and_waits_for_what_was_submitted(make_runtime, idle):
    async with make_runtime(session_idle=idle) as runtime:
        async with runtime.session("alice", processors=[plus_one]) as session:
            assert (await session.execute(plus_one, 1)).unwrap() == 2
            assert [r.state for r in await session.execute_many(plus_one, [5, 6])] == [6, 7]
            await session.state.set(10)
            job = await session.submit(plus_one)
            assert "alice" in await runtime.get_active_sessions()
        assert await job.status() == "completed"
        assert (await runtime.state.get("alice", int)).state == 11
        assert await runtime.get_active_sessions() == (["alice"] if idle else [])
        assert (await runtime.execute_in_session(plus_one, 1, "alice")).unwrap() == 2


@pytest.mark.parametrize("grace", [0.0, 0.05])
async def test_stopping_ends_running_and_waiting_jobs_and_wakes_their_callers(make_runtime, grace):
    slow, results = Slow(concurrency=3), list[Any]()
    async with make_runtime() as runtime:
        runtime.register(slow.processor, plus_one)
        await runtime.state.set("alice", 1)

        async def call(n: int) -> None:
            results.append(await runtime.execute(slow.processor, n, session="alice"))

        async with anyio.create_task_group() as tasks:
            for n in range(8):
                tasks.start_soon(call, n)
            await slow.wait_running(3)
            stats = await runtime.get_session_stats("alice")
            # A few may have been claimed ahead.
            assert stats.active >= 3
            assert (stats.active + stats.waiting, stats.running_here, stats.version) == (8, 3, 1)
            with anyio.fail_after(20):
                await runtime.stop_session("alice", grace)
            assert sorted(slow.stopped) == sorted(slow.running)
            assert len(slow.running) == 3
        assert len(results) == 8
        assert all(isinstance(result.error, SessionStoppedError) for result in results)
        stats = await runtime.get_session_stats("alice")
        assert (stats.active, stats.waiting, stats.delayed, stats.running_here) == (0, 0, 0, 0)
        assert await runtime.get_active_sessions() == []
        assert (await runtime.state.get("alice", int)).state == 1
        # The same id can be used anew.
        assert (await runtime.execute(plus_one, session="alice")).unwrap() == 2


async def test_any_number_of_callers_may_stop_a_session_whose_jobs_take_their_time(make_runtime):
    running, go_on = anyio.Event(), anyio.Event()
    stopped: list[int] = []

    @processor
    async def cleans_up(n: int) -> int:
        running.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await go_on.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(cleans_up)

        async def stop(n: int) -> None:
            await runtime.stop_session("alice")
            stopped.append(n)

        await runtime.submit(cleans_up, 1, session="alice")
        await running.wait()
        try:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    for n in range(3):
                        tasks.start_soon(stop, n)
                    await anyio.wait_all_tasks_blocked()
                    assert not stopped
                    go_on.set()
        finally:
            go_on.set()
        assert sorted(stopped) == [0, 1, 2]


async def test_a_job_that_ends_within_the_grace_has_succeeded(make_runtime):
    running, go_on = anyio.Event(), anyio.Event()
    results: list[Any] = []

    @processor
    async def patient(n: int) -> int:
        running.set()
        await go_on.wait()
        return n + 1

    async with make_runtime() as runtime:
        runtime.register(patient)

        async def call() -> None:
            results.append(await runtime.execute(patient, 1, session="s"))

        async def stop() -> None:
            await runtime.stop_session("s", 20)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await running.wait()
            tasks.start_soon(stop)
            with anyio.fail_after(20):
                while True:
                    refused = await runtime.execute(patient, 2, session="s")
                    if isinstance(refused.error, SessionStoppedError):
                        break
            go_on.set()
    assert results[0].unwrap() == 2


async def test_sessions_with_hostile_names_are_stopped_one_by_one(make_runtime):
    slow, results = Slow(), dict[str, Any]()
    async with make_runtime() as runtime:
        runtime.register(slow.processor)

        async def call(name: str) -> None:
            results[name] = await runtime.execute(slow.processor, 1, session=name)

        async with anyio.create_task_group() as tasks:
            for name in HOSTILE:
                tasks.start_soon(call, name)
            await slow.wait_running(len(HOSTILE))
            assert sorted(await runtime.get_active_sessions()) == sorted(HOSTILE)
            for index, name in enumerate(HOSTILE[:-1]):
                await runtime.stop_session(name)
                assert len(slow.stopped) == index + 1
                assert slow.stopped[-1] == f"{name}/1"
            assert await runtime.clean_all_sessions() == 1
    assert all(isinstance(result.error, SessionStoppedError) for result in results.values())


async def test_cancelling_the_sessions_scope_stops_it(make_runtime):
    slow = Slow()
    results: list[Any] = []
    async with make_runtime() as runtime:
        runtime.register(slow.processor)

        async def call() -> None:
            results.append(await runtime.execute(slow.processor, 1, session="alice"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await slow.wait_running(1)
            with anyio.fail_after(20):
                async with runtime.session("alice") as session:
                    session.cancel_scope.cancel()
                    await anyio.sleep_forever()
        assert isinstance(results[0].error, SessionStoppedError)
        assert await runtime.get_active_sessions() == []


async def test_a_block_whose_session_is_stopped_by_others_hears_of_it(make_runtime):
    async with make_runtime() as runtime:
        opened = anyio.Event()

        async def hold() -> None:
            with pytest.raises(SessionStoppedError, match="alice"):
                async with runtime.session("alice"):
                    opened.set()
                    await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await opened.wait()
            with anyio.fail_after(20):
                await runtime.stop_session("alice")


async def test_a_failing_block_stops_its_session(make_runtime):
    slow = Slow()
    async with make_runtime() as runtime:
        runtime.register(slow.processor)
        with pytest.raises(ZeroDivisionError), anyio.fail_after(20):
            async with runtime.session("alice") as session:
                job = await session.submit(slow.processor, 1)
                await slow.wait_running(1)
                raise ZeroDivisionError
        with anyio.fail_after(20):
            assert isinstance((await job.result()).error, SessionStoppedError)


async def test_stopping_reaches_other_nodes(redis_url):
    slow = Slow()
    results: list[Any] = []
    async with QueueRuntime(redis_url, workers=False) as client, QueueRuntime(redis_url) as worker:
        worker.register(slow.processor)
        await client.sync_processors()

        async def call() -> None:
            results.append(await client.execute(slow.processor, 1, session="alice"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await slow.wait_running(1)
            with anyio.fail_after(20):
                await client.stop_session("alice")
                while not slow.stopped:
                    await slow.changed.wait()
        assert isinstance(results[0].error, SessionStoppedError)
        await until(lambda: not worker.get_stats().claimed)


async def test_a_cancelled_caller_ends_its_job_and_the_jobs_that_one_called(make_runtime):
    slow = Slow()

    @processor
    async def parent(n: int, ctx: Context) -> int:
        return await ctx.call(slow.processor, n)

    async with make_runtime() as runtime:
        runtime.register(parent, slow.processor)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.execute, parent, 1)
            await slow.wait_running(1)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(20):
            while not slow.stopped:
                await slow.changed.wait()
            while any(s.active or s.waiting for s in (await runtime.get_queue_stats()).values()):
                await anyio.sleep(0.005)


async def test_a_light_session_waits_for_no_backlog(make_runtime):
    order: list[str] = []

    @processor(queue=QueueOptions(concurrency=1))
    async def work(n: int, ctx: Context) -> int:
        order.append(ctx.session_id or "")
        await anyio.sleep(0.001)
        return n

    async with make_runtime() as runtime:
        runtime.register(work)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_many, runtime, work, 300)
            await until(lambda: len(order) >= 5)
            before = len(order)
            assert (await runtime.execute(work, 1, session="light")).success
            between = len(order) - before
            tasks.cancel_scope.cancel()
    assert between < 150, "the light session waited for the heavy one's backlog"


async def _many(runtime: Any, work: Any, count: int) -> None:
    await runtime.execute_many(work, range(count), session="heavy")


async def test_the_worker_manager_counts_and_stops(make_runtime):
    slow = Slow()
    async with make_runtime() as runtime:
        runtime.register(plus_one, slow.processor)
        workers = runtime.workers
        assert workers.has_worker(plus_one)
        assert workers.has_worker("slow")
        assert not workers.has_worker("slow", "alice")
        assert not workers.has_worker("nobody")
        assert workers.get_worker_count() == 2
        workers.create_session_worker(plus_one, "alice")
        assert workers.has_worker(plus_one, "alice")
        assert workers.get_worker_count() == 3
        with pytest.raises(ProcessorNotFoundError, match="nobody"):
            workers.create_session_worker("nobody", "alice")
        job = await runtime.submit(slow.processor, 1, session="alice")
        await slow.wait_running(1)
        with anyio.fail_after(20):
            assert await workers.stop_worker(slow.processor, "alice")
            assert isinstance((await job.result()).error, JobCancelledError)
            assert not workers.has_worker(slow.processor, "alice")
            assert await workers.stop_session_workers("alice") == 1
            assert workers.get_worker_count() == 2
            assert await workers.stop_worker(plus_one)
            assert not await workers.stop_worker(plus_one)
            runtime.register(plus_one)
            assert (await runtime.execute(plus_one, 1)).unwrap() == 2
            assert await workers.stop_all() == 2
        assert workers.get_worker_count() == 0


async def test_health_says_whether_the_node_can_work(make_runtime):
    runtime = make_runtime()
    health = await runtime.connection.check_health()
    assert (health.healthy, health.connections) == (False, {})
    async with runtime:
        health = await runtime.connection.check_health()
        assert health.healthy
        assert set(health.connections.values()) == {"ready"}
        assert health.round_trip is not None
        await runtime.stop()
        health = await runtime.connection.check_health()
        assert not health.healthy
        assert "stopping" in health.reason


async def test_health_of_a_node_whose_redis_is_gone(spawn_redis):
    server = spawn_redis()
    async with QueueRuntime(server.url, shutdown_grace=0.1) as runtime:
        assert (await runtime.connection.check_health()).healthy
        server.kill()
        with anyio.fail_after(20):
            health = await runtime.connection.check_health()
        assert not health.healthy
        assert health.reason


async def test_limits_refuse_with_figures(redis_url):
    slow = Slow(concurrency=1)
    limits = ResourceLimits(max_sessions=2, max_queue_size=3)
    async with QueueRuntime(redis_url, limits=limits) as runtime:
        runtime.register(slow.processor)
        async with runtime.session("a"), runtime.session("b"):
            with pytest.raises(ResourceError, match="2 sessions are open on this node, the limit is 2"):
                async with runtime.session("c"):
                    pass
            async with runtime.session("a"):
                pass
        jobs = [await runtime.submit(slow.processor, 0)]
        await slow.wait_running(1)
        jobs += [await runtime.submit(slow.processor, n) for n in range(1, 4)]
        result = await runtime.execute(slow.processor, 9)
        assert isinstance(result.error, ResourceError)
        assert "3 jobs wait for 'slow', the limit is 3" in str(result.error)
        for job in jobs:
            await job.cancel()
    async with QueueRuntime(redis_url, limits=ResourceLimits(max_memory_mb=1)) as runtime:
        runtime.register(plus_one)
        with anyio.fail_after(20):
            refused = False
            while not refused:
                # A job that was accepted just before waits for memory, like all that wait.
                with anyio.move_on_after(0.2):
                    refused = not (await runtime.execute(plus_one, 1)).success
        error = (await runtime.execute(plus_one, 1)).error
        assert isinstance(error, ResourceError)
        assert "max_memory_mb" in str(error)
        assert not (await runtime.connection.check_health()).healthy


async def test_the_node_runs_no_more_than_it_may(redis_url):
    running, most = 0, 0

    async def body(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.002)
        running -= 1
        return n

    from am2z_trio import Processor

    one, two = (Processor(body, name=name, state_type=int) for name in ("one", "two"))
    async with QueueRuntime(redis_url, max_running=3) as runtime:
        runtime.register(one, two)
        async with anyio.create_task_group() as tasks:
            for processor_ in (one, two):
                tasks.start_soon(runtime.execute_many, processor_, range(30))
    assert most == 3


async def test_a_hundred_running_jobs_go_back_when_the_host_is_cancelled(redis_url):
    slow = Slow(concurrency=100)
    async with QueueRuntime(redis_url, workers=False) as client:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:

                async def serve(*, task_status: Any) -> None:
                    async with QueueRuntime(redis_url) as runtime:
                        runtime.register(slow.processor)
                        task_status.started()
                        await anyio.sleep_forever()

                await tasks.start(serve)
                await client.sync_processors()
                jobs = [await client.submit(slow.processor, n) for n in range(100)]
                await slow.wait_running(100)
                tasks.cancel_scope.cancel()
        stats = (await client.get_queue_stats())["slow"]
        assert (stats.waiting, stats.active) == (100, 0)
        views = await client.node.store.view([job.id for job in jobs])
        assert {view.attempt for view in views if view is not None} == {1}
        async with QueueRuntime(redis_url) as other:
            other.register(slow.processor)
            await slow.wait_running(200)
            for job in jobs:
                await job.cancel()


@pytest.mark.parametrize(
    ("away", "end"), [("killed", "left"), ("hanging", "cancelled"), ("killed", "stopped")]
)
async def test_the_end_is_bounded_when_redis_is_away(spawn_redis, away, end):
    slow, server = Slow(), spawn_redis()
    with anyio.fail_after(30), anyio.CancelScope() as host:
        async with QueueRuntime(server.url, shutdown_grace=0.1) as runtime:
            runtime.register(slow.processor)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runtime.execute, slow.processor, 1)
                await slow.wait_running(1)
                server.kill() if away == "killed" else server.pause()
                if end == "cancelled":
                    host.cancel()
                elif end == "stopped":
                    await runtime.stop()
                tasks.cancel_scope.cancel()
    # Only cancellation has left the block, and the processor has ended before it was left.
    assert slow.stopped == ["None/1"]
    if away == "hanging":
        server.resume()


@pytest.mark.parametrize(("stopped", "looks"), [("other", 1), ("mine", 2)])
async def test_who_opens_a_session_looks_again_for_a_stop_of_that_one_alone(
    make_runtime, monkeypatch, stopped: str, looks: int
):
    async with make_runtime() as runtime:
        store, asked = runtime.node.store, list[list[str]]()
        answer: Any = type(store).stops

        async def stops(self: Any, sessions: list[str]) -> Any:
            asked.append(sessions)
            if stopped == "other" or len(asked) == 1:
                # One is stopped while it is looked.
                runtime.node.stops.on_cancelled(stopped)
                await runtime.node.stops.wait_stopped(stopped)
            return await answer(self, sessions)

        monkeypatch.setattr(type(store), "stops", stops)
        with anyio.fail_after(PATIENCE):
            async with runtime.session("mine"):
                assert asked == [["mine"]] * looks


async def test_entering_can_be_cancelled_while_redis_hangs(spawn_redis):
    server = spawn_redis()
    server.pause()
    with anyio.fail_after(30), anyio.move_on_after(0.1) as scope:
        async with QueueRuntime(server.url):
            pytest.fail("entered")
    assert scope.cancelled_caught
    server.resume()


async def test_a_stopped_session_leaves_no_key_but_its_state(redis_url, redis_server):
    slow = Slow(concurrency=2)
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(slow.processor, plus_one)
        await runtime.execute(plus_one, 1)
        with redis_server.client() as admin:
            before = set(admin.scan_iter())
        async with anyio.create_task_group() as tasks:
            await runtime.state.set("s", 1, ttl=60)
            for n in range(5):
                tasks.start_soon(partial(runtime.execute, slow.processor, n, session="s"))
            tasks.start_soon(
                partial(runtime.execute, plus_one, 1, session="s", options=JobOptions(delay=60, priority=1))
            )
            await slow.wait_running(2)
            while (await runtime.get_session_stats("s")).delayed < 1:
                await anyio.sleep(0.005)
            await runtime.stop_session("s")
        with redis_server.client() as admin:
            left = {key.decode() for key in set(admin.scan_iter()) - before}
            # What its jobs have become is kept for a while, as for all jobs.
            outcomes = {key for key in left if ":job:" in key}
            assert all(admin.ttl(key) > 0 for key in outcomes)
        base = "{am2z:0}:"
        assert left - outcomes - {f"{base}q:slow:meta", f"{base}q:slow:recent"} == {
            f"{base}session:s",
            # What this node's last write of it became is known for a week.
            f"{base}session:s:receipts",
            f"{base}expiries",
            # That it was stopped is known for an hour.
            f"{base}stopped",
        }


async def test_a_processors_cleanup_runs_when_its_session_is_stopped(make_runtime):
    cleaned: list[str] = []
    running = anyio.Event()

    @processor
    async def careful(n: int, ctx: Context) -> int:
        ctx.nursery.start_soon(anyio.sleep_forever)
        try:
            running.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await anyio.sleep(0.01)
                cleaned.append(ctx.execution_id)
        return n

    async with make_runtime() as runtime:
        runtime.register(careful)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(runtime.execute, careful, 1, session="s", job_id="it"))
            await running.wait()
            await runtime.stop_session("s")
            assert cleaned == ["@s/it"]


async def test_a_job_of_a_stopped_session_can_write_no_more(make_runtime):
    """It does not hear that it is cancelled; its state is refused, and a new job's is not."""
    running, go_on = anyio.Event(), anyio.Event()

    @processor
    async def deaf(n: int) -> int:
        running.set()
        with anyio.CancelScope(shield=True):
            await go_on.wait()
        return 1_000

    async with make_runtime() as runtime:
        runtime.register(deaf, plus_one)
        await runtime.state.set("s", 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(runtime.execute, deaf, session="s"))
            await running.wait()
            tasks.start_soon(runtime.stop_session, "s")
            while (await runtime.get_session_stats("s")).active:
                await anyio.sleep(0.001)
            go_on.set()
        assert (await runtime.execute(plus_one, session="s")).unwrap() == 2


async def test_bad_calls_are_refused_clearly(make_runtime):
    runtime = make_runtime()
    with pytest.raises(RuntimeStateError):
        await runtime.stop_session("s")
    async with runtime:
        for bad in ("", 1):
            with pytest.raises(Exception, match="session="):
                await runtime.stop_session(bad)
            with pytest.raises(Exception, match="session="):
                async with runtime.session(bad):
                    pass
        await runtime.stop_session("never used")
