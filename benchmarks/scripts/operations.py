"""The operations, each with the worst that has piled up for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from am2z_trio.model.options import Retention
from am2z_trio.model.records import (
    QueueInfo,
    QueueLimits,
    StateWrite,
)
from am2z_trio.store.ports import BATCH

from .backlog import START_MS, Bench, done, job
from .probe import drive


def the_usual_ones(bench: Bench) -> None:
    """Over a long queue, with as many delayed as there are."""
    store = bench.store
    drive(store.enqueue([job("k0", debounce="k")]))
    bench.fill(bench.size("waiting"))
    bench.fill(bench.size("delayed"), letter="d", status="later")
    with bench.measured("debounce"):
        drive(store.enqueue([job("k1", debounce="k")]))
    with bench.measured("enqueue 100"):
        drive(store.enqueue([job(f"new{n}") for n in range(BATCH)]))
    with bench.measured("enqueue 100 with a priority"):
        drive(store.enqueue([job(f"prio{n}", priority=1) for n in range(BATCH)]))
    with bench.measured("enqueue 100 delayed"):
        drive(store.enqueue([job(f"later{n}", delay=5.0) for n in range(BATCH)]))
    grants = bench.claim(200)
    bench.now += 200_000
    with bench.measured("claim 200, as many due"):
        grants = bench.claim(200)
    with bench.measured("settle 50 completed"):
        drive(store.settle([done(grant) for grant in grants[:50]]))
    with bench.measured("settle 50 released"):
        drive(store.settle([done(grant, "released") for grant in grants[50:100]]))
    with bench.measured("settle 50 failed"):
        drive(store.settle([done(grant, "failed") for grant in grants[100:150]]))
    with bench.measured("settle 50 retried"):
        drive(store.settle([done(grant, "retry", delay=1.0) for grant in grants[150:200]]))
    middle = f"j{bench.size('waiting') // 2:08d}"
    with bench.measured("cancel one that waits"):
        drive(store.cancel(middle, "unwanted"))
    with bench.measured("run a cancelled one again"):
        drive(store.enqueue([job(middle, again=True)]))
    with bench.measured("stats"):
        drive(store.stats(["q"]))
    with bench.measured("pause and go on"):
        drive(store.pause("q", True))
        drive(store.pause("q", False))
    drive(store.announce([QueueInfo(queue="q", processor="work")]))
    with bench.measured("tick"):
        bench.carry_on()


def dead_ids_at_the_head(bench: Bench) -> None:
    bench.fill(bench.size("dead ids"), letter="c", status="cancelled")
    bench.fill(BATCH)
    with bench.measured("claim past cancelled ones"):
        assert bench.claim(10, calls=100_000)


def expired_jobs_at_the_head(bench: Bench) -> None:
    bench.fill(bench.size("dead ids"), letter="x", deadline=START_MS - 1)
    bench.fill(BATCH)
    with bench.measured("claim past expired ones"):
        assert bench.claim(10, calls=100_000)


def cancelled_while_paused(bench: Bench) -> None:
    drive(bench.store.pause("q", True))
    ids = bench.fill(min(2_000, bench.size("waiting")))
    bench.fill(bench.size("dead ids"), letter="e")
    with bench.measured("cancel while nobody claims"):
        for id in ids:
            drive(bench.store.cancel(id, "unwanted"))


def a_parent(bench: Bench, status: str, outcome: str) -> None:
    """A job with many children of this status ends."""
    drive(bench.store.enqueue([job("parent")]))
    (grant,) = bench.claim(1)
    fields: dict[str, Any] = {"node": "dead", "token": "x"} if status == "active" else {}
    bench.fill(bench.size("children"), letter="c", status=status, parent="parent", **fields)
    bench.connection.hset(bench.key("job", "parent"), "calls", "1")
    with bench.measured(f"a parent of {status} ones is {outcome}"):
        drive(bench.store.settle([done(grant, outcome)]))
        bench.carry_on(10)


def a_parent_of_waiting_ones(bench: Bench) -> None:
    a_parent(bench, "waiting", "cancelled")


def a_parent_of_active_ones(bench: Bench) -> None:
    a_parent(bench, "active", "cancelled")


def a_parent_of_ended_ones(bench: Bench) -> None:
    a_parent(bench, "completed", "completed")


def priorities_of_one_session(bench: Bench) -> None:
    bench.fill(bench.size("priorities"), session="s", priority=1)
    with bench.measured("claim among priorities of one session"):
        bench.claim(BATCH, QueueLimits(per_session=1), calls=1_000)


def many_sessions(bench: Bench) -> None:
    count = bench.size("blocked")
    bench.fill(count, session="s", own_sessions=True)
    bench.connection.hset(bench.key("meta", "q"), "per_session", "1")
    for first in range(0, count, 10_000):
        running = {f"s{n}": 1 for n in range(first, min(first + 10_000, count))}
        bench.connection.hset(bench.key("running", "q"), mapping=running)
    with bench.measured("claim where all sessions are full"):
        bench.claim(BATCH, QueueLimits(per_session=1), calls=1_000)
    with bench.measured("claim with another limit per session"):
        bench.claim(BATCH, QueueLimits(per_session=2), calls=1_000)
    with bench.measured("claim without a limit per session"):
        bench.claim(BATCH, calls=1_000)
    with bench.measured("list active sessions"):
        drive(bench.store.active_sessions())


def many_starts(bench: Bench) -> None:
    count = bench.size("starts")
    key = bench.key("starts", "q")
    for first in range(0, count, 10_000):
        starts = {f"t{n}": START_MS + n // 100 for n in range(first, min(first + 10_000, count))}
        bench.connection.zadd(key, starts)
    bench.fill(1_000)
    limits = QueueLimits(starts=count, per=60.0)
    bench.now += 30_000
    with bench.measured("claim at a rate limit that is reached"):
        bench.claim(BATCH, limits)
    bench.now += 60_000
    with bench.measured("claim when all starts have passed"):
        bench.claim(BATCH, limits)


def many_set_aside(bench: Bench) -> None:
    bench.fill(bench.size("dead ids"))
    limits = QueueLimits(starts=10, per=60.0, delays_excess=True)
    with bench.measured("claim that sets jobs aside"):
        bench.claim(BATCH, limits)


def many_queues(bench: Bench) -> None:
    names = [f"q{n}" for n in range(bench.size("queues"))]
    with bench.measured("announce queues"):
        drive(bench.store.announce([QueueInfo(queue=name, processor="work") for name in names]))
    with bench.measured("list queues"):
        drive(bench.store.known_queues())
    with bench.measured("stats of all queues"):
        drive(bench.store.stats(names))
    with bench.measured("tick over many queues"):
        bench.carry_on(20)
    other = bench.store_of("n2")
    drive(other.join())
    for name in names:
        drive(other.claim(name, 1, 1))
    bench.now += 3_600_000
    with bench.measured("forget a dead node that waited at many queues"):
        bench.carry_on(100)
    assert not bench.connection.exists(bench.key("lot", names[0]), bench.key("lot", names[-1]))
    bench.fill(len(names), session="s", own_queues=True)
    with bench.measured("stop a session in many queues"):
        drive(bench.store.stop_session("s", running=True, refuse=1.0))


def a_session_of_many_jobs(bench: Bench) -> None:
    bench.fill(bench.size("children"), session="s")
    with bench.measured("count a session's jobs"):
        drive(bench.store.session_counts("s"))
    with bench.measured("stop a session of many jobs"):
        drive(bench.store.stop_session("s", running=True, refuse=1.0))


def many_claims(bench: Bench) -> None:
    """A node holds many jobs."""
    count = bench.size("claims")

    def held() -> list[tuple[str, str]]:
        bench.connection.flushdb()
        drive(bench.store.join())
        ids = bench.fill(count, status="active", node="n1", token="x")
        for first in range(0, count, 10_000):
            claims = dict.fromkeys(ids[first : first + 10_000], "x")
            bench.connection.hset(bench.key("active", "n1"), mapping=claims)
        return [(id, "x") for id in ids]

    claims = held()
    with bench.measured("reconcile"):
        drive(bench.store.reconcile(claims))
    with bench.measured("holdings"):
        drive(bench.store.holdings())
    with bench.measured("join again"):
        drive(bench.store.join())
    held()
    with bench.measured("leave"):
        drive(bench.store.leave())
    held()
    bench.now += 3_600_000
    with bench.measured("give a dead node's jobs back"):
        other = bench.store_of("n2")
        drive(other.join())
        for _ in range(20):
            drive(other.tick())
    with bench.measured("give them back to their node"):
        drive(bench.store.reconcile(claims))


def what_is_kept(bench: Bench) -> None:
    count = bench.size("kept")
    for status, kind in (("completed", "done"), ("failed", "dead")):
        ids = bench.fill(count, letter=status[0], status=status)
        for first in range(0, count, 10_000):
            kept = dict.fromkeys(ids[first : first + 10_000], START_MS + 3_600_000)
            bench.connection.zadd(bench.key(kind, "q"), kept)
    few = Retention(count=10)
    drive(bench.store.enqueue([job(f"n{n}", on_complete=few, on_fail=few) for n in range(20)]))
    grants = bench.claim(20)
    with bench.measured("page of dead letters, the last one"):
        drive(bench.store.dead_page("q", count - 100, 100))
    with bench.measured("complete, with far too many kept"):
        for grant in grants[:5]:
            drive(bench.store.settle([done(grant)]))
    with bench.measured("fail, with far too many kept"):
        for grant in grants[5:10]:
            drive(bench.store.settle([done(grant, "failed")]))
    bench.now += 7_200_000
    with bench.measured("complete, with far too old ones kept"):
        for grant in grants[10:15]:
            drive(bench.store.settle([done(grant)]))
    with bench.measured("fail, with far too old ones kept"):
        for grant in grants[15:20]:
            drive(bench.store.settle([done(grant, "failed")]))


def many_states(bench: Bench) -> None:
    store = bench.store_of("n1", state_ttl=60.0)
    for number in range(bench.size("sessions")):
        fields = {"version": 1, "sha": "x", "blob": "x", "updated": START_MS, "expires": START_MS + 1}
        bench.connection.hset(bench.key("session", f"s{number}"), mapping=fields)
        bench.connection.zadd(bench.key("expiries"), {f"s{number}": START_MS + 1})
    drive(store.join())
    with bench.measured("tick over expired states"):
        bench.carry_on(20)


def many_writers(bench: Bench) -> None:
    with bench.measured("write a state as one of many writers"):
        for number in range(bench.size("writers")):
            write = StateWrite(session="s", seq=1, blob=b"\x01", checksum="0" * 64)
            drive(bench.store_of(f"w{number}").states.write(write))
    bench.now += 7_200_000
    with bench.measured("write a state as one of many writers"):
        for number in range(20):
            write = StateWrite(session="s", seq=1, blob=b"\x01", checksum="0" * 64)
            drive(bench.store_of(f"v{number}").states.write(write))


def many_parked(bench: Bench) -> None:
    names = {f"n{n}": n for n in range(bench.size("parked"))}
    bench.connection.zadd(bench.key("lot", "q"), names)
    with bench.measured("enqueue where only nodes long gone are parked"):
        drive(bench.store.enqueue([job("j")]))
    bench.connection.zadd(bench.key("lot", "q"), names)
    drive(bench.store.pause("q", True))
    with bench.measured("go on where nodes long gone are parked"):
        drive(bench.store.pause("q", False))
    line = {f"t{n} n{n} 1000": n for n in range(bench.size("claims"))}
    drive(bench.store.states.acquire("s", "t", 60.0))
    bench.connection.zadd(bench.key("line", "s"), line)
    with bench.measured("release a lock whose line has gone"):
        drive(bench.store.states.release("s", "t", 60.0))


OPERATIONS: Final[dict[str, Callable[[Bench], None]]] = {
    step.__name__: step
    for step in (
        the_usual_ones,
        dead_ids_at_the_head,
        expired_jobs_at_the_head,
        cancelled_while_paused,
        a_parent_of_waiting_ones,
        a_parent_of_active_ones,
        a_parent_of_ended_ones,
        priorities_of_one_session,
        many_sessions,
        many_starts,
        many_set_aside,
        many_queues,
        a_session_of_many_jobs,
        many_claims,
        what_is_kept,
        many_states,
        many_writers,
        many_parked,
    )
}
