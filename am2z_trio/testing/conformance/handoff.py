"""Handing out: a parked node is given jobs as they come, where nothing else waits and nothing limits them."""

from __future__ import annotations

from am2z_trio.model.records import (
    UNLIMITED,
    ClaimAnswer,
    EnqueueAnswer,
    Grant,
    Handed,
    InboxMessage,
    QueueLimits,
    Wake,
    handed_at_once,
)

from .bench import SETTINGS, Bench, Node
from .builders import ids_of, job


async def park(node: Node, limit: int, queue: str = "q", limits: QueueLimits = UNLIMITED) -> ClaimAnswer:
    """Claim, and take what comes unasked."""
    return await node.store.claim(queue, node.next_seq(queue), limit, limits, unasked=limit)


def grants_of(messages: list[InboxMessage]) -> list[Grant]:
    return [grant for told in messages if isinstance(told, Handed) for grant in told.answer.grants]


class HandoffCases:
    """Who is given what, and what stays as it was."""

    async def test_a_parked_node_is_given_what_it_takes_unasked_and_woken_for_the_rest(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert (await park(a, 2)).grants == []
        await b.store.enqueue([job("j1", origin="b"), job("j2"), job("j3")])
        told = await a.heard()
        assert ids_of(grants_of(told)) == ["j1", "j2"]
        assert [one.left for one in told if isinstance(one, Handed)] == [1, 0]
        assert [await a.status(name) for name in ("j1", "j2", "j3")] == ["active", "active", "waiting"]
        # The last one has taken it out of the lot.
        assert Wake("q") not in told
        assert ids_of(await a.claim(2)) == ["j3"]
        assert (await a.stats()).active == 3

    async def test_what_was_handed_is_a_claim_like_any_other(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await park(a, 1)
        await b.store.enqueue([job("j", origin="b", deadline=5.0)])
        (grant,) = grants_of(await a.heard())
        assert (await a.store.renew(look_every=0.0)).held == 1
        assert (grant.attempt, grant.deliveries, grant.remaining) == (1, 1, 5.0)
        assert await a.store.holdings() == [("j", grant.token)]
        assert (await a.settle(grant, "retry")).status == "applied"
        (again,) = await a.claim(1)
        assert (again.attempt, again.deliveries) == (2, 2)
        assert again.token != grant.token
        assert (await a.settle(grant)).status == "replay"
        assert (await a.settle(again, result=b"\x07")).status == "applied"
        assert (await b.heard()) != []
        assert (await a.settle(again)).status == "replay"

    async def test_a_message_that_nobody_reads_costs_no_job(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await park(a, 1)
        await b.store.enqueue([job("j")])
        assert await b.claim(1) == []
        await bench.crash(a)
        await b.store.tick()
        bench.clock.advance(SETTINGS.disconnect_grace)
        assert (await b.store.tick()).reaped == 1
        assert ids_of(await b.claim(1)) == ["j"]

    async def test_nothing_is_handed_out_past_what_waits(self, bench: Bench) -> None:
        first, second, third, sender = [await bench.node(name) for name in "abcd"]
        await sender.store.enqueue([job("back")])
        back = await sender.claim_one()
        for node in (first, second, third):
            await park(node, 5)
            bench.clock.advance(0.001)
        await sender.settle(back, "released")
        assert await first.heard() == [Wake("q")]
        await sender.store.enqueue([job("j1")], ["q"])
        assert await second.heard() == [Wake("q")]
        assert ids_of((await park(first, 5)).grants) == ["back", "j1"]
        await sender.store.enqueue([job("urgent", priority=1)])
        assert await third.heard() == [Wake("q")]
        await sender.store.enqueue([job("j2")])
        assert await first.heard() == [Wake("q")]
        assert ids_of((await park(second, 5)).grants) == ["j2", "urgent"]

    async def test_nothing_is_handed_out_where_the_queue_is_limited_or_held_up(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        limits = {
            "rate": QueueLimits(starts=1, per=60.0),
            "active": QueueLimits(most_active=1),
            "session": QueueLimits(per_session=1),
        }
        for queue, limited in limits.items():
            await park(a, 5, queue, limited)
            await b.store.enqueue([job(f"{queue}{n}", queue, session="s") for n in range(2)])
            assert grants_of(await a.heard()) == []
            assert len((await park(a, 5, queue, limited)).grants) == 1
        await park(a, 5, "p")
        await b.store.pause("p", True)
        await b.store.enqueue([job("paused", "p")])
        assert grants_of(await a.heard()) == []
        assert (await park(a, 5, "p")).grants == []

    async def test_what_has_its_own_time_or_order_is_not_handed_out(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await park(a, 9)
        await b.store.enqueue([job("late", delay=1.0)])
        await b.store.enqueue([job("urgent", priority=1)])
        await b.store.enqueue([job("last", debounce="k")])
        await b.store.enqueue([job("stored", session="s", state=None)])
        assert grants_of(await a.heard()) == []
        assert {*ids_of(await a.claim(9))} == {"urgent", "last", "stored"}

    async def test_what_is_to_be_asked_for_is_not_handed_out(self, bench: Bench) -> None:
        """Nor is what comes behind it in the same call; and not to who sends it either."""
        a, b = await bench.node("a"), await bench.node("b")
        await park(a, 9)
        await b.store.enqueue([job("j1", only_asked=True), job("j2")])
        assert grants_of(await a.heard()) == []
        assert ids_of(await a.claim(9)) == ["j1", "j2"]
        await park(b, 9, "r")
        answer = await b.store.enqueue([job("j3", "r", only_asked=True)], ["r"])
        assert answer == [EnqueueAnswer(status="queued")]
        view = (await b.store.view(["j3"]))[0]
        assert view is not None
        assert (view.status, view.deliveries) == ("waiting", 0)

    async def test_a_job_of_a_session_and_one_that_was_called_are_handed_out(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await park(a, 9)
        await b.store.enqueue([job("parent", session="s")])
        await a.store.enqueue([job("child", parent="parent", depth=1, session="s")])
        told = grants_of(await a.heard())
        assert ids_of(told) == ["parent", "child"]
        assert (await a.store.session_counts("s")).active == 2
        assert await a.store.stop_session("s", running=True, refuse=0.0) == []
        assert [await a.status(name) for name in ("parent", "child")] == ["cancelled", "cancelled"]
        assert [(await a.settle(grant)).status for grant in told] == ["fenced", "fenced"]

    async def test_who_takes_fewer_than_it_asks_for_is_given_so_many(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.enqueue([job("j1")])
        answer = await a.store.claim("q", a.next_seq("q"), 9, unasked=2)
        assert ids_of(answer.grants) == ["j1"]
        await b.store.enqueue([job("j2"), job("j3")])
        assert ids_of(grants_of(await a.heard())) == ["j2"]
        assert await a.status("j3") == "waiting"

    async def test_who_sends_is_given_the_first_one_by_the_answer_where_it_is_at_rest(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await park(b, 3)
        bench.clock.advance(0.001)
        await park(a, 3)
        await park(a, 1, "r")
        jobs = [job("j1", deadline=5.0), job("j2"), job("k1", "r"), job("k2", "r")]
        first, *others, last = await a.store.enqueue(jobs, ["q", "r"])
        assert (first.status, bool(first.token), first.left) == ("queued", True, 2)
        assert [(other.status, bool(other.token), other.left) for other in others] == [
            ("queued", False, 0),
            ("queued", True, 0),
        ]
        assert last == EnqueueAnswer(status="queued")
        assert ids_of(grants_of(await b.heard())) == ["j2"]
        assert await a.heard() == []
        grant = handed_at_once(jobs[0], first).answer.grants[0]
        assert (grant.spec, grant.remaining) == (jobs[0].spec, 5.0)
        assert dict(await a.store.holdings()) == {"j1": first.token, "k1": others[1].token}
        assert (await a.settle(grant)).status == "applied"
        assert [await a.status(name) for name in ("j1", "j2", "k2")] == ["completed", "active", "waiting"]

    async def test_who_sends_and_is_not_parked_has_no_part_in_it(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await park(b, 3)
        (answer,) = await a.store.enqueue([job("j1")], ["q"])
        assert answer == EnqueueAnswer(status="queued")
        assert ids_of(grants_of(await b.heard())) == ["j1"]
        assert await a.claim(3, queue="r") == []
        await a.store.enqueue([job("k", "r")], ["r"])
        assert await a.heard() == [Wake("r")]
        await b.store.leave()
        await b.store.enqueue([job("j2")], ["q"])
        assert await a.status("j2") == "waiting"

    async def test_who_listens_no_more_is_given_nothing(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await park(a, 3)
        await bench.crash(a)
        await b.store.enqueue([job("j1")])
        assert ids_of(await b.claim(1)) == ["j1"]

    async def test_who_has_not_renewed_its_lease_in_time_is_given_nothing(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await park(a, 3)
        bench.clock.advance(SETTINGS.lease + 0.001)
        (answer,) = await a.store.enqueue([job("j1")], ["q"])
        assert answer == EnqueueAnswer(status="queued")
        assert grants_of(await a.heard()) == []
        assert ids_of(await b.claim(1)) == ["j1"]

    async def test_who_waits_longest_is_given_the_next_one(self, bench: Bench) -> None:
        nodes = [await bench.node(name) for name in "abc"]
        for node in nodes[:2]:
            await park(node, 3)
            bench.clock.advance(0.001)
        for number in range(4):
            await nodes[2].store.enqueue([job(f"j{number}")])
            bench.clock.advance(0.001)
        assert [ids_of(grants_of(await node.heard())) for node in nodes] == [["j0", "j2"], ["j1", "j3"], []]

    async def test_who_has_left_or_gave_its_lease_up_is_given_nothing(self, bench: Bench) -> None:
        a, b, c = await bench.node("a"), await bench.node("b"), await bench.node("c")
        await park(a, 3)
        bench.clock.advance(0.001)
        await park(b, 3)
        await a.store.leave()
        await b.store.unpark("q")
        await c.store.enqueue([job("j")])
        assert grants_of(await a.heard()) == grants_of(await b.heard()) == []
        assert await c.status("j") == "waiting"

    async def test_a_node_that_did_not_say_so_is_given_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.claim(3) == []
        await a.store.enqueue([job("j")])
        assert await a.heard() == [Wake("q")]
        assert await a.claim(3, calls_only=True) == []
        assert ids_of(await a.claim(3)) == ["j"]

    async def test_a_known_job_is_not_handed_out_again(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await park(a, 3)
        await b.store.enqueue([job("j")])
        await b.store.enqueue([job("j"), job("k")])
        assert ids_of(grants_of(await a.heard())) == ["j", "k"]
        assert (await a.stats()).active == 2

    async def test_a_job_that_comes_twice_in_one_call_is_given_once(self, bench: Bench) -> None:
        a = await bench.node()
        await park(a, 9)
        known = EnqueueAnswer(status="dup")
        first, *others = await a.store.enqueue([job("j1"), job("j1"), job("j2"), job("j2")], ["q"])
        assert (bool(first.token), others) == (True, [known, EnqueueAnswer(status="queued"), known])
        assert ids_of(grants_of(await a.heard())) == ["j2"]
        assert (await a.stats()).active == 2
