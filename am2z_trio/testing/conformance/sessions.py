"""Sessions: served in turn, stopped on every node, gone without a trace but their state."""

from __future__ import annotations

from am2z_trio.model.codec import checksum
from am2z_trio.model.records import (
    PARENT_ENDED,
    SESSION_STOPPED,
    CancelRequest,
    InboxMessage,
    QueueLimits,
    SessionCounts,
    SessionStopped,
    Settled,
)
from am2z_trio.model.views.sessions import SessionRow
from am2z_trio.store.agreed import BOUNDS

from .bench import START_MS, Bench
from .builders import commit, ids_of, job, settled, version
from .hostile import HOSTILE


class SessionCases:
    """What a session's jobs have to do with each other, and what jobs have that call others."""

    async def test_sessions_are_served_in_turn(self, bench: Bench) -> None:
        a = await bench.node()
        busy = [job(f"busy{n}", session="busy") for n in range(6)]
        await a.store.enqueue([*busy, job("light", session="light"), job("plain1"), job("plain2")])
        first = ids_of(await a.claim(3))
        assert sorted(first) == ["busy0", "light", "plain1"]
        # The rest goes round again, each session's own in order.
        assert ids_of(await a.claim(9)) == ["plain2", *(f"busy{n}" for n in range(1, 6))]

    async def test_a_session_may_have_several_jobs_at_its_turn(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"{s}{n}", session=s) for n in range(4) for s in "stu"])
        await a.store.enqueue([job("plain1"), job("plain2")])
        # Those of no session have their share all the same, and nobody more than there is room for.
        assert ids_of(await a.claim(4, in_a_row=2)) == ["plain1", "s0", "s1", "t0"]
        assert ids_of(await a.claim(4, in_a_row=3)) == ["plain2", "u0", "u1", "u2"]
        # Where an equal share is more, everybody has that.
        assert ids_of(await a.claim(6)) == ["s2", "s3", "t1", "t2", "u3", "t3"]
        await a.store.enqueue([job(f"{s}{n}", session=s) for s in "vw" for n in range(3)])
        limits = QueueLimits(per_session=2)
        assert ids_of(await a.claim(9, limits=limits, in_a_row=9)) == ["v0", "v1", "w0", "w1"]

    async def test_a_session_that_a_claim_did_not_come_to_keeps_its_turn(self, bench: Bench) -> None:
        a, expired = await bench.node(), BOUNDS.looks // BOUNDS.looks_of_an_end
        for n in range(expired):
            await a.store.enqueue([job(f"x{n}", session=f"x{n}", deadline=1.0)])
        await a.store.enqueue([job(f"{s}{n}", session=s) for n in range(2) for s in "rstuvw"])
        bench.clock.advance(2.0)
        # It has looked enough when it has ended these, and there was room for three of the others.
        assert ids_of(await a.claim(expired + 3)) == []
        assert ids_of(await a.claim(6)) == ["r0", "s0", "t0", "u0", "v0", "w0"]
        # One has no more jobs then, and has no turn.
        assert ids_of(await a.claim(2)) == ["r1", "s1"]
        await a.store.enqueue([job("s2", session="s")])
        assert ids_of(await a.claim(9)) == ["t1", "u1", "v1", "w1", "s2"]

    async def test_a_session_s_jobs_are_counted(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.active_sessions() == []
        assert await a.store.session_counts("s") == SessionCounts()
        await a.store.enqueue([job("j1", session="s"), job("j2", session="s"), job("t", session="t")])
        await a.store.enqueue([job("j3", session="s", delay=5.0)])
        grants = {grant.spec.id: grant for grant in await a.claim(2)}
        assert sorted(grants) == ["j1", "t"]
        assert await a.store.session_counts("s") == SessionCounts(waiting=1, active=1, delayed=1)
        assert sorted(await a.store.active_sessions()) == ["s", "t"]
        await a.settle(grants["t"])
        assert await a.store.active_sessions() == ["s"]

    async def test_a_stop_ends_all_jobs_of_the_session_and_no_other(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        jobs = [job("runs", session="s", origin="a"), job("waits", session="s", origin="a")]
        await a.store.enqueue([*jobs, job("later", session="s", origin="a", delay=5.0)])
        await a.store.enqueue([job("urgent", session="s", origin="a", priority=1), job("t", session="t")])
        runs = await b.claim_one()
        assert await a.store.stop_session("s", running=True, refuse=5.0) == []
        ended = [settled(id, "cancelled", SESSION_STOPPED) for id in ("runs", "waits", "later", "urgent")]
        heard = await a.heard()
        # Not of the stop itself: what it opens after the answer is none of that.
        assert len(heard) == 4
        assert all(message in heard for message in ended)
        (number,) = await b.store.stops(["s"])
        told = await b.heard()
        assert len(told) == 2
        assert CancelRequest("runs", runs.token, SESSION_STOPPED) in told
        assert SessionStopped("s", number, "a") in told
        # What it ran can write no more, and the session may be used anew.
        assert (await b.settle(runs, commit=commit("late"))).status == "fenced"
        assert not (await a.state("s")).exists
        assert await a.store.active_sessions() == ["t"]
        await a.store.enqueue([job("new", session="s")])
        assert sorted(ids_of(await b.claim(9))) == ["new", "t"]

    async def test_a_stop_is_told_to_all_who_listen_and_can_be_asked_for(self, bench: Bench) -> None:
        a, client = await bench.node("a"), await bench.connect("client")
        assert await client.store.stops(["s", "t"]) == [0, 0]
        await a.store.stop_session("s", running=False, refuse=5.0)
        assert await client.store.stops(["s", "t"]) == [0, 0]
        numbers: list[int] = []
        for session in ("s", "t", "s"):
            await a.store.stop_session(session, running=True, refuse=5.0)
            (number,) = await client.store.stops([session])
            numbers.append(number)
            assert await client.heard() == [SessionStopped(session, number, "a")]
        assert numbers == sorted(set(numbers))
        assert await client.store.stops(["t", "s", "u"]) == [numbers[1], numbers[2], 0]
        # Who was away asks.
        await bench.crash(client)
        client = await bench.connect("client")
        assert await client.store.stops(["s"]) == [numbers[2]]
        assert await a.heard() == []

    async def test_a_stop_may_spare_what_runs(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("runs", session="s"), job("waits", session="s")])
        runs = await b.claim_one()
        assert await a.store.stop_session("s", running=False, refuse=5.0) == ["runs"]
        assert await a.status("waits") == "cancelled"
        (answer,) = await a.store.enqueue([job("new", session="s")])
        assert answer.status == "stopped"
        # It may commit; and who asked for the stop hears of its end.
        assert (await b.settle(runs, commit=commit("done"))).status == "applied"
        assert await a.state("s") == version(1, "done")
        assert settled("runs", "completed") in await a.heard()
        bench.clock.advance(5.001)
        (answer,) = await a.store.enqueue([job("new", session="s")])
        assert answer.status == "queued"

    async def test_what_comes_back_to_a_stopping_session_ends(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("released", session="s"), job("retried", session="s")])
        released, retried = await a.claim(2)
        await a.store.stop_session("s", running=False, refuse=5.0)
        await a.settle(released, "released")
        await a.settle(retried, "retry")
        assert [(await a.status(id)) for id in ("released", "retried")] == ["cancelled", "cancelled"]
        assert await a.store.active_sessions() == []

    async def test_calls_end_with_the_job_that_made_them(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("p")])
        parent = await a.claim_one()
        calls = [job(id, parent="p", origin="a") for id in ("done", "runs", "waits")]
        await a.store.enqueue(calls)
        done, runs = await b.claim(2)
        await b.settle(done, result=b"\x07")
        await a.heard()
        await a.settle(parent, "failed")
        assert await b.heard() == [CancelRequest("runs", runs.token, PARENT_ENDED)]
        assert await a.heard() == [settled("waits", "cancelled", PARENT_ENDED)]
        (answer,) = await a.store.enqueue([job("more", parent="p")])
        assert answer.status == "orphan"

    async def test_a_call_is_run_again_unless_it_has_completed(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p")])
        await a.claim_one()
        calls = [job(id, parent="p", again=True) for id in ("good", "bad")]
        await a.store.enqueue(calls)
        good, bad = await a.claim(2)
        await a.settle(good, result=b"\x07")
        await a.settle(bad, "failed")
        again = await a.store.enqueue(calls)
        assert [answer.status for answer in again] == ["dup", "queued"]
        assert again[0].settled == settled("good", "completed", result=b"\x07")
        assert ids_of(await a.claim(9)) == ["bad"]

    async def test_what_is_run_again_by_itself_does_not_end_with_what_once_called_it(
        self, bench: Bench
    ) -> None:
        # With few calls, which end at once, and with many, which end by and by.
        a = await bench.node("a")
        for parent, calls in ("few", 2), ("many", 200):
            await a.store.enqueue([job(parent)])
            grant, ids = await a.claim_one(), [f"{parent}{n}" for n in range(calls)]
            await a.store.enqueue([job(id, "r", parent=parent, origin="a") for id in ids])
            own = [ids[0], ids[-1]]
            await a.store.cancel(own[0], "unwanted")
            await a.store.enqueue([job(own[0], "r", again=True)])
            await a.settle(grant, "failed")
            # This one has ended before its turn came to end with its parent, or is just about to.
            await a.store.cancel(own[1], "unwanted")
            await a.store.enqueue([job(own[1], "r", again=True)])
            heard: set[str] = set()
            while len(heard) < calls:
                await a.store.tick()
                heard |= {message.id for message in await a.heard() if isinstance(message, Settled)}
            await a.store.tick()
            assert [await a.status(id) for id in own] == ["waiting", "waiting"]
            assert sorted(ids_of(await a.claim(9, "r"))) == sorted(own)

    async def test_many_calls_end_by_and_by_with_the_job_that_made_them(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("p")])
        parent = await a.claim_one()
        for first in range(0, 500, 100):
            await a.store.enqueue([job(f"c{n}", parent="p", origin="a") for n in range(first, first + 100)])
        runs = await a.claim(3)
        await a.settle(runs[0])
        await a.settle(parent, "failed")
        (answer,) = await a.store.enqueue([job("more", parent="p")])
        assert answer.status == "orphan"
        # It goes on with a tick, and by itself.
        await a.store.tick()
        heard: list[InboxMessage] = []
        while len(heard) < 500:
            heard += await a.heard()
        asked = {message.id for message in heard if isinstance(message, CancelRequest)}
        assert asked == {"c1", "c2"}
        ended = {message.id: message.status for message in heard if isinstance(message, Settled)}
        assert ended == {"c0": "completed"} | {f"c{n}": "cancelled" for n in range(3, 500)}
        assert (await a.stats()).waiting == 0
        assert await a.claim(5) == []

    async def test_sessions_are_shown_with_their_jobs_and_states(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        inspection = a.store.inspection
        assert await inspection.session_rows(["nobody"]) == [SessionRow(session="nobody")]
        await a.store.enqueue([job(f"j{n}", session="s") for n in range(3)])
        await a.store.enqueue([job("later", session="s", delay=5.0), job("t", session="t")])
        first = await b.claim_one()
        assert first.spec.session == "s"
        await b.settle(first, commit=commit("one"))
        (second,) = [one for one in (await b.claim(2)) if one.spec.session == "s"]
        assert second.spec.id == "j1"
        bench.clock.advance(1.0)
        rows = {row.session: row for row in await inspection.session_rows(["s", "t", "nobody"])}
        assert rows["s"] == SessionRow(
            session="s",
            waiting=1,
            active=1,
            delayed=1,
            jobs=3,
            looked_at=3,
            nodes=("b",),
            version=1,
            size=len((await a.store.states.read("s")).blob),
            created=START_MS,
            updated=START_MS,
        )
        assert (rows["t"].state, rows["s"].state, rows["nobody"].state) == ("live", "live", "rest")
        await a.store.states.set_ttl("s", 60.0)
        await a.store.stop_session("s", running=False, refuse=5.0)
        (row,) = await inspection.session_rows(["s"])
        assert (row.stopping, row.state, row.expires) == (True, "stopping", START_MS + 60_000)
        bench.clock.advance(60.0)
        (row,) = await inspection.session_rows(["s"])
        assert (row.stopping, row.version, row.size, row.created, row.expires) == (False, 1, None, 0, 0)

    async def test_a_session_is_shown_as_locked_for_as_long_as_its_lock_is_held(self, bench: Bench) -> None:
        a = await bench.node("a")
        look, states = a.store.inspection.session_rows, a.store.states
        await a.store.enqueue([job("j", session="s")])
        assert not (await look(["s"]))[0].locked
        await states.acquire("s", "l1", 10.0)
        await states.acquire("s", "l2", 10.0)
        assert [row.locked for row in await look(["s", "t"])] == [True, False]
        bench.clock.advance(10.0)
        # Its lease is over, and whoever is in line has not been given it yet.
        assert not (await look(["s"]))[0].locked
        await states.release("s", "l1", 10.0)
        assert (await look(["s"]))[0].locked
        await states.release("s", "l2", 10.0)
        assert not (await look(["s"]))[0].locked

    async def test_all_sessions_with_jobs_are_told_by_pages(self, bench: Bench) -> None:
        a = await bench.node()
        sessions = [f"s{n}" for n in range(25)] + [text for text in HOSTILE if text]
        for n, session in enumerate(sessions):
            await a.store.enqueue([job(f"j{n}", session=session)])
        found, cursor = list[str](), ""
        while True:
            page = await a.store.inspection.sessions(cursor, 4)
            assert len(page.sessions) <= 4
            assert page.of == len(sessions)
            found, cursor = found + page.sessions, page.cursor
            if not cursor:
                break
        assert sorted(found) == sorted(sessions)
        (row,) = await a.store.inspection.session_rows([sessions[-1]])
        assert (row.session, row.waiting) == (sessions[-1], 1)

    async def test_the_bytes_of_a_state_are_there_whatever_they_are(self, bench: Bench) -> None:
        a = await bench.node()
        assert not (await a.store.inspection.stored_state("s")).exists
        await a.store.enqueue([job("j", session="s")])
        await a.settle(await a.claim_one(), commit=commit("one"))
        assert await a.store.inspection.stored_state("s") == await a.store.states.read("s")
        if bench.backend.tamper_state("s"):
            spoilt = await a.store.inspection.stored_state("s")
            assert spoilt.exists
            assert checksum(spoilt.blob) != spoilt.checksum
