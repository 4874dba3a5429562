"""Nodes and leases: what a node holds goes back to its queue when the node dies, leaves or forgets."""

from __future__ import annotations

from am2z_trio.model.records import QueueStats, Wake

from .bench import SETTINGS, Bench
from .builders import ids_of, job, settled


class NodeCases:
    """What keeps a node's claims, what ends them, and what that costs the jobs."""

    # --- nodes ------------------------------------------------------------------------------

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

    async def test_jobs_that_are_lost_again_come_back_one_by_one(self, bench: Bench) -> None:
        ids = ["j1", "j2", "j3"]
        a = await bench.node("a")
        await a.store.enqueue([job(id) for id in ids])
        for loss, order in enumerate([ids, ids, ids[::-1], ids], start=1):
            lost = await bench.node(f"lost{loss}")
            came: list[str] = []
            while len(came) < 3:
                grants = await lost.claim(9)
                came += ids_of(grants)
                if loss == 1:
                    assert ids_of(grants) == ids
                elif loss == 2:
                    # After the first loss they came back together.
                    assert sorted(came) == ids
                else:
                    assert len(grants) <= 1
                    bench.clock.advance(0.125)
            if loss > 2:
                assert came == order
            await a.store.tick()
            bench.clock.advance(SETTINGS.lease + 0.001)
            await a.store.tick()

    async def test_a_call_that_completes_takes_its_parents_losses_away(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("p", max_stalled=1)])
        for n in range(4):
            lost = await bench.node(f"lost{n}")
            await lost.claim_one()
            bench.clock.advance(SETTINGS.lease + 0.001)
            await a.store.tick()
            assert (await a.view("p")).stalls == 1
            parent = await a.claim_one()
            await a.store.enqueue([job(f"c{n}", parent="p")])
            await a.settle(await a.claim_one(), "completed")
            assert (await a.view("p")).stalls == 0
            await a.settle(parent, "released")

    async def test_a_node_whose_lease_has_passed_is_reaped(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a"), job("k")])
        old = await a.claim_one()
        bench.clock.advance(SETTINGS.lease / 2)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.lease / 2 + 0.001)
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

    async def test_all_jobs_of_dead_nodes_come_back_and_living_ones_share_the_work(
        self, bench: Bench
    ) -> None:
        a, b, c, d = [await bench.node(name) for name in "abcd"]
        await b.store.enqueue([job(f"j{n}") for n in range(1_200)])
        for dead, calls in ((a, 2), (b, 10)):
            for _ in range(calls):
                assert len(await dead.claim(100)) == 100
        bench.clock.advance(SETTINGS.lease + 0.001)
        returned: list[int] = []
        more = True
        while more:
            for living in (c, d):
                answer = await living.store.tick()
                returned.append(answer.reaped)
                more = answer.more
        assert sum(returned) == 1_200
        # Each call takes as many as it may; a last one finds that there are no more.
        assert max(returned) * 12 == 1_200
        assert len(returned) <= 14
        assert (await c.stats()).waiting == 1_200

    async def test_what_was_taken_from_a_node_is_fenced_before_it_is_granted_again(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j"), job("k", max_stalled=0)])
        j, k = await a.claim(2)
        bench.clock.advance(SETTINGS.lease + 0.001)
        assert (await b.store.tick()).reaped == 2
        # Settled with this token? No: somebody else ended the claim.
        assert (await a.settle(j)).status == "fenced"
        assert (await a.settle(k)).status == "fenced"

    async def test_a_node_without_a_subscriber_is_reaped_after_the_grace(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        await a.claim_one()
        await bench.crash(a)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.gone_grace - 0.001)
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
        bench.clock.advance(SETTINGS.gone_grace / 2)
        a = await bench.connect("a")
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.gone_grace)
        assert (await b.store.tick()).reaped == 0
        await bench.crash(a)
        assert (await b.store.tick()).reaped == 0
        a = await bench.connect("a")
        assert (await a.settle(grant)).status == "applied"

    async def test_a_job_that_loses_too_many_nodes_fails(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.enqueue([job("j", origin="b", max_stalled=1)])
        for stalls in (1, 2):
            (grant,) = await a.claim(1)
            assert (grant.attempt, grant.deliveries) == (1, stalls)
            bench.clock.advance(SETTINGS.lease + 1)
            await b.store.tick()
            assert (await b.view("j")).stalls == stalls
            await a.store.join()
        assert await b.heard() == [settled("j", "failed", "stalled")]
        assert (await b.view("j")).settled == settled("j", "failed", "stalled")
        assert await b.stats() == QueueStats(failed=1, dead=1)

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

    async def test_leave_and_join_end_what_is_to_be_cancelled(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.enqueue([job("j1", origin="b"), job("j2", origin="b")])
        await a.claim_one()
        await a.store.cancel("j1", "one")
        await a.store.leave()
        assert await b.heard() == [settled("j1", "cancelled", "one")]
        await a.store.join()
        await a.store.claim("q", 1, 1)
        await a.store.cancel("j2", "two")
        await a.store.join()
        assert await b.heard() == [settled("j2", "cancelled", "two")]

    async def test_seqs_begin_anew_after_leave(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.claim("q", 7, 1)
        await a.store.leave()
        await a.store.join()
        await a.store.enqueue([job("j")])
        assert ids_of((await a.store.claim("q", 1, 1)).grants) == ["j"]

    async def test_join_hands_back_what_the_node_held(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        old = await a.claim_one()
        await a.store.join()
        assert await a.status("j") == "waiting"
        assert (await a.settle(old)).status == "fenced"
        new = await a.claim_one()
        assert (new.attempt, new.deliveries, (await a.view("j")).stalls) == (1, 2, 0)

    async def test_reconcile_hands_back_what_the_node_does_not_know(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("known"), job("lost"), job("other", "r")])
        known, lost = await a.claim(2)
        await a.claim(1, "r")
        assert await a.store.reconcile(["known", "other", "nobody"]) == 1
        assert await a.store.reconcile(["known", "other", "nobody"]) == 0
        assert await a.status("known") == "active"
        view = await a.view("lost")
        assert (view.status, view.attempt, view.stalls) == ("waiting", 1, 0)
        assert (await a.settle(lost)).status == "fenced"
        assert (await a.settle(known)).status == "applied"
        assert ids_of(await a.claim(9)) == ["lost"]

    # --- health -----------------------------------------------------------------------------

    async def test_connections_are_ready_while_it_runs(self, bench: Bench) -> None:
        a = await bench.connect("a")
        await a.store.ping()
        assert set(a.store.connections.values()) == {"ready"}
        await bench.crash(a)
        assert set(a.store.connections.values()) == {"disconnected"}
