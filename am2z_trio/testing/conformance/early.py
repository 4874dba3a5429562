"""What is built on an outcome that was told before it was recorded: accepted once it is, and not before."""

from __future__ import annotations

import msgspec

from am2z_trio.model.records import EarlyOutcome, EnqueueAnswer, Grant, SettleAnswer, Settlement

from .bench import Bench, Outcome
from .builders import commit, ids_of, job, settled


def told(*grants: Grant) -> tuple[EarlyOutcome, ...]:
    """The outcomes of these claims, told before they are recorded."""
    return tuple((grant.spec.id, grant.token) for grant in grants)


def completed(grant: Grant, *on: Grant, outcome: Outcome = "completed", **more: object) -> Settlement:
    """How this claim ends, built on the outcomes of others."""
    end = Settlement(id=grant.spec.id, token=grant.token, outcome=outcome, builds_on=told(*on))
    return msgspec.structs.replace(end, **more)


APPLIED = SettleAnswer(status="applied", outcome="completed")
UNFOUNDED = SettleAnswer(status="unfounded")


class EarlyCases:
    """A job that calls others, and gets on before their outcomes are written down."""

    async def test_what_is_built_on_a_recorded_outcome_is_accepted(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p", origin="a"), job("c1", "r", parent="p"), job("c2", "r", parent="p")])
        parent, (one, two) = await a.claim_one(), await a.claim(2, "r")
        assert await a.store.settle([completed(one), completed(two)]) == [APPLIED] * 2
        follower = job("c3", "r", parent="p", builds_on=told(one))
        assert await a.store.enqueue([follower]) == [EnqueueAnswer(status="queued")]
        three = await a.claim_one("r")
        assert await a.store.settle([completed(three), completed(parent, three, two, one)]) == [APPLIED] * 2
        assert await a.heard() == [settled("p", "completed")]

    async def test_a_job_that_is_built_on_what_is_not_recorded_is_not_accepted(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p"), job("c1", "r", parent="p"), job("c2", "r", parent="p")])
        one, two = await a.claim(2, "r")
        await a.settle(two)
        follower = job("c3", "t", parent="p", builds_on=told(two, one))
        unfounded = EnqueueAnswer(status="unfounded")
        assert await a.store.enqueue([follower]) == [unfounded]
        assert await a.store.view(["c3"]) == [None]
        assert await a.claim(1, "t") == []
        # Whatever else there is to say of it.
        assert await a.store.enqueue([job("c2", "r", parent="p", builds_on=told(one))]) == [unfounded]
        await a.settle(one)
        assert await a.store.enqueue([follower]) == [EnqueueAnswer(status="queued")]

    async def test_an_outcome_that_is_built_on_what_is_not_recorded_is_not_accepted(
        self, bench: Bench
    ) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p", session="s"), job("c", "r", parent="p")])
        parent, child = await a.claim_one(), await a.claim_one("r")
        early = completed(parent, child, commit=commit("new"), result=b"\x07")
        outcomes: tuple[Outcome, ...] = ("failed", "retry", "completed")
        for outcome in outcomes:
            end = msgspec.structs.replace(early, outcome=outcome)
            assert await a.store.settle([end]) == [UNFOUNDED]
        # The claim stands, and nothing was written.
        assert await a.status("p") == "active"
        assert (await a.state()).version == 0
        assert await a.store.settle([completed(child), early]) == [APPLIED] * 2
        assert (await a.state()).version == 1

    async def test_only_that_very_outcome_counts(self, bench: Bench) -> None:
        """Not one of another kind, nor of another claim of the same job."""
        a = await bench.node()
        endings: tuple[Outcome, ...] = ("failed", "cancelled", "retry", "released")
        for name in endings:
            await a.store.enqueue([job(f"p{name}"), job(name, "r", parent=f"p{name}")])
            parent, child = await a.claim_one(), await a.claim_one("r")
            await a.settle(child, name)
            assert await a.store.settle([completed(parent, child)]) == [UNFOUNDED]
            if name in ("retry", "released"):
                again = await a.claim_one("r")
                await a.settle(again)
                assert await a.store.settle([completed(parent, child)]) == [UNFOUNDED]
                assert await a.store.settle([completed(parent, again)]) == [APPLIED]
        assert ids_of(await a.claim(9, "r")) == []

    async def test_one_that_nobody_knows_was_not_recorded(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p")])
        parent = await a.claim_one()
        end = completed(parent, builds_on=(("nobody", parent.token),))
        assert await a.store.settle([end]) == [UNFOUNDED]
        assert await a.store.settle([completed(parent, builds_on=((f"né\n{1}", ""),))]) == [UNFOUNDED]

    async def test_a_node_that_was_told_hears_nothing_where_nobody_else_waits(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        calls = [job(id, "r", origin="a") for id in ("alone", "both", "theirs", "untold")]
        await a.store.enqueue([*calls[:2], job("theirs", "r", origin="b"), calls[3]])
        await b.store.enqueue([job("both", "r", origin="b")])
        grants = await a.claim(4, "r")
        await a.heard()
        await b.heard()
        ends = [completed(grant, told=grant.spec.id != "untold") for grant in grants]
        assert await a.store.settle(ends) == [APPLIED] * 4
        assert await a.heard() == [settled("both", "completed"), settled("untold", "completed")]
        assert await b.heard() == [settled("both", "completed"), settled("theirs", "completed")]
        # Whoever asks for it later finds it recorded.
        (again,) = await a.store.enqueue([calls[0]])
        assert again.settled == settled("alone", "completed")

    async def test_sent_again_it_is_what_it_was(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p"), job("c", "r", parent="p")])
        parent, child = await a.claim_one(), await a.claim_one("r")
        ends = [completed(child), completed(parent, child)]
        assert await a.store.settle(ends) == [APPLIED] * 2
        assert await a.store.settle(ends) == [SettleAnswer(status="replay", outcome="completed")] * 2

    async def test_who_lost_the_claim_is_told_that_first(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p"), job("c", "r", parent="p")])
        parent, child = await a.claim_one(), await a.claim_one("r")
        await a.settle(parent, "released")
        again = await a.claim_one()
        assert await a.store.settle([completed(parent, child)]) == [
            SettleAnswer(status="replay", outcome="released")
        ]
        forged = msgspec.structs.replace(completed(again, child), token="1:forged")
        assert await a.store.settle([forged]) == [SettleAnswer(status="fenced")]
