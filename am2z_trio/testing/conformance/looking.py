"""Whose turn it is to look after what all nodes share, and how soon."""

from __future__ import annotations

from am2z_trio.model.records import Wake

from .bench import SETTINGS, Bench, Node
from .builders import job


async def busy(bench: Bench, name: str) -> Node:
    """A node that holds a claim."""
    node = await bench.node(name)
    await node.store.enqueue([job(f"of {name}")])
    await node.claim_one()
    return node


class LookingCases:
    """All nodes together look as often as one of them wants; less often while there is nothing to find."""

    async def test_nodes_take_turns_to_look(self, bench: Bench) -> None:
        nodes = [await bench.node(name) for name in "abc"]
        await busy(bench, "d")

        async def looks(*every: float) -> list[bool]:
            answers = [
                await node.store.renew(look_every=each) for node, each in zip(nodes, every, strict=True)
            ]
            assert not any(answer.lost for answer in answers)
            assert all(0 < answer.wait <= 1 for answer in answers)
            return [answer.found is not None for answer in answers]

        assert await looks(0, 0.5, 0.5) == [False, True, False]
        assert await looks(0.5, 0.5, 0.5) == [False, False, False]
        bench.clock.advance(0.4)
        assert await looks(0.5, 0.5, 0.5) == [False, False, False]
        bench.clock.advance(0.1)
        assert await looks(0.5, 0.5, 0.5) == [True, False, False]
        # The one that wants it most often counts, whoever looked last.
        bench.clock.advance(0.5)
        assert await looks(10, 10, 0.2) == [True, False, False]
        bench.clock.advance(0.2)
        assert await looks(10, 10, 0.2) == [True, False, False]

    async def test_a_suspect_is_looked_at_when_its_grace_is_over(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await bench.crash(a)
        assert (await b.store.renew(look_every=10)).found is not None
        bench.clock.advance(SETTINGS.disconnect_grace - 0.001)
        answer = await b.store.renew(look_every=10)
        assert (answer.found, answer.wait) == (None, 0.05)
        bench.clock.advance(0.001)
        assert (await b.store.renew(look_every=10)).found is not None

    async def test_a_suspect_that_leaves_is_suspected_no_more(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await bench.crash(a)
        await b.store.tick()
        back = await bench.connect("a")
        await back.store.leave()
        await back.stop()
        # Nobody needs to look for it soon.
        await b.store.renew(look_every=100)
        answer = await b.store.renew(look_every=100)
        assert (answer.found, answer.wait) == (None, 1)

    async def test_beside_nodes_that_hold_nothing_one_looks_less_often(self, bench: Bench) -> None:
        a, b = await busy(bench, "a"), await bench.node("b")
        # Its own claims are no reason to look: it cannot find itself dead.
        answer = await a.store.renew(look_every=0.3)
        assert (answer.found is not None, answer.wait) == (True, 0.75)
        answer = await b.store.renew(look_every=0.3)
        assert (answer.found, answer.wait) == (None, 0.3)
        # Whoever wants to look seldom anyway does, and says so in time.
        answer = await a.store.renew(look_every=0.9)
        assert (answer.found, answer.wait) == (None, 0.9)
        answer = await a.store.renew(look_every=10)
        assert (answer.found, answer.wait) == (None, 1)

    async def test_what_another_node_claims_and_loses_is_found_by_the_next_look(self, bench: Bench) -> None:
        b = await bench.node("b")
        assert (await b.store.renew(look_every=0.3)).wait == 0.75
        a = await busy(bench, "a")
        await bench.crash(a)
        bench.clock.advance(0.75)
        answer = await b.store.renew(look_every=0.3)
        assert (answer.found is not None, answer.wait) == (True, 0.3)
        waited, reaped = 0.0, 0
        while not reaped:
            bench.clock.advance(answer.wait)
            waited += answer.wait
            answer = await b.store.renew(look_every=0.3)
            reaped = 0 if answer.found is None else answer.found.reaped
        assert waited <= SETTINGS.disconnect_grace + 0.05

    async def test_the_next_look_wakes_a_queue_that_has_work_and_a_parked_node(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("soon", delay=0.5)])
        assert await a.claim(1) == []
        await a.store.renew(look_every=0.3)
        assert await a.heard() == []
        bench.clock.advance(0.75)
        await a.store.renew(look_every=0.3)
        assert await a.heard() == [Wake("q")]
