"""Session states: they change with a job's settlement or not at all, and only from what it has seen."""

from __future__ import annotations

from math import inf

from am2z_trio.model.codec import checksum
from am2z_trio.model.errors import StateIntegrityError
from am2z_trio.model.records import SettleAnswer, Settlement, StateRecord, WriteAnswer

from .bench import Bench, Outcome
from .builders import commit, job, timeless, version, write


def told(answer: WriteAnswer) -> tuple[str, StateRecord | None]:
    return answer.status, timeless(answer.current)


class StateCases:
    """What a settlement does to its session's state, and what a grant brings of it."""

    async def test_a_state_is_committed_with_its_settlement(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert not (await a.state("s")).exists
        await a.store.enqueue([job("j1", session="s"), job("j2", session="s")])
        j1, j2 = await a.claim(2)
        assert (await a.settle(j1, commit=commit("one"))).status == "applied"
        assert await b.state("s") == version(1, "one")
        assert (await a.settle(j2, commit=commit("two", version(1, "one")))).status == "applied"
        assert await b.state("s") == version(2, "two")
        assert not (await b.state("other")).exists

    async def test_a_state_that_moved_is_a_conflict_and_the_claim_stands(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{i}", session="s", origin="a") for i in range(3)])
        j0, j1, j2 = await a.claim(3)
        answer = await a.settle(j0, commit=commit("x", (3, "no")))
        assert answer == SettleAnswer(status="conflict", current=version(0))
        await a.settle(j0, commit=commit("one"))
        await a.heard()
        answer = await a.settle(j1, commit=commit("two"))
        assert (answer.status, timeless(answer.current)) == ("conflict", version(1, "one"))
        # The version alone is not enough: versions repeat where a server lost its tail.
        answer = await a.settle(j1, commit=commit("two", (1, checksum(b"other"))))
        assert answer.status == "conflict"
        assert await a.status("j1") == "active"
        assert await a.heard() == []
        assert await a.state("s") == version(1, "one")
        assert (await a.settle(j1, commit=commit("two", version(1, "one")))).status == "applied"
        # In either order: a settlement that conflicts is no replay, and none that was applied conflicts.
        assert (await a.settle(j1, commit=commit("two", version(1, "one")))).status == "replay"
        assert (await a.settle(j2, "released", commit=commit("x"))).status == "applied"

    async def test_commits_in_one_call_follow_each_other(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{i}", session="s") for i in range(5)])
        commits = [
            commit("one"),
            commit("two", None),
            commit("late", version(1, "one")),
            commit("three", version(2, "two")),
            commit("four", None),
        ]
        grants = await a.claim(5)
        answers = await a.store.settle(
            [
                Settlement(id=grant.spec.id, token=grant.token, outcome="completed", commit=change)
                for grant, change in zip(grants, commits, strict=True)
            ]
        )
        moved = [number for number, answer in enumerate(answers) if answer.status == "conflict"]
        assert moved == [2], answers
        # Each sees what the one before it has left.
        assert timeless(answers[2].current) == version(2, "two")
        assert await a.state("s") == version(4, "four")
        history = [timeless(state) for state in await a.store.states.history("s")]
        assert history == [version(4, "four"), version(3, "three")]

    async def test_an_unconditional_commit_always_lands(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1", session="s"), job("j2", session="s")])
        j1, j2 = await a.claim(2)
        await a.settle(j1, commit=commit("one", None))
        assert await a.state("s") == version(1, "one")
        await a.settle(j2, commit=commit("two", None))
        assert await a.state("s") == version(2, "two")

    async def test_what_does_not_complete_has_no_effect(self, bench: Bench) -> None:
        a = await bench.node()
        outcomes: tuple[Outcome, ...] = ("failed", "cancelled", "retry", "released")
        await a.store.enqueue([job(outcome, session="s") for outcome in outcomes])
        for grant, outcome in zip(await a.claim(9), outcomes, strict=True):
            assert (await a.settle(grant, outcome, delay=99, commit=commit("x"))).status == "applied"
        assert not (await a.state("s")).exists

    async def test_a_job_on_the_stored_state_is_granted_with_it(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j0", session="s"), job("j1", session="s", state=None)])
        j0, j1 = await a.claim(2)
        assert j1.stored == version(0)
        await a.settle(j0, commit=commit("one"))
        await a.settle(j1, "released")
        j1 = await a.claim_one()
        assert timeless(j1.stored) == version(1, "one")
        await a.store.enqueue([job("j2", session="s")])
        assert (await a.claim_one()).stored is None

    async def test_a_job_without_a_session_has_no_state(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1", state=None), job("j2"), job("j3")])
        j1, j2, j3 = await a.claim(9)
        assert j1.stored is None
        answers = await a.store.settle(
            [
                Settlement(id=j1.spec.id, token=j1.token, outcome="completed", commit=commit("x", None)),
                Settlement(id=j2.spec.id, token=j2.token, outcome="completed", commit=commit("x")),
                Settlement(id=j3.spec.id, token=j3.token, outcome="completed"),
            ]
        )
        assert [answer.status for answer in answers] == ["applied"] * 3
        assert not (await a.state("")).exists

    async def test_a_tampered_state_is_never_returned(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s")])
        await a.settle(await a.claim_one(), commit=commit("one"))
        if not bench.backend.tamper_state("s"):
            return
        try:
            await a.store.states.read("s")
        except StateIntegrityError:
            pass
        else:
            raise AssertionError("a state that does not match its checksum was returned")

    # --- from outside of jobs ---------------------------------------------------------------

    async def test_a_write_compares_and_counts(self, bench: Bench) -> None:
        states = (await bench.node()).store.states
        one, two = version(1, "one"), version(2, "two")
        assert (await states.write(write(1, "one", expected=version(0)))).status == "applied"
        assert told(await states.write(write(2, "x", expected=version(0)))) == ("conflict", one)
        # Another state that was the first one is not this one.
        assert told(await states.write(write(3, "x", expected=version(1, "other")))) == ("conflict", one)
        assert (await states.write(write(4, "two", expected=one))).status == "applied"
        assert timeless(await states.read("s")) == two

    async def test_a_write_that_arrives_again_changes_nothing(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        first = await a.store.states.write(write(7, "one"))
        assert await a.store.states.write(write(7, "one")) == first
        # Numbers are each node's own.
        await b.store.states.write(write(7, "two"))
        assert await a.store.states.write(write(7, "one")) == first
        await a.store.states.write(write(8, "three"))
        assert (await a.store.states.write(write(7, "one"))).status == "stale"
        assert await b.state() == version(3, "three")

    async def test_versions_outlive_a_deletion(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.states.write(write(1, "one"))
        assert (await a.store.states.write(write(2, ""))).status == "applied"
        assert (await a.state(), (await a.state()).exists) == (version(2), False)
        # There is nothing to delete any more: nothing changes.
        await a.store.states.write(write(3, ""))
        await a.store.states.write(write(4, "two"))
        assert await a.state() == version(3, "two")

    async def test_a_state_is_deleted_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.states.write(write(1, "one"))
        await a.store.states.write(write(2, "two"))
        assert (await a.store.states.write(write(3, "", expected=version(2, "two")))).status == "applied"
        assert told(await a.store.states.write(write(4, "", expected=version(2, "two")))) == (
            "conflict",
            version(3),
        )

    async def test_a_state_expires_after_its_last_write(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.states.write(write(1, "one"))
        await a.store.states.set_ttl("s", 5.0)
        bench.clock.advance(4.0)
        await a.store.states.write(write(2, "two"))
        bench.clock.advance(4.999)
        assert (await a.state()).exists
        bench.clock.advance(0.001)
        assert not (await a.state()).exists
        await a.store.states.write(write(3, "three"))
        await a.store.states.set_ttl("s", inf)
        bench.clock.advance(1e6)
        assert await a.state() == version(3, "three")
