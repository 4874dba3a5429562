"""The auditor finds nothing in a store that is well, whatever was asked of it, and all that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
import redis
from hypothesis import settings
from hypothesis.stateful import invariant, run_state_machine_as_test
from redis.client import Pipeline

from am2z_trio.model.codec import checksum
from am2z_trio.model.records import UNLIMITED, Commit, Enqueue, JobSpec, QueueLimits, Settlement, StateWrite
from am2z_trio.store.ports import StoreSettings
from am2z_trio.store.redis.keys import TEMPLATES, spell
from am2z_trio.store.redis.store import RedisStore
from benchmarks.scripts.probe import drive
from tests.chaos import keyspace
from tests.chaos.auditor import PERMANENT, Outside, audit
from tests.chaos.keyspace import CHANNELS, TYPES, Keyspace
from tests.store.test_stateful import (
    EXAMPLES,
    NO_EXPLAIN,
    KeptMachine,
    LimitsMachine,
    ServingMachine,
    SessionMachine,
    StoreMachine,
    TurnMachine,
)
from tests.support.blocking import BlockingClient, blocking_store

PER_SESSION = QueueLimits(per_session=1)
LONG = 30 * 24 * 3600 * 1000


def key(kind: str, name: str = "") -> str:
    return spell("am2z", kind, name)


def write(session: str, seq: int) -> StateWrite:
    """The first state of a session, with one effect in it."""
    blob = msgspec.msgpack.encode(["by hand"])
    return StateWrite(session=session, seq=seq, blob=blob, checksum=checksum(blob))


class Town:
    """A namespace with a bit of everything, made by the store itself."""

    def __init__(self, connection: redis.Redis) -> None:
        self.connection = connection
        self.client = BlockingClient(connection)
        self.seq = 0
        self.channels: list[Any] = []
        self.store = self.node("n1")
        self.outside = Outside(effects=msgspec.msgpack.Decoder(list[str]).decode)

    def node(self, name: str) -> RedisStore:
        store = blocking_store(self.client, name, StoreSettings(state_ttl=900, state_history=3))
        channel = self.connection.pubsub()
        channel.subscribe(key("inbox", name))
        channel.get_message(timeout=5)
        self.channels.append(channel)
        drive(store.join())
        return store

    def enqueue(
        self, id: str, session: str = "", *, queue: str = "p", parent: str = "", **options: Any
    ) -> None:
        spec = JobSpec(1, id, queue, session, msgspec.Raw(b"\x01"), "n1", parent=parent)
        (answer,) = drive(self.store.enqueue([Enqueue(spec=spec, queue=queue, **options)]))
        assert answer.status == "queued"

    def claim(self, queue: str = "p", limit: int = 1, limits: QueueLimits = PER_SESSION) -> dict[str, str]:
        self.seq += 1
        return {g.spec.id: g.token for g in drive(self.store.claim(queue, self.seq, limit, limits)).grants}

    def end(self, id: str, token: str, outcome: Any, *, session: str = "") -> None:
        commit = None
        if session and outcome == "completed":
            old = drive(self.store.states.read(session))
            applied = self.outside.effects(old.blob) if self.outside.effects and old.blob else []
            blob = msgspec.msgpack.encode([*applied, id])
            commit = Commit(blob=blob, checksum=checksum(blob), expected=old.mark)
            self.outside.sessions[id] = session
        (answer,) = drive(
            self.store.settle(
                [Settlement(id=id, token=token, outcome=outcome, result=b"\x90", commit=commit)]
            )
        )
        assert answer.status == "applied"
        self.outside.outcomes[id] = outcome

    def build(self) -> None:
        for id in ("done", "bad"):
            self.enqueue(id, "s")
        for id, outcome in (("done", "completed"), ("bad", "failed")):
            self.end(id, self.claim()[id], outcome, session="s")
        self.enqueue("active", "s")
        assert self.claim() == {"active": self.token("active")}
        self.enqueue("child", queue="q", parent="active")
        self.enqueue("held-up", "s")
        assert self.claim() == {}
        self.enqueue("waiting", "t")
        self.enqueue("plain")
        self.enqueue("urgent", priority=2)
        self.enqueue("later", delay=60.0, debounce="k")
        drive(self.store.states.write(write("u", 1)))
        drive(self.store.states.acquire("s", "lock", 9.0))
        drive(self.store.states.acquire("s", "next", 9.0))

    def token(self, id: str) -> str:
        token = self.connection.hget(key("job", id), "token")
        assert isinstance(token, bytes)
        return token.decode()

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


@pytest.fixture
def town(redis_url: str, redis_server: Any) -> Iterator[Town]:
    with redis_server.client() as connection:
        made = Town(connection)
        made.build()
        yield made
        made.close()


class Spoil(NamedTuple):
    """Commands that spoil something, and what has to be found."""

    commands: list[tuple[str | int | float, ...]]
    found: str


P, S = "p", "s"
SPOILT: dict[str, Spoil] = {
    "a waiting job is lost": Spoil([("LREM", key("wait", P), 0, "plain")], "I1 job:plain"),
    "a waiting job is there twice": Spoil([("RPUSH", key("wait", P), "plain")], "I1 job:plain"),
    "a job waits in another's list": Spoil(
        [("LREM", key("wait", P), 0, "plain"), ("RPUSH", key("wait", "p@t"), "plain")], "I1 job:plain"
    ),
    "an active job waits, too": Spoil([("RPUSH", key("wait", P), "active")], "I1 job:active"),
    "a call that is none": Spoil([("ZADD", key("calls", P), 5, "plain")], "I1 job:plain"),
    "a call that nobody finds": Spoil([("ZREM", key("calls", "q"), "child")], "I1 job:child"),
    "a call of nobody": Spoil([("ZADD", key("calls", P), 5, "nobody")], "I1 {am2z:0}:q:p:calls"),
    "an ended job has a priority": Spoil([("ZADD", key("prio", P), 5, "done")], "I1 job:done"),
    "a job with a priority is lost": Spoil([("ZREM", key("prio", P), "urgent")], "I1 job:urgent"),
    "a delayed job is lost": Spoil([("ZREM", key("later", P), "later")], "I1 job:later"),
    "a delayed job is no job": Spoil([("ZADD", key("later", P), 5, "nobody")], "I1 {am2z:0}:q:p:later"),
    "no node holds an active job": Spoil([("HDEL", key("active", "n1"), "active")], "I1 job:active"),
    "a node holds what is no job": Spoil(
        [("HSET", key("active", "n1"), "nobody", "9:x")], "I1 {am2z:0}:node:n1:active: holds nobody"
    ),
    "a node holds a job under an old token": Spoil(
        [("HSET", key("active", "n1"), "active", "1:x")], "I1 job:active"
    ),
    "a job that waits keeps its token": Spoil(
        [("HSET", key("job", "plain"), "token", "1:x")], "I5 job:plain"
    ),
    "the counter went back": Spoil([("SET", key("fence"), 0)], "I5 {am2z:0}:node:n1:active"),
    "one fencing number for two": Spoil(
        [("HSET", key("active", "n1"), "one", "2:x", "two", "2:y")], "I5 {am2z:0}:node:n1:active"
    ),
    "claims of a node that is none": Spoil([("ZREM", key("nodes"), "n1")], "I12 {am2z:0}:node:n1:active"),
    "a strange status": Spoil([("HSET", key("job", "plain"), "status", "asleep")], "I1 job:plain"),
    "a plain job that is to be cancelled": Spoil(
        [("HSET", key("job", "plain"), "cancel", "x")], "I1 job:plain"
    ),
    "a plain job that was granted before": Spoil(
        [("HSET", key("job", "plain"), "deliveries", 1)], "I1 job:plain: counts as plain"
    ),
    "a job without a payload": Spoil([("HDEL", key("job", "plain"), "spec")], "I1 job:plain"),
    "a job that expires before it ran": Spoil([("PEXPIRE", key("job", "plain"), 10**6)], "I1 job:plain"),
    "a job that was revived and still expires": Spoil(
        [("PEXPIRE", key("job", "active"), 10**6)], "I1 job:active"
    ),
    "an ended job for ever": Spoil([("PERSIST", key("job", "done"))], "I12 job:done"),
    "an ended job that keeps its payload": Spoil([("HSET", key("job", "done"), "spec", "x")], "I12 job:done"),
    "a dead letter that is not listed": Spoil([("ZREM", key("dead", P), "bad")], "I12 job:bad"),
    "a dead letter that waits": Spoil([("ZADD", key("dead", P), 1, "plain")], "I12 {am2z:0}:q:p:dead"),
    "a list of dead letters for ever": Spoil([("PERSIST", key("dead", P))], "I12 {am2z:0}:q:p:dead"),
    "a count that is too high": Spoil([("HINCRBY", key("meta", P), "waiting", 1)], "I1 q:p:meta"),
    "a count that is too low": Spoil([("HINCRBY", key("meta", P), "active", -1)], "I1 q:p:meta"),
    "fewer completed than there are": Spoil([("HSET", key("meta", P), "completed", 0)], "I1 q:p:meta"),
    "a session that is never its turn": Spoil([("ZREM", key("ready", P), "t")], "I1 q:p@t:wait"),
    "a session with two turns": Spoil([("ZADD", key("blocked", P), 1, "t")], "I1 q:p@t:wait"),
    "a turn for nothing": Spoil([("ZADD", key("ready", P), 1, "x")], "I12 q:p:ready"),
    "a ghost that is not counted": Spoil([("RPUSH", key("wait", P), "done")], "I12 q:p:wait"),
    "a list that stands apart": Spoil([("RPUSH", key("sieved", "x"), "done")], "I1 q:x:sieved"),
    "a session held up for ever": Spoil([("HDEL", key("running", P), "s")], "I12 {am2z:0}:q:p:meta"),
    "a session that counts for ever": Spoil([("HSET", key("running", P), "x", 1)], "I1 {am2z:0}:q:p:meta"),
    "limits that were taken away": Spoil([("HDEL", key("meta", P), "per_session")], "I12 {am2z:0}:q:p:meta"),
    "a session that forgets a job": Spoil([("SREM", key("jobs", S), "active")], "I1 session:s:jobs"),
    "a session that keeps a job": Spoil([("SADD", key("jobs", S), "done")], "I1 session:s:jobs"),
    "a session that is not listed": Spoil([("HDEL", key("sessions"), "t")], "I12 sessions"),
    "a session that is listed for ever": Spoil([("HSET", key("sessions"), "x", "x")], "I12 sessions"),
    "a session under another's name": Spoil([("HSET", key("sessions"), "t", "x")], "I12 sessions"),
    "children of nobody": Spoil([("SADD", key("children", "done"), "x")], "I12 {am2z:0}:children:done"),
    "children that end with nobody": Spoil([("SADD", key("doomed", "1"), "x")], "I12 ending"),
    "a child that its parent forgot": Spoil([("DEL", key("children", "active"))], "I9 job:child"),
    "a stranger among the children": Spoil(
        [("SADD", key("children", "active"), "plain")], "I9 {am2z:0}:children:active"
    ),
    "a debounce key for ever": Spoil(
        [("SET", key("debounce", "p:x"), "done")], "I12 {am2z:0}:debounce:p:x: keeps done"
    ),
    "a debounce key of another job": Spoil(
        [("SET", key("debounce", "p:x"), "later")], "I12 {am2z:0}:debounce:p:x: keeps later"
    ),
    "a state that was tampered with": Spoil(
        [("HSET", key("session", S), "blob", "x")], "I2 {am2z:0}:session:s"
    ),
    "a state whose key expires": Spoil([("PEXPIRE", key("session", S), 10**6)], "I2 {am2z:0}:session:s"),
    "a tombstone for ever": Spoil([("HSET", key("session", "x"), "version", 3)], "I12 {am2z:0}:session:x"),
    "a state that is never swept": Spoil([("ZREM", key("expiries"), "u")], "I12 {am2z:0}:session:u"),
    "an end of no state": Spoil([("ZADD", key("expiries"), 5, "x")], "I12 expiries"),
    "a version too many": Spoil(
        [("HSET", key("session", S), "version", 7)], "I2 {am2z:0}:session:s: version 7"
    ),
    "a history that goes back": Spoil(
        [("RPUSH", key("history", S), "5 sha 1 1 x")], "I2 {am2z:0}:session:s: its history goes"
    ),
    "a lock for ever": Spoil([("PERSIST", key("lock", S))], "I12 {am2z:0}:lock:s"),
    "a line for ever": Spoil([("PERSIST", key("line", S))], "I12 {am2z:0}:lock:s:line"),
    "a breaker for ever": Spoil([("HSET", key("breaker", P), "state", "open")], "I12 {am2z:0}:breaker:p"),
    "starts for ever": Spoil([("ZADD", key("starts", P), 1, "x")], "I12 {am2z:0}:q:p:starts"),
    "claims of a node that is gone": Spoil(
        [("HSET", key("claims", "gone"), "p", "x")], "I12 {am2z:0}:node:gone:claims"
    ),
    "claims' numbers that expire": Spoil(
        [("PEXPIRE", key("claims", "n1"), 10**6)], "I1 {am2z:0}:node:n1:claims"
    ),
    "a suspect that is no node": Spoil([("HSET", key("suspects"), "gone", "1")], "I12 suspects"),
    "promises of no node": Spoil([("SADD", key("promising"), "gone")], "I12 promising"),
    "a grace of no node": Spoil([("HSET", key("graces"), "gone", "1")], "I12 graces"),
    "a search for the lots of no node": Spoil([("HSET", key("leaving"), "gone", "1")], "I12 leaving"),
    "a truce for ever": Spoil([("SET", key("truce"), "1")], "I12 {am2z:0}:truce"),
    "a key of no kind": Spoil([("SET", "{am2z:0}:what", "x")], "I12 {am2z:0}:what"),
    "a key of another type": Spoil([("SADD", "{am2z:0}:q:x:wait", "x")], "I12 {am2z:0}:q:x:wait"),
    "a TTL in another unit": Spoil([("PEXPIRE", key("job", "done"), LONG)], "I12 {am2z:0}:job:done"),
    "another outcome than was heard": Spoil(
        [("HSET", key("job", "bad"), "status", "cancelled")], "I8 job:bad"
    ),
    "an effect of a failed job": Spoil([("HSET", key("job", "done"), "status", "failed")], "I4 job:done"),
    "a completed job without effect": Spoil(
        [("HDEL", key("session", S), "sha", "blob", "expires"), ("ZREM", key("expiries"), S)], "I3 job:done"
    ),
    "a job that was lost without a loss": Spoil(
        [("HSET", key("job", "plain"), "stalls", 1)], "I10 job:plain"
    ),
}


def test_a_store_that_is_well_has_no_findings(town: Town) -> None:
    town.outside.crashed = False
    assert audit(town.connection, town.outside) == []


@pytest.mark.parametrize("name", SPOILT)
def test_each_thing_that_is_wrong_is_found(town: Town, name: str) -> None:
    town.outside.crashed = False
    for command in SPOILT[name].commands:
        town.connection.execute_command(*command)
    found = [str(finding) for finding in audit(town.connection, town.outside)]
    assert any(line.startswith(SPOILT[name].found) for line in found), found


def test_an_effect_that_is_there_twice_is_found(town: Town) -> None:
    blob = msgspec.msgpack.encode(["done", "done"])
    town.connection.hset(key("session", S), mapping={"blob": blob, "sha": checksum(blob), "version": 2})
    town.connection.delete(key("history", S))
    (found,) = audit(town.connection, town.outside)
    assert "the effect of done is there 2 times" in found.text


def test_what_is_left_when_all_is_over_is_found(town: Town) -> None:
    found = {finding.key for finding in audit(town.connection, drained=True)}
    assert {"job:plain", "job:active", key("wait", P), key("nodes"), key("active", "n1")} <= found
    assert not found & {key("lineage"), key("fence"), key("meta", P), key("session", S), key("job", "done")}


def test_every_kind_of_key_is_known_to_the_auditor() -> None:
    # What was set aside is of any type, and always a finding; the guard is, too: it must not be there.
    assert TYPES.keys() == TEMPLATES.keys() - CHANNELS - {"spoilt", "guard"}
    assert TYPES.keys() >= PERMANENT


@pytest.mark.parametrize(
    "machine", [StoreMachine, SessionMachine, LimitsMachine, TurnMachine, KeptMachine, ServingMachine]
)
def test_whatever_is_asked_of_a_store_it_stays_well(machine: type[StoreMachine], redis_server: Any) -> None:
    with redis_server.client() as connection:

        class Machine(machine):  # type: ignore[valid-type, misc]
            @invariant()
            def the_auditor_finds_nothing(self) -> None:
                known = not self.has_forgotten
                assert audit(self.connection, steady_flow=False, known_since_ever=known) == []

        Machine.connection = connection
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES // 4, stateful_step_count=40, deadline=None, phases=NO_EXPLAIN
            ),
        )


def test_a_session_that_is_stopped_and_has_no_state_leaves_nothing_for_ever(town: Town) -> None:
    drive(town.store.stop_session("x", running=False, refuse=60))
    assert audit(town.connection) == []
    drive(town.store.stop_session("x", running=True, refuse=60))
    assert not town.connection.exists(key("session", "x"))
    drive(town.store.stop_session("x", running=False, refuse=60))
    drive(town.store.states.write(write("x", 2)))
    assert town.connection.pttl(key("session", "x")) == -1


def test_what_is_left_to_keys_is_of_one_moment_however_slowly_they_are_read(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Pipeline):
        def execute(self, raise_on_error: bool = True) -> list[Any]:
            """Goes on when ten milliseconds have passed for the server."""
            answers = super().execute(raise_on_error)
            with redis_server.client() as other:
                began = other.time()
                while ms_of(other.time()) - ms_of(began) < 10:
                    pass
            return answers

    def ms_of(time: Any) -> int:
        return int(time[0]) * 1000 + int(time[1]) // 1000

    monkeypatch.setattr(keyspace, "_PAGE", 1)
    with redis_server.client() as connection:
        connection.flushall()
        end = ms_of(connection.time()) + LONG
        for n in range(4):
            connection.hset(key("job", f"j{n}"), "status", "completed")
            connection.pexpireat(key("job", f"j{n}"), end)
        monkeypatch.setattr(
            connection,
            "pipeline",
            lambda transaction=True: Slow(
                connection.connection_pool, connection.response_callbacks, transaction, None
            ),
        )
        left = [entry.pttl for entry in Keyspace.read(connection).entries]
    assert len(left) == 4
    assert max(left) - min(left) < 5


@pytest.mark.parametrize("way", ["leaves", "is dead"])
def test_a_node_with_more_jobs_than_a_small_hash_holds_gives_each_back_once(town: Town, way: str) -> None:
    """Beyond some hundred fields a hash is another thing, whose order is any."""
    ids = {f"many-{n}" for n in range(600)}
    for n, id in enumerate(sorted(ids)):
        town.enqueue(id, f"s{n % 7}", queue="many")
    held: dict[str, str] = {}
    while claimed := town.claim("many", 70, UNLIMITED):
        held |= claimed
    assert held.keys() == ids
    assert town.connection.object("encoding", key("active", "n1")) == b"hashtable"
    assert {*held.items()} <= {*drive(town.store.holdings())}
    assert audit(town.connection) == []
    other = town.node("n2")
    if way == "leaves":
        drive(town.store.leave())
    else:
        town.connection.zadd(key("nodes"), {"n1": 1})
        for _ in range(20):
            drive(other.tick())
    assert audit(town.connection, steady_flow=False) == []
    again: dict[str, str] = {}
    for seq in range(1, 40):
        for grant in drive(other.claim("many", seq, 70)).grants:
            assert grant.spec.id not in again
            again[grant.spec.id] = grant.token
    assert again.keys() == ids
    assert not {*again.values()} & {*held.values()}
    assert audit(town.connection, steady_flow=False) == []
