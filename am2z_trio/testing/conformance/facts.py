"""Facts: what decides whether a job is granted at the next claim, as whoever looks is told."""

from __future__ import annotations

import msgspec

from am2z_trio.model.options import CircuitBreaker, QueueOptions, RateLimit
from am2z_trio.model.records import (
    BreakerFacts,
    JobFacts,
    LineFacts,
    NodeFacts,
    ParentFacts,
    QueueInfo,
    QueueLimits,
    SessionFacts,
    TurnFacts,
    limits_of,
)

from .bench import Bench, Node
from .builders import ids_of, job, settled
from .control import INFO


async def facts_of(node: Node, id: str = "j") -> JobFacts:
    facts = await node.store.inspection.facts(id)
    assert facts is not None, f"there is no record of {id}"
    return facts


async def announce(node: Node, options: QueueOptions) -> QueueLimits:
    await node.store.announce([QueueInfo(queue="q", processor="q", options=options)])
    return limits_of(options)


class FactsCases:
    """What a store knows of one job, and of what stands in its way."""

    async def test_nothing_is_known_of_a_job_that_never_was(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.inspection.facts("j") is None

    async def test_a_job_that_waits_is_known_with_its_place(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("x0", deadline=1.0), job("x1"), job("x2"), job("x3")])
        await a.store.enqueue([job(deadline=9.0), job("s", session="s", priority=3)])
        await a.store.cancel("x1", "unwanted")
        bench.clock.advance(2.0)
        facts = await facts_of(a)
        assert (facts.id, facts.now, facts.status, facts.processor) == ("j", bench.clock(), "waiting", "q")
        assert (facts.attempt, facts.priority, facts.deadline) == (1, 0, bench.clock() + 7_000)
        # Entries of those that wait no more, or are to end, stand before it still.
        assert facts.line == LineFacts(place=4, ahead=2, same_turn=False)
        assert (facts.turn, facts.at_session, facts.parent, facts.settled) == (None, None, None, None)
        assert (await facts_of(a, "s")).line == LineFacts(place=0)
        assert (await facts_of(a, "s")).priority == 3

    async def test_a_job_that_was_left_to_others_is_known_with_why_until_it_has_been_run(
        self, bench: Bench
    ) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        (grant,) = await a.claim(1)
        await a.settle(grant, "released", delay=1.0, reason="STATE_VERSION\nit is of version 2")
        facts = await facts_of(a)
        assert (facts.status, facts.attempt, facts.left) == ("later", 1, "it is of version 2")
        bench.clock.advance(1.5)
        (grant,) = await a.claim(1)
        assert (await facts_of(a)).left == ""
        await a.settle(grant, "retry", delay=1.0, reason="CODE\nit failed")
        assert (await facts_of(a)).left == ""

    async def test_a_delayed_job_is_known_with_when_it_is_due(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(delay=2.5)])
        facts = await facts_of(a)
        assert (facts.status, facts.due, facts.line) == ("later", bench.clock() + 2_500, None)
        assert (facts.queue.later, facts.queue.due) == (1, 0)
        bench.clock.advance(2.5)
        assert (await facts_of(a)).queue.due == 1

    async def test_a_queue_is_known_with_its_limits_and_who_serves_it(self, bench: Bench) -> None:
        a = await bench.node()
        options = QueueOptions(
            global_concurrency=5, session_concurrency=2, limiter=RateLimit(max=3, duration=8.0)
        )
        limits = await announce(a, options)
        await a.store.enqueue([job(f"x{n}") for n in range(3)])
        await a.store.enqueue([job()])
        assert len(await a.claim(9, limits=limits)) == 3
        bench.clock.advance(5.0)
        await a.store.pause("q", True)
        queue = (await facts_of(a)).queue
        assert (queue.options, queue.limits, queue.unsettled) == (options, limits, False)
        assert (queue.starts, queue.first_start) == (3, bench.clock() - 5_000)
        assert (queue.paused, queue.waiting, queue.active, queue.away, queue.holders) == (True, 1, 3, 0, [])
        assert (queue.announced, queue.seen, queue.workers) == (True, bench.clock() - 5_000, 1)
        lease = queue.nodes[0].lease
        assert queue.nodes == [NodeFacts(name="a", lease=lease, heard=True, claims=3, parked=True)]
        assert (queue.parked, queue.parked_for_calls, queue.lanes) == (1, 0, 1)
        bench.clock.advance(3.0)
        assert (await facts_of(a)).queue.starts == 0
        assert (await facts_of(a)).queue.first_start is None

    async def test_a_node_that_claims_no_more_is_known_as_that(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        for node in (a, b):
            await announce(node, QueueOptions())
        await a.store.enqueue([job(), job("k")])
        await a.claim(1)
        await a.store.control.introduce(msgspec.structs.replace(INFO, draining=True))
        await b.store.control.introduce(msgspec.structs.replace(INFO, full="no room"))
        told = await facts_of(a, "k")
        assert {node.name: node.draining for node in told.queue.nodes} == {"a": True, "b": False}
        assert {node.name: node.full for node in told.queue.nodes} == {"a": "", "b": "no room"}
        holder = (await facts_of(a)).holder
        assert holder is not None
        assert holder.draining

    async def test_a_queue_that_nobody_has_announced_is_known_by_its_last_claim(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(queue="other")])
        queue = (await facts_of(a)).queue
        assert (queue.announced, queue.options, queue.limits) == (False, None, QueueLimits())
        assert (queue.workers, queue.seen, queue.nodes, queue.parked) == (0, None, [], 0)
        await a.store.pause("other", True)
        await a.claim(1, "other", QueueLimits(most_active=4, per_session=2))
        assert (await facts_of(a)).queue.limits == QueueLimits(most_active=4, per_session=2)

    async def test_a_limit_that_has_changed_since_the_last_claim_is_not_settled(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("x"), job()])
        await a.claim(1)
        limits = await announce(a, QueueOptions(session_concurrency=1))
        assert (await facts_of(a)).queue.unsettled
        await a.claim(0, limits=limits)
        assert not (await facts_of(a)).queue.unsettled

    async def test_who_takes_the_places_of_a_full_queue_is_named(self, bench: Bench) -> None:
        a = await bench.node()
        limits = await announce(a, QueueOptions(global_concurrency=2))
        await a.store.enqueue([job(name) for name in ("x", "y", "j")])
        await a.store.enqueue([job("elsewhere", queue="other")])
        await a.claim(1, "other")
        granted = await a.claim(9, limits=limits)
        queue = (await facts_of(a)).queue
        assert (queue.holders, queue.longest) == (["x", "y"], bench.clock())
        # One that waits for others takes none; the limits do not count it.
        await a.store.step_aside("x", granted[0].token)
        queue = (await facts_of(a)).queue
        assert (queue.active, queue.away, queue.back, queue.holders) == (2, 1, 0, [])
        since = bench.clock()
        bench.clock.advance(3.0)
        await a.claim(1, limits=limits)
        assert not await a.store.step_back("x", granted[0].token)
        facts = await facts_of(a, "x")
        assert (facts.away, facts.in_back, facts.queue.back) == (True, True, 1)
        # Those that have run longest first.
        assert (facts.queue.holders, facts.queue.longest) == (["y", "j"], since)

    async def test_a_session_that_is_full_is_known_with_its_jobs(self, bench: Bench) -> None:
        a = await bench.node()
        limits = await announce(a, QueueOptions(session_concurrency=1))
        await a.store.enqueue([job(name, session="s") for name in ("x", "j", "y")])
        facts = await facts_of(a)
        assert facts.at_session == SessionFacts(active=0, listed=3)
        assert facts.line == LineFacts(place=1, ahead=1, same_turn=False)
        assert ids_of(await a.claim(9, limits=limits)) == ["x"]
        facts = await facts_of(a)
        assert facts.session == "s"
        assert facts.at_session == SessionFacts(active=1, listed=2, holders=["x"], longest=bench.clock())

    async def test_a_session_that_is_being_stopped_is_known(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(session="s")])
        await a.claim_one()
        await a.store.stop_session("s", running=False, refuse=30.0)
        session = (await facts_of(a)).at_session
        assert session is not None
        assert session.stopping == bench.clock() + 30_000
        bench.clock.advance(30.0)
        session = (await facts_of(a)).at_session
        assert session is not None
        assert session.stopping is None

    async def test_a_job_that_takes_turns_is_known_with_who_has_it(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(name, session="s", state=None) for name in ("x", "y", "j")])
        facts = await facts_of(a)
        assert facts.turn == TurnFacts()
        # Of those before it one takes the turn, and the other one would stand in line.
        assert facts.line == LineFacts(place=2, ahead=1, same_turn=True)
        (x,) = await a.claim(1)
        assert (await facts_of(a)).turn == TurnFacts(holder="x", holder_node="a")
        assert (await facts_of(a)).line == LineFacts(place=1, ahead=0, same_turn=False)
        assert await a.claim(9) == []
        facts = await facts_of(a)
        assert facts.turn == TurnFacts(holder="x", holder_node="a", in_line=True, before=1)
        assert facts.line is None
        await a.settle(x, "cancelled")
        assert (await facts_of(a)).turn == TurnFacts(in_line=True)
        assert (await facts_of(a, "y")).turn == TurnFacts()

    async def test_a_job_that_runs_is_known_with_its_node(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        bench.clock.advance(1.0)
        grant = await a.claim_one()
        bench.clock.advance(2.0)
        await a.store.report("j", grant.token, 0.5)
        await a.store.enqueue([job("child", parent="j"), job("other", parent="j", delay=1.0)])
        await a.store.enqueue([job("done", parent="j", priority=1)])
        await a.store.cancel("done", "enough")
        await a.store.cancel("j", "unwanted")
        facts = await facts_of(a)
        assert (facts.status, facts.progress, facts.cancel) == ("active", 0.5, "unwanted")
        assert (facts.came, facts.began, facts.ended) == (bench.clock() - 3_000, bench.clock() - 2_000, None)
        assert (facts.calls, facts.called) == (2, ["child", "other"])
        assert facts.holder is not None
        assert (facts.holder.name, facts.holder.heard, facts.holder.claims) == ("a", True, 1)
        child = await facts_of(a, "child")
        assert child.parent == ParentFacts(id="j", status="active", node="a")
        assert child.depth == 1

    async def test_a_node_that_is_gone_is_known_to_be(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job()])
        await b.claim_one()
        await bench.crash(b)
        facts = await facts_of(a)
        assert facts.holder is not None
        assert (facts.holder.name, facts.holder.heard) == ("b", False)
        assert [(node.name, node.heard) for node in facts.queue.nodes] == [("a", True), ("b", False)]

    async def test_a_node_that_takes_calls_alone_is_known_to(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        assert await a.claim(9, calls_only=True) == []
        queue = (await facts_of(a)).queue
        assert (queue.parked, queue.parked_for_calls) == (1, 1)
        assert [(node.parked, node.calls_only) for node in queue.nodes] == [(True, True)]

    async def test_a_job_that_has_ended_is_known_with_its_outcome(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(name) for name in ("j", "f", "c")])
        done, failed, cancelled = await a.claim(3)
        bench.clock.advance(2.0)
        await a.settle(done, "completed", result=b"\x01")
        await a.settle(failed, "failed", result=b"\x02")
        await a.settle(cancelled, "cancelled", reason="why")
        facts = await facts_of(a)
        assert (facts.began, facts.ended) == (bench.clock() - 2_000, bench.clock())
        # What it has come to is for whoever waits for it.
        assert facts.settled == settled("j", "completed")
        assert (await facts_of(a, "f")).settled == settled("f", "failed", "", b"\x02")
        assert (await facts_of(a, "c")).settled == settled("c", "cancelled", "why")
        assert facts.dead_till is None
        assert (await facts_of(a, "f")).dead_till == bench.clock() + 7 * 24 * 3_600_000

    async def test_an_attempt_that_failed_is_known_with_its_errors(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        await a.settle(await a.claim_one(), "retry", result=b"\x90", delay=3.0)
        facts = await facts_of(a)
        assert (facts.attempt, facts.deliveries, facts.errors) == (2, 1, b"\x90")
        assert facts.due == bench.clock() + 3_000

    async def test_a_job_that_the_limiter_has_set_aside_says_so(self, bench: Bench) -> None:
        a = await bench.node()
        limits = await announce(a, QueueOptions(limiter=RateLimit(max=1, duration=6.0, bounce_back=False)))
        await a.store.enqueue([job("x"), job()])
        assert ids_of(await a.claim(9, limits=limits)) == ["x"]
        facts = await facts_of(a)
        assert (facts.status, facts.aside, facts.due) == ("later", True, bench.clock() + 6_000)

    async def test_a_circuit_that_is_open_is_known(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        assert (await facts_of(a)).breaker == BreakerFacts()
        await a.store.breaker("q", "fail", CircuitBreaker(failures=1, recovery=5.0))
        assert (await facts_of(a)).breaker == BreakerFacts(state="open", until=bench.clock() + 5_000)

    async def test_what_holds_queues_up_is_known(self, bench: Bench) -> None:
        a = await bench.node()
        limits = await announce(a, QueueOptions(global_concurrency=1))
        await a.store.enqueue([job("x"), job()])
        await a.claim(9, limits=limits)
        await a.store.breaker("q", "fail", CircuitBreaker(failures=1, recovery=5.0))
        q, other = await a.store.inspection.pressure(["q", "other"])
        assert (q.queue, q.at, q.held, q.seen) == ("q", bench.clock(), True, bench.clock())
        assert q.breaker == BreakerFacts(state="open", until=bench.clock() + 5_000)
        assert (other.queue, other.held, other.seen) == ("other", False, None)
        assert other.breaker == BreakerFacts()
