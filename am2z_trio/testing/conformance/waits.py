"""Waits: jobs that are parked until a time or a signal."""

from __future__ import annotations

from am2z_trio.model.events import Event
from am2z_trio.model.records import (
    MOST_WAITS,
    SESSION_STOPPED,
    Grant,
    Signal,
    Wait,
    WaitAnswer,
    WaitFacts,
)

from .bench import Bench, Node
from .builders import job


def sleep(seconds: float, key: str = "1") -> Wait:
    return Wait(key=key, seconds=seconds)


def wait_for(name: str = "go", seconds: float | None = None, key: str = "1") -> Wait:
    return Wait(key=key, name=name, seconds=seconds)


def signal(value: str = "x", name: str = "go", op: str = "") -> Signal:
    return Signal(name=name, value=value.encode(), op=op or f"op-{value}")


def sent(value: str) -> WaitAnswer:
    return WaitAnswer(status="signalled", value=value.encode())


OPEN = WaitAnswer(status="open")
TIMED_OUT = WaitAnswer(status="timed_out")


async def begun(node: Node, *waits: Wait, parks: bool = True) -> Grant:
    """Claim the next job and let it wait, and park if it `parks`."""
    grant = await node.claim_one()
    for wait in waits:
        assert (await ask(node, grant, wait)).status == "open"
    if parks:
        await park(node, grant, *waits)
    return grant


async def ask(node: Node, grant: Grant, wait: Wait) -> WaitAnswer:
    return await node.store.waits.wait(grant.spec.id, grant.token, wait)


async def park(node: Node, grant: Grant, *waits: Wait) -> None:
    reason = "\n".join(wait.key for wait in waits)
    answer = await node.settle(grant, "parked", reason=reason)
    assert (answer.status, answer.outcome) == ("applied", "parked")


class WaitCases:
    """What jobs wait for that no other job brings."""

    # --- times --------------------------------------------------------------------------------

    async def test_a_job_that_sleeps_is_granted_when_its_time_has_come(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await a.claim_one()
        assert await ask(a, grant, sleep(60.0)) == WaitAnswer(status="open", left=60.0)
        bench.clock.advance(10.0)
        assert await ask(a, grant, sleep(60.0)) == WaitAnswer(status="open", left=50.0)
        await park(a, grant, sleep(60.0))
        assert await a.status("j") == "later"
        assert await a.store.holdings() == []
        answer = await a.claim_answer()
        assert (answer.grants, answer.next_due) == ([], 50.0)
        bench.clock.advance(50.0)
        again = await a.claim_one()
        assert (again.spec, again.attempt, again.deliveries) == (grant.spec, 1, 2)
        assert await ask(a, again, sleep(60.0)) == WaitAnswer(status="slept")
        assert (await a.settle(again)).outcome == "completed"

    async def test_a_wait_began_once_whatever_is_asked_of_it_again(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await a.claim_one()
        await ask(a, grant, sleep(60.0))
        bench.clock.advance(61.0)
        assert (await ask(a, grant, sleep(600.0))).status == "slept"
        assert (await ask(a, grant, sleep(6000.0))).status == "slept"

    async def test_a_wait_that_is_over_takes_no_time_to_park_for(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j"), job("k")])
        grant = await begun(a, sleep(60.0), parks=False)
        bench.clock.advance(60.0)
        await park(a, grant, sleep(60.0))
        # Before what has not begun.
        assert (await a.claim_one()).spec.id == "j"

    async def test_who_parks_for_several_goes_on_with_the_first(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        await begun(a, sleep(60.0, "1"), wait_for("go", 30.0, "2"), wait_for("stop", None, "3"))
        bench.clock.advance(30.0)
        grant = await a.claim_one()
        assert (await ask(a, grant, wait_for("go", 30.0, "2"))) == TIMED_OUT
        assert (await ask(a, grant, sleep(60.0, "1"))).status == "open"

    async def test_the_key_of_another_wait_is_refused(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await begun(a, sleep(60.0), parks=False)
        assert await ask(a, grant, wait_for("go")) == WaitAnswer(status="other")
        await a.store.waits.signal("j", signal())
        await ask(a, grant, wait_for("go", key="2"))
        assert await ask(a, grant, wait_for("stop", key="2")) == WaitAnswer(status="other", name="go")

    async def test_a_job_has_so_many_waits_and_no_more(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await a.claim_one()
        for number in range(MOST_WAITS):
            assert (await ask(a, grant, sleep(0.0, f"{number}"))).status == "slept"
        assert (await ask(a, grant, sleep(0.0, "more"))).status == "full"
        assert (await ask(a, grant, sleep(0.0, "7"))).status == "slept"

    async def test_only_the_newest_token_waits(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await begun(a, sleep(1.0))
        assert (await ask(a, grant, sleep(1.0))).status == "fenced"
        assert (await a.settle(grant, "parked", reason="1")).status == "replay"
        assert (await a.store.waits.wait("j", "", sleep(1.0))).status == "fenced"
        assert (await a.store.waits.wait("unknown", "1:x", sleep(1.0))).status == "fenced"

    async def test_a_job_that_gets_on_is_lost_as_often_as_before(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job(max_stalled=1)])
        for number in range(3):
            b = await bench.node(f"b{number}")
            grant = await b.claim_one()
            assert (await ask(b, grant, sleep(0.0, f"{number}"))).status == "slept"
            await bench.crash(b)
            await bench.outlast(a)
            await a.store.tick()
            assert await a.status("j") in ("waiting", "later")
            bench.clock.advance(5.0)
        grant = await a.claim_one()
        assert (await ask(a, grant, sleep(9.0, "0"))).status == "slept"

    async def test_what_a_parked_job_waits_for_is_known(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        await begun(a, wait_for("go", 60.0, "2"), sleep(90.0, "1"), wait_for("stop", None, "3"))
        facts, now = await a.store.inspection.facts("j"), bench.clock()
        assert facts is not None
        assert facts.due == now + 60_000
        (row,) = await a.store.inspection.rows(["j"])
        assert row is not None
        assert (list(row.waits), row.shown_as) == (facts.waits, "parked")
        assert (await a.store.inspection.page("q", "later")).rows == [row]
        assert facts.waits == [
            WaitFacts(name="", since=now, until=now + 90_000),
            WaitFacts(name="go", since=now, until=now + 60_000),
            WaitFacts(name="stop", since=now),
        ]
        await a.store.waits.signal("j", signal())
        facts = await a.store.inspection.facts("j")
        assert facts is not None
        assert facts.waits == []
        (row,) = await a.store.inspection.rows(["j"])
        assert row is not None
        assert (row.waits, row.shown_as) == ((), "waiting")

    async def test_what_is_delayed_and_has_waited_before_is_not_parked(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j"), job("k", delay=60.0)])
        grant = await begun(a, wait_for("go", None, "1"), parks=False)
        await a.settle(grant, "retry", delay=60.0)
        rows = await a.store.inspection.rows(["j", "k"])
        assert [row and (row.status, row.waits, row.shown_as) for row in rows] == [
            ("later", (), "delayed")
        ] * 2

    async def test_parking_is_an_event_that_says_until_when(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.watch_events(True)
        now = int(bench.clock())
        await a.store.enqueue([job("j", session="s")])
        await begun(a, wait_for("go", 60.0, "2"), sleep(90.0, "1"), wait_for("go", None, "3"))
        await a.store.enqueue([job("k")])
        await begun(a, wait_for("stop"))
        await a.store.enqueue([job("l")])
        grant = await begun(a, sleep(9.0), parks=False)
        bench.clock.advance(9.0)
        # What it waits for is there by now: it goes back, and is not parked.
        await park(a, grant, sleep(9.0))
        assert [event for event in await b.events() if event.name == "job:parked"] == [
            Event("job:parked", now, "a", "j", "q", "s", {"until": now + 60_000}),
            Event("job:parked", now, "a", "k", "q", ""),
        ]

    # --- what ends a job that is parked -------------------------------------------------------

    async def test_a_parked_job_is_cancelled_at_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(origin="a")])
        await begun(a, wait_for())
        assert await a.store.cancel("j", "not wanted") == "later"
        assert (await a.view("j")).status == "cancelled"
        assert await a.store.waits.signal("j", signal()) == "ended"
        assert await a.claim() == []

    async def test_a_job_that_is_to_be_cancelled_does_not_park(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await begun(a, wait_for(), parks=False)
        await a.store.cancel("j", "not wanted")
        assert (await a.settle(grant, "parked", reason="1")).outcome == "cancelled"
        assert await a.status("j") == "cancelled"

    async def test_a_parked_job_ends_at_its_deadline(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(deadline=30.0)])
        await begun(a, wait_for(seconds=60.0))
        bench.clock.advance(29.0)
        assert (await a.claim_answer()).next_due == 1.0
        bench.clock.advance(1.001)
        assert await a.claim() == []
        assert (await a.view("j")).status == "cancelled"

    async def test_a_parked_job_ends_with_its_session(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(session="s")])
        await begun(a, wait_for())
        await a.store.stop_session("s", running=True, refuse=5.0)
        settled = (await a.view("j")).settled
        assert settled is not None
        assert (settled.status, settled.reason) == ("cancelled", SESSION_STOPPED)

    async def test_a_job_that_begins_anew_has_waited_for_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await a.claim_one()
        await a.store.waits.signal("j", signal())
        await ask(a, grant, sleep(0.0))
        await a.settle(grant, "failed", result=b"\xc0")
        assert await a.store.revive(["j"]) == ["queued"]
        grant = await a.claim_one()
        assert await ask(a, grant, wait_for("go")) == OPEN

    async def test_a_parked_job_that_is_put_before_others_may_park_again(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        await begun(a, wait_for())
        assert await a.store.promote("j") == "later"
        grant = await a.claim_one()
        assert await ask(a, grant, wait_for()) == OPEN
        await park(a, grant, wait_for())
        await a.store.waits.signal("j", signal())
        assert await ask(a, await a.claim_one(), wait_for()) == sent("x")

    async def test_a_parked_job_gives_its_turn_to_the_next_one(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s", state=None), job("k", session="s", state=None)])
        await begun(a, wait_for())
        assert (await a.claim_one()).spec.id == "k"
