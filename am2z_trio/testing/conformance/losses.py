"""Losses: what becomes of the jobs of a node that seemed dead, also where it is there after all."""

from __future__ import annotations

from typing import Any, Final

from am2z_trio.model.records import QueueLimits, QueueStats, Standing

from .bench import Bench
from .builders import commit, ids_of, job, settled, version

HELD: Final = Standing(status="held")


class LossCases:
    """A claim is taken away once, at the cost of a stall; both come back while nobody else has the job."""

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
            await bench.outlast(a)
            await a.store.tick()

    async def test_a_call_that_completes_takes_its_parents_losses_away(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("p", max_stalled=1)])
        for n in range(4):
            lost = await bench.node(f"lost{n}")
            await lost.claim_one()
            await bench.outlast(a)
            await a.store.tick()
            assert (await a.view("p")).stalls == 1
            parent = await a.claim_one()
            await a.store.enqueue([job(f"c{n}", parent="p")])
            await a.settle(await a.claim_one(), "completed")
            assert (await a.view("p")).stalls == 0
            await a.settle(parent, "released")

    async def test_a_claim_that_is_given_back_is_in_no_queue(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j"), job("k")])
        j = await a.claim_one()
        await bench.outlast(b)
        assert (await b.store.tick()).reaped == 1
        await a.store.join()
        assert await a.store.reconcile([("j", j.token)]) == [HELD]
        # It goes to the end of the queue, not to where it was for a while.
        assert (await a.settle(j, "retry")).status == "applied"
        assert [(await b.claim_one()).spec.id for _ in range(2)] == ["k", "j"]

    async def test_all_jobs_of_dead_nodes_come_back_and_living_ones_share_the_work(
        self, bench: Bench
    ) -> None:
        a, b, c, d = [await bench.node(name) for name in "abcd"]
        await b.store.enqueue([job(f"j{n}") for n in range(1_200)])
        for dead, calls in ((a, 2), (b, 10)):
            for _ in range(calls):
                assert len(await dead.claim(100)) == 100
        await bench.outlast(c, d)
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

    async def test_a_node_that_is_there_after_all_settles_what_nobody_else_was_granted(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", session="s", origin="b"), job("k", max_stalled=0), job("r")])
        j, k, r = sorted(await a.claim(3), key=lambda grant: grant.spec.id)
        await bench.outlast(b)
        assert (await b.store.tick()).reaped == 3
        assert (await b.view("j")).stalls == 1
        assert (await a.settle(j, commit=commit("effect"))).status == "applied"
        assert (await a.settle(j, commit=commit("effect"))).status == "replay"
        assert await b.state("s") == version(1, "effect")
        assert (await b.view("j")).stalls == 0
        # The store has ended this one: its caller has heard so.
        assert (await a.settle(k)).status == "fenced"
        assert (await b.view("k")).stalls == 1
        assert (await a.settle(r, "released")).outcome == "released"
        assert ids_of(await b.claim(9)) == ["r"]
        assert await b.stats() == QueueStats(active=1, completed=1, failed=1, dead=1, stalled=3, fenced=1)

    async def test_what_somebody_else_was_granted_is_fenced_though_that_one_gave_it_back(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", session="s")])
        old = await a.claim_one()
        await bench.outlast(b)
        await b.store.tick()
        await b.settle(await b.claim_one(), "released")
        assert await b.status("j") == "waiting"
        assert await a.store.reconcile([("j", old.token)]) == [Standing(status="lost")]
        assert (await a.settle(old, commit=commit("effect"))).status == "fenced"
        assert (await b.state("s")).version == 0

    async def test_a_conflict_leaves_a_claim_that_was_taken_away_with_its_node(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", session="s")])
        grant = await a.claim_one()
        await bench.outlast(b)
        await b.store.tick()
        answer = await a.settle(grant, commit=commit("effect", (7, "0" * 64)))
        assert answer.status == "conflict"
        assert await b.claim(9) == []
        assert (await a.settle(grant, commit=commit("effect"))).status == "applied"
        # Whoever holds a claim without having joined is looked after all the same.
        await a.store.enqueue([job("k")])
        assert ids_of(await b.claim(9)) == ["k"]

    async def test_a_claim_that_is_settled_without_a_lease_is_not_forgotten(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", session="s")])
        grant = await a.claim_one()
        await bench.outlast(b)
        await b.store.tick()
        assert (await a.settle(grant, commit=commit("effect", (7, "0" * 64)))).status == "conflict"
        await bench.crash(a)
        assert (await b.store.tick()).reaped == 1
        assert ids_of(await b.claim(9)) == ["j"]

    async def test_a_job_that_loses_too_many_nodes_fails(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.enqueue([job("j", origin="b", max_stalled=1)])
        for stalls in (1, 2):
            (grant,) = await a.claim(1)
            assert (grant.attempt, grant.deliveries) == (1, stalls)
            await bench.outlast(b)
            await b.store.tick()
            assert (await b.view("j")).stalls == stalls
            await a.store.join()
        assert await b.heard() == [settled("j", "failed", "stalled")]
        assert (await b.view("j")).settled == settled("j", "failed", "stalled")
        assert await b.stats() == QueueStats(failed=1, dead=1, stalled=2)

    async def test_reconcile_tells_how_each_claim_stands(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        names = ("held", "wanted", "settled", "retried", "ended", "stopped")
        await a.store.enqueue([job(name, session="s" if name == "stopped" else "") for name in names])
        grants = {grant.spec.id: grant for grant in await a.claim(9)}
        await a.store.cancel("wanted", "enough")
        await a.settle(grants["settled"])
        await a.settle(grants["retried"], "retry")
        await a.store.stop_session("s", running=True, refuse=5.0)
        claims = [(name, grant.token) for name, grant in grants.items()]
        found = dict(zip(grants, await a.store.reconcile(claims), strict=True))
        assert found == {
            "held": HELD,
            "wanted": Standing(status="held", cancel="enough"),
            "settled": Standing(status="settled"),
            "retried": Standing(status="settled"),
            "ended": HELD,
            "stopped": Standing(status="lost"),
        }
        assert (
            await b.store.reconcile([("held", "another"), ("nobody", "x"), ("held", "")])
            == [Standing(status="lost")] * 3
        )
        assert await a.store.reconcile([]) == []
        assert sorted(await a.store.holdings()) == sorted(
            (name, grants[name].token) for name in ("held", "wanted", "ended")
        )

    async def test_reconcile_gives_back_what_nobody_else_was_granted(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        kinds: dict[str, Any] = {"plain": {}, "urgent": {"priority": 1}, "mine": {"session": "s"}}
        await a.store.enqueue([job(name, **options) for name, options in kinds.items()])
        await a.store.enqueue([job("first")])
        grants = {grant.spec.id: grant for grant in await a.claim(9)}
        await a.store.enqueue([job("next", session="s"), job("last")])
        claims = [(name, grant.token) for name, grant in grants.items()]
        for times in (1, 2, 3):
            # The second time they come back one by one, which is later than this.
            await bench.outlast(b)
            assert (await b.store.tick()).reaped == 4
            assert (await b.view("mine")).stalls == 1
            assert await a.store.holdings() == []
            await a.store.join()
            assert await a.store.reconcile(claims) == [HELD] * 4
            assert await a.store.reconcile(claims) == [HELD] * 4
            for name in grants:
                view = await a.view(name)
                assert (view.status, view.stalls, view.deliveries) == ("active", 0, 1)
            assert await a.stats() == QueueStats(active=4, waiting=2, stalled=4 * times)
        await bench.outlast(b)
        await b.store.tick()
        theirs = await b.claim(1)
        await a.store.join()
        standings = dict(zip(grants, await a.store.reconcile(claims), strict=True))
        taken = {grant.spec.id for grant in theirs}
        assert len(taken) == 1
        assert {name for name, standing in standings.items() if standing.status == "lost"} == taken
        # Whoever has it, it was lost to nobody who is dead.
        assert [(await b.view(name)).stalls for name in grants] == [0] * 4
        assert {grant.spec.id for grant in await b.claim(9)} == {"next", "last"}
        for name in grants.keys() - taken:
            assert (await a.settle(grants[name])).status == "applied"
        for grant in theirs:
            assert (await b.settle(grant)).status == "applied"
        assert await b.stats() == QueueStats(active=2, completed=4, stalled=16)

    async def test_a_stall_that_made_a_dead_letter_stays(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", max_stalled=0)])
        grant = await a.claim_one()
        await bench.outlast(b)
        await b.store.tick()
        assert await a.store.reconcile([("j", grant.token)]) == [Standing(status="lost")]
        assert (await b.view("j")).stalls == 1
        assert await b.store.revive(["j"]) == ["queued"]
        assert await a.store.reconcile([("j", grant.token)]) == [Standing(status="lost")]
        assert (await a.settle(grant)).status == "fenced"
        assert (await b.view("j")).stalls == 0

    async def test_a_job_whose_session_has_others_active_is_not_given_back(self, bench: Bench) -> None:
        one_by_one = QueueLimits(per_session=1)
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j1", session="s"), job("j2", session="s")])
        (first,) = await a.claim(9, limits=one_by_one)
        for _ in range(2):
            await bench.outlast(b)
            await b.store.tick()
            await a.store.join()
            assert await a.store.reconcile([("j1", first.token)]) == [HELD]
            assert await b.claim(9, limits=one_by_one) == []
        await a.settle(first, "retry", delay=60.0)
        (second,) = await b.claim(9, limits=one_by_one)
        assert second.spec.id == "j2"
