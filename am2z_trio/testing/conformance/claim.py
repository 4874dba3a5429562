"""Claims: which jobs a node is granted, once each, even where its question arrives twice."""

from __future__ import annotations

from am2z_trio.model.records import PARENT_ENDED, CancelRequest, QueueStats, Settlement

from .bench import Bench
from .builders import ids_of, job, settled


class ClaimCases:
    """What a node is granted when it asks for work, and what it is not."""

    async def test_a_claim_takes_at_most_its_limit(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{i}") for i in range(5)])
        assert len(await a.claim(3)) == 3
        assert len(await a.claim(3)) == 2
        assert await a.claim(3) == []

    async def test_tokens_are_never_granted_twice(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{i}") for i in range(5)])
        tokens = set[str]()
        for _ in range(3):
            for grant in await a.claim(5):
                tokens.add(grant.token)
                await a.settle(grant, "released")
        assert len(tokens) == 15

    async def test_the_same_claim_again_gives_the_grants_that_stand(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1"), job("j2", session="s", state=None, deadline=9.0), job("j3")])
        first = await a.store.claim("q", 1, 2)
        assert ids_of(first.grants) == ["j1", "j2"]
        assert await a.store.claim("q", 1, 2) == first
        assert (await a.view("j1")).deliveries == 1
        await a.settle(first.grants[0])
        again = await a.store.claim("q", 1, 2)
        assert again.grants == first.grants[1:]
        await a.settle(first.grants[1], "released")
        assert (await a.store.claim("q", 1, 2)).grants == []

    async def test_a_late_duplicate_of_a_claim_is_stale(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1"), job("j2"), job("j3")])
        await a.store.claim("q", 1, 1)
        await a.store.claim("q", 2, 1)
        answer = await a.store.claim("q", 1, 1)
        assert (answer.stale, answer.lost, answer.grants) == (True, False, [])
        assert await a.status("j3") == "waiting"

    async def test_seqs_belong_to_a_node_and_a_queue(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j1"), job("j2"), job("k", "other")])
        assert ids_of((await a.store.claim("q", 5, 1)).grants) == ["j1"]
        assert ids_of((await b.store.claim("q", 1, 1)).grants) == ["j2"]
        assert ids_of((await a.store.claim("other", 1, 1)).grants) == ["k"]

    async def test_a_long_line_of_cancelled_jobs_is_passed_in_bounded_steps(self, bench: Bench) -> None:
        a = await bench.node()
        for letter in "cj":
            for first in range(0, 700, 100):
                await a.store.enqueue([job(f"{letter}{n}") for n in range(first, first + 100)])
        for number in range(400):
            await a.store.cancel(f"c{number}", "unwanted")
        answer = await a.claim_answer(5)
        # To be called again at once.
        assert (answer.grants, answer.next_due) == ([], 0)
        answer = await a.claim_answer(5)
        assert ids_of(answer.grants) == [f"c{n}" for n in range(400, 405)]
        assert answer.next_due is None

    async def test_a_long_line_of_expired_jobs_is_ended_in_bounded_steps(self, bench: Bench) -> None:
        a = await bench.node()
        for first in range(0, 250, 50):
            await a.store.enqueue([job(f"x{n}", deadline=1.0) for n in range(first, first + 50)])
        await a.store.enqueue([job("j")])
        bench.clock.advance(2.0)
        seen: list[tuple[int, int, float | None]] = []
        while not seen or seen[-1][-1] == 0:
            answer = await a.claim_answer(5)
            seen.append((len(answer.grants), (await a.stats()).cancelled, answer.next_due))
        assert seen == [(0, 100, 0), (0, 200, 0), (1, 250, None)]

    async def test_a_lost_answer_that_asked_for_another_call_asks_for_it_again(self, bench: Bench) -> None:
        a = await bench.node()
        for first in range(0, 150, 50):
            await a.store.enqueue([job(f"x{n}", deadline=1.0) for n in range(first, first + 50)])
        bench.clock.advance(2.0)
        assert (await a.store.claim("q", 1, 5)).next_due == 0
        assert (await a.store.claim("q", 1, 5)).next_due == 0
        assert (await a.store.claim("q", 2, 5)).next_due is None

    async def test_a_node_without_a_lease_gets_nothing(self, bench: Bench) -> None:
        a = await bench.connect("a")
        await a.store.enqueue([job("j")])
        answer = await a.store.claim("q", 1, 1)
        assert (answer.lost, answer.grants) == (True, [])
        assert await a.status("j") == "waiting"
        await a.store.join()
        assert ids_of((await a.store.claim("q", 1, 1)).grants) == ["j"]

    async def test_an_unreadable_job_is_told_apart_and_can_be_failed(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("good"), job("bad", origin="a")])
        if not bench.backend.tamper_spec("bad"):
            return
        answer = await a.store.claim("q", 1, 5)
        assert ids_of(answer.grants) == ["good"]
        (bad,) = answer.unreadable
        assert (bad.id, bad.reason != "") == ("bad", True)
        (outcome,) = await a.store.settle(
            [Settlement(id="bad", token=bad.token, outcome="failed", result=b"\x09")]
        )
        assert (outcome.status, outcome.outcome) == ("applied", "failed")
        assert await a.heard() == [settled("bad", "failed", result=b"\x09")]

    async def test_a_job_past_its_deadline_is_cancelled_instead_of_being_granted(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue(
            [job("late", deadline=2.0, origin="a"), job("ok", deadline=2.5), job("past", deadline=-3.0)]
        )
        bench.clock.advance(2.001)
        (grant,) = await a.claim(2)
        assert grant.spec.id == "ok"
        assert grant.remaining == 0.499
        assert (await a.view("late")).settled == settled("late", "cancelled", "deadline")
        assert await a.status("past") == "cancelled"
        assert await a.heard() == [settled("late", "cancelled", "deadline")]
        assert await a.stats() == QueueStats(active=1, cancelled=2, expired=2)

    async def test_a_job_is_granted_before_the_one_that_called_it_ends_in_the_same_claim(
        self, bench: Bench
    ) -> None:
        a = await bench.node()
        await a.store.enqueue([job("parent", priority=1, deadline=2.0)])
        grant = await a.claim_one()
        await a.store.enqueue([job("child", parent="parent")])
        await a.settle(grant, "released")
        bench.clock.advance(2.1)
        (child,) = await a.claim(9)
        assert child.spec.id == "child"
        assert await a.status("parent") == "cancelled"
        assert await a.heard() == [CancelRequest("child", child.token, PARENT_ENDED)]
        assert (await a.settle(child, "cancelled")).status == "applied"
        assert await a.stats() == QueueStats(cancelled=2, expired=1)

    async def test_a_deadline_counts_from_the_enqueue_and_may_pass_while_active(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", deadline=2.0)])
        grant = await a.claim_one()
        assert grant.remaining == 2.0
        bench.clock.advance(5)
        assert (await a.settle(grant)).status == "applied"
