"""Cancelling: at once where a job waits, by its node where it runs, and never forgotten."""

from __future__ import annotations

import msgspec

from am2z_trio.model.records import CancelRequest, QueueStats, SettleAnswer

from .bench import SETTINGS, Bench, Outcome
from .builders import job, settled


class CancelCases:
    """What becomes of a job that somebody does not want any more."""

    async def test_what_is_queued_again_after_its_cancellation_goes_to_the_end(self, bench: Bench) -> None:
        a = await bench.node()
        again = msgspec.structs.replace(job("j"), again=True)
        await a.store.enqueue([job("j"), job("k")])
        assert await a.store.cancel("j", "unwanted") == "waiting"
        await a.store.enqueue([again])
        assert [(await a.claim_one()).spec.id for _ in range(2)] == ["k", "j"]
        # Also where so many others wait that its place is not yet cleared away.
        await a.store.enqueue([job(id) for id in "wxyz"])
        assert await a.store.cancel("w", "unwanted") == "waiting"
        await a.store.enqueue([msgspec.structs.replace(job("w"), again=True)])
        assert [(await a.claim_one()).spec.id for _ in range(4)] == ["x", "y", "z", "w"]
        # A session has its turns by its first job that is wanted.
        await a.store.enqueue([job("s1", session="s"), job("t1", session="t")])
        assert await a.store.cancel("s1", "unwanted") == "waiting"
        await a.store.enqueue([job("s2", session="s")])
        assert [(await a.claim_one()).spec.id for _ in range(2)] == ["t1", "s2"]

    async def test_cancelling_a_job_that_waits_ends_it_at_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue(
            [job("w", origin="a"), job("p", priority=2, origin="a"), job("l", delay=5.0, origin="a")]
        )
        for id, before in (("w", "waiting"), ("p", "waiting"), ("l", "later")):
            assert await a.store.cancel(id, "unwanted") == before
            assert await a.heard() == [settled(id, "cancelled", "unwanted")]
            assert (await a.view(id)).settled == settled(id, "cancelled", "unwanted")
            assert await a.store.cancel(id, "again") == "cancelled"
            assert await a.heard() == []
        bench.clock.advance(10)
        answer = await a.store.claim("q", 1, 9)
        assert (answer.grants, answer.next_due) == ([], None)
        assert await a.stats() == QueueStats(cancelled=3)

    async def test_cancelling_an_active_job_tells_its_node(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a")])
        grant = await b.claim_one()
        assert await a.store.cancel("j", "enough") == "active"
        assert await b.heard() == [CancelRequest("j", grant.token, "enough")]
        assert await a.heard() == []
        assert await a.status("j") == "active"
        answer = await b.settle(grant, "cancelled")
        assert answer.outcome == "cancelled"
        assert await a.heard() == [settled("j", "cancelled", "enough")]

    async def test_a_job_may_complete_before_it_hears_of_its_cancellation(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await a.store.cancel("j", "enough")
        assert (await a.settle(grant, "completed")).outcome == "completed"
        assert await a.store.cancel("j", "enough") == "completed"
        assert (await a.view("j")).settled == settled("j", "completed")

    async def test_retry_and_release_of_a_cancelled_job_end_it(self, bench: Bench) -> None:
        a = await bench.node()
        outcomes: tuple[Outcome, ...] = ("retry", "released")
        for outcome in outcomes:
            await a.store.enqueue([job(outcome, origin="a")])
            grant = await a.claim_one()
            await a.store.cancel(outcome, "")
            await a.heard()
            answer = await a.settle(grant, outcome, delay=3.0)
            assert answer == SettleAnswer(status="applied", outcome="cancelled")
            assert await a.heard() == [settled(outcome, "cancelled")]
            again = await a.settle(grant, outcome, delay=3.0)
            assert again == SettleAnswer(status="replay", outcome="cancelled")
        assert await a.claim(9) == []

    async def test_cancelling_nothing_is_none(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.cancel("nobody", "") is None

    async def test_cancel_nowait_takes_effect(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        a.store.cancel_nowait("j", "gone")
        await a.store.ping()
        assert (await a.view("j")).settled == settled("j", "cancelled", "gone")

    async def test_a_cancellation_outlives_the_node_that_should_have_heard(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a")])
        await b.claim_one()
        await bench.crash(b)
        assert await a.store.cancel("j", "enough") == "active"
        await a.store.tick()
        bench.clock.advance(SETTINGS.disconnect_grace)
        assert (await a.store.tick()).reaped == 1
        assert await a.heard() == [settled("j", "cancelled", "enough")]
        assert await a.claim(9) == []

    async def test_who_leaves_takes_the_job_along_only_as_the_last_one(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a", again=True)])
        await a.store.enqueue([job("j", origin="b", again=True)])
        a.store.leave_nowait("j", "gone")
        a.store.leave_nowait("j", "gone")
        await a.store.ping()
        assert await a.status("j") == "waiting"
        b.store.leave_nowait("j", "gone")
        await b.store.ping()
        assert (await a.view("j")).settled == settled("j", "cancelled", "gone")
        # It has not completed, so it is run anew when somebody asks for it; from now on it stays.
        await a.store.enqueue([job("j", origin="a", again=True)])
        grant = await b.claim_one()
        await a.store.enqueue([job("j", origin="b", again=True, stays=True)])
        for node in (a, b):
            node.store.leave_nowait("j", "gone")
            await node.store.ping()
        assert CancelRequest("j", grant.token, "gone") not in await b.heard()
        assert (await b.settle(grant)).outcome == "completed"

    async def test_an_active_job_that_nobody_waits_for_is_to_be_cancelled(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a", again=True)])
        grant = await b.claim_one()
        a.store.leave_nowait("j", "gone")
        await a.store.ping()
        assert await b.heard() == [CancelRequest("j", grant.token, "gone")]

    async def test_a_dead_letter_whose_id_is_used_again_is_none_any_more(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j", again=True)])
        await a.settle(await a.claim_one(), "failed")
        assert await a.store.dead_page("q", 0, 9) == ["j"]
        (answer,) = await a.store.enqueue([job("j", again=True)])
        assert answer.status == "queued"
        assert await a.store.dead_page("q", 0, 9) == []
        assert (await a.claim_one()).attempt == 1
