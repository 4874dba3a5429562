"""Waking: a node that found too little hears of work without asking again, and one node per job."""

from __future__ import annotations

from am2z_trio.model.records import QueueInfo, Wake

from .bench import Bench, Outcome
from .builders import ids_of, job


class WakingCases:
    """Who is told that there is work."""

    async def test_a_claim_that_finds_too_little_parks_and_is_woken_once(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.claim(1) == []
        await b.store.enqueue([job("j1"), job("j2")])
        assert await a.heard() == [Wake("q")]
        assert len(await a.claim(2)) == 2
        await b.store.enqueue([job("j3")])
        assert await a.heard() == []
        assert len(await a.claim(2)) == 1
        await b.store.enqueue([job("j4")])
        assert await a.heard() == [Wake("q")]

    async def test_a_node_that_has_its_fill_is_not_woken(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.claim(1) == []
        bench.clock.advance(0.001)
        assert await b.claim(1) == []
        await a.store.enqueue([job("j")])
        assert await a.heard() == [Wake("q")]
        # The other one comes by itself, and is quicker.
        assert len(await b.claim(1)) == 1
        await a.store.enqueue([job("k")])
        assert await b.heard() == []

    async def test_one_node_is_woken_per_job(self, bench: Bench) -> None:
        nodes = [await bench.node(name) for name in "abc"]
        for node in nodes:
            assert await node.claim(1) == []
            bench.clock.advance(0.001)
        await nodes[0].store.enqueue([job("j1")])
        assert [await node.heard() for node in nodes] == [[Wake("q")], [], []]
        await nodes[0].store.enqueue([job("j2"), job("j3"), job("j4")])
        assert [await node.heard() for node in nodes] == [[], [Wake("q")], [Wake("q")]]

    async def test_a_dead_node_is_skipped(self, bench: Bench) -> None:
        a, b, c = await bench.node("a"), await bench.node("b"), await bench.node("c")
        assert await a.claim(1) == []
        bench.clock.advance(0.001)
        assert await b.claim(1) == []
        await bench.crash(a)
        await c.store.enqueue([job("j")])
        assert await b.heard() == [Wake("q")]

    async def test_the_first_delayed_job_wakes_a_node_to_learn_when(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.claim(1) == []
        await a.store.enqueue([job("late", delay=9.0)])
        assert await a.heard() == [Wake("q")]
        assert (await a.store.claim("q", a.next_seq(), 1)).next_due == 9.0
        await a.store.enqueue([job("later", delay=10.0)])
        assert await a.heard() == []
        await a.store.enqueue([job("sooner", delay=1.0)])
        assert await a.heard() == [Wake("q")]

    async def test_retry_and_release_wake_a_node(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j1"), job("j2"), job("j3")])
        j1, j2, j3 = await a.claim(3)
        outcomes: tuple[Outcome, ...] = ("retry", "released")
        for grant, outcome in zip((j1, j2), outcomes, strict=True):
            assert await b.claim(1) == []
            await a.settle(grant, outcome)
            assert await b.heard() == [Wake("q")]
            assert ids_of(await b.claim(1)) == [grant.spec.id]
        assert await b.claim(1) == []
        await a.settle(j3, "retry", delay=5.0)
        assert await b.heard() == [Wake("q")]

    async def test_unpark_leaves_the_lot(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.claim(1) == []
        await a.store.unpark("q")
        await b.store.enqueue([job("j")])
        assert await a.heard() == []

    async def test_unpark_passes_the_wake_up_on(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        for request in (job("j"), job("p", priority=4), job("l", delay=7.0)):
            assert await a.claim(1) == []
            bench.clock.advance(0.001)
            assert await b.claim(1) == []
            await b.store.enqueue([request])
            assert await a.heard() == [Wake("q")]
            await a.store.unpark("q")
            assert await b.heard() == [Wake("q")]
            await b.store.cancel(request.spec.id, "")
            await b.claim(1)
            await b.store.unpark("q")

    async def test_unpark_without_work_wakes_nobody(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.claim(1) == []
        assert await b.claim(1) == []
        await a.store.unpark("q")
        assert await b.heard() == []

    async def test_tick_wakes_a_queue_that_has_work_and_a_parked_node(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("soon", delay=5.0)])
        assert await a.claim(1) == []
        await a.store.tick()
        assert await a.heard() == []
        bench.clock.advance(5)
        await a.store.tick()
        assert await a.heard() == [Wake("q")]

    async def test_nodes_share_the_sweep_over_any_number_of_queues(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.announce([QueueInfo(queue=f"q{n}", processor=f"p{n}") for n in range(1_200)])
        last = "q1199"
        await a.store.enqueue([job("soon", last, delay=5.0)])
        assert await a.claim(1, last) == []
        await a.heard()
        bench.clock.advance(5)
        for node in (a, b, a):
            await node.store.tick()
        assert Wake(last) in await a.heard()

    async def test_a_node_that_claims_calls_only_takes_nobody_elses_wake_up(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.claim(1, calls_only=True) == []
        bench.clock.advance(0.001)
        assert await b.claim(1) == []
        await a.store.enqueue([job("j1")])
        assert (await a.heard(), await b.heard()) == ([], [Wake("q")])
        await a.store.enqueue([job("j2")])
        assert await a.heard() == []
        # A call is for whoever is parked, and for such a node when nobody else is.
        await a.store.enqueue([job("c1", depth=1)])
        assert await a.heard() == [Wake("q")]
        assert len(await b.claim(9)) == 3
        bench.clock.advance(0.001)
        assert await a.claim(1) == []
        bench.clock.advance(0.001)
        await b.store.enqueue([job("j3")])
        assert (await a.heard(), await b.heard()) == ([], [Wake("q")])
        await b.store.enqueue([job("j4")])
        assert await a.heard() == [Wake("q")]
        assert len(await b.claim(9)) == 2
        await b.store.enqueue([job("j5")])
        assert await b.heard() == [Wake("q")]
        bench.clock.advance(0.001)
        assert ids_of(await b.claim(9)) == ["j5"]
        await b.store.pause("q", True)
        await b.store.enqueue([job("j6")])
        await b.heard()
        assert await b.claim(1) == []
        # What has woken it may have been meant for another node.
        assert await a.claim(1, calls_only=True) == []
        assert await b.heard() == [Wake("q")]
        await b.store.pause("q", False)
        assert await a.heard() == [Wake("q")]

    async def test_delays_end_where_only_nodes_that_claim_calls_are_parked(self, bench: Bench) -> None:
        a = await bench.node("a")
        assert await a.claim(1, calls_only=True) == []
        await a.store.enqueue([job("late", delay=1.0)])
        assert await a.heard() == [Wake("q")]
        answer = await a.claim_answer(1, calls_only=True)
        assert (answer.grants, answer.next_due) == ([], 1.0)
        bench.clock.advance(1.0)
        assert (await a.claim_answer(1, calls_only=True)).next_due is None
        assert await a.status("late") == "waiting"
