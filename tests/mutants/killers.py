"""What kills a seeded bug of the scripts: first the cases of the store contract, which take seconds, then the
machines that hold the scripts to the specification step by step.

A machine finds what no case is about. How soon depends on its random programs, and these on much that is no
concern of a mutant's: the order of the rules, each constant of each imported module. So it has more than one
try.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import anyio
import hypothesis
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import get_state_machine_test, invariant

from am2z_trio.concurrency import current_host
from am2z_trio.model.codec import checksum
from am2z_trio.model.records import (
    Firing,
    ScheduleSpec,
    Settlement,
    StateWrite,
    job_of_instant,
    plain_name,
)
from am2z_trio.model.views.audit import AuditEntry, Outcome
from am2z_trio.store.agreed import AUDIT_KEPT
from am2z_trio.store.redis import scripts
from am2z_trio.store.redis.begun import enqueue_call
from am2z_trio.store.redis.keys import spell
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import CASES, Bench, job, run_case
from am2z_trio.testing.conformance.bench import GRACE
from am2z_trio.testing.conformance.handoff import grants_of, park
from am2z_trio.testing.conformance.promised import active, given, serve
from am2z_trio.wire.scripts import Script
from tests.chaos.auditor import Finding, audit
from tests.store.test_conformance import RedisBackend
from tests.store.test_stateful import NO_EXPLAIN, StoreMachine

LONGEST_CASE = 10.0
"""Seconds. With a bug in the scripts a case may wait for what never comes."""

SEEDS = (1, 2, 3, 4)

LEFT_UNSOUND = {
    "test_a_tampered_state_is_never_returned",
    "test_the_bytes_of_a_state_are_there_whatever_they_are",
    # It asks for a longer retention than the auditor believes in.
    "test_a_queue_that_nobody_announces_is_forgotten_with_time",
}
"""After these the auditor would find something in any store."""


async def expired_states_go(backend: RedisBackend) -> None:
    """What no port shows: that such a state takes no room any more."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        blob = b"a state"
        await node.store.states.write(StateWrite(session="s", seq=1, blob=blob, checksum=checksum(blob)))
        await node.store.states.set_ttl("s", 5.0)
        bench.clock.advance(5.0)
        await node.store.tick()
        assert backend.server.call("HEXISTS", spell("am2z", "session", plain_name("s")), "blob") == 0
        nursery.cancel_scope.cancel()


async def a_call_that_comes_again_tells_what_it_has_given(backend: RedisBackend) -> None:
    """What no port shows, as the client sees to it: its answer was lost."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        store = node.store
        assert isinstance(store, RedisStore)
        await store.claim("q", node.next_seq("q"), 3, unasked=3)
        call = enqueue_call(bench.clock(), (5000, 0), node.name, [job("j1"), job("j2")], ["q"])
        (given, told), again = await store.link.eval_records(*call), await store.link.eval_records(*call)
        assert (given[0], given[2], told) == (b"handed", 2, [])
        # The other one is told by a message alone: it might run twice, where that is late.
        assert again == [[b"handed", given[1], 0], [b"active", b"", b""]]
        other = enqueue_call(bench.clock(), (5000, 0), node.name, [job("j1")], ["q"])
        assert await store.link.eval_records(*other) == [[b"active", b"", b""]]
        nursery.cancel_scope.cancel()


async def who_leaves_late_is_searched_for_no_more(backend: RedisBackend) -> None:
    """It was taken for dead, and there is much to look through for the lots that it is in."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        leaving = spell("am2z", "leaving")
        backend.server.call("HSET", leaving, node.name, "17")
        await node.store.leave()
        assert backend.server.call("EXISTS", leaving) == 0
        nursery.cancel_scope.cancel()


async def the_audit_is_bounded(backend: RedisBackend) -> None:
    """What no port shows: older entries are not read, and take no room."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        audit = spell("am2z", "audit")
        fill = "for n = 1, 10050 do redis.call('XADD', KEYS[1], '*', 'at', n, 'entry', '') end"
        backend.server.call("EVAL", fill, 1, audit)
        by = {"who": "ada", "role": "admin", "face": "cli"}
        await node.store.chronicle.append_audit(AuditEntry.made("1", by, {"action": "cancel"}))
        assert backend.server.call("XLEN", audit) == AUDIT_KEPT
        nursery.cancel_scope.cancel()


async def what_is_done_and_refused_keeps_its_order(backend: RedisBackend) -> None:
    """Each entry is behind those of both streams, also where their newest is of a time to come."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        by = {"who": "ada", "role": "admin", "face": "cli"}
        backend.server.call("XADD", spell("am2z", "refused"), "9000000000000-7", "at", "7", "entry", "")
        outcomes: list[Outcome] = ["", "", "refused", "refused", "", "refused"]
        for number, outcome in enumerate(outcomes):
            entry = AuditEntry.made(f"{number + 1:x}", by, {"action": "cancel"}, outcome=outcome)
            await node.store.chronicle.append_audit(entry)
        for limit in range(1, 5):
            found, before = list[str](), ""
            while True:
                page = await node.store.chronicle.audit_page(before, limit)
                assert len(page.entries) + page.unreadable <= limit
                found += [one.id for one in page.entries]
                before = page.next
                if not before:
                    break
            assert found == ["6", "5", "4", "3", "2", "1"]
        nursery.cancel_scope.cancel()


async def what_was_sent_is_not_sent_again_when_its_record_has_gone(backend: RedisBackend) -> None:
    """What no case shows: records go by the server's own clock."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        await node.store.enqueue([job("p")])
        await node.claim_one()
        sent = job("s", sender="p")
        await node.store.enqueue([sent])
        await node.settle(await node.claim_one())
        backend.server.call("DEL", spell("am2z", "job", "s"))
        assert [answer.status for answer in await node.store.enqueue([sent])] == ["dup"]
        assert await node.claim(9) == []
        nursery.cancel_scope.cancel()


async def a_step_of_a_schedule_that_comes_again_answers_as_it_did(backend: RedisBackend) -> None:
    """What no port shows, as the client sees to it: its answer was lost."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        store = (await bench.node()).store
        assert isinstance(store, RedisStore)
        spec = ScheduleSpec(id="s", job=job("-"), every=60.0)
        await store.schedules.upsert(spec, 60_000, 60_000)
        _, (record,) = await store.schedules.look(["s"])
        assert record is not None
        link: Any = store.link
        answers: list[Any] = []
        once = link.eval

        async def twice(*call: Any) -> Any:
            answers[:] = [await once(*call), await once(*call)]
            return answers[1]

        link.eval = twice
        jobs = [job_of_instant(spec, at) for at in (60_000, 120_000)]
        told = await store.schedules.fire(Firing(record=record, jobs=jobs, next=180_000, due=180_000))
        assert answers[0] == answers[1]
        assert (told.done, told.outcomes) == (True, ["queued", "queued"])
        assert (
            await store.schedules.upsert(msgspec.structs.replace(spec, note="x"), 1, 1)
        ).status == "changed"
        link.eval = once
        _, (record,) = await store.schedules.look(["s"])
        assert record is not None
        assert (record.fired, record.rev) == (2, 2)
        nursery.cancel_scope.cancel()


def earlier(patch: pytest.MonkeyPatch, name: str) -> None:
    """A script of an earlier program, which knows nothing of promises."""
    script: Script = getattr(scripts, name)
    written = scripts.BUNDLER.written(script)
    ends = "if #(job.promised or '') > 0 then"
    assert written.count(ends) == 1
    spelled = scripts.BUNDLER.spelled(written.replace(ends, "if false then"))
    patch.setattr(scripts, name, Script(script.name, spelled))


async def nothing_is_promised_while_a_node_of_an_earlier_program_is_there(backend: RedisBackend) -> None:
    """Whenever it comes: it would not know how to end it. Once it has gone they are back soon."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        a, b = await bench.node("a"), await bench.node("b")
        nodes, promising, suspects = (spell("am2z", kind) for kind in ("nodes", "promising", "suspects"))
        call, begun = backend.server.call, count()

        async def promised() -> bool:
            await a.store.tick()
            for queue in ("q", "r", "t"):
                await park(a, 3, queue)
            await b.store.enqueue([job(id := f"p{next(begun)}")])
            (grant,) = grants_of(await a.heard())
            assert grant.spec.id == id
            await a.settle(grant)
            assert await active(b) == [0, 0, 0]
            return grant.promised == ("r", "t")

        await serve(a)
        assert await promised()
        call("ZADD", nodes, "1e15", "of an earlier program")
        assert not await promised()
        call("ZREM", nodes, "of an earlier program")
        call("HDEL", suspects, "of an earlier program")
        assert await promised()
        # One that such a node has found dead.
        call("SADD", promising, "dead")
        call("ZADD", nodes, "1e15", "of an earlier program")
        while await promised():
            pass
        call("ZREM", nodes, "of an earlier program")
        call("HDEL", suspects, "of an earlier program")
        while not await promised():
            pass
        nursery.cancel_scope.cancel()


async def what_an_earlier_program_has_left_counts_no_more(backend: RedisBackend) -> None:
    """It ended a composition with which something was promised, whose node tells of that."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        grant = await given(a, b, session="s")
        assert grant.promised == ("r", "t")
        stray = Settlement(id="p", token="7:x", outcome="completed")
        assert [answer.status for answer in await b.store.settle([stray])] == ["fenced"]
        assert await active(b) == [1, 1, 1]
        with pytest.MonkeyPatch.context() as patch:
            earlier(patch, "STOP_SESSION")
            await b.store.stop_session("s", running=True, refuse=0.0)
        assert await active(b) == [0, 1, 1]
        assert (await a.settle(grant)).status == "fenced"
        assert await active(b) == [0, 0, 0]
        nursery.cancel_scope.cancel()


async def what_an_earlier_program_has_left_is_ended_once(backend: RedisBackend) -> None:
    """It took a composition from a dead node, and called its first part; the second one is called here."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        a, b = await bench.node("a"), await bench.node("b")
        await serve(a)
        await given(a, b)
        await bench.crash(a)
        await b.store.tick()
        bench.clock.advance(GRACE)
        with pytest.MonkeyPatch.context() as patch:
            earlier(patch, "TICK")
            assert (await b.store.tick()).reaped == 1
        assert await active(b) == [0, 1, 1]
        backend.server.call("HSET", spell("am2z", "job", "p"), "calls", "1")
        (grant,) = await b.claim(1)
        for number in range(3):
            await b.store.enqueue([job(f"u{number}", "u", parent="p", depth=1)])
            assert await active(b) == [1, 0, 0]
        await b.settle(grant)
        assert await active(b) == [0, 0, 0]
        nursery.cancel_scope.cancel()


def found_after(case: str, url: str, server: Any) -> list[Finding] | str:
    """Run a case on an empty server: how it failed, or what the auditor finds in what is left."""

    async def run() -> None:
        backend = RedisBackend(url, server)
        with anyio.fail_after(LONGEST_CASE):
            await (OF_REDIS[case](backend) if case in OF_REDIS else run_case(case, backend))

    server.call("FLUSHALL")
    try:
        anyio.run(run, backend="trio")
    except Exception as error:
        return repr(error)
    if case in LEFT_UNSOUND:
        return []
    with server.client() as connection:
        return audit(connection, steady_flow=False, known_since_ever=False)


AGAIN = "a step of a schedule that comes again answers as it did"

OF_REDIS: dict[str, Callable[[RedisBackend], Awaitable[None]]] = {
    "expired states go": expired_states_go,
    "a call that comes again tells what it has given": a_call_that_comes_again_tells_what_it_has_given,
    "the audit is bounded": the_audit_is_bounded,
    "what is done and refused keeps its order": what_is_done_and_refused_keeps_its_order,
    AGAIN: a_step_of_a_schedule_that_comes_again_answers_as_it_did,
    "what was sent is not sent again": what_was_sent_is_not_sent_again_when_its_record_has_gone,
    "promises beside an earlier program": nothing_is_promised_while_a_node_of_an_earlier_program_is_there,
    "promises that an earlier program has left": what_an_earlier_program_has_left_counts_no_more,
    "promises that an earlier program has taken over": what_an_earlier_program_has_left_is_ended_once,
    "who leaves late is searched for no more": who_leaves_late_is_searched_for_no_more,
}

ALL_CASES = (*OF_REDIS, *CASES)


def a_case_fails(url: str, server: Any, *first: type) -> bool:
    """`first`: the cases that are about the mutant, and most likely to find it."""
    cases = dict.fromkeys((*(name for of in first for name in vars(of) if name in ALL_CASES), *ALL_CASES))
    return any(found_after(case, url, server) for case in cases)


def explore(redis_server: Any, machine: type[StoreMachine], *, shrink: bool = False) -> None:
    """Run the machine, with the auditor after each step. Fails by `AssertionError`."""
    with redis_server.client() as connection:

        class Machine(machine):  # type: ignore[valid-type, misc]
            @invariant()
            def the_auditor_finds_nothing(self) -> None:
                found = audit(self.connection, steady_flow=False, known_since_ever=not self.has_forgotten)
                assert found == []

        Machine.connection = connection
        for seed in SEEDS:
            test = get_state_machine_test(
                Machine,
                settings=settings(
                    max_examples=200,
                    stateful_step_count=40,
                    deadline=None,
                    database=None,
                    report_multiple_bugs=False,
                    suppress_health_check=[
                        HealthCheck.too_slow,
                        HealthCheck.data_too_large,
                        HealthCheck.filter_too_much,
                    ],
                    phases=NO_EXPLAIN if shrink else [Phase.generate],
                ),
            )
            hypothesis.seed(seed)(test)()
