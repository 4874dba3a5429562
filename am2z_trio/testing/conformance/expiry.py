"""Jobs that are not to be run any more if they have not begun in time."""

from __future__ import annotations

from am2z_trio.model.records import DEADLINE, EXPIRED, QueueStats

from .bench import Bench
from .builders import bulk, ids_of, job, settled


class ExpiryCases:
    """What becomes of a job that is to begin by some time."""

    async def test_a_job_that_has_not_begun_in_its_time_is_never_granted(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue(
            [
                job("late", origin="a", expires=5.0),
                job("both", origin="a", expires=9.0, deadline=4.0),
                job("first", origin="a", expires=5.0, priority=1),
                job("delayed", origin="a", expires=5.0, delay=4.0),
                job("any"),
            ]
        )
        bench.clock.advance(5.0)
        assert ids_of(await a.claim(9)) == ["any"]
        assert await a.heard() == [
            settled("late", "cancelled", EXPIRED),
            settled("both", "cancelled", DEADLINE),
            settled("delayed", "cancelled", EXPIRED),
            settled("first", "cancelled", EXPIRED),
        ]
        assert await a.stats() == QueueStats(active=1, cancelled=4, expired=4)

    async def test_one_that_has_begun_is_run_to_its_end(self, bench: Bench) -> None:
        a = await bench.node()
        jobs = [job("j", expires=5.0, deadline=20.0), job("k", expires=5.0)]
        await a.store.enqueue([*jobs, *jobs])
        bench.clock.advance(4.0)
        j, k = await a.claim(2)
        assert (j.remaining, k.remaining) == (16.0, None)
        bench.clock.advance(6.0)
        await a.settle(j, "retry")
        await a.settle(k, "released")
        j, k = sorted(await a.claim(2), key=lambda grant: grant.spec.id)
        assert (j.attempt, j.remaining, k.remaining) == (2, 10.0, None)
        assert await a.store.cancel("j", EXPIRED) == "active"
        await a.settle(j, "retry")
        assert await a.store.cancel("j", EXPIRED) == "waiting"
        assert await a.status("j") == "waiting"
        assert await a.stats() == QueueStats(active=1, waiting=1, retried=2)

    async def test_who_waits_for_it_takes_back_what_has_not_begun(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j", origin="a", expires=5.0), job("plain", origin="a")])
        for id in ("j", "plain"):
            assert await a.store.cancel(id, EXPIRED) == "waiting"
        assert await a.store.cancel("j", EXPIRED) == "cancelled"
        assert await a.heard() == [settled(id, "cancelled", EXPIRED) for id in ("j", "plain")]
        assert await a.stats() == QueueStats(cancelled=2, expired=2)

    async def test_what_expires_is_given_to_nobody_unasked(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.claim("q", b.next_seq(), 5, unasked=5)
        await a.store.enqueue([job("j", expires=5.0)])
        assert await a.status("j") == "waiting"
        await a.store.enqueue_bulk(bulk(job(expires=5.0), 2))
        assert len(await b.claim(9)) == 3

    async def test_until_when_it_may_begin_is_among_the_facts(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", expires=5.0, deadline=20.0), job("k", expires=9.0), job("m")])
        now = bench.clock()
        found = [await a.store.inspection.facts(id) for id in ("j", "k", "m")]
        assert [one and (one.deadline, one.expires) for one in found] == [
            (now + 20_000, now + 5_000),
            (None, now + 9_000),
            (None, None),
        ]
        rows = await a.store.inspection.rows(["j", "k"])
        assert [row and row.deadline for row in rows] == [now + 20_000, 0]
        # What has expired before it is not granted before it.
        bench.clock.advance(7.0)
        after = await a.store.inspection.facts("m")
        assert after is not None
        assert after.line is not None
        assert (after.line.place, after.line.ahead) == (2, 1)
        await a.claim(9)
        after = await a.store.inspection.facts("k")
        assert after is not None
        assert after.expires is None
