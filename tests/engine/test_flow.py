"""Flow control: rate limits, sizes, pauses, concurrency over all nodes and per session."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
import trio

from am2z_trio import (
    ConfigurationError,
    Context,
    Job,
    JobCancelledError,
    JobOptions,
    LocalRuntime,
    QueueOptions,
    QueueRuntime,
    RateLimit,
    ResourceError,
    RetryPolicy,
    processor,
)
from am2z_trio.engine.runtime.runtime import Runtime
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio


class Gauge:
    """A processor that counts how many of it run at a time."""

    def __init__(self, **options: Any) -> None:
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.order: list[int] = []

        @processor(queue=QueueOptions(**options))
        async def gauge(n: int, ctx: Context) -> int:
            self.order.append(n)
            for key in ("all", ctx.session_id or ""):
                self.now[key] = self.now.get(key, 0) + 1
                self.most[key] = max(self.most.get(key, 0), self.now[key])
            await anyio.sleep(0.005)
            for key in ("all", ctx.session_id or ""):
                self.now[key] -= 1
            return n

        self.processor = gauge


async def run_all(runtime: Runtime, gauge: Gauge, sessions: list[str | None], count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(
                partial(runtime.execute_many, gauge.processor, range(1, count + 1), session=session)
            )


@on_both_hosts
async def test_all_nodes_together_run_no_more_than_may_be_active(redis_url):
    gauge = Gauge(concurrency=10, global_concurrency=3)
    async with QueueRuntime(redis_url) as one, QueueRuntime(redis_url) as other:
        one.register(gauge.processor)
        other.register(gauge.processor)
        with anyio.fail_after(30):
            await run_all(one, gauge, [None, "a"], 30)
        assert gauge.most["all"] == 3
        assert one.get_stats().jobs_run + other.get_stats().jobs_run == 60


@on_both_hosts
async def test_global_concurrency_in_one_node(make_runtime):
    gauge = Gauge(concurrency=10, global_concurrency=2)
    async with make_runtime() as runtime:
        runtime.register(gauge.processor)
        with anyio.fail_after(30):
            await run_all(runtime, gauge, [None], 20)
    assert gauge.most["all"] == 2


@on_both_hosts
@pytest.mark.parametrize("priority", [0, 1])
async def test_no_more_of_a_session_than_may_run_and_the_others_side_by_side(make_runtime, priority):
    gauge = Gauge(concurrency=10, session_concurrency=1, priority=priority)
    async with make_runtime() as runtime:
        runtime.register(gauge.processor)
        with anyio.fail_after(30):
            await run_all(runtime, gauge, ["a", "b", "c"], 10)
        assert (gauge.most["a"], gauge.most["b"], gauge.most["c"]) == (1, 1, 1)
        assert gauge.most["all"] == 3
        # In a row: in the order in which they came.
        gauge.order.clear()
        with anyio.fail_after(30):
            await run_all(runtime, gauge, ["a"], 10)
        assert gauge.order == list(range(1, 11))


@on_both_hosts
@pytest.mark.parametrize("bounce_back", [True, False])
async def test_a_rate_limit_holds_in_every_window(make_runtime, bounce_back):
    started: list[float] = []
    limiter = RateLimit(max=5, duration=0.2, bounce_back=bounce_back)

    @processor(queue=QueueOptions(limiter=limiter))
    async def limited(n: int) -> int:
        started.append(anyio.current_time())
        return n

    async with make_runtime() as runtime:
        runtime.register(limited)
        grants: list[int] = []

        def note(event: Any) -> None:
            grants.append(event.at)

        runtime.on("job:started", note)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(runtime.execute_many, limited, range(1, 18)))
            await until(lambda: len(started) >= 5)
            stats = (await runtime.get_queue_stats())["limited"]
            if len(started) == 5:
                assert (stats.waiting > 0, stats.delayed > 0) == (bounce_back, not bounce_back)
        await until(lambda: len(grants) >= 17)
    # By the store's clock, in ms: the sixth after any job starts at least a window later.
    assert all(later - earlier >= 200 for earlier, later in zip(grants, grants[5:], strict=False))


@on_both_hosts
async def test_rate_limit_rpm_is_a_limit_per_minute(make_runtime):
    @processor(queue=QueueOptions(rate_limit_rpm=2))
    async def rare(n: int) -> int:
        return n

    async with make_runtime() as runtime:
        runtime.register(rare)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.execute_many, rare, [1, 2, 3])
            with anyio.fail_after(20):
                while (stats := (await runtime.get_queue_stats())["rare"]).completed < 2:
                    await anyio.sleep(0.01)
            assert (stats.active, stats.waiting + stats.delayed) == (0, 1)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(20):
            while (stats := (await runtime.get_queue_stats())["rare"]).cancelled < 1:
                await anyio.sleep(0.01)
        assert (stats.completed, stats.cancelled) == (2, 1)


@on_both_hosts
async def test_a_paused_queue_starts_nothing_until_it_is_resumed(make_runtime):
    gauge = Gauge()
    async with make_runtime() as runtime:
        runtime.register(gauge.processor)
        await runtime.execute(gauge.processor, 1)
        async with runtime.events("queue:*") as events:
            await runtime.pause(gauge.processor)
            jobs = [await runtime.submit(gauge.processor, n, session="s") for n in (1, 2)]
            late = await runtime.submit(gauge.processor, 3, options=JobOptions(delay=0.01))
            with anyio.fail_after(20):
                while (await late.status()) != "waiting":
                    await anyio.sleep(0.05)
                    await runtime.node.store.tick()
                    await runtime.submit(gauge.processor, 9)
            stats = (await runtime.get_queue_stats())["gauge"]
            assert (stats.waiting, stats.active) == (0, 0)
            assert stats.paused >= 3
            assert gauge.order == [1]
            await runtime.resume("gauge")
            with anyio.fail_after(20):
                for job in (*jobs, late):
                    assert (await job.result()).success
                assert [(await anext(events)).name, (await anext(events)).name] == [
                    "queue:paused",
                    "queue:resumed",
                ]


@on_both_hosts
async def test_a_full_queue_refuses_with_figures(make_runtime):
    gauge = Gauge(max_size=2)
    async with make_runtime() as runtime:
        runtime.register(gauge.processor)
        await runtime.pause(gauge.processor)
        for n in (1, 2):
            await runtime.submit(gauge.processor, n)
        with pytest.raises(ResourceError, match=r"2 jobs wait for 'gauge', the limit is 2"):
            await runtime.submit(gauge.processor, 3)
        await runtime.resume(gauge.processor)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RateLimit(max=0, duration=1), "RateLimit.max=0"),
        (lambda: RateLimit(max=1, duration=0), "RateLimit.duration=0"),
        (lambda: QueueOptions(rate_limit_rpm=0), "rate_limit_rpm=0"),
        (
            lambda: QueueOptions(rate_limit_rpm=1, limiter=RateLimit(max=1, duration=1)),
            "goes without a limiter",
        ),
        (lambda: QueueOptions(session_concurrency=-1), "session_concurrency=-1"),
        (lambda: QueueOptions(max_size=-1), "max_size=-1"),
    ],
)
def test_bad_limits_are_refused(make, words):
    with pytest.raises(ConfigurationError, match=words.replace(".", r"\.")):
        make()


@on_both_hosts
async def test_who_submits_by_name_goes_by_the_options_of_those_who_serve(redis_url):
    def make(max_size: int) -> Any:
        options = QueueOptions(max_size=max_size, default_job_options=JobOptions(attempts=2, backoff=0.0))

        @processor(name="work", queue=options)
        async def work(n: int, ctx: Context) -> int:
            return ctx.meta.attempt if ctx.meta.attempt == 2 else 1 // 0

        return work

    async with QueueRuntime(redis_url) as server, QueueRuntime(redis_url, workers=False) as client:
        server.register(make(3))
        with anyio.fail_after(30):
            while "work" not in await client.sync_processors():
                await anyio.sleep(0.005)
        assert (await client.execute("work", 1)).unwrap() == 2
        await client.pause("work")
        for n in range(3):
            await client.submit("work", n)
        with pytest.raises(ResourceError, match="3 jobs wait for 'work', the limit is 3"):
            await client.submit("work", 3)
        # A hot reload is announced, too.
        server.register(make(4))
        with anyio.fail_after(30):
            while True:
                await client.sync_processors()
                try:
                    await client.submit("work", 3)
                except ResourceError:
                    await anyio.sleep(0.005)
                else:
                    break


# --- hours in a moment: in virtual time -----------------------------------------------------------


@pytest.mark.trio
async def test_what_a_rate_limit_sets_aside_keeps_its_order(autojump_clock):
    started: list[int] = []
    limiter = RateLimit(max=1, duration=1, bounce_back=False)

    @processor(queue=QueueOptions(concurrency=1, limiter=limiter))
    async def limited(n: int) -> int:
        started.append(n)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(limited)
        # More than are looked at in one go.
        jobs = [await runtime.submit(limited, n) for n in range(250)]
        for job in jobs:
            assert (await job.result()).success
    assert started == [*range(250)]


@pytest.mark.trio
async def test_what_a_rate_limit_has_set_aside_is_not_overtaken_by_what_comes_later(autojump_clock):
    started: list[int] = []
    limiter = RateLimit(max=1, duration=1, bounce_back=False)

    @processor(queue=QueueOptions(concurrency=1, limiter=limiter))
    async def limited(n: int) -> int:
        started.append(n)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(limited)
        jobs = [await runtime.submit(limited, n) for n in range(10)]
        # More arrive than may start, for a while.
        for n in range(10, 70):
            await trio.sleep(0.45)
            jobs.append(await runtime.submit(limited, n))
        for job in jobs:
            assert (await job.result()).success
    assert started == [*range(70)]


@pytest.mark.trio
async def test_a_job_that_has_begun_gives_way_to_no_later_one_of_its_key(autojump_clock):
    began: list[tuple[int, int]] = []

    @processor(retry=RetryPolicy(max_attempts=3, backoff=50, jitter=0))
    async def save(n: int, ctx: Context) -> int:
        began.append((n, ctx.meta.attempt))
        if n == 1 and ctx.meta.attempt == 1:
            raise OSError
        return n

    async with LocalRuntime() as runtime:
        runtime.register(save)
        options = JobOptions(debounce="doc")
        first = await runtime.submit(save, 1, options=options)
        await trio.sleep(10)
        # Its first attempt has failed, and it waits for the second.
        assert (began, await first.status()) == ([(1, 1)], "delayed")
        second = await runtime.submit(save, 2, options=options)
        assert (await second.result()).unwrap() == 2
        assert (await first.result()).unwrap() == 1
    assert began == [(1, 1), (2, 1), (1, 2)]


@pytest.mark.trio
async def test_a_job_gives_way_to_a_later_one_of_its_key_however_long_it_has_waited(autojump_clock):
    ran: list[int] = []

    @processor
    async def save(n: int) -> int:
        ran.append(n)
        return n

    async with LocalRuntime(result_ttl=60) as runtime:
        runtime.register(save)
        await runtime.pause(save)
        options = JobOptions(debounce="doc")
        jobs: list[Job[int]] = []
        for n in range(3):
            jobs.append(await runtime.submit(save, n, options=options))
            await trio.sleep(3600)
        await runtime.resume(save)
        results = [await job.result() for job in jobs]
    assert [result.success for result in results] == [False, False, True]
    assert all(isinstance(result.error, JobCancelledError) for result in results[:2])
    assert ran == [2]


@on_both_hosts
async def test_the_last_job_in_is_the_first_out_where_its_queue_says_so(make_runtime):
    order, gate = list[int](), anyio.Event()

    @processor(queue=QueueOptions(concurrency=1, default_job_options=JobOptions(lifo=True)))
    async def one_by_one(n: int) -> int:
        order.append(n)
        await gate.wait()
        return n

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(one_by_one)
            await runtime.pause(one_by_one)
            jobs = [await runtime.submit(one_by_one, n) for n in range(3)]
            jobs += await runtime.submit_many(one_by_one, [3, 4])
            jobs += [await runtime.submit(one_by_one, 5, options=JobOptions(lifo=False))]
            await runtime.resume(one_by_one)
            gate.set()
            for job in jobs:
                assert (await job.result()).success
    assert order == [4, 3, 2, 1, 0, 5]
