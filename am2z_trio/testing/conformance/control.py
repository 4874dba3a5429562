"""Nodes as they see each other: who they say they are, for how long that is known, and what they tell."""

from __future__ import annotations

from typing import Final

import msgspec

from am2z_trio.model.codec import encode_record
from am2z_trio.model.records import Ask, NodeInfo, NodeStanding, Told

from .bench import SETTINGS, Bench, Node
from .builders import job

INFO: Final = NodeInfo(
    host="h",
    pid=7,
    version="1",
    python="3",
    library="trio",
    started=5,
    max_running=3,
    concurrency={"work {x}/@\r\n": 2},
    served=1,
)


async def standings(node: Node) -> dict[str, NodeStanding]:
    return {one.id: one for one in await node.store.control.nodes()}


class ControlCases:
    """What a node is told of others, and tells them."""

    async def test_nodes_are_known_with_what_they_have_said_and_hold(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.store.control.introduce(INFO) is True
        await a.store.enqueue([job("j"), job("k")])
        await a.claim(2)
        bench.clock.advance(1.0)
        found = await standings(b)
        assert list(found) == ["a", "b"]
        assert found["a"] == NodeStanding(
            id="a", lease=SETTINGS.lease - 1.0, is_heard=True, claims=2, info=INFO
        )
        assert found["b"] == NodeStanding(id="b", lease=SETTINGS.lease - 1.0, is_heard=True, claims=0)
        drained = msgspec.structs.replace(INFO, draining=True, concurrency={})
        assert await a.store.control.introduce(drained) is True
        assert (await standings(a))["a"].info == drained

    async def test_who_has_no_lease_is_no_node_and_says_nothing(self, bench: Bench) -> None:
        a, client = await bench.node("a"), await bench.connect("client")
        assert await client.store.control.introduce(INFO) is False
        assert list(await standings(client)) == ["a"]
        await client.store.join()
        assert (await standings(a))["client"].info is None
        assert await client.store.control.introduce(INFO) is True
        assert (await standings(a))["client"].info == INFO

    async def test_who_has_left_is_forgotten_with_what_it_has_said(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.control.introduce(INFO)
        await a.store.leave()
        assert list(await standings(b)) == ["b"]
        assert await a.store.control.introduce(INFO) is False
        await a.store.join()
        assert (await standings(b))["a"].info is None

    async def test_who_was_taken_for_dead_is_forgotten_with_what_it_has_said(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.control.introduce(INFO)
        await bench.outlast(b)
        found = (await standings(b))["a"]
        assert found.lease < 0
        assert found.info == INFO
        await b.store.tick()
        assert list(await standings(b)) == ["b"]
        await a.store.join()
        assert (await standings(b))["a"].info is None

    async def test_a_node_that_is_being_given_up_has_no_lease_whenever_it_ended(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await bench.outlast(b)
        assert (await b.store.tick()).reaped == 1
        # It is not dead after all, and nobody has taken its job; it has yet to join again.
        (standing,) = await a.store.reconcile([("j", grant.token)])
        assert standing.status == "held"
        found = (await standings(b))["a"]
        assert (found.lease, found.claims) == (-0.001, 1)
        await a.store.join()
        assert (await standings(b))["a"].lease == SETTINGS.lease

    async def test_a_node_that_nobody_hears_is_told_to_be_one(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await bench.crash(a)
        found = await standings(b)
        assert (found["a"].is_heard, found["b"].is_heard) == (False, True)

    async def test_what_one_node_says_to_another_arrives_there_alone(self, bench: Bench) -> None:
        a, b, c = await bench.node("a"), await bench.node("b"), await bench.connect("c")
        ask = Ask("1", "a", "tree", msgspec.Raw(encode_record(["x", None, 5])))
        told = Told("1", "b", msgspec.Raw(encode_record({"rows": []})), "no {x}\r\n")
        assert await a.store.control.post("b", ask) is True
        assert await b.heard() == [ask]
        assert await b.store.control.post("a", told) is True
        assert await a.heard() == [told]
        assert await b.store.control.post("c", told) is True
        assert await c.heard() == [told]
        assert await a.heard() == await b.heard() == []

    async def test_what_is_said_to_nobody_is_lost(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.store.control.post("nobody", Ask("1", "a", "tree")) is False
        await bench.crash(b)
        assert await a.store.control.post("b", Ask("1", "a", "tree")) is False
        again = await bench.connect("b")
        assert await again.heard() == []
