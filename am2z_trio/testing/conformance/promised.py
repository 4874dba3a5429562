"""Promises: a node that is given a composition may begin its first parts while it tells the store of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from am2z_trio.model.records import (
    Enqueue,
    EnqueueAnswer,
    Grant,
    QueueInfo,
    QueueLimits,
    Settlement,
    handed_at_once,
)

from .bench import GRACE, Bench, Node, Outcome
from .builders import ids_of, job
from .handoff import grants_of, park

BEGINS: Final = QueueInfo(queue="q", processor="work", begins=("r", "t"))


ENDINGS: Final[tuple[Outcome, ...]] = ("completed", "failed", "retry", "cancelled", "released")


async def serve(node: Node, *begins: str, most: int = 3) -> None:
    """Take jobs unasked in all queues, and say what those of the first one begin with."""
    await node.store.announce([msgspec.structs.replace(BEGINS, begins=begins or BEGINS.begins)])
    for queue in ("q", "r", "t"):
        await park(node, most, queue)


async def given(node: Node, sender: Node, id: str = "p", **options: Any) -> Grant:
    """Such a job, as the node is given it."""
    await sender.store.enqueue([job(id, **options)])
    (grant,) = grants_of(await node.heard())
    return grant


def part(grant: Grant, queue: str = "r", place: int = 1, **options: Any) -> Enqueue:
    """A part that the node has begun, as it tells of it."""
    under = f"{grant.token}/{place}"
    return job(f"{queue}{place}", queue, parent=grant.spec.id, depth=1, again=True, under=under, **options)


async def active(node: Node) -> list[int]:
    return [(await node.stats(queue)).active for queue in ("q", "r", "t")]


class PromisedCases:
    """What is promised, counted, kept for one call, and over with the claim."""

    async def test_a_part_that_was_promised_is_active_from_the_grant_on(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        grant = await given(a, b)
        assert grant.promised == ("r", "t")
        assert await active(b) == [1, 1, 1]
        assert await b.store.view(["r1"]) == [None]
        await b.store.pause("r", True)
        parts = [part(grant), part(grant, "t", 2, max_size=1)]
        # Whatever holds its queue up by now: it has begun.
        await b.store.enqueue([job("x", "t", priority=1)])
        answers = await a.store.enqueue(parts)
        assert [answer.token for answer in answers] == [one.under for one in parts]
        assert [answer.left for answer in answers] == [2, 0]
        assert await active(b) == [1, 1, 1]
        assert dict(await a.store.holdings()) == {
            "p": grant.token,
            **{one.spec.id: one.under for one in parts},
        }
        view = await b.view("r1")
        assert (view.status, view.deliveries) == ("active", 1)
        for one, answer in zip(parts, answers, strict=True):
            (claimed,) = handed_at_once(one, answer).answer.grants
            assert (await a.settle(claimed)).status == "applied"
            assert (await a.settle(claimed)).status == "replay"
        assert (await a.settle(grant)).status == "applied"
        assert await active(b) == [0, 0, 0]

    async def test_who_sends_a_composition_to_itself_is_promised_its_parts(self, bench: Bench) -> None:
        a = await bench.node("a")
        await serve(a)
        composed = job("p", deadline=9.0, session="s")
        (answer,) = await a.store.enqueue([composed], ["q"])
        assert answer.promised == ("r", "t")
        (grant,) = handed_at_once(composed, answer).answer.grants
        assert grant.promised == ("r", "t")
        assert await active(a) == [1, 1, 1]
        await a.settle(grant, "released")
        assert await active(a) == [0, 0, 0]
        assert [one.promised for one in await a.claim(1)] == [()]

    async def test_nothing_is_promised_where_a_part_could_not_begin(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a, most=1)
        await b.store.enqueue([job("x", "t")])
        await a.heard()
        assert (await given(a, b)).promised == ()
        await serve(a, "r", "r")
        assert (await given(a, b, "p2")).promised == ("r", "r")
        await park(a, 1, "r")
        assert (await given(a, b, "p3")).promised == ()
        await park(a, 3, "r")
        await b.store.pause("r", True)
        assert (await given(a, b, "p4")).promised == ()
        await b.store.pause("r", False)
        await park(a, 3, "r", QueueLimits(starts=9, per=60.0))
        await park(a, 3)
        assert (await given(a, b, "p5")).promised == ()
        assert await active(b) == [5, 2, 1]

    async def test_nothing_is_promised_to_a_node_that_has_not_said_so(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        for queue in ("q", "r", "t"):
            await park(b, 3, queue)
        assert (await given(a, b)).promised == ("r", "t")
        await a.store.unpark("q")
        assert (await given(b, a, "p2")).promised == ()
        await serve(a)
        await a.store.announce([msgspec.structs.replace(BEGINS, begins=())])
        await b.store.unpark("q")
        assert (await given(a, b, "p3")).promised == ()
        assert (await a.store.known_queues())[0].begins == ()

    async def test_nothing_is_promised_with_a_job_that_may_have_run_before(self, bench: Bench) -> None:
        """What it has called may be there already, and is not to run again."""
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        grant = await given(a, b, again=True)
        assert grant.promised == ()
        await a.settle(grant, "cancelled")
        assert (await given(a, b, again=True)).promised == ()
        assert await active(b) == [1, 0, 0]

    async def test_what_was_promised_is_over_with_the_first_call(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        grant = await given(a, b)
        # Called, and not begun before: it comes as others do.
        answers = await a.store.enqueue([job("c", "r", parent="p", depth=1)])
        assert answers == [EnqueueAnswer(status="queued")]
        assert ids_of(grants_of(await a.heard())) == ["c"]
        assert await active(b) == [1, 1, 0]
        await b.store.pause("t", True)
        assert await a.store.enqueue([part(grant, "t")]) == [EnqueueAnswer(status="queued")]
        assert await b.status("t1") == "waiting"
        assert await active(b) == [1, 1, 0]

    async def test_a_part_is_begun_under_the_token_of_its_parent_alone(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        grant = await given(a, b)
        await b.store.pause("r", True)
        other = msgspec.structs.replace(part(grant), under="7:x/1")
        elsewhere = msgspec.structs.replace(part(grant, "u"), under=f"{grant.token}/2")
        assert await a.store.enqueue([other, elsewhere]) == [EnqueueAnswer(status="queued")] * 2
        assert [await b.status(one) for one in ("r1", "u1")] == ["waiting", "waiting"]
        stray = Settlement(id="r1", token="7:x/1", outcome="completed")
        assert [answer.status for answer in await a.store.settle([stray])] == ["fenced"]

    async def test_what_was_promised_ends_with_the_claim(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        for number, outcome in enumerate(ENDINGS):
            await serve(a)
            grant = await given(a, b, f"p{number}")
            assert grant.promised == ("r", "t")
            assert (await a.settle(grant, outcome)).status == "applied"
            assert await active(b) == [0, 0, 0]
            for again in await a.claim(9):
                await a.settle(again)
        await serve(a)
        await given(a, b, "stopped", session="s")
        assert await b.store.stop_session("s", running=True, refuse=0.0) == []
        assert await active(b) == [0, 0, 0]
        await serve(a)
        await given(a, b, "left")
        await a.store.leave()
        assert await active(b) == [0, 0, 0]

    async def test_a_promise_that_nobody_reads_ends_when_its_node_is_found_dead(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        await b.store.enqueue([job("p")])
        assert await active(b) == [1, 1, 1]
        await bench.crash(a)
        await b.store.tick()
        bench.clock.advance(GRACE)
        assert (await b.store.tick()).reaped == 1
        assert await active(b) == [0, 0, 0]
        (grant,) = await b.claim(1)
        assert (grant.spec.id, grant.promised) == ("p", ())

    async def test_what_was_begun_and_comes_too_late_is_refused(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        grant = await given(a, b)
        await a.settle(grant, "cancelled")
        assert await a.store.enqueue([part(grant)]) == [EnqueueAnswer(status="orphan")]
        assert await b.store.view(["r1"]) == [None]
        await serve(a)
        grant = await given(a, b, "p2")
        await a.settle(grant, "released")
        await b.store.pause("r", True)
        # Its claim is gone: somebody else may have its job.
        assert await a.store.enqueue([part(grant)]) == [EnqueueAnswer(status="queued")]
        assert await b.status("r1") == "waiting"
        assert await active(b) == [0, 0, 0]

    async def test_a_call_of_what_was_begun_that_comes_again_has_the_same_answer(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        grant = await given(a, b)
        (first,) = await a.store.enqueue([part(grant)])
        (again,) = await a.store.enqueue([part(grant)])
        assert (first.token, again.token, again.left) == (first.token, first.token, 0)
        assert await active(b) == [1, 1, 0]
        (known,) = await b.store.enqueue([part(grant)])
        assert (known.status, known.token) == ("dup", "")
        (claimed,) = handed_at_once(part(grant), first).answer.grants
        await a.settle(claimed)
        (ended,) = await a.store.enqueue([part(grant)])
        assert ended.settled is not None
        assert ended.token == ""
