"""What jobs that are gone leave behind is bounded, and so is what one call does about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from typing import Any

import pytest

from am2z_trio.model.codec import checksum
from am2z_trio.model.options import Retention
from am2z_trio.model.records import Enqueue, Settlement, StateWrite
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.redis import scripts
from am2z_trio.store.redis.keys import spell
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import SETTINGS, job
from benchmarks import scripts as bench
from benchmarks.scripts.probe import drive
from tests.support.blocking import BlockingClient, blocking_store

NOW = 1_000_000
SIZES = {
    **dict.fromkeys(bench.SIZES, 600),
    **dict.fromkeys(["dead ids", "children", "claims", "kept"], 3_000),
    "waiting": 150,
    "writers": 100,
}
"""So many that a call which looked at all of them would run more commands than may be."""
MOST_COMMANDS = 2_500
"""Of one call: some 2 us each."""
SEARCHING = re.compile(r"'(SMEMBERS|HKEYS|HVALS|HGETALL|LREM|LINSERT|LPOS|KEYS|ZREMRANGEBYSCORE)'")
"""Commands that take as long as what they look at is large, and count as one."""
BOUNDED = {
    ("put", "HKEYS"): "no more than MOST_SILENCES",
    ("samples", "HGETALL"): "as many figures as there are to be counted",
    ("list", "HKEYS"): "no more than MOST_SILENCES",
    ("facts", "HKEYS"): "of a hash whose size was looked at",
    ("facts", "LPOS"): "among so many entries",
    ("facts", "SMEMBERS"): "of a set whose size was looked at",
    ("children", "SMEMBERS"): "of a set whose size was looked at",
    ("waits", "HKEYS"): "no more than MOST_WAITS and what is told of them",
    ("many", "HKEYS"): "no more than MOST_WAITS and what is told of them",
    ("places", "HKEYS"): "of a hash whose size was looked at",
    ("turns", "HKEYS"): "the queues in which jobs wait for one turn",
}


@pytest.fixture
def connection(redis_server: Any) -> Iterator[Any]:
    with redis_server.client() as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def store(connection: Any) -> RedisStore:
    store = blocking_store(BlockingClient(connection), "n1", SETTINGS, lambda: NOW)
    drive(store.join())
    return store


class Held:
    """How much a queue holds, on either store."""

    def __init__(self, store: RedisStore, connection: Any) -> None:
        self.store, self.connection = store, connection
        self.server = MemoryServer(SETTINGS)
        self.server.nodes.join("n1", NOW)
        self.seq = 0

    def enqueue(self, *jobs: Enqueue) -> None:
        assert self.server.enqueuing.enqueue(jobs, NOW) == drive(self.store.enqueue(jobs))

    def cancel(self, id: str) -> None:
        assert self.server.jobs.cancel(id, "unwanted", NOW) == drive(self.store.cancel(id, "unwanted"))

    def claim(self, limit: int) -> list[str]:
        self.seq += 1
        ours = self.server.claiming.claim("n1", "q", self.seq, limit, NOW)
        theirs = drive(self.store.claim("q", self.seq, limit))
        assert ours.next_due == theirs.next_due
        ids = [grant.spec.id for grant in ours.grants]
        assert ids == [grant.spec.id for grant in theirs.grants]
        return ids

    def fail(self, id: str) -> None:
        token = self.connection.hget(spell("am2z", "job", id), "token").decode()
        (ours,) = self.server.settling.settle(
            [Settlement(id=id, token=self.server.ledger.jobs[id].token, outcome="failed")], NOW
        )
        (theirs,) = drive(self.store.settle([Settlement(id=id, token=token, outcome="failed")]))
        assert ours == theirs

    def end_children(self) -> bool:
        """One step of it."""
        more = self.server.endings.end_children(NOW)
        assert more == bool(drive(self.store.link.eval(scripts.END_CHILDREN, NOW, 3_600_000, 0, "n1")))
        # Which of them a step takes is not the same.
        assert more or self.server.queues.stats(["q"], NOW) == drive(self.store.stats(["q"]))
        return more

    def status(self, id: str) -> str:
        (ours,), (theirs,) = self.server.jobs.view([id], NOW), drive(self.store.view([id]))
        assert ours == theirs
        assert ours is not None
        return ours.status

    def entries(self, session: str = "") -> int:
        queue = self.server.ledger.queue("q")
        line = queue.by_session.get(session, ()) if session else queue.waiting
        name = f"q@{session}" if session else "q"
        parts = [self.connection.llen(spell("am2z", kind, name)) for kind in ("wait", "sieved")]
        assert len(line) == sum(parts)
        return len(line)

    def keys(self) -> set[str]:
        """Of queues."""
        found = {key.decode() for key in self.connection.keys("*")}
        return {key.removeprefix("{am2z:0}:") for key in found if ":q:" in key}


@pytest.mark.parametrize("step", sorted(bench.OPERATIONS))
def test_no_call_does_more_because_more_has_piled_up(step, connection):
    try:
        found = bench.measure(connection, SIZES, [step])
    finally:
        connection.config_set("slowlog-log-slower-than", 10_000)
    assert found
    worst = {name: max(calls, key=lambda call: call.commands) for name, calls in found.items()}
    assert {name: call for name, call in worst.items() if call.commands > MOST_COMMANDS} == {}


def test_no_script_searches_through_what_may_be_long():
    lua = files("am2z_trio.store.redis") / "lua"
    used = {
        (script.name.removesuffix(".lua"), command)
        for folder in lua.iterdir()
        for script in folder.iterdir()
        for command in SEARCHING.findall(script.read_text(encoding="utf-8"))
    }
    assert used == set(BOUNDED)


@pytest.fixture
def held(store: RedisStore, connection: Any) -> Held:
    return Held(store, connection)


@pytest.mark.parametrize("session", ["", "s"])
def test_a_line_nobody_claims_from_does_not_grow_by_cancelled_jobs(held, session):
    for number in range(0, 400, 4):
        # One in four stays, so that no cancelled one is at either end.
        held.enqueue(*(job(f"j{n}", session=session) for n in range(number, number + 4)))
        for n in range(number + 1, number + 4):
            held.cancel(f"j{n}")
        assert held.entries(session) <= 2 * (number // 4 + 1) + 64
    assert held.claim(10) == [f"j{n}" for n in range(0, 40, 4)]
    while held.claim(200):
        pass
    assert held.keys() <= {"q:q:meta", "q:q:lot", "q:q:recent"}


def test_the_front_of_a_line_stays_its_front_while_cancelled_jobs_are_taken_out(held):
    held.enqueue(*(job(f"j{n}") for n in range(400)))
    (first,) = held.claim(1)
    for n in range(100, 310):
        held.cancel(f"j{n}")
    assert held.connection.exists(spell("am2z", "sieved", "q"))
    assert first == "j0"
    page = drive(held.store.inspection.page("q", "waiting", 0, 200))
    assert [row.id for row in page.rows] == [
        *(f"j{n}" for n in range(1, 100)),
        *(f"j{n}" for n in range(310, 400)),
    ]
    # What the node holds goes back to the front.
    held.server.nodes.leave("n1", NOW)
    drive(held.store.leave())
    held.server.nodes.join("n1", NOW)
    drive(held.store.join())
    assert held.claim(3) == ["j0", "j1", "j2"]
    assert held.claim(200) == [*(f"j{n}" for n in range(3, 100)), *(f"j{n}" for n in range(310, 400))]
    assert held.entries() == 0


def test_an_odd_record_is_not_taken_for_one_that_waits_no_more(held):
    held.enqueue(*(job(f"j{n}") for n in range(6)))
    held.connection.hset(spell("am2z", "job", "j1"), "status", "strange")
    held.connection.hdel(spell("am2z", "job", "j3"), "status")
    for n in (0, 2, 4, 5):
        drive(held.store.cancel(f"j{n}", "unwanted"))
    assert held.connection.lrange(spell("am2z", "wait", "q"), 0, -1) == [b"j1", b"j3", b"j5"]
    assert drive(held.store.claim("q", 1, 5)).grants == []
    assert sorted(drive(held.store.dead_page("q", 0, 5))) == ["j1", "j3"]


def test_a_job_that_gives_way_leaves_its_place_in_a_long_line(held):
    held.enqueue(job("first", debounce="k"))
    for number in range(0, 100, 50):
        held.enqueue(*(job(f"j{n}") for n in range(number, number + 50)))
    for number in range(200):
        held.enqueue(job(f"k{number}", debounce="k"))
    assert held.entries() <= 2 * 101 + 64
    assert held.claim(2) == ["j0", "j1"]


def test_an_id_that_is_used_again_stands_where_it_came_last(held):
    for n in range(5):
        held.enqueue(job(f"j{n}"))
    held.cancel("j0")
    held.enqueue(job("j0", again=True))
    assert held.claim(9) == ["j1", "j2", "j3", "j4", "j0"]
    odd = "with \0 nul\0001"
    held.enqueue(job(odd), job("j5"), job("j6"), job("j7"))
    held.cancel(odd)
    held.enqueue(job(odd, again=True))
    held.cancel(odd)
    held.enqueue(job(odd, again=True))
    assert held.claim(9) == ["j5", "j6", "j7", odd]
    assert held.entries() == 0


@pytest.mark.parametrize("priority", [0, 1])
def test_a_stopped_session_leaves_nothing_in_its_queues(held, priority):
    # In which order and in how large steps its jobs end is another in each.
    for session in map(str, range(20)):
        for queue in ("q", "nobody announced this one"):
            held.enqueue(
                *(job(f"{session} {queue}{n}", queue, session=session, priority=priority) for n in range(150))
            )
        held.server.sessions.stop_session("n1", session, running=True, refuse=1.0, now=NOW)
        drive(held.store.stop_session(session, running=True, refuse=1.0))
        queues = ("q:q", "q:nobody announced this one")
        assert held.keys() == {f"{queue}:{kind}" for queue in queues for kind in ("meta", "recent")}
        assert held.entries(session) == held.entries() == 0
        assert not held.connection.keys("*sessions*")


def test_what_a_job_had_called_ends_in_bounded_steps(held):
    held.enqueue(job("p"))
    assert held.claim(1) == ["p"]
    for first in range(0, 500, 100):
        held.enqueue(*(job(f"c{n}", parent="p") for n in range(first, first + 100)))
    held.fail("p")
    (stats,) = held.server.queues.stats(["q"], NOW)
    assert (stats.waiting, stats.failed) == (500, 1)
    cancelled = []
    while held.end_children():
        cancelled.append(held.server.queues.stats(["q"], NOW)[0].cancelled)
    assert cancelled == [100, 200, 300, 400]
    assert held.server.queues.stats(["q"], NOW)[0].cancelled == 500
    assert not held.connection.keys("*ending*")
    assert not held.connection.keys("*doomed*")


def test_what_a_job_calls_anew_is_not_ended_for_its_earlier_run(held):
    held.enqueue(job("p"))
    assert held.claim(1) == ["p"]
    for first in range(0, 300, 100):
        held.enqueue(*(job(f"c{n}", parent="p") for n in range(first, first + 100)))
    held.fail("p")
    held.enqueue(job("p", again=True), job("c299", parent="p", again=True))
    while held.end_children():
        pass
    assert held.status("c0") == "cancelled"
    assert held.status("c299") == "waiting"
    assert held.claim(5) == ["c299", "p"]
    held.fail("p")
    assert held.server.ledger.jobs["c299"].cancel_reason


def test_one_node_at_a_time_goes_on_ending_jobs(held):
    held.enqueue(job("p"))
    assert held.claim(1) == ["p"]
    for first in range(0, 500, 100):
        held.enqueue(*(job(f"c{n}", parent="p") for n in range(first, first + 100)))
    held.fail("p")
    step = partial(held.store.link.eval, scripts.END_CHILDREN, NOW, 3_600_000, 0)
    assert [drive(step(node)) for node in ("n1", "n2", "n1", "n2")] == [1, 0, 1, 0]
    assert [drive(step("n1")) for _ in range(3)] == [1, 1, 0]


def test_writers_that_are_long_gone_leave_no_receipt(connection, store):
    server, now = MemoryServer(SETTINGS), NOW
    store.link._given_clock = lambda: now

    def write(node: str) -> None:
        request = StateWrite(session="s", seq=1, blob=b"\x01", checksum=checksum(b"\x01"))
        store.link.node = node
        assert server.states.write(node, request, now) == drive(store.states.write(request))

    for number in range(100):
        write(f"old{number}")
    now += 3_600_001
    for number in range(40):
        write(f"new{number}")
    assert len(server.states._sessions["s"].receipts) <= 64
    left = {name.decode() for name in connection.hkeys(spell("am2z", "receipts", "s"))}
    assert len(left) < 140
    assert left >= {f"new{n}" for n in range(40)}
    # The session's own record holds none, however many there are.
    assert connection.hlen(spell("am2z", "session", "s")) < 10


def test_far_too_many_that_are_kept_go_by_and_by(held):
    held.enqueue(*(job(f"j{n}", on_fail=Retention(count=500)) for n in range(450)))
    held.enqueue(*(job(f"few{n}", on_fail=Retention(count=5)) for n in range(4)))
    for id in held.claim(500):
        held.fail(id)
        if not id.startswith("few"):
            continue
        here = held.server.queues.stats(["q"], NOW)[0].dead
        assert here == drive(held.store.stats(["q"]))[0].dead == {"few0": 251, "few1": 52}.get(id, 5)
    assert held.server.dead_letters.dead_page("q", 2, 2, NOW) == drive(held.store.dead_page("q", 2, 2))
    assert held.server.dead_letters.dead_page("q", 4, 2, NOW) == drive(held.store.dead_page("q", 4, 2))
    assert len(drive(held.store.dead_page("q", 4, 2))) == 1
    assert drive(held.store.dead_page("q", 5, 2)) == []
