"""Turns: of the jobs that work on one session's state, one is active at a time, wherever it is."""

from __future__ import annotations

import msgspec

from am2z_trio.model.records import Wake

from .bench import SETTINGS, Bench
from .builders import commit, ids_of, job, version


class TurnCases:
    """Who may work on a session's state, who waits for that, and who is next."""

    async def test_one_at_a_time_works_on_a_sessions_state_on_all_nodes(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job(f"j{n}", session="s", state=None) for n in range(3)])
        await a.store.enqueue([job("other", session="t", state=None), job("given", session="s")])
        first = await a.claim(9)
        assert sorted(ids_of(first)) == ["given", "j0", "other"]
        (j0,) = [grant for grant in first if grant.spec.id == "j0"]
        assert await b.claim(9) == []
        stats = await a.stats()
        assert (stats.waiting, stats.active) == (2, 3)
        assert (await a.settle(j0, commit=commit("one"))).status == "applied"
        assert Wake("q") in await b.heard() + await a.heard()
        (j1,) = await b.claim(9)
        assert j1.spec.id == "j1"
        assert j1.stored is not None
        assert j1.stored.mark == version(1, "one").mark
        assert await a.claim(9) == []

    async def test_a_turn_is_free_when_its_holder_goes_back_fails_or_dies(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job(f"j{n}", session="s", state=None) for n in range(4)])
        j0 = await a.claim_one()
        assert await b.claim(9) == []
        await a.settle(j0, "retry", delay=60.0)
        j1 = await b.claim_one()
        assert j1.spec.id == "j1"
        await b.settle(j1, "failed")
        j2 = await a.claim_one()
        assert j2.spec.id == "j2"
        # Handed back it goes before those in line.
        await a.settle(j2, "released")
        (j2,) = await a.claim(9)
        assert j2.spec.id == "j2"
        for _ in range(3):
            bench.clock.advance(SETTINGS.lease / 2)
            await b.store.tick()
        (j2,) = await b.claim(9)
        assert (j2.spec.id, j2.deliveries) == ("j2", 3)
        await b.settle(j2)
        assert (await b.claim_one()).spec.id == "j3"

    async def test_who_is_next_waits_for_no_queue_that_stands_still(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job(name, session="s", state=None) for name in ("j0", "j1")])
        await a.store.enqueue([job(name, "other", session="s", state=None) for name in ("o1", "o2")])
        j0 = await a.claim_one()
        assert await a.claim(9) == []
        assert await a.claim(9, "other") == []
        await a.store.pause("q", True)
        await a.settle(j0)
        o1 = await a.claim_one("other")
        assert o1.spec.id == "o1"
        await a.settle(o1)
        assert (await a.claim_one("other")).spec.id == "o2"

    async def test_who_comes_too_late_for_its_turn_keeps_its_place(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job(f"j{n}", session="s", state=None) for n in range(3)])
        await a.store.enqueue([job("o", "other", session="s", state=None)])
        j0 = await a.claim_one()
        assert await a.claim(9) == []
        assert await a.claim(9, "other") == []
        # The first of each queue is called; one of them is quicker.
        await a.settle(j0)
        o = await a.claim_one("other")
        assert await a.claim(9) == []
        await a.settle(o)
        assert ids_of(await a.claim(9)) == ["j1"]

    async def test_who_would_have_been_next_and_ends_lets_the_one_behind_go(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job(f"j{n}", session="s", state=None) for n in range(3)])
        await a.store.enqueue([job("late", session="s", state=None, deadline=0.5)])
        await a.store.enqueue([job("last", session="s", state=None)])
        j0 = await a.claim_one()
        assert await a.claim(9) == []
        assert await a.store.cancel("j2", "unwanted") == "waiting"
        await a.settle(j0)
        assert await a.store.cancel("j1", "unwanted") == "waiting"
        bench.clock.advance(1)
        assert ids_of(await a.claim(9)) + ids_of(await a.claim(9)) == ["last"]
        assert await a.status("late") == "cancelled"

    async def test_what_is_run_in_vain_is_run_again_in_its_turn(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job(f"j{n}", session="s") for n in range(3)])
        j0, j1, j2 = await a.claim(9)
        assert (await a.settle(j0, commit=commit("one"))).status == "applied"
        for grant in (j1, j2):
            assert (await a.settle(grant, commit=commit("x"))).status == "conflict"
            answer = await a.settle(grant, "conflicted", reason="s")
            assert (answer.status, answer.outcome) == ("applied", "conflicted")
            assert (await a.settle(grant, "conflicted", reason="s")).status == "replay"
        (again,) = await b.claim(9)
        assert (again.spec.id, again.conflicts, again.attempt) == ("j2", 1, 1)
        assert await a.claim(9) == []
        await b.settle(again, "retry")
        first = await b.claim_one()
        assert (first.spec.id, first.conflicts) == ("j1", 1)
        await b.settle(first, "failed")
        second = await b.claim_one()
        # Another attempt has met no conflict yet.
        assert (second.spec.id, second.conflicts, second.attempt) == ("j2", 0, 2)

    async def test_what_one_job_has_called_takes_turns_apart_from_it(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("p", session="s", state=None)])
        parent = await a.claim_one()
        await a.store.enqueue([job(f"c{n}", session="s", parent="p") for n in range(2)])
        children = await a.claim(9)
        assert ids_of(children) == ["c0", "c1"]
        for grant in children:
            await a.settle(grant, "conflicted", reason="/p")
        (c1,) = await a.claim(9)
        assert c1.spec.id == "c1"
        await a.settle(c1)
        assert ids_of(await a.claim(9)) == ["c0"]
        assert (await a.settle(parent)).status == "applied"

    async def test_no_other_job_moves_the_state_of_one_that_has_the_turn(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue(
            [job("g", session="s"), job("j", session="s", state=None), job("b", session="s")]
        )
        given, stored, blind = await a.claim(9)
        seen = msgspec.structs.replace(commit("one"), turn="s")
        answer = await a.settle(given, commit=seen)
        assert (answer.status, answer.current) == ("conflict", version(0))
        assert (await a.settle(given, "conflicted", reason="s")).status == "applied"
        assert (await a.settle(stored, commit=seen)).status == "applied"
        # What does not ask for any state waits for nobody.
        assert (
            await a.settle(blind, commit=msgspec.structs.replace(seen, expected=None))
        ).status == "applied"
        (given,) = await a.claim(9)
        seen = msgspec.structs.replace(commit("two", (2, version(2, "one").checksum)), turn="s")
        assert (await a.settle(given, commit=seen)).status == "applied"
