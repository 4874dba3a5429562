"""Why a job does not run: each of these situations is named rightly on both stores, and what is said of the
next claim is what the next claim does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.model.codec import NIL, encode_record
from am2z_trio.model.error_records import record_of
from am2z_trio.model.errors import BusinessError
from am2z_trio.model.options import CircuitBreaker, QueueOptions, RateLimit
from am2z_trio.model.records import (
    DEADLINE,
    UNLIMITED,
    WIRE_VERSION,
    AttemptError,
    QueueInfo,
    QueueLimits,
    ResultRecord,
    limits_of,
)
from am2z_trio.model.views.diagnosis import Diagnosis
from am2z_trio.policy.diagnosis import diagnose, unknown_job
from am2z_trio.testing.conformance import Backend, Bench, Node, commit, job
from am2z_trio.testing.conformance.control import INFO
from tests.store.test_conformance import MemoryBackend, RedisBackend
from tests.support.dumped import dumped

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "memory":
        return MemoryBackend()
    return RedisBackend(request.getfixturevalue("redis_url"), request.getfixturevalue("redis_server"))


async def explain(node: Node, id: str = "j") -> Diagnosis:
    facts = await node.store.inspection.facts(id)
    return unknown_job(id) if facts is None else diagnose(facts)


async def claim_all(node: Node, limits: QueueLimits = UNLIMITED, queue: str = "q") -> list[str]:
    """What a node with room for everything is granted."""
    granted = list[str]()
    while True:
        answer = await node.claim_answer(500, queue, limits)
        granted += [grant.spec.id for grant in answer.grants]
        if answer.next_due != 0:
            return granted


async def announce(node: Node, options: QueueOptions) -> QueueLimits:
    """The queue's options are these."""
    await node.store.announce([QueueInfo(queue="q", processor="work", options=options)])
    return limits_of(options)


FAILED = record_of(BusinessError("the card was declined", code="DECLINED"))


def failed_result() -> bytes:
    return encode_record(ResultRecord(WIRE_VERSION, NIL, FAILED, 1, 0, 0.1, "a"))


class Situation(NamedTuple):
    """What a bench was brought to."""

    blocked_by: str
    says: str
    """Part of the verdict."""
    remedy: str = ""
    """Part of what may be done."""
    limits: QueueLimits = UNLIMITED
    waits: bool = True
    granted: bool | None = False
    queue: str = "q"


async def nothing_is_known_of_it(bench: Bench, a: Node) -> Situation:
    return Situation("", "there is no record of it", waits=False)


async def it_starts_at_once(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job("before"), job()])
    return Situation("", "nothing holds it back", granted=True)


async def it_is_delayed(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job(delay=90.0)])
    return Situation("due", "it is delayed, 1 m 30 s more", "goes on by itself")


async def it_backs_off(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job()])
    errors = encode_record([AttemptError(1, 0, FAILED)])
    await a.settle(await a.claim_one(), "retry", result=errors, delay=4.0)
    says = "it backs off before attempt 2, 4.0 s more; attempt 1 failed: DECLINED: the card was declined"
    return Situation("due", says)


async def the_rate_limit_has_set_it_aside(bench: Bench, a: Node) -> Situation:
    limits = await announce(a, QueueOptions(limiter=RateLimit(max=1, duration=6.0, bounce_back=False)))
    await a.store.enqueue([job("before"), job()])
    assert await claim_all(a, limits) == ["before"]
    return Situation("due", "the rate limit has set it aside, 6.0 s more", limits=limits)


async def its_deadline_has_passed(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job(deadline=2.0)])
    bench.clock.advance(2.5)
    return Situation("deadline", "its deadline passed 500 ms ago; the next claim ends it as cancelled")


async def its_queue_is_paused(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job()])
    await a.store.pause("q", True)
    return Situation("paused", "q is paused", "am2z queue resume q")


async def nobody_serves_it(bench: Bench, a: Node) -> Situation:
    a.store.withdraw_nowait(["q"])
    await a.store.enqueue([job()])
    bench.clock.advance(12.0)
    return Situation("served", "no node has served q for 12.0 s", "start a worker that has q", granted=True)


async def nobody_has_ever_served_it(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job(queue="other")])
    return Situation("served", "nobody has ever announced it", granted=True, queue="other")


async def the_rate_limit_holds_it(bench: Bench, a: Node) -> Situation:
    limits = await announce(a, QueueOptions(limiter=RateLimit(max=2, duration=60.0)))
    await a.store.enqueue([job("one"), job("two"), job()])
    assert await claim_all(a, limits) == ["one", "two"]
    bench.clock.advance(15.0)
    return Situation("rate", "2 of 2 starts in 1 m 00 s, which is all that may be", limits=limits)


async def its_session_has_as_many_active_as_may_be(bench: Bench, a: Node) -> Situation:
    limits = await announce(a, QueueOptions(session_concurrency=1))
    await a.store.enqueue([job("first", session="s"), job(session="s")])
    assert await claim_all(a, limits) == ["first"]
    says = "1 job of its session is active, which is all that may be (session_concurrency=1)"
    return Situation("session", says, "am2z job cancel first", limits=limits)


async def others_of_its_session_are_before_it(bench: Bench, a: Node) -> Situation:
    limits = await announce(a, QueueOptions(session_concurrency=1))
    await a.store.enqueue([job("first", session="s"), job(session="s")])
    says = "1 of its session before it, and 1 more may be active"
    return Situation("session", says, limits=limits)


async def as_many_are_active_as_may_be(bench: Bench, a: Node) -> Situation:
    limits = await announce(a, QueueOptions(global_concurrency=2))
    await a.store.enqueue([job("one"), job("two"), job()])
    assert await claim_all(a, limits) == ["one", "two"]
    says = "2 jobs of q are active, which is all that may be (global_concurrency=2)"
    return Situation("active", says, "am2z job cancel one", limits=limits)


async def another_job_works_on_its_state(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job("first", session="s", state=None), job(session="s", state=None)])
    assert [grant.spec.id for grant in await a.claim(1)] == ["first"]
    return Situation("turn", "job first works on its session's state", "am2z job cancel first")


async def it_is_in_line_for_its_state(bench: Bench, a: Node) -> Situation:
    jobs = [job(name, session="s", state=None) for name in ("first", "second", "j")]
    await a.store.enqueue(jobs)
    assert await claim_all(a) == ["first"]
    return Situation("turn", "job first works on its session's state, 1 before it in line")


async def a_job_before_it_takes_the_state(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job("first", session="s", state=None), job(session="s", state=None)])
    return Situation("turn", "another job before it works on the same session's state")


async def more_are_before_it_than_may_start(bench: Bench, a: Node) -> Situation:
    limits = await announce(a, QueueOptions(global_concurrency=2))
    await a.store.enqueue([job("one"), job("two"), job()])
    return Situation("line", "2 before it in line, and 2 more may start", limits=limits)


async def all_slots_are_taken(bench: Bench, a: Node) -> Situation:
    await announce(a, QueueOptions(concurrency=2))
    await a.store.enqueue([job("one"), job("two"), job()])
    await a.claim(2)
    return Situation("slot", "all slots are taken: 2/2", "start more workers of q", granted=True)


async def its_node_is_drained(bench: Bench, a: Node) -> Situation:
    await announce(a, QueueOptions(concurrency=2))
    await a.store.enqueue([job()])
    await a.store.control.introduce(msgspec.structs.replace(INFO, draining=True))
    says = "a, which serves it, is drained, and claims no more jobs"
    return Situation("slot", says, "am2z node undrain a", granted=True)


async def its_node_is_over_its_memory(bench: Bench, a: Node) -> Situation:
    await announce(a, QueueOptions(concurrency=2))
    await a.store.enqueue([job()])
    full = "its process uses 900 MB of memory, the limit is 800 (max_memory_mb)"
    await a.store.control.introduce(msgspec.structs.replace(INFO, full=full))
    says = f"a, which serves it, claims no jobs for now: {full}"
    return Situation("slot", says, "am2z node show a", granted=True)


async def some_of_its_nodes_are_drained_and_the_others_full(bench: Bench, a: Node) -> Situation:
    b = await bench.node("b")
    for node, said in ((a, {"draining": True}), (b, {"full": "no room"})):
        await announce(node, QueueOptions(concurrency=2))
        await node.store.control.introduce(msgspec.structs.replace(INFO, **said))
    await a.store.enqueue([job()])
    says = "none of the 2 nodes that serve it claims jobs for now: of b, no room; 1 of them is drained"
    return Situation("slot", says, "am2z node undrain a", granted=True)


async def its_session_was_stopped(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job(session="s")])
    await a.store.stop_session("s", running=False, refuse=30.0)
    return Situation("", ": its session was stopped", waits=False)


async def its_circuit_is_open(bench: Bench, a: Node) -> Situation:
    policy = CircuitBreaker(failures=1, recovery=30.0)
    await a.store.breaker("q", "fail", policy)
    await a.store.enqueue([job()])
    says = "the circuit of q is open, as it has failed too often: it is tried again in 30.0 s"
    return Situation("circuit", says, "am2z dead ls processor:q", granted=True)


async def it_runs(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job(deadline=60.0)])
    grant = await a.claim_one()
    await a.store.report("j", grant.token, 0.25)
    says = "attempt 1, 25 % done, deadline in 1 m 00 s"
    return Situation("", says, "am2z node stacks a", waits=False)


async def it_waits_for_what_it_has_called(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job()])
    grant = await a.claim_one()
    await a.store.enqueue([job("child", parent="j"), job("done", parent="j", priority=1)])
    await a.store.cancel("done", "enough")
    await a.store.step_aside("j", grant.token)
    return Situation("", "and waits for 1 job that it has called", "am2z why child", waits=False)


async def its_node_is_silent(bench: Bench, a: Node) -> Situation:
    b = await bench.node("b")
    await a.store.enqueue([job()])
    await b.claim_one()
    await bench.crash(b)
    return Situation("", "which is not heard: it goes back to its queue", waits=False)


async def it_is_to_end(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job()])
    await a.claim_one()
    await a.store.cancel("j", "stopped by anna")
    return Situation("", "is to end, and runs still on a", waits=False)


async def it_has_failed(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job()])
    await a.settle(await a.claim_one(), "failed", result=failed_result())
    return Situation("", ": DECLINED: the card was declined", "am2z dead redrive j", waits=False)


async def it_was_cancelled_by_somebody(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job()])
    await a.store.cancel("j", "stopped by anna")
    return Situation("", ": stopped by anna", waits=False)


async def its_deadline_has_ended_it(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job(deadline=1.0)])
    bench.clock.advance(2.0)
    assert await claim_all(a) == []
    view = await a.view("j")
    assert view.settled is not None
    assert view.settled.reason == DEADLINE
    return Situation("", ": its deadline passed before it was done", waits=False)


async def it_has_completed(bench: Bench, a: Node) -> Situation:
    await a.store.enqueue([job(session="s")])
    await a.settle(await a.claim_one(), result=b"\x01", commit=commit("x", None))
    return Situation("", "has completed", waits=False)


SITUATIONS: Sequence[Callable[[Bench, Node], Awaitable[Situation]]] = (
    *(
        nothing_is_known_of_it,
        it_starts_at_once,
        it_is_delayed,
        it_backs_off,
        the_rate_limit_has_set_it_aside,
    ),
    *(its_deadline_has_passed, its_queue_is_paused, nobody_serves_it, nobody_has_ever_served_it),
    *(the_rate_limit_holds_it, its_session_has_as_many_active_as_may_be, others_of_its_session_are_before_it),
    *(as_many_are_active_as_may_be, another_job_works_on_its_state, it_is_in_line_for_its_state),
    *(a_job_before_it_takes_the_state, more_are_before_it_than_may_start, all_slots_are_taken),
    *(
        its_node_is_drained,
        its_node_is_over_its_memory,
        some_of_its_nodes_are_drained_and_the_others_full,
        its_session_was_stopped,
        its_circuit_is_open,
        it_runs,
        it_waits_for_what_it_has_called,
    ),
    *(its_node_is_silent, it_is_to_end, it_has_failed, it_was_cancelled_by_somebody),
    *(its_deadline_has_ended_it, it_has_completed),
)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda found: found.__name__)
async def test_a_situation_is_named_rightly(situation: Any, backend: Backend):
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        expected = await situation(bench, node)
        found = await explain(node)
        assert expected.says in found.verdict
        assert found.blocked_by == expected.blocked_by
        assert expected.remedy in " | ".join(remedy.text for remedy in found.remedies)
        assert bool(found.gates) == expected.waits
        if expected.waits:
            assert found.granted_next is expected.granted
            granted = await claim_all(node, expected.limits, expected.queue)
            assert ("j" in granted) == bool(expected.granted)
        nursery.cancel_scope.cancel()


async def test_who_looks_changes_nothing(backend: Backend):
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        limits = await announce(node, QueueOptions(global_concurrency=2, session_concurrency=1))
        await node.store.enqueue([job(f"j{n}", session="s" if n % 2 else "", delay=n % 3) for n in range(9)])
        await claim_all(node, limits)
        if isinstance(backend, RedisBackend):
            before = dumped(backend.server)
            for n in range(9):
                await node.store.inspection.facts(f"j{n}")
            assert dumped(backend.server) == before
        first = [await node.store.inspection.facts(f"j{n}") for n in range(9)]
        assert first == [await node.store.inspection.facts(f"j{n}") for n in range(9)]
        nursery.cancel_scope.cancel()


async def test_a_place_far_back_is_said_to_be_so(backend: Backend):
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        limits = await announce(node, QueueOptions(global_concurrency=1))
        for first in range(0, 200, 100):
            await node.store.enqueue([job(f"x{n}") for n in range(first, first + 100)])
        await node.store.enqueue([job()])
        found = await explain(node)
        # None of the first hundred is looked at one by one.
        assert (found.granted_next, found.blocked_by) == (None, "")
        assert found.verdict == "waits: 200 before it in line, and 1 more may start"
        assert "j" not in await claim_all(node, limits)
        nursery.cancel_scope.cancel()


async def test_a_record_that_is_spoilt_is_told_before_it_is_met(redis_url: str, redis_server: Any):
    backend = RedisBackend(redis_url, redis_server)
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        await node.store.enqueue([job(deadline=9.0)])
        redis_server.call("HSET", "{am2z:0}:job:j", "deadline", "soon")
        found = await explain(node)
        assert (found.blocked_by, found.granted_next) == ("record", False)
        assert "the next claim makes it a dead letter" in found.verdict
        assert await claim_all(node) == []
        assert await node.store.dead_page("q", 0, 9) == ["j"]
        assert "has failed: its record cannot be read" in (await explain(node)).verdict
        nursery.cancel_scope.cancel()
