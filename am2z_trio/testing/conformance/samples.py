"""Samples: what nodes have counted of a queue, in slots of time, and periods that slots are added up to."""

from __future__ import annotations

from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import QueueLimits
from am2z_trio.model.records.agreed import FIRST_GAUGE
from am2z_trio.model.records.samples import Counted, QueueCounted, QueueFigures, StoredSample
from am2z_trio.store.agreed import PERIOD, PERIODS_KEPT, SLOT, SLOTS_KEPT

from .bench import START_MS, Bench, Node
from .builders import job

SLOT_MS = int(SLOT * 1000)
PERIOD_MS = int(PERIOD * 1000)
AGES = 1e9
FIRST = START_MS - START_MS % PERIOD_MS


def counted(queue: str = "q", /, **figures: int) -> list[QueueFigures]:
    """What a node has counted of one queue, by `f<number>`."""
    return [QueueFigures(queue, {int(name[1:]): value for name, value in figures.items()})]


async def slots(
    node: Node, since: int = 0, most: int = 1000, queue: str = "q"
) -> list[tuple[int, dict[int, int]]]:
    return [_plain(one) for one in await node.store.samples.read(queue, "slot", AGES, since, most)]


async def periods(node: Node, since: int = 0, most: int = 1000) -> list[tuple[int, dict[int, int]]]:
    return [_plain(one) for one in await node.store.samples.read("q", "period", AGES, since, most)]


def _plain(sample: StoredSample) -> tuple[int, dict[int, int]]:
    return sample.at - FIRST, dict(sample.figures)


class SampleCases:
    """What nodes have counted is added up, and each time once."""

    async def test_what_several_nodes_have_counted_meets_in_one_slot(self, bench: Bench) -> None:
        bench.clock.now = FIRST
        a, b = await bench.connect("a"), await bench.connect("b")
        assert await slots(a) == []
        await a.store.samples.flush(1, counted(f1=3, f20=3, f14=2_000_000_000))
        await b.store.samples.flush(1, counted(f1=4, f2=1, f44=1))
        # It goes on, and can be read.
        both = (0, {1: 7, 2: 1, 14: 2_000_000_000, 20: 3, 44: 1})
        assert await slots(a) == [both]
        bench.clock.advance(SLOT - 0.001)
        await a.store.samples.flush(2, counted(f1=1))
        assert await slots(b) == [(0, {**both[1], 1: 8})]
        bench.clock.advance(0.001)
        # Two of a later slot: the first one closes the one before, and the second finds it closed.
        await b.store.samples.flush(2, counted(f1=10))
        await a.store.samples.flush(3, counted(f1=20))
        assert await slots(a) == [(0, {**both[1], 1: 8}), (SLOT_MS, {1: 30})]

    async def test_a_flush_whose_answer_was_lost_counts_once(self, bench: Bench) -> None:
        bench.clock.now = FIRST
        a = await bench.connect("a")
        await a.store.samples.flush(1, counted(f1=3))
        await a.store.samples.flush(1, counted(f1=3))
        assert await slots(a) == [(0, {1: 3})]
        # In a later slot, too, and where it comes late.
        bench.clock.advance(SLOT)
        await a.store.samples.flush(1, counted(f1=3))
        await a.store.samples.flush(2, counted(f1=5))
        await a.store.samples.flush(1, counted(f1=3))
        assert await slots(a) == [(0, {1: 3}), (SLOT_MS, {1: 5})]
        # Numbers are a node's own.
        b = await bench.connect("b")
        await b.store.samples.flush(1, counted(f1=1))
        assert await slots(a) == [(0, {1: 3}), (SLOT_MS, {1: 6})]

    async def test_a_slot_says_what_was_in_the_queue_at_its_end(self, bench: Bench) -> None:
        bench.clock.now = FIRST
        a = await bench.node("a")
        await a.store.enqueue([job(f"j{n}") for n in range(4)] + [job("later", delay=60.0)])
        await a.claim(1)
        await a.store.samples.flush(1, counted(f0=1))
        there = {FIRST_GAUGE: 3, FIRST_GAUGE + 1: 1, FIRST_GAUGE + 2: 1}
        assert await slots(a) == [(0, {0: 1, **there})]
        for grant in await a.claim(2):
            await a.settle(grant)
        bench.clock.advance(SLOT)
        await a.store.samples.flush(2, counted(f0=2))
        closed = (0, {0: 1, FIRST_GAUGE: 1, FIRST_GAUGE + 1: 1, FIRST_GAUGE + 2: 1})
        assert (await slots(a))[0] == closed
        for grant in await a.claim(1):
            await a.settle(grant)
        assert (await slots(a))[0] == closed

    async def test_a_period_is_what_its_slots_add_up_to(self, bench: Bench) -> None:
        bench.clock.now = FIRST
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job(f"j{n}") for n in range(5)])
        for number in range(1, 31):
            await a.store.samples.flush(number, counted(f1=number, f2=1))
            if number == 4:
                await a.claim(5)
            bench.clock.advance(SLOT)
        # It is over when a slot of a later one is closed, not before.
        assert bench.clock.now == FIRST + PERIOD_MS
        await b.store.samples.flush(1, counted(f1=1))
        assert await periods(a) == []
        bench.clock.advance(SLOT)
        await b.store.samples.flush(2, counted(f1=2))
        await a.store.samples.flush(31, counted(f1=4))
        whole = {1: sum(range(1, 31)), 2: 30, FIRST_GAUGE: 5, FIRST_GAUGE + 2: 5}
        assert await periods(a) == [(0, whole)]
        assert (await slots(a, since=FIRST + PERIOD_MS)) == [
            (PERIOD_MS, {1: 1, FIRST_GAUGE + 2: 5}),
            (PERIOD_MS + SLOT_MS, {1: 6, FIRST_GAUGE + 2: 5}),
        ]
        # Periods in which nothing was counted are left out.
        bench.clock.advance(3 * PERIOD)
        await a.store.samples.flush(32, counted(f1=5))
        bench.clock.advance(PERIOD)
        await a.store.samples.flush(33, counted(f1=5))
        assert [at for at, _ in await periods(a)] == [0, PERIOD_MS]

    async def test_samples_are_read_in_pages_from_a_time_on(self, bench: Bench) -> None:
        bench.clock.now = FIRST
        a = await bench.connect("a")
        for number in range(1, 8):
            await a.store.samples.flush(number, counted(f1=number))
            bench.clock.advance(SLOT)
        assert [at // SLOT_MS for at, _ in await slots(a)] == [0, 1, 2, 3, 4, 5, 6]
        assert [at // SLOT_MS for at, _ in await slots(a, most=3)] == [0, 1, 2]
        assert [at // SLOT_MS for at, _ in await slots(a, FIRST + 2 * SLOT_MS + 1, most=3)] == [3, 4, 5]
        assert [at // SLOT_MS for at, _ in await slots(a, FIRST + 5 * SLOT_MS + 1)] == [6]
        assert await slots(a, FIRST + 6 * SLOT_MS + 1) == []
        assert await slots(a, queue="another") == []
        lately = await a.store.samples.read("q", "slot", 3 * SLOT, 0, 1000)
        assert [sample.figures[1] for sample in lately] == [5, 6, 7]

    async def test_samples_are_kept_for_a_time(self, bench: Bench) -> None:
        bench.clock.now = FIRST
        a = await bench.connect("a")
        await a.store.samples.flush(1, counted(f1=1))
        bench.clock.advance(PERIOD)
        await a.store.samples.flush(2, counted(f1=2))
        bench.clock.advance(SLOT)
        await a.store.samples.flush(3, counted(f1=3))
        bench.clock.advance(SLOTS_KEPT - PERIOD)
        assert [figures[1] for _, figures in await slots(a)] == [2, 3]
        bench.clock.advance(PERIOD + SLOT)
        assert await slots(a) == []
        assert await periods(a) == [(0, {1: 1})]
        # What has gone from the slots is in a period.
        await a.store.samples.flush(4, counted(f1=4))
        bench.clock.advance(SLOT)
        await a.store.samples.flush(5, counted(f1=5))
        assert await periods(a) == [(0, {1: 1}), (PERIOD_MS, {1: 5})]
        bench.clock.advance(PERIODS_KEPT - SLOTS_KEPT - 60)
        assert await periods(a) == [(PERIOD_MS, {1: 5})]

    async def test_where_the_clock_goes_back_nothing_is_lost_and_no_slot_is_written_twice(
        self, bench: Bench
    ) -> None:
        bench.clock.now = FIRST + 5 * SLOT_MS
        a = await bench.connect("a")
        await a.store.samples.flush(1, counted(f1=1))
        bench.clock.advance(SLOT)
        await a.store.samples.flush(2, counted(f1=2))
        bench.clock.advance(-SLOT)
        await a.store.samples.flush(3, counted(f1=4))
        bench.clock.advance(SLOT)
        await a.store.samples.flush(4, counted(f1=8))
        bench.clock.advance(SLOT)
        await a.store.samples.flush(5, counted(f1=16))
        assert await slots(a) == [(5 * SLOT_MS, {1: 1}), (6 * SLOT_MS, {1: 14}), (7 * SLOT_MS, {1: 16})]

    async def test_a_queue_that_is_forgotten_has_no_samples(self, bench: Bench) -> None:
        bench.clock.now = FIRST
        a = await bench.node("a")
        await a.store.samples.flush(1, counted(f1=1) + counted("other", f1=9))
        bench.clock.advance(PERIOD)
        await a.store.samples.flush(2, counted(f1=2))
        bench.clock.advance(SLOT)
        await a.store.samples.flush(3, counted(f1=3))
        await a.store.leave()
        assert (await a.store.forget_queue("q")).known
        assert await slots(a) == await periods(a) == []
        assert await slots(a, queue="other") == [(0, {1: 9})]

    async def test_the_census_says_how_long_the_first_have_waited(self, bench: Bench) -> None:
        a = await bench.node("a")
        assert await a.store.samples.census(["q"]) == Counted(1, 0, [QueueCounted(0.0, False, False, False)])
        await a.store.enqueue([job("urgent", priority=1), job("in a session", session="s")])
        assert (await a.store.samples.census(["q"])).sessions == 1
        bench.clock.advance(2.0)
        await a.store.enqueue([job("plain")])
        bench.clock.advance(1.0)
        assert await oldest(a) == 3.0
        left = {"urgent": 3.0, "in a session": 3.0, "plain": 1.0}
        while left:
            grant = await a.claim_one()
            del left[grant.spec.id]
            await a.settle(grant)
            assert await oldest(a) == max(left.values(), default=0.0)

    async def test_a_delayed_job_waits_since_it_was_due(self, bench: Bench) -> None:
        a = await bench.node("a")
        only_one = QueueLimits(most_active=1)
        await a.store.enqueue([job("first"), job("second", delay=10.0)])
        (grant,) = await a.claim(1, limits=only_one)
        assert await oldest(a) == 0.0
        bench.clock.advance(10.5)
        assert await a.claim(1, limits=only_one) == []
        seen = (await a.store.samples.census(["q"])).queues[0]
        assert (seen.oldest, seen.held, seen.paused) == (0.5, True, False)
        await a.settle(grant)
        assert await a.claim_one(queue="q")
        assert await oldest(a) == 0.0

    async def test_the_census_says_what_holds_a_queue_up(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.pause("q", True)
        policy = CircuitBreaker(failures=1, recovery=5.0)
        await a.store.breaker("q", "fail", policy)
        assert await b.store.samples.census(["q", "other"]) == Counted(
            2, 0, [QueueCounted(0.0, True, False, True), QueueCounted(0.0, False, False, False)]
        )
        bench.clock.advance(5.0)
        await b.store.leave()
        assert await a.store.samples.census(["q"]) == Counted(1, 0, [QueueCounted(0.0, True, False, False)])


async def oldest(node: Node) -> float:
    return (await node.store.samples.census(["q"])).queues[0].oldest
