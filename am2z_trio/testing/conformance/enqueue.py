"""Jobs on their way in: accepted once under one id, kept as they were given, served in their order."""

from __future__ import annotations

import msgspec

from am2z_trio.model.records import DEBOUNCED, EnqueueAnswer, Grant, SessionCounts

from .bench import Bench
from .builders import bulk, ids_of, job, settled


class EnqueueCases:
    """What becomes of a job from its enqueue until somebody claims it."""

    async def test_an_accepted_job_is_granted_as_it_was_given(self, bench: Bench) -> None:
        a = await bench.node()
        request = job("j", session="s", origin="a", state=b"\xa3abc")
        (answer,) = await a.store.enqueue([request])
        assert answer.status == "queued"
        assert answer.settled is None
        assert await a.status("j") == "waiting"
        grant = await a.claim_one()
        assert grant.spec == request.spec
        assert (grant.attempt, grant.deliveries, grant.remaining, grant.stored) == (1, 1, None, None)
        assert await a.status("j") == "active"

    async def test_the_trace_of_a_job_travels_with_it(self, bench: Bench) -> None:
        a = await bench.node()
        request = job("j")
        spec = msgspec.structs.replace(request.spec, trace="00-4bf92f3577b34da6-00f067aa0ba902b7-01\na=b")
        request = msgspec.structs.replace(request, spec=spec)
        await a.store.enqueue([request])
        await a.store.enqueue_bulk(bulk(request, 2))
        assert [grant.spec.trace for grant in await a.claim(3)] == [spec.trace] * 3

    async def test_no_job_is_not_an_error(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.enqueue([]) == []
        assert await a.store.settle([]) == []
        assert await a.store.view([]) == []
        assert await a.store.stats([]) == []
        await a.store.announce([])
        await a.store.publish([])

    async def test_a_known_id_is_a_duplicate_and_changes_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        first, again = await a.store.enqueue([job("j", state=b"\x01"), job("j", state=b"\x02")])
        assert (first.status, again.status, again.settled) == ("queued", "dup", None)
        (grant,) = await a.claim(10)
        assert bytes(grant.spec.state) == b"\x01"
        (again,) = await a.store.enqueue([job("j")])
        assert (again.status, again.settled) == ("dup", None)
        assert (await a.stats()).active == 1

    async def test_a_duplicate_of_an_ended_job_has_its_outcome(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("done"), job("broken"), job("unwanted")])
        done, broken = await a.claim(2)
        await a.settle(done, "completed", result=b"\x05")
        await a.settle(broken, "failed", result=b"\x06")
        await a.store.cancel("unwanted", "why not")
        answers = await a.store.enqueue([job("done"), job("broken"), job("unwanted")])
        assert [answer.status for answer in answers] == ["dup"] * 3
        assert [answer.settled for answer in answers] == [
            settled("done", "completed", result=b"\x05"),
            settled("broken", "failed", result=b"\x06"),
            settled("unwanted", "cancelled", "why not"),
        ]
        assert await a.claim(10) == []

    async def test_the_same_id_of_another_session_is_another_job_and_nothing_of_it_is_told(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue(
            [
                job("in one", session="alice", origin="a"),
                job("in none", origin="a"),
                job("later", session="alice", origin="a", delay=1.0),
            ]
        )
        foreign = [
            job("in one", session="bob", origin="b"),
            job("in one", origin="b"),
            job("in none", session="bob", origin="b"),
            job("later", session="bob", origin="b", again=True, stays=True),
            job("in one", session="bob", origin="b", joins=True),
        ]
        refused = EnqueueAnswer(status="taken", other="session")
        assert await b.store.enqueue(foreign) == [refused] * 5
        none, one = await a.claim(9)
        assert await b.store.enqueue(foreign) == [refused] * 5
        await a.settle(one, result=b"\x05")
        await a.settle(none, "failed", result=b"\x06")
        await a.store.cancel("later", "enough")
        assert await b.store.enqueue(foreign) == [refused] * 5
        assert await a.heard() == [
            settled("in one", "completed", result=b"\x05"),
            settled("in none", "failed", result=b"\x06"),
            settled("later", "cancelled", "enough"),
        ]
        assert await b.heard() == []
        assert await a.claim(9) == []

    async def test_an_id_is_that_of_one_processor_and_one_input(self, bench: Bench) -> None:
        a = await bench.node("a")
        first = job("j", session="s", again=True, input="x")
        other = msgspec.structs.replace(first, spec=msgspec.structs.replace(first.spec, processor="other"))
        changed = msgspec.structs.replace(first, input="y")
        unsaid = msgspec.structs.replace(first, input="")
        assert (await a.store.enqueue([first]))[0].status == "queued"
        grants: list[Grant] = []
        for status in ("waiting", "active", "completed"):
            if status == "active":
                grants = await a.claim()
            if status == "completed":
                await a.settle(grants[0], result=b"\x05")
            assert await a.status("j") == status
            answers = await a.store.enqueue([first, other, changed, unsaid])
            assert [answer.status for answer in answers] == ["dup", "taken", "taken", "dup"]
            assert answers[1] == EnqueueAnswer(status="taken", other="processor", processor="q")
            assert answers[2] == EnqueueAnswer(status="taken", other="input", processor="q")
        assert (await a.view("j")).input == "x"

    async def test_an_id_that_ended_without_completing_may_be_given_another_input(self, bench: Bench) -> None:
        a = await bench.node("a")
        first = job("j", again=True, input="x")
        await a.store.enqueue([first])
        await a.settle(await a.claim_one(), "failed", result=b"\x06")
        changed = msgspec.structs.replace(first, input="y")
        other = msgspec.structs.replace(first, spec=msgspec.structs.replace(first.spec, processor="other"))
        assert [answer.status for answer in await a.store.enqueue([other, changed])] == ["taken", "queued"]
        assert (await a.view("j")).input == "y"
        assert (await a.store.enqueue([first]))[0].other == "input"
        assert len(await a.claim(9)) == 1

    async def test_who_joins_a_job_makes_none_and_runs_none_again(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        joined = job("j", session="s", origin="b", joins=True)
        assert await b.store.enqueue([joined]) == [EnqueueAnswer(status="unknown")]
        assert await a.claim(9) == []
        await a.store.enqueue([job("j", session="s", origin="a")])
        assert await b.store.enqueue([joined]) == [EnqueueAnswer(status="dup")]
        await a.settle(await a.claim_one(), "failed", result=b"\x06")
        failed = settled("j", "failed", result=b"\x06")
        assert await b.heard() == [failed]
        assert await b.store.enqueue([joined]) == [EnqueueAnswer(status="dup", settled=failed)]
        assert await a.claim(9) == []

    async def test_every_origin_of_a_job_hears_its_outcome_once(self, bench: Bench) -> None:
        a, b, c = await bench.node("a"), await bench.node("b"), await bench.node("c")
        await a.store.enqueue([job("j", origin="a")])
        await b.store.enqueue([job("j", origin="b")])
        await b.store.enqueue([job("j", origin="b")])
        await a.store.enqueue([job("j", origin="a")])
        await c.store.enqueue([job("j")])
        await c.settle(await c.claim_one(), result=b"\x07")
        assert await a.heard() == [settled("j", "completed", result=b"\x07")]
        assert await b.heard() == [settled("j", "completed", result=b"\x07")]
        assert await c.heard() == []

    async def test_first_in_first_out(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{i}") for i in range(4)])
        await a.store.enqueue([job("j4"), job("j5")])
        assert ids_of(await a.claim(2)) == ["j0", "j1"]
        assert ids_of(await a.claim(9)) == ["j2", "j3", "j4", "j5"]

    async def test_jobs_without_priority_go_first_then_the_most_urgent(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue(
            [
                job("low", priority=2_097_151),
                job("mid", priority=7),
                job("mid2", priority=7),
                job("top", priority=1),
            ]
        )
        await a.store.enqueue([job("plain")])
        assert ids_of(await a.claim(2)) == ["plain", "top"]
        assert ids_of(await a.claim(9)) == ["mid", "mid2", "low"]

    async def test_queues_are_apart(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1", "q"), job("j2", "q@s")])
        assert ids_of(await a.claim(9, "q@s")) == ["j2"]
        assert ids_of(await a.claim(9, "q")) == ["j1"]

    async def test_a_delayed_job_waits_until_it_is_due(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("far", delay=9.0), job("near", delay=2.5)])
        answer = await a.store.claim("q", a.next_seq(), 5)
        assert (answer.grants, answer.next_due) == ([], 2.5)
        assert await a.status("near") == "later"
        bench.clock.advance(2.499)
        answer = await a.store.claim("q", a.next_seq(), 5)
        assert (answer.grants, answer.next_due) == ([], 0.001)
        bench.clock.advance(0.001)
        answer = await a.store.claim("q", a.next_seq(), 5)
        assert (ids_of(answer.grants), answer.next_due) == (["near"], 6.5)
        bench.clock.advance(100)
        answer = await a.store.claim("q", a.next_seq(), 5)
        assert (ids_of(answer.grants), answer.next_due) == (["far"], None)

    async def test_a_delayed_job_keeps_its_priority(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("urgent", priority=1, delay=1.0), job("other", priority=5)])
        await a.store.enqueue([job("plain", delay=1.0)])
        bench.clock.advance(1)
        assert ids_of(await a.claim(9)) == ["plain", "urgent", "other"]

    async def test_a_job_gives_way_to_none_of_another_session(self, bench: Bench) -> None:
        a = await bench.node("a")
        for round, session in enumerate(("alice", "bob", "", "k", "alice", "bob", "")):
            await a.store.enqueue([job(f"{session}{round}", session=session, debounce="k", delay=1.0)])
        # A key that says what another session's is made of is another key all the same.
        for key in ("k@alice", "k@bob", "~k", "k:"):
            await a.store.enqueue([job(key, debounce=key, delay=1.0)])
        bench.clock.advance(1.0)
        kept = ["k3", "alice4", "bob5", "6", "k@alice", "k@bob", "~k", "k:"]
        assert sorted(ids_of(await a.claim(99))) == sorted(kept)

    async def test_a_job_that_gave_way_may_come_again_in_the_same_call(self, bench: Bench) -> None:
        a = await bench.node()
        first, second = (job(id, session="s", debounce="k", delay=1.0) for id in ("j1", "j2"))
        await a.store.enqueue([first])
        await a.store.enqueue([second, job("j1", session="s", again=True)])
        assert await a.store.session_counts("s") == SessionCounts(waiting=1, delayed=1)
        assert ids_of(await a.claim(9)) == ["j1"]

    async def test_a_job_gives_way_to_a_later_one_of_the_same_key(self, bench: Bench) -> None:
        a = await bench.node("a")
        first = job("j1", debounce="k", delay=1.0, origin="a")
        await a.store.enqueue([first])
        await a.store.enqueue([first])
        await a.store.enqueue([job("other", debounce="l", delay=1.0)])
        await a.store.enqueue([job("j2", debounce="k", delay=1.0, max_size=2)])
        assert settled("j1", "cancelled", DEBOUNCED) in await a.heard()
        bench.clock.advance(1.0)
        assert ids_of(await a.claim(9)) == ["j2", "other"]
        # One that has begun stays.
        await a.store.enqueue([job("j3", debounce="k")])
        assert await a.status("j2") == "active"
        assert ids_of(await a.claim(9)) == ["j3"]

    async def test_the_last_one_in_is_the_first_one_out_where_it_says_so(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("1"), job("p1", priority=1), job("p2", priority=2)])
        await a.store.enqueue([job("2", lifo=True), job("p3", priority=2, lifo=True), job("3", lifo=True)])
        await a.store.enqueue([job("late", lifo=True, delay=1.0), job("4")])
        bench.clock.advance(1.0)
        assert ids_of(await a.claim(9)) == ["3", "2", "1", "4", "late", "p1", "p3", "p2"]

    async def test_the_last_one_of_a_session_goes_before_no_other_session(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("s1", session="s"), job("s2", session="s"), job("t1", session="t")])
        await a.store.enqueue([job("s3", session="s", lifo=True), job("u1", session="u", lifo=True)])
        assert ids_of([await a.claim_one() for _ in range(5)]) == ["s3", "t1", "u1", "s1", "s2"]

    async def test_those_that_are_alike_and_stand_before_the_others_are_turned_round(
        self, bench: Bench
    ) -> None:
        a = await bench.node()
        await a.store.enqueue([job("1")])
        await a.store.enqueue_bulk(bulk(job(lifo=True), 3))
        assert ids_of(await a.claim(9)) == ["made-3", "made-2", "made-1", "1"]
