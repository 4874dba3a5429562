"""What the holder of a claim says of it: how far it is, and one outcome. Nobody else is believed."""

from __future__ import annotations

from am2z_trio.model.records import QueueStats, SettleAnswer, Settlement

from .bench import Bench, Outcome
from .builders import commit, ids_of, job, settled, version


class SettleCases:
    """How a claim ends, what is left of it, and who may not end it."""

    # --- settle -----------------------------------------------------------------------------

    async def test_completed(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a")])
        answer = await b.settle(await b.claim_one(), "completed", result=b"\xa2ok")
        assert answer == SettleAnswer(status="applied", outcome="completed")
        view = await a.view("j")
        assert (view.status, view.settled) == ("completed", settled("j", "completed", result=b"\xa2ok"))
        assert await a.heard() == [settled("j", "completed", result=b"\xa2ok")]
        assert await a.stats() == QueueStats(completed=1)

    async def test_failed(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", origin="a")])
        answer = await a.settle(await a.claim_one(), "failed", result=b"\xa2no")
        assert answer == SettleAnswer(status="applied", outcome="failed")
        assert await a.heard() == [settled("j", "failed", result=b"\xa2no")]
        assert await a.stats() == QueueStats(failed=1, dead=1)

    async def test_cancelled(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", origin="a")])
        answer = await a.settle(await a.claim_one(), "cancelled", result=b"\x01", reason="stopped")
        assert answer == SettleAnswer(status="applied", outcome="cancelled")
        assert await a.heard() == [settled("j", "cancelled", "stopped", b"\x01")]
        assert await a.stats() == QueueStats(cancelled=1)

    async def test_retry_at_once_goes_to_the_end_of_the_queue(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", origin="a"), job("k")])
        answer = await a.settle(await a.claim_one(), "retry", result=b"\x01")
        assert answer == SettleAnswer(status="applied", outcome="retry")
        assert await a.heard() == []
        k, j = await a.claim(2)
        assert (k.spec.id, j.spec.id) == ("k", "j")
        assert (j.attempt, j.deliveries) == (2, 2)

    async def test_retry_after_a_while_waits_for_it(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        await a.settle(await a.claim_one(), "retry", delay=4.0)
        assert await a.stats() == QueueStats(delayed=1, retried=1)
        answer = await a.store.claim("q", a.next_seq(), 1)
        assert (answer.grants, answer.next_due) == ([], 4.0)
        bench.clock.advance(4)
        assert (await a.claim_one()).attempt == 2

    async def test_released_goes_to_the_front_and_uses_no_attempt(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j"), job("k"), job("p", priority=3), job("p2", priority=3)])
        j = await a.claim_one()
        answer = await a.settle(j, "released")
        assert answer == SettleAnswer(status="applied", outcome="released")
        j, _k, p = await a.claim(3)
        assert (j.spec.id, j.attempt, j.deliveries) == ("j", 1, 2)
        await a.settle(p, "released")
        assert ids_of(await a.claim(9)) == ["p", "p2"]
        assert (await a.view("j")).stalls == 0

    async def test_a_settlement_again_is_a_replay_with_the_same_outcome(self, bench: Bench) -> None:
        a = await bench.node()
        outcomes: tuple[Outcome, ...] = ("completed", "failed", "cancelled", "retry", "released")
        for outcome in outcomes:
            await a.store.enqueue([job(outcome, origin="a", session=outcome)])
            grant = await a.claim_one()
            change = commit("x") if outcome == "completed" else None
            assert (await a.settle(grant, outcome, delay=500, commit=change)).status == "applied"
            before = (
                await a.heard(),
                await a.view(outcome),
                await a.stats(),
                await a.state(outcome),
            )
            again = await a.settle(grant, outcome, delay=500, commit=change)
            assert again == SettleAnswer(status="replay", outcome=outcome)
            again = await a.settle(grant, "failed", result=b"\x33")
            assert again == SettleAnswer(status="replay", outcome=outcome)
            assert await a.heard() == []
            after = before[0], await a.view(outcome), await a.stats(), await a.state(outcome)
            assert after == before

    async def test_a_settlement_twice_in_one_call_is_applied_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s")])
        grant = await a.claim_one()
        once = Settlement(id="j", token=grant.token, outcome="completed", commit=commit("x"))
        first, second = await a.store.settle([once, once])
        assert (first.status, second.status) == ("applied", "replay")
        assert await a.state("s") == version(1, "x")

    async def test_a_token_that_is_not_the_current_one_is_fenced(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s"), job("waiting", "other")])
        old = await a.claim_one()
        await a.settle(old, "released")
        new = await a.claim_one()
        (answer,) = await a.store.settle([Settlement(id="j", token="0:other", outcome="completed")])
        assert answer.status == "fenced"
        (answer,) = await a.store.settle([Settlement(id="waiting", token="", outcome="completed")])
        assert answer.status == "fenced"
        await a.settle(new, "released")
        newest = await a.claim_one()
        answer = await a.settle(old, "completed", commit=commit("x"))
        assert answer.status == "fenced"
        assert await a.status("j") == "active"
        assert not (await a.state("s")).exists
        assert (await a.settle(newest)).status == "applied"
        assert (await a.settle(old)).status == "fenced"

    async def test_no_token_settles_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("cancelled"), job("waiting")])
        await a.store.cancel("cancelled", "")
        for id in ("cancelled", "waiting"):
            (answer,) = await a.store.settle([Settlement(id=id, token="", outcome="completed")])
            assert answer.status == "fenced"

    async def test_a_job_without_a_record_is_gone(self, bench: Bench) -> None:
        a = await bench.node()
        (answer,) = await a.store.settle([Settlement(id="nobody", token="1:x", outcome="completed")])
        assert answer == SettleAnswer(status="gone")
        assert await a.store.view(["nobody"]) == [None]

    async def test_settlements_are_answered_one_by_one(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1"), job("j2"), job("j3")])
        j1, j2, j3 = await a.claim(3)
        await a.settle(j2)
        answers = await a.store.settle(
            [
                Settlement(id="j1", token=j1.token, outcome="completed"),
                Settlement(id="j2", token=j2.token, outcome="completed"),
                Settlement(id="nobody", token="1:x", outcome="completed"),
                Settlement(id="j3", token=j1.token, outcome="completed"),
                Settlement(id="j3", token=j3.token, outcome="retry"),
            ]
        )
        assert [answer.status for answer in answers] == ["applied", "replay", "gone", "fenced", "applied"]

    # --- progress ---------------------------------------------------------------------------

    async def test_progress_is_kept_and_fenced(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j"), job("k")])
        old = await a.claim_one()
        assert await a.store.report("j", old.token, 0.25) is True
        assert (await a.view("j")).progress == 0.25
        await a.settle(old, "released")
        assert await a.store.report("j", old.token, 0.5) is False
        new = await a.claim_one()
        assert await a.store.report("j", old.token, 0.5) is False
        assert await a.store.report("j", "", 0.5) is False
        assert await a.store.report("k", "", 0.5) is False
        assert await a.store.report("nobody", "1:x", 0.5) is False
        assert (await a.view("j")).progress == 0.25
        assert await a.store.report("j", new.token, 1e6) is True
        await a.settle(new)
        assert await a.store.report("j", new.token, 2.0) is False
        assert (await a.view("j")).progress == 1e6
