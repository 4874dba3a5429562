"""Dead letters: what failed for good is kept, within bounds, until somebody decides about it."""

from __future__ import annotations

from am2z_trio.model.options import Retention
from am2z_trio.model.records import QueueStats, Wake

from .bench import Bench
from .builders import job, settled


class DeadLetterCases:
    """What is kept of jobs that have ended, and how it comes back or goes."""

    async def test_what_failed_for_good_is_kept_and_can_be_queued_again(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job(f"j{n}", origin="a", session="s") for n in range(3)])
        for grant in await a.claim(3):
            await a.settle(grant, "retry")
        for grant in await a.claim(3):
            bench.clock.advance(0.001)
            await a.settle(grant, "failed", result=b"\x93")
        assert await a.store.dead_page("q", 0, 2) == ["j2", "j1"]
        assert await a.store.dead_page("q", 2, 2) == ["j0"]
        dead, none = await a.store.dead_jobs(["j1", "nobody"])
        assert none is None
        assert dead is not None
        assert (dead.spec, dead.attempt, dead.settled) == (
            job("j1", origin="a", session="s").spec,
            2,
            settled("j1", "failed", result=b"\x93"),
        )
        await a.heard()
        assert await b.claim(1) == []
        assert await a.store.revive(["j1", "nobody"]) == ["queued", "gone"]
        # Another call finds none any more.
        assert await b.store.revive(["j1"]) == ["gone"]
        assert await b.heard() == [Wake("q")]
        assert await a.store.dead_page("q", 0, 9) == ["j2", "j0"]
        assert (await a.store.session_counts("s")).waiting == 1
        (grant,) = await b.claim(9)
        assert (grant.spec.id, grant.attempt, grant.deliveries) == ("j1", 1, 3)
        await b.settle(grant)
        assert await a.store.revive(["j1"]) == ["gone"]
        assert await a.stats() == QueueStats(completed=1, failed=2, dead=2, retried=3)
        # Whoever waited has heard of the failure; nobody waits for the second life.
        assert await a.heard() == []

    async def test_a_failure_that_is_told_again_after_a_revival_is_still_one(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await a.settle(grant, "failed")
        assert await b.store.revive(["j"]) == ["queued"]
        # As after a connection that broke before the answer came.
        again = await a.settle(grant, "failed")
        assert (again.status, again.outcome) == ("replay", "failed")
        await b.settle(await b.claim_one())
        assert (await a.settle(grant, "failed")).status == "fenced"
        assert await a.status("j") == "completed"

    async def test_a_grant_counts_although_its_job_was_plain_then(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j0"), job("j1")])
        first, other = await a.claim(2)
        await a.settle(first, "failed")
        await a.settle(other, "released")
        await a.store.cancel("j1", "unwanted")
        assert (await a.view("j1")).deliveries == 1
        assert (await a.view("j0")).deliveries == 1
        assert await a.store.revive(["j0"]) == ["queued"]
        assert (await a.view("j0")).deliveries == 1
        assert (await a.claim_one()).deliveries == 2

    async def test_dead_letters_are_dropped(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j0"), job("j1")])
        for grant in await a.claim(2):
            await a.settle(grant, "failed")
        assert await a.store.drop_dead_letters(["j0", "nobody"]) == [True, False]
        assert await a.store.drop_dead_letters(["j0"]) == [False]
        assert await a.store.dead_page("q", 0, 9) == ["j1"]
        assert await a.store.revive(["j0"]) == ["gone"]
        # Its outcome stays for a while.
        assert await a.status("j0") == "failed"

    async def test_a_stopping_session_revives_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s")])
        await a.settle(await a.claim_one(), "failed")
        await a.store.stop_session("s", running=False, refuse=5.0)
        assert await a.store.revive(["j"]) == ["stopped"]
        bench.clock.advance(5.001)
        assert await a.store.revive(["j"]) == ["queued"]

    async def test_a_childs_failure_is_its_parents(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p")])
        await a.claim_one()
        await a.store.enqueue([job("c", parent="p")])
        await a.settle(await a.claim_one(), "failed")
        assert await a.store.dead_page("q", 0, 9) == []

    async def test_only_so_many_ended_jobs_are_kept(self, bench: Bench) -> None:
        a = await bench.node()
        keep = Retention(count=2)
        jobs = [job(f"j{n}", on_fail=keep, on_complete=keep) for n in range(8)]
        await a.store.enqueue(jobs)
        for number, grant in enumerate(await a.claim(8)):
            bench.clock.advance(0.001)
            await a.settle(grant, "failed" if number < 4 else "completed")
        assert await a.store.dead_page("q", 0, 9) == ["j3", "j2"]
        # What is not kept goes a minute later, as callers may not have heard of it yet.
        assert await a.status("j0") == "failed"
        assert await a.status("j4") == "completed"
