"""In memory the engine lives by Trio's clock: hours of backoff and delay pass in a moment."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from am2z_trio import (
    Backoff,
    Context,
    Every,
    JobCancelledError,
    JobOptions,
    LocalRuntime,
    ProcessorNotFoundError,
    ProcessorTimeoutError,
    QueueOptions,
    RetryPolicy,
    processor,
)
from am2z_trio.concurrency import current_host
from am2z_trio.engine.node import access
from am2z_trio.model.errors import AM2ZError, NetworkError
from am2z_trio.model.records import QueueInfo, RenewAnswer, TickAnswer
from am2z_trio.model.records.samples import QueueFigures
from am2z_trio.model.version import VERSION
from am2z_trio.store.memory.nodes import Nodes
from am2z_trio.store.memory.queues import Queues
from am2z_trio.store.memory.samples import NodeSamples
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.memory.store import MemoryStore

pytestmark = pytest.mark.trio


async def test_backoff_delay_and_timeout_take_virtual_time(autojump_clock):
    began: list[float] = []

    @processor(
        timeout=100,
        retry=RetryPolicy(max_attempts=3, backoff=600, backoff_multiplier=2, max_backoff=3600, jitter=0),
    )
    async def slow(n: int, ctx: Context) -> int:
        began.append(trio.current_time())
        await trio.sleep(1000)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(slow)
        start = trio.current_time()
        result = await runtime.execute(slow, 1, options=JobOptions(delay=60))
    assert isinstance(result.error, ProcessorTimeoutError)
    # Attempts last 100 s each; 600 s and 1,200 s lie between them. Due times are rounded up to the ms.
    assert [round(at - start) for at in began] == [60, 760, 2060]


async def test_a_deadline_passes_while_the_job_waits_for_a_slot(autojump_clock):
    ran: list[int] = []

    @processor
    async def wait(n: int) -> int:
        ran.append(n)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(wait)
        with trio.move_on_after(5) as scope:
            await runtime.execute(wait, 1, options=JobOptions(delay=60))
        assert scope.cancelled_caught
        await trio.sleep(120)
        assert (await runtime.get_queue_stats())["wait"].cancelled == 1
    assert ran == []


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Backoff(type="fixed", delay=10), [10, 10, 10]),
        (Backoff(type="exponential", delay=10), [10, 20, 40]),
        # A number is the first wait; the policy's multiplier stays.
        (10, [10, 30, 90]),
        (None, [1, 3, 9]),
    ],
)
async def test_a_job_may_bring_its_own_backoff(autojump_clock, backoff, waits):
    began: list[float] = []

    @processor(retry=RetryPolicy(max_attempts=4, backoff=1, backoff_multiplier=3, max_backoff=3600, jitter=0))
    async def fail(n: int) -> int:
        began.append(trio.current_time())
        raise OSError

    @processor
    async def inline(n: int, ctx: Context) -> int:
        return await ctx.call(fail, n, inline=True, options=JobOptions(backoff=backoff))

    async with LocalRuntime() as runtime:
        runtime.register(fail, inline)
        result = await runtime.execute(fail, 1, options=JobOptions(backoff=backoff))
        assert result.metadata.attempt == 4
        assert [round(b - a) for a, b in pairwise(began)] == waits
        began.clear()
        await runtime.execute(inline, 1)
        assert [round(b - a) for a, b in pairwise(began)] == waits


async def test_what_a_jobs_options_leave_open_its_queue_decides(autojump_clock):
    defaults = JobOptions(attempts=3, backoff=Backoff(type="fixed", delay=5), delay=60)

    @processor(queue=QueueOptions(default_job_options=defaults))
    async def fail(n: int) -> int:
        raise OSError

    async with LocalRuntime() as runtime:
        runtime.register(fail)
        for options, seconds, attempts in (
            (None, 70, 3),
            (JobOptions(delay=0), 10, 3),
            (JobOptions(attempts=1), 60, 1),
            # Longer than the usual `max_backoff` of a minute.
            (JobOptions(backoff=100), 60 + 100 + 100, 3),
        ):
            start = trio.current_time()
            result = await runtime.execute(fail, 1, options=options)
            # Two waits, each up to a tenth shorter at random.
            assert 0.9 * seconds <= trio.current_time() - start <= seconds + 1
            assert result.metadata.attempt == attempts


async def test_a_later_job_of_the_same_key_takes_the_place_of_one_that_waits(autojump_clock):
    ran: list[int] = []

    @processor
    async def save(n: int) -> int:
        ran.append(n)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(save)
        jobs = []
        for n in range(5):
            jobs.append(await runtime.submit(save, n, options=JobOptions(debounce="doc", delay=10)))
            await trio.sleep(3)
        other = await runtime.submit(save, 99, options=JobOptions(debounce="another doc", delay=1))
        results = [await job.result() for job in (*jobs, other)]
        # The burst is over: the next one is a job of its own.
        last = await runtime.submit(save, 5, options=JobOptions(debounce="doc"))
        assert (await last.result()).unwrap() == 5
    assert ran == [99, 4, 5]
    assert [result.success for result in results] == [False] * 4 + [True] * 2
    assert isinstance(results[0].error, JobCancelledError)
    assert "debounce" in results[0].error.message


@pytest.mark.parametrize(("intervals", "looks"), [([0.5, 3.0], 0.5), ([3.0], 3.0), ([], 0.3)])
async def test_a_node_looks_for_lost_jobs_as_often_as_its_processors_say(
    autojump_clock, monkeypatch, intervals, looks
):
    looked: list[float] = []
    real = Nodes.tick

    def tick(self: Nodes, node: str, now: float, *, reap: bool = True) -> TickAnswer:
        if reap:
            looked.append(trio.current_time())
        return real(self, node, now, reap=reap)

    monkeypatch.setattr(Nodes, "tick", tick)

    async def nothing(n: int) -> None: ...

    @processor(queue=QueueOptions(stalled_interval=100))
    async def long(n: int) -> None:
        looked.clear()
        await trio.sleep(30)

    server = MemoryServer()
    async with _on(server) as runtime, _on(server) as other:
        for number, interval in enumerate(intervals):
            queue = QueueOptions(stalled_interval=interval)
            runtime.register(processor(name=f"p{number}", queue=queue)(nothing))
        other.register(long)
        await other.execute(long, 1)
        found = list(looked)
        # Nothing can be found where no other node holds a job.
        looked.clear()
        await trio.sleep(30)
    # The last wait before a look is at least 50 ms.
    assert all(looks <= round(b - a, 3) <= looks + 0.05 for a, b in pairwise(found[1:]))
    assert all(max(looks, 0.75) <= round(b - a, 3) <= 1 + looks for a, b in pairwise(looked))


class Asked(MemoryStore):
    """Counts what its node asks of it: each is a command on Redis."""

    def __init__(self, node: str, server: MemoryServer) -> None:
        super().__init__(node, server)
        self.asked = Counter[str]()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if callable(found) and not name.startswith("_") and name not in ("beat", "rest", "run"):
            self.asked[name] += 1
        return found


@pytest.mark.parametrize(
    ("processors", "nodes", "workers"), [(1, 1, True), (10, 1, True), (1, 3, True), (0, 1, False)]
)
async def test_an_idle_node_asks_its_store_for_little(
    autojump_clock, monkeypatch, processors: int, nodes: int, workers: bool
):
    async def nothing(n: int) -> None: ...

    monkeypatch.setattr("am2z_trio.engine.runtime.local.MemoryStore", Asked)
    server = MemoryServer()
    async with AsyncExitStack() as stack:
        entered = [_on(server) for _ in range(nodes)]
        for runtime in entered:
            runtime._options = msgspec.structs.replace(runtime._options, workers=workers)
            runtime.register(*(processor(name=f"p{number}")(nothing) for number in range(processors)))
            await stack.enter_async_context(runtime)
            await trio.sleep(0.1)
        stores = [cast(Asked, runtime.node.store) for runtime in entered]
        if processors:
            assert (await entered[0].execute("p0", 1)).success
        for store in stores:
            store.asked.clear()
        await trio.sleep(60)
        for store in stores:
            # Two a second, a third of one by the connection that hears and a tenth by the lease's thread.
            assert store.asked.total() <= 60 * (2 - 1 / 3 - 1 / 10), store.asked


async def test_in_memory_a_processor_that_was_taken_away_is_known_no_more(autojump_clock):
    @processor
    async def plain(n: int) -> int:
        return n

    async with LocalRuntime() as runtime:
        runtime.register(plain)
        assert (await runtime.execute("plain", 1)).unwrap() == 1
        assert await runtime.sync_processors() == ["plain"]
        assert runtime.unregister(plain)
        # Nobody else could serve it: the answer is an error, not a job that waits for ever.
        for known_as in (plain, "plain"):
            with trio.fail_after(1000):
                result = await runtime.execute(known_as, 1)
            assert isinstance(result.error, ProcessorNotFoundError)
        runtime.register(plain)
        assert (await runtime.execute(plain, 2)).unwrap() == 2


class Effort(trio.abc.Instrument):
    """What some time has cost: turns of tasks, and times at which the clock has stopped."""

    def __init__(self) -> None:
        self.turns = 0
        self.times = set[float]()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.turns += 1
        self.times.add(trio.current_time())


async def test_a_run_a_minute_costs_no_more_than_itself(autojump_clock):
    runs: list[int] = []

    @processor
    async def sweep(n: int) -> int:
        runs.append(n)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(sweep)
        await runtime.schedules.upsert("minutely", sweep, Every(60), state=1)
        await trio.sleep(600)
        runs.clear()
        effort = Effort()
        trio.lowlevel.add_instrument(effort)
        await trio.sleep(3600)
        trio.lowlevel.remove_instrument(effort)
        assert len(runs) == 60
        # Each run, and one beat after it; ten more turns for what comes once an hour.
        assert len(effort.times) <= 2 * 60 + 5
        assert effort.turns <= 16 * 60 + 10
        # It is still known, though it has said nothing for most of the time.
        (node,) = await runtime.control.nodes()
        assert node.version == VERSION


async def test_what_was_counted_is_told_before_a_node_rests_and_again_if_it_was_refused(
    autojump_clock, monkeypatch
):
    told: list[float] = []
    real = NodeSamples.flush

    async def flush(self: NodeSamples, seq: int, figures: list[QueueFigures]) -> None:
        told.append(trio.current_time())
        if len(told) < 3:
            raise NetworkError("the store is away")
        await real(self, seq, figures)

    monkeypatch.setattr(NodeSamples, "flush", flush)

    @processor
    async def plain(n: int) -> int:
        return n

    async with LocalRuntime() as runtime:
        runtime.register(plain)
        await trio.sleep(100)
        assert told == []
        start = trio.current_time()
        await runtime.execute(plain, 1)
        await trio.sleep(3600)
        assert [round(at - start) for at in told] == [1, 11, 21]


def _on(server: MemoryServer) -> LocalRuntime:
    """One of several nodes in this process."""
    runtime = LocalRuntime(shutdown_grace=100)
    runtime._server = server
    return runtime


async def test_a_node_keeps_its_lease_for_as_long_as_it_drains(autojump_clock):
    began: list[float] = []
    running = trio.Event()

    @processor(queue=QueueOptions(concurrency=1))
    async def long(n: int) -> int:
        began.append(trio.current_time())
        running.set()
        await trio.sleep(90)  # nine leases
        return n

    server = MemoryServer()
    async with _on(server) as other:
        async with _on(server) as leaving:
            leaving.register(long)
            await leaving.sync_processors()
            job = await other.submit(long, 1)
            await running.wait()
            other.register(long)
        assert (await job.result()).unwrap() == 1
    assert len(began) == 1


async def test_a_node_that_loses_its_lease_while_it_drains_takes_another(autojump_clock):
    running, given_up = trio.Event(), trio.Event()

    @processor
    async def long(n: int) -> int:
        running.set()
        try:
            await trio.sleep_forever()
        finally:
            given_up.set()
        return n

    server = MemoryServer()
    async with _on(server) as runtime, trio.open_nursery() as nursery:
        runtime.register(long)
        await runtime.submit(long, 1)
        await running.wait()
        store = runtime.node.store
        assert isinstance(store, MemoryStore)
        nursery.start_soon(runtime.stop, 100)
        await trio.testing.wait_all_tasks_blocked()
        server.nodes.leave(runtime.node_id, store._now())
        with trio.fail_after(10):
            await given_up.wait()


async def test_looking_after_callers_is_bounded_and_delays_no_tick(autojump_clock, monkeypatch):
    monkeypatch.setattr("am2z_trio.engine.submission.looking.LOOKED_AT", 3)
    looked: list[tuple[float, int]] = []
    ticks: list[float] = []
    real_tick, real_view = Nodes.tick, MemoryStore.view

    def tick(self: Nodes, *args: object, **options: object) -> TickAnswer:
        ticks.append(trio.current_time())
        return real_tick(self, *args, **options)  # type: ignore[arg-type]

    async def view(self: MemoryStore, jobs: list[str]) -> object:
        looked.append((trio.current_time(), len(jobs)))
        await trio.sleep(60)  # a slow link
        return await real_view(self, jobs)

    monkeypatch.setattr(Nodes, "tick", tick)
    monkeypatch.setattr(MemoryStore, "view", view)
    monkeypatch.setattr(MemoryStore, "rest", lambda *_: 0.0)  # as a link that may lose what is told

    @processor(queue=QueueOptions(concurrency=10))
    async def long(n: int) -> int:
        await trio.sleep(400)
        return n

    async with LocalRuntime(shutdown_grace=0) as runtime:
        runtime.register(long)
        results = await runtime.execute_many(long, range(10))
    assert all(result.success for result in results)
    assert {many for _, many in looked} == {3}
    assert len(looked) == 7
    assert max(b - a for a, b in pairwise(ticks)) <= 1.0


async def test_a_node_announces_again_what_it_serves(autojump_clock, monkeypatch):
    monkeypatch.setattr("am2z_trio.engine.node.announcements.ANNOUNCE_EVERY", 10.0)
    announced: list[tuple[float, list[str]]] = []
    real = Queues.announce

    def announce(self: Queues, node: str, queues: list[QueueInfo], now: float, *, serves: bool) -> None:
        announced.append((trio.current_time() - start, [info.processor for info in queues]))
        real(self, node, queues, now, serves=serves)

    monkeypatch.setattr(Queues, "announce", announce)

    @processor
    async def plain(n: int) -> int:
        return n

    start = trio.current_time()
    async with LocalRuntime() as runtime:
        runtime.register(plain)
        await trio.sleep(25)
    assert [names for _, names in announced] == [["plain"]] * 3
    assert [round(at) for at, _ in announced] == [0, 10, 20]


async def test_a_slow_link_costs_no_lease(autojump_clock, monkeypatch):
    began: list[float] = []
    running = trio.Event()
    real = MemoryStore.renew

    async def renew(self: MemoryStore, *, look_every: float) -> RenewAnswer:
        await trio.sleep(3)
        return await real(self, look_every=look_every)

    monkeypatch.setattr(MemoryStore, "renew", renew)

    @processor
    async def long(n: int) -> int:
        began.append(trio.current_time())
        running.set()
        await trio.sleep(60)
        return n

    server = MemoryServer()
    async with _on(server) as other, _on(server) as slow:
        slow.register(long)
        await slow.sync_processors()
        job = await other.submit(long, 1)
        await running.wait()
        other.register(long)
        assert (await job.result()).unwrap() == 1
        assert (await slow.connection.check_health()).healthy
    assert len(began) == 1


async def test_a_short_lease_is_renewed_in_time(autojump_clock, monkeypatch):
    renewed: list[float] = []

    def renew(self: Nodes, node: str, now: float, look_every: float) -> RenewAnswer:
        renewed.append(trio.current_time())
        return RenewAnswer(lost=False, wait=1.0)

    monkeypatch.setattr(Nodes, "renew", renew)
    runtime = LocalRuntime()
    runtime._options = msgspec.structs.replace(runtime._options, lease=1.0)
    async with runtime:
        await trio.sleep(10)
    assert max(b - a for a, b in pairwise(renewed)) <= 0.251


class Trial:
    """A store that finds no right missing, whatever it refuses."""

    was_denied = False

    async def lacking(self) -> AM2ZError | None:
        self.was_denied = False
        return None


async def test_refusals_that_no_right_explains_do_not_have_all_looked_at_without_end(autojump_clock):
    store: Any = Trial()
    anew = list[float]()

    def on_back() -> None:
        anew.append(trio.current_time() - start)
        # What it asks is refused, too.
        store.was_denied = refuses

    start, refuses = trio.current_time(), True
    nobody: Any = ()
    watched = access.Access(
        current_host(), store, nobody, suspected=lambda: store.was_denied, on_back=on_back
    )
    store.was_denied = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        await trio.sleep(20_000)
        assert anew[:5] == [5, 65, 185, 425, 905]
        assert max(after - before for before, after in pairwise(anew)) == access.ANEW_AT_MOST
        refuses = False
        await trio.sleep(2 * access.ANEW_AT_MOST)
        anew.clear()
        await trio.sleep(20_000)
        assert anew == []
        # The next is heard at once, and what comes soon after it is not forgotten.
        for _ in range(2):
            store.was_denied = True
            await trio.sleep(access.ANEW_AFTER / 3)
        assert len(anew) == 1
        await trio.sleep(access.ANEW_AFTER)
        assert [after - before for before, after in pairwise(anew)] == [access.ANEW_AFTER]
        nursery.cancel_scope.cancel()


class Steps(trio.abc.Instrument):
    """Counts what tasks do."""

    def __init__(self) -> None:
        self.taken = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += 1


@pytest.fixture
def beats(monkeypatch) -> list[float]:
    """When nodes have beaten."""
    times: list[float] = []
    real = Nodes.renew

    def renew(self: Nodes, node: str, now: float, look_every: float) -> RenewAnswer:
        times.append(trio.current_time())
        return real(self, node, now, look_every)

    monkeypatch.setattr(Nodes, "renew", renew)
    return times


@processor
async def plain(n: int) -> int:
    return n


@pytest.mark.parametrize(("every", "most"), [(None, 8_000), (3600, 10_000), (60, 100_000)])
async def test_a_virtual_day_takes_few_steps_whatever_comes_by_the_clock(autojump_clock, beats, every, most):
    """Seconds pass by themselves: what costs real time is what tasks do meanwhile."""
    async with LocalRuntime() as runtime:
        runtime.register(plain)
        await runtime.execute(plain, 1)
        if every:
            await runtime.schedules.upsert("often", plain, Every(every), state=1)
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(24 * 3600)
        trio.lowlevel.remove_instrument(steps)
        stats = (await runtime.get_queue_stats())["plain"]
        # What was counted is told within seconds all the same.
        counted = sum(sample.completed for sample in await runtime.samples(plain))
    assert steps.taken < most
    # A node that does not rest beats more than once a second.
    assert len(beats) < 24 * 3600 / 4
    assert stats.completed == 1 + (24 * 3600 // every if every else 0)
    assert counted > 0 or not every


async def test_a_node_that_rests_says_that_all_is_well(autojump_clock, beats):
    async with LocalRuntime() as runtime:
        runtime.register(plain)
        await trio.sleep(1000)
        before = len(beats)
        await trio.sleep(1000)
        assert len(beats) == before
        assert runtime.node.why_it_cannot_claim() == ""
        assert (await runtime.connection.check_health()).healthy
        health = await runtime.health()
        assert health.live
        (node,) = await runtime.control.nodes()
        assert node.id == runtime.node_id
        assert (await runtime.execute(plain, 1)).unwrap() == 1
        await trio.sleep(20)
        assert len(beats) > before


async def test_a_node_rests_no_more_once_there_is_another(autojump_clock, beats):
    server = MemoryServer()
    async with _on(server) as first:
        first.register(plain)
        await trio.sleep(1000)
        before = len(beats)
        async with _on(server) as second:
            second.register(plain)
            await trio.sleep(1000)
            assert len(beats) - before > 2 * 1000 / 3
            assert sorted(server.nodes._leases.names()) == sorted([first.node_id, second.node_id])
            assert (
                server.nodes._leases.left(first.node_id, cast(MemoryStore, second.node.store)._now()) < 11_000
            )
        await trio.sleep(1000)
        before = len(beats)
        await trio.sleep(1000)
        assert len(beats) == before


async def test_the_time_of_day_does_not_go_back_when_a_runtime_is_entered_again(autojump_clock):
    runtime = LocalRuntime()
    times: list[float] = []
    for _ in range(2):
        async with runtime:
            runtime.register(plain)
            result = await runtime.execute(plain, 1)
            assert result.metadata.started_at is not None
            times.append(cast(MemoryStore, runtime.node.store)._now())
            await trio.sleep(24 * 3600)
    assert times[1] - times[0] >= 24 * 3600 * 1000


async def test_a_thread_that_was_left_behind_is_looked_for_by_a_node_that_would_rest(autojump_clock, beats):
    go = threading.Event()

    @processor(timeout=5)
    def stuck(n: int) -> None:
        go.wait(60)

    async with LocalRuntime() as runtime:
        runtime.register(stuck)
        result = await runtime.execute(stuck, 1)
        assert isinstance(result.error, ProcessorTimeoutError)
        before = len(beats)
        await trio.sleep(100)
        assert len(beats) - before > 50
        go.set()
        await _until_quiet(beats)


async def _until_quiet(beats: list[float]) -> None:
    with trio.fail_after(10_000):
        before = -1
        while len(beats) != before:
            before = len(beats)
            await trio.sleep(100)
