"""Nodes and leases: who is taken for dead, and when; what a node that leaves hands back."""

from __future__ import annotations

from typing import Final

from am2z_trio.model.records import RenewAnswer, Standing, Wake

from .bench import SETTINGS, Bench
from .builders import ids_of, job, settled

HELD: Final = Standing(status="held")


class NodeCases:
    """What keeps a node's claims, and what ends them."""

    async def test_tick_renews_the_lease(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        for _ in range(3):
            bench.clock.advance(SETTINGS.lease * 0.75)
            answer = await a.store.tick()
            assert (answer.lost, answer.reaped) == (False, 0)
            assert (await b.store.tick()).lost is False
        assert (await a.settle(grant)).status == "applied"

    async def test_a_node_whose_lease_has_passed_is_reaped(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a"), job("k")])
        old = await a.claim_one()
        bench.clock.advance(SETTINGS.lease / 2)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.lease / 2)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(0.001)
        assert (await b.store.tick(reap=False)).reaped == 0
        assert (await b.store.tick()).reaped == 1
        view = await b.view("j")
        assert (view.status, view.stalls) == ("waiting", 1)
        new = await b.claim_one()
        assert (new.spec.id, new.attempt, new.deliveries) == ("j", 1, 2)
        assert (await a.settle(old)).status == "fenced"
        assert await a.store.report("j", old.token, 0.5) is False
        assert await a.heard() == []
        assert (await a.store.claim("q", a.next_seq(), 1)).lost is True
        assert (await a.store.tick()).lost is True
        assert (await b.settle(new)).status == "applied"
        assert await a.heard() == [settled("j", "completed")]
        await a.store.join()
        assert (await a.store.tick()).lost is False
        assert ids_of(await a.claim(1)) == ["k"]

    async def test_a_lease_is_renewed_and_a_lost_one_is_not(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        await a.claim_one()
        for _ in range(3):
            bench.clock.advance(SETTINGS.lease / 2)
            assert (await a.store.renew(look_every=0)).lost is False
            assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.lease + 1)
        await b.store.tick()
        bench.clock.advance(SETTINGS.lease / 2)
        assert (await b.store.tick()).reaped == 1
        assert await a.store.renew(look_every=0.1) == RenewAnswer(lost=True)

    async def test_nobody_is_taken_for_dead_by_one_that_was_away_itself(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        # As when the store was away for both.
        bench.clock.advance(2 * SETTINGS.lease)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(2.9)
        assert (await b.store.tick()).reaped == 0
        assert (await a.store.tick()).lost is False
        bench.clock.advance(3.0)
        assert (await b.store.tick()).reaped == 0
        assert (await a.settle(grant)).status == "applied"
        await a.store.enqueue([job("k")])
        await a.claim_one()
        bench.clock.advance(2 * SETTINGS.lease)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(3.0)
        assert (await b.store.tick()).reaped == 1

    async def test_a_node_without_a_subscriber_is_reaped_after_the_grace(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        await a.claim_one()
        await bench.crash(a)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.disconnect_grace - 0.001)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(0.001)
        assert (await b.store.tick()).reaped == 1
        assert (await b.claim_one()).spec.id == "j"

    async def test_a_node_that_is_back_within_the_grace_keeps_its_claims(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await bench.crash(a)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.disconnect_grace / 2)
        a = await bench.connect("a")
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.disconnect_grace)
        assert (await b.store.tick()).reaped == 0
        await bench.crash(a)
        assert (await b.store.tick()).reaped == 0
        a = await bench.connect("a")
        assert (await a.settle(grant)).status == "applied"

    async def test_leave_hands_back_without_using_budget(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j1"), job("j2", priority=1)])
        j1, _ = await a.claim(2)
        assert await b.claim(1) == []
        await a.store.leave()
        assert await b.heard() == [Wake("q")]
        grants = {grant.spec.id: grant for grant in await b.claim(9)}
        assert {id: (grant.attempt, grant.deliveries) for id, grant in grants.items()} == {
            "j1": (1, 2),
            "j2": (1, 2),
        }
        assert (await b.view("j1")).stalls == 0
        assert (await a.settle(j1)).status == "fenced"
        assert (await a.store.claim("q", a.next_seq(), 1)).lost is True
        assert (await a.store.tick()).lost is True

    async def test_a_node_that_leaves_is_not_woken(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        await a.claim_one()
        assert await a.claim(1) == []
        bench.clock.advance(0.001)
        assert await b.claim(1) == []
        await a.store.leave()
        assert await a.heard() == []
        assert await b.heard() == [Wake("q")]

    async def test_leave_ends_what_is_to_be_cancelled(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.enqueue([job("j", origin="b")])
        await a.claim_one()
        await a.store.cancel("j", "enough")
        await a.store.leave()
        assert await b.heard() == [settled("j", "cancelled", "enough")]

    async def test_seqs_begin_anew_after_leave(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.claim("q", 7, 1)
        await a.store.leave()
        await a.store.join()
        await a.store.enqueue([job("j")])
        assert ids_of((await a.store.claim("q", 1, 1)).grants) == ["j"]

    async def test_what_a_node_gave_up_by_leaving_it_cannot_have_again(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await a.store.leave()
        assert await a.store.reconcile([("j", grant.token)]) == [Standing(status="lost")]
        assert await a.status("j") == "waiting"

    async def test_a_node_that_joins_again_keeps_what_it_holds(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        bench.clock.advance(3 * SETTINGS.lease)
        assert (await a.store.tick()).lost is False
        await a.store.join()
        assert await a.store.holdings() == [("j", grant.token)]
        assert await a.store.reconcile([("j", grant.token)]) == [HELD]
        assert (await a.settle(grant)).status == "applied"
        assert await a.store.holdings() == []

    async def test_each_node_is_waited_for_as_long_as_it_has_asked_for(self, bench: Bench) -> None:
        patient = await bench.connect("a", disconnect_grace=5.0)
        await patient.store.join()
        b = await bench.node("b")
        await b.store.enqueue([job("j")])
        grant = await patient.claim_one()
        await bench.crash(patient)
        for _ in range(4):
            assert (await b.store.tick()).reaped == 0
            bench.clock.advance(1.0)
        assert (await b.store.tick()).reaped == 0
        back = await bench.connect("a", disconnect_grace=5.0)
        assert (await b.store.tick()).reaped == 0
        assert (await back.settle(grant)).status == "applied"

    # --- health -----------------------------------------------------------------------------

    async def test_connections_are_ready_while_it_runs(self, bench: Bench) -> None:
        a = await bench.connect("a")
        await a.store.ping()
        assert set(a.store.connections.values()) == {"ready"}
        await bench.crash(a)
        assert set(a.store.connections.values()) == {"disconnected"}
