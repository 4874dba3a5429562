"""The Redis scripts against the executable specification, operation by operation.

Hypothesis draws a program of store operations over several nodes, queues and sessions, with a clock
of its own, replays of earlier calls byte for byte, late duplicates and nodes that vanish. Every
answer and every message must be what the memory server gives; tokens differ and are mapped.

The scripts run on a real Redis. `RedisStore` builds their arguments and reads their answers; only
the wire is replaced by a blocking client, so that a step needs no event loop.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from math import inf
from typing import Any, TypeVar

import msgspec
import pytest
import redis as redis_py
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from am2z_trio.model.codec import checksum, encode_record
from am2z_trio.model.events import Event
from am2z_trio.model.options import CircuitBreaker, Retention
from am2z_trio.model.records import (
    NO_STATE,
    UNLIMITED,
    WIRE_VERSION,
    Author,
    Bulk,
    ClaimAnswer,
    Commit,
    Enqueue,
    Grant,
    Handed,
    InboxMessage,
    JobSpec,
    KeptLines,
    LogLine,
    QueueInfo,
    QueueLimits,
    SessionStopped,
    SettleAnswer,
    Settlement,
    Signal,
    StateRecord,
    StateWrite,
    Wait,
    WriteAnswer,
    turn_of,
)
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.model.views.jobs import JobRow, Source
from am2z_trio.store.agreed import BOUNDS
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.ports import StoreSettings
from am2z_trio.store.redis import agreed, scripts
from am2z_trio.store.redis.bundle import Bundler
from am2z_trio.store.redis.keys import anchor, spell
from am2z_trio.store.redis.messages import inbox
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.wire.scripts import Script
from benchmarks.scripts.probe import drive
from tests.support.blocking import BlockingClient, blocking_store

T = TypeVar("T")

LOCKS = {"l1": ("n1", 0.4), "l2": ("n2", 6.0), "l3": ("n1", 6.0)}
"""Tokens that ask for locks, of which node, and for how many seconds."""
NODES = ("n1", "n2", "n3")
QUEUES = ("p", "q")
WAITS = [
    Wait(key="1", seconds=0.05),
    Wait(key="2", name="a"),
    Wait(key="3", name="a", seconds=0.4),
    Wait(key="4", name="b"),
    Wait(key="4", name="a"),
    Wait(key="5", seconds=6.0),
]
LIMITS = [
    QueueLimits(starts=1, per=0.4),
    QueueLimits(starts=2, per=6, delays_excess=True),
    QueueLimits(most_active=1),
    QueueLimits(per_session=1),
    QueueLimits(per_session=2, most_active=3),
]
SESSIONS = ("s", "t")
IDS = [f"j{i}" for i in range(6)]
EXAMPLES = 60 if settings().max_examples <= 100 else settings().max_examples
"""More in the profile `soak`."""
NO_EXPLAIN = [phase for phase in Phase if phase is not Phase.explain]
"""Explaining a failure runs the program many more times."""
SETTINGS = StoreSettings(
    lease=10, result_ttl=3600, disconnect_grace=1, state_ttl=8, state_history=2, event_history=10_000
)


SOURCES = ("waiting", "later", "active", "dead", "recent")


def without_tokens(value: Any) -> Any:
    """What of an answer is the same of both."""
    if isinstance(value, list):
        return list(map(without_tokens, value))
    if isinstance(value, Author):
        return msgspec.structs.replace(value, token="")
    if isinstance(value, JobRow):
        trail = [msgspec.structs.replace(e, code="") if e.what == "refused" else e for e in value.trail]
        return msgspec.structs.replace(value, token="", trail=tuple(trail))
    if isinstance(value, StateRecord | Grant | SettleAnswer | WriteAnswer):
        parts = {name: getattr(value, name) for name in ("by", "stored", "current") if hasattr(value, name)}
        return msgspec.structs.replace(value, **{n: without_tokens(part) for n, part in parts.items()})
    return value


class Inbox:
    """A node's messages from the specification."""

    def __init__(self) -> None:
        self.messages: list[InboxMessage] = []

    def on_message(self, message: InboxMessage) -> None:
        self.messages.append(message)

    def on_event(self, event: object) -> None:
        raise AssertionError("nobody watches events")

    def on_reconnect(self) -> None: ...


def _by_job(events: Sequence[Event]) -> dict[str, list[Event]]:
    found = dict[str, list[Event]]()
    for event in events:
        # Of processors a machine asks for some whose queue is another's, as no engine does.
        found.setdefault(event.job, []).append(msgspec.structs.replace(event, id="", processor=""))
    return found


class StoreMachine(RuleBasedStateMachine):
    connection: redis_py.Redis

    def __init__(self) -> None:
        super().__init__()
        self.connection.flushall()
        self.now = 1_000_000
        self.server = MemoryServer(SETTINGS)
        self.client = BlockingClient(self.connection)
        self.stores: dict[str, RedisStore] = {}
        for node in NODES:
            self.stores[node] = blocking_store(self.client, node, SETTINGS, lambda: self.now)
        self.inboxes: dict[str, Inbox] = {}
        self.channels: dict[str, Any] = {}
        self.seq: dict[str, int] = dict.fromkeys(NODES, 0)
        self.has_forgotten = False
        """A queue's counts went with it; records of its jobs that have ended have not."""
        self.writes: list[tuple[str, StateWrite]] = []
        self.last_claims: list[tuple[str, str, int, int, ClaimAnswer]] = []
        self.limits = UNLIMITED
        self.claims: list[tuple[str, str, str]] = []
        """(job, the specification's token, Redis's token) of every grant ever."""
        for node in NODES:
            self.connect(node)
            self.server.nodes.join(node, self.now)
            drive(self.stores[node].join())

    def teardown(self) -> None:
        for channel in self.channels.values():
            channel.close()
        self.same_history()

    def same_history(self) -> None:
        """What happened to each job is written down, once and in its order; of a lost node's jobs none is the
        first."""
        ours, theirs = (
            self.server.chronicles.events("", 10_000),
            drive(self.stores["n1"].chronicle.events(limit=10_000)),
        )
        assert not ours.more
        assert not theirs.more
        assert theirs.unreadable == 0
        assert _by_job(theirs.events) == _by_job(ours.events)

    # --- nodes come and go ------------------------------------------------------------------

    def connect(self, node: str) -> None:
        self.inboxes[node] = Inbox()
        self.server.outbox.connect(node, self.inboxes[node])
        channel = self.connection.pubsub(ignore_subscribe_messages=False)
        for name in (spell("am2z", "stops"), spell("am2z", "inbox", node)):
            channel.subscribe(name)
            assert channel.get_message(timeout=5) is not None
        self.channels[node] = channel

    @precondition(lambda self: len(self.channels) > 1)
    @rule(data=st.data())
    def node_vanishes(self, data: st.DataObject) -> None:
        self._vanish(data.draw(st.sampled_from(sorted(self.channels))))

    def _vanish(self, node: str) -> None:
        self.server.outbox.disconnect(node)
        channel = self.channels.pop(node)
        channel.unsubscribe()
        while channel.get_message(timeout=5) is not None and channel.subscribed:
            pass
        channel.close()
        del self.inboxes[node]

    @precondition(lambda self: len(self.channels) < len(NODES))
    @rule(data=st.data())
    def node_comes_back(self, data: st.DataObject) -> None:
        self.connect(data.draw(st.sampled_from([n for n in NODES if n not in self.channels])))

    @rule(node=st.sampled_from(NODES))
    def join(self, node: str) -> None:
        self.server.nodes.join(node, self.now)
        drive(self.stores[node].join())

    @rule(node=st.sampled_from(NODES))
    def leave(self, node: str) -> None:
        self.server.nodes.leave(node, self.now)
        drive(self.stores[node].leave())

    @rule(node=st.sampled_from(NODES))
    def tick(self, node: str) -> None:
        self.same(self.server.nodes.tick(node, self.now), drive(self.stores[node].tick()))

    @rule(node=st.sampled_from(NODES), look_every=st.sampled_from([0.0, 0.3, 1.0, 5.0]))
    def renew(self, node: str, look_every: float) -> None:
        ours = self.server.nodes.renew(node, self.now, look_every)
        self.same(ours, drive(self.stores[node].renew(look_every=look_every)))

    @rule(queue=st.sampled_from(QUEUES))
    def forget_queue(self, queue: str) -> None:
        info = QueueInfo(queue=queue, processor=queue)
        self.server.queues.announce("n1", [info], self.now, serves=False)
        drive(self.stores["n1"].announce([info], serves=False))
        self.same(
            self.server.queues.forget_queue(queue, self.now), drive(self.stores["n1"].forget_queue(queue))
        )
        self.has_forgotten = True

    @rule(ms=st.sampled_from([1, 50, 400, 1_000, 6_000, 10_001]))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def reconcile(self, data: st.DataObject) -> None:
        self._reconcile(data.draw(st.lists(st.sampled_from(self.claims[-8:]), min_size=1, max_size=4)))

    def _reconcile(self, claims: list[tuple[str, str, str]]) -> None:
        ours = self.server.nodes.reconcile([(job, token) for job, token, _ in claims])
        theirs = drive(self.stores["n1"].reconcile([(job, token) for job, _, token in claims]))
        self.same(ours, theirs)

    @rule(node=st.sampled_from(NODES), queue=st.sampled_from(QUEUES))
    def unpark(self, node: str, queue: str) -> None:
        self.server.queues.unpark(node, queue, self.now)
        drive(self.stores[node].unpark(queue))

    # --- jobs -------------------------------------------------------------------------------

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=3),
        queue=st.sampled_from(QUEUES),
        session=st.sampled_from(["", *SESSIONS]),
        stored=st.booleans(),
        origin=st.sampled_from(["", *NODES]),
        priority=st.sampled_from([0, 0, 0, 1, 2]),
        delay=st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.05, 3.0]),
        deadline=st.sampled_from([None, None, None, None, 0.2, 5.0]),
        expires=st.sampled_from([None, None, None, None, 0.2, 5.0]),
        lifo=st.sampled_from([False, False, True]),
        max_stalled=st.integers(0, 2),
        max_size=st.sampled_from([0, 0, 0, 0, 3]),
        parent=st.sampled_from([""] * 6 + IDS[:3]),
        sender=st.sampled_from([""] * 8 + IDS[:3]),
        again=st.sampled_from([False, False, True]),
        stays=st.booleans(),
        only_asked=st.sampled_from([False, False, False, True]),
        at_rest=st.sampled_from([(), ("p",), ("p", "q")]),
    )
    def enqueue(
        self,
        ids: list[str],
        session: str,
        stored: bool,
        origin: str,
        parent: str,
        at_rest: tuple[str, ...],
        **options: Any,
    ) -> None:
        state = NO_STATE if stored and session else msgspec.Raw(msgspec.msgpack.encode(1))
        if parent or options["again"]:
            # A job is called, or it is sent: never both, and what is sent is not sent again.
            options["sender"] = ""
        requests = [
            Enqueue(
                spec=JobSpec(WIRE_VERSION, job, options["queue"], session, state, origin, parent=parent),
                **options,
            )
            for job in ids
        ]
        self.both_enqueue(requests, origin or "n1", at_rest)

    @rule(
        many=st.integers(1, 3),
        first=st.integers(0, 3),
        chosen=st.booleans(),
        inputs=st.lists(st.sampled_from("xy"), min_size=3, max_size=3),
        queue=st.sampled_from(QUEUES),
        session=st.sampled_from(["", *SESSIONS]),
        stored=st.booleans(),
        origin=st.sampled_from(["", "", "n1"]),
        priority=st.sampled_from([0, 0, 0, 1]),
        delay=st.sampled_from([0.0, 0.0, 0.0, 3.0]),
        max_size=st.sampled_from([0, 0, 0, 3]),
    )
    def enqueue_many_that_are_alike(
        self,
        many: int,
        first: int,
        chosen: bool,
        inputs: list[str],
        session: str,
        stored: bool,
        origin: str,
        **options: Any,
    ) -> None:
        state = b"\xc0" if stored and session else msgspec.msgpack.encode(1)
        spec = JobSpec(WIRE_VERSION, "", options["queue"], session, msgspec.Raw(state), origin)
        like = Enqueue(spec=spec, again=chosen, stays=chosen, **options)
        ids = [f"j{first + number}" for number in range(many)] if chosen else []
        bulk = Bulk(
            like=like, states=[state] * many, prefix="j", first=first, chosen=ids, inputs=inputs[: len(ids)]
        )
        ours = self.server.enqueuing.enqueue_bulk(bulk, self.now)
        self.same(ours, drive(self.stores["n1"].enqueue_bulk(bulk)))

    @rule(
        node=st.sampled_from(NODES),
        queue=st.sampled_from(QUEUES),
        limit=st.integers(1, 4),
        in_a_row=st.integers(1, 3),
        unasked=st.integers(0, 4),
    )
    def claim(self, node: str, queue: str, limit: int, in_a_row: int, unasked: int) -> None:
        self._claim_next(node, queue, limit, in_a_row=in_a_row, unasked=unasked)

    def _claim_next(
        self,
        node: str,
        queue: str,
        limit: int,
        *,
        calls_only: bool = False,
        in_a_row: int = 1,
        unasked: int = 0,
    ) -> None:
        self.seq[node] += 1
        self._claim(node, queue, self.seq[node], limit, calls_only, in_a_row, unasked)

    def _claim(
        self,
        node: str,
        queue: str,
        seq: int,
        limit: int,
        calls_only: bool = False,
        in_a_row: int = 1,
        unasked: int = 0,
    ) -> None:
        claim = self.server.claiming.claim
        expected = claim(node, queue, seq, limit, self.now, self.limits, calls_only, in_a_row, unasked)
        answer = drive(self.stores[node].claim(queue, seq, limit, self.limits, calls_only, in_a_row, unasked))
        assert [g.spec.id for g in expected.grants] == [g.spec.id for g in answer.grants]
        for ours, theirs in zip(expected.grants, answer.grants, strict=True):
            self.claims.append((ours.spec.id, ours.token, theirs.token))
            self.same(msgspec.structs.replace(ours, token=""), msgspec.structs.replace(theirs, token=""))
        self.same(msgspec.structs.replace(expected, grants=[]), msgspec.structs.replace(answer, grants=[]))
        self.last_claims.append((node, queue, seq, limit, answer))

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=2, unique=True), node=st.sampled_from(NODES)
    )
    def work_is_taken(self, ids: list[str], node: str) -> None:
        """A plain job that is claimed at once: what most other steps begin with."""
        raw = msgspec.Raw(msgspec.msgpack.encode(1))
        requests = [Enqueue(spec=JobSpec(WIRE_VERSION, job, "p", "s", raw, "n1"), queue="p") for job in ids]
        self.both_enqueue(requests)
        self._claim_next(node, "p", 2)

    @precondition(lambda self: self.active())
    @rule(data=st.data(), id=st.sampled_from(IDS), session=st.sampled_from(["", "s"]), again=st.booleans())
    def a_job_calls_another(self, data: st.DataObject, id: str, session: str, again: bool) -> None:
        parent = data.draw(st.sampled_from(self.active()))
        raw = msgspec.Raw(msgspec.msgpack.encode(1))
        spec = JobSpec(WIRE_VERSION, id, "p", session, raw, "n2", parent=parent)
        requests = [Enqueue(spec=spec, queue="p", again=again)]
        self.both_enqueue(requests)

    @rule(id=st.sampled_from(IDS), most=st.integers(0, 2))
    def a_job_is_lost_with_its_node(self, id: str, most: int) -> None:
        raw = msgspec.Raw(msgspec.msgpack.encode(1))
        requests = [Enqueue(spec=JobSpec(WIRE_VERSION, id, "p", "", raw, "n1"), queue="p", max_stalled=most)]
        self.both_enqueue(requests)
        self._claim_next("n3", "p", 9)
        for _ in range(3):
            # Who has not ticked for long is taken for away itself.
            self.now += 3_500
            self.tick("n1")

    @rule(
        id=st.sampled_from(IDS),
        most=st.integers(0, 2),
        granted=st.sampled_from(["", "", "released", "retry", "completed"]),
        asks=st.booleans(),
    )
    def a_node_that_lost_a_job_is_there_after_all(self, id: str, most: int, granted: str, asks: bool) -> None:
        """Somebody else may have had the job meanwhile."""
        self.a_job_is_lost_with_its_node(id, most)
        if not self.claims:
            return
        lost = self.claims[-1]
        if granted:
            self.now += 250
            self._claim_next("n1", "p", 9)
            if self.claims[-1] is not lost:
                self._settle(self.claims[-1], granted)
        if asks:
            self._reconcile([lost])
        self._settle(lost, "completed")

    def _settle(self, claim: tuple[str, str, str], outcome: Any) -> None:
        job, token, redis_token = claim
        ours = Settlement(id=job, token=token, outcome=outcome)
        theirs = msgspec.structs.replace(ours, token=redis_token)
        self.both_settle(ours, theirs)

    @precondition(lambda self: self.server.endings.unfinished)
    @rule()
    def what_ended_jobs_had_called_ends(self) -> None:
        """To the end: which of them a call takes is not the same."""
        while self.server.endings.end_children(self.now):
            pass
        store = self.stores["n1"]
        while drive(store.link.eval(scripts.END_CHILDREN, store.link.clock, *store._kept, "n1")):
            pass

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), id=st.sampled_from(IDS), parent=st.sampled_from(["", *IDS[:3]]), ends=st.booleans())
    def a_job_comes_that_is_built_on_an_outcome(
        self, data: st.DataObject, id: str, parent: str, ends: bool
    ) -> None:
        claim = data.draw(st.sampled_from(self.claims[-4:]))
        if ends:
            self._settle(claim, "completed")
        raw = msgspec.Raw(msgspec.msgpack.encode(1))
        spec = JobSpec(WIRE_VERSION, id, "p", "", raw, "n2", parent=parent)
        ours = Enqueue(spec=spec, queue="p", builds_on=((claim[0], claim[1]),))
        theirs = msgspec.structs.replace(ours, builds_on=((claim[0], claim[2]),))
        answers = self.server.enqueuing.enqueue([ours], self.now)
        self.same(answers, drive(self.stores["n1"].enqueue([theirs])))

    def active(self) -> list[str]:
        return sorted(id for id, job in self.server.ledger.jobs.items() if job.status == "active")

    @precondition(lambda self: self.last_claims)
    @rule(data=st.data())
    def an_earlier_claim_arrives_again(self, data: st.DataObject) -> None:
        node, queue, seq, limit, _ = data.draw(st.sampled_from(self.last_claims[-4:]))
        self._claim(node, queue, seq, limit)

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        outcome=st.sampled_from(
            ["completed", "completed", "failed", "retry", "cancelled", "released", "conflicted"]
        ),
        value=st.integers(0, 3),
        delay=st.sampled_from([0.0, 0.05, 2.0]),
        expected=st.sampled_from(["any", "current", "none", "wrong", "wrong"]),
        twice=st.booleans(),
        on=st.sampled_from([0, 0, 0, 1, 2]),
        told=st.booleans(),
    )
    def settle(
        self,
        data: st.DataObject,
        outcome: Any,
        value: int,
        delay: float,
        expected: str,
        twice: bool,
        on: int,
        told: bool,
    ) -> None:
        job, token, redis_token = data.draw(st.sampled_from(self.claims[-6:]))
        commit: Commit | None = None
        record = self.server.ledger.jobs.get(job)
        if outcome == "completed" and record is not None and record.spec.session:
            blob = msgspec.msgpack.encode(value)
            current = self.server.states.read(record.spec.session, self.now)
            wanted: dict[str, tuple[int, str] | None] = {
                "any": None,
                "none": (0, ""),
                "wrong": (current.version, "0" * 64),
                "current": current.mark,
            }
            turn = turn_of(record.spec)
            commit = Commit(blob=blob, checksum=checksum(blob), expected=wanted[expected], turn=turn)
        settlement = Settlement(
            id=job,
            token=token,
            outcome=outcome,
            result=msgspec.msgpack.encode([value]) if outcome in ("completed", "failed", "retry") else b"",
            reason=self.reason_for(outcome, record),
            delay=delay if outcome == "retry" else 0.0,
            commit=commit,
        )
        built_on = self.claims[-4:][:on]
        says_more = commit is not None or bool(settlement.reason or settlement.delay or built_on)
        settlement = msgspec.structs.replace(
            settlement,
            builds_on=tuple((id, ours) for id, ours, _ in built_on),
            told=told and outcome == "completed" and not says_more,
        )
        theirs = msgspec.structs.replace(
            settlement, token=redis_token, builds_on=tuple((id, token) for id, _, token in built_on)
        )
        for _ in range(1 + twice):
            self.both_settle(settlement, theirs)

    @staticmethod
    def reason_for(outcome: str, record: Any) -> str:
        if outcome == "conflicted" and record is not None:
            return turn_of(record.spec)
        return "as drawn" if outcome == "cancelled" else ""

    @rule(job=st.sampled_from(IDS))
    def cancel(self, job: str) -> None:
        self.same(
            self.server.jobs.cancel(job, "unwanted", self.now),
            drive(self.stores["n3"].cancel(job, "unwanted")),
        )

    @rule(job=st.sampled_from(IDS))
    def promote(self, job: str) -> None:
        self.same(self.server.jobs.promote(job), drive(self.stores["n2"].promote(job)))

    @rule(job=st.sampled_from(IDS), node=st.sampled_from(NODES))
    def a_caller_leaves(self, job: str, node: str) -> None:
        self.server.jobs.cancel(job, "gone", self.now, leaving=node)
        store = self.stores[node]
        drive(
            self.client.eval(
                scripts.CANCEL, store.link.keys, (store.link.clock, *store._kept, job, "gone", node)
            )
        )

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), progress=st.sampled_from([0.25, 1.0]))
    def report(self, data: st.DataObject, progress: float) -> None:
        job, token, redis_token = data.draw(st.sampled_from(self.claims[-6:]))
        self.same(
            self.server.settling.report(job, token, progress, self.now),
            drive(self.stores["n1"].report(job, redis_token, progress)),
        )

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), texts=st.lists(st.sampled_from(["a", "b é", "c" * 30]), min_size=1, max_size=3))
    def log(self, data: st.DataObject, texts: list[str]) -> None:
        """Of any claim that there was: lines of one that is not the newest are kept nowhere."""
        job, token, redis_token = data.draw(st.sampled_from(self.claims[-6:]))
        lines = [LogLine(int(self.now), "INFO", text) for text in texts]
        logs, told = self.stores["n1"].logs, KeptLines(id=job, token=redis_token, lines=lines)
        ours = KeptLines(id=job, token=token, lines=lines)
        self.same([self.server.logs.keep(ours, 4, self.now)], drive(logs.keep([told], 4)))
        self.same(self.server.logs.read(job, self.now), drive(logs.read(job)))

    # --- what must hold ---------------------------------------------------------------------

    def same(self, expected: object, answer: object) -> None:
        # Tokens differ between the two by design.
        assert without_tokens(expected) == without_tokens(answer)

    @rule(queue=st.sampled_from(QUEUES), source=st.sampled_from(SOURCES), count=st.integers(1, 5))
    def look(self, queue: str, source: Source, count: int) -> None:
        """Page by page, to the end."""
        ours, theirs = list[JobRow](), list[JobRow]()
        start: int | None = 0
        while start is not None:
            page = self.server.listing.page(queue, source, start, count, self.now)
            start = page.next
            ours += page.rows
        start = 0
        while start is not None:
            page = drive(self.stores["n1"].inspection.page(queue, source, start, count))
            start = page.next
            theirs += page.rows
        if source == "recent":
            # One that has run again stands there for each time.
            theirs = list({row.id: row for row in theirs}.values())
        if source == "waiting":
            # Sessions of which as many run as may have no order.
            ours, theirs = sorted(ours, key=lambda row: row.id), sorted(theirs, key=lambda row: row.id)
        self.same(ours, theirs)

    @invariant()
    def rows_are_the_same(self) -> None:
        rows = self.server.listing.rows(IDS, self.now)
        self.same(rows, drive(self.stores["n1"].inspection.rows(IDS)))

    @rule(id=st.sampled_from(IDS))
    def look_at_children(self, id: str) -> None:
        ours = self.server.listing.children(id, 100, self.now)
        self.same({*ours}, {*drive(self.stores["n1"].inspection.children(id))})

    def both_enqueue(self, requests: list[Enqueue], node: str = "n1", at_rest: Sequence[str] = ()) -> None:
        ours = self.server.enqueuing.enqueue(requests, self.now, node, at_rest)
        theirs = drive(self.stores[node].enqueue(requests, at_rest))
        for request, one, other in zip(requests, ours, theirs, strict=True):
            if one.token and other.token:
                # Tokens differ between the two by design.
                self.claims.append((request.spec.id, one.token, other.token))
        plain = [msgspec.structs.replace(answer, token="") for answer in theirs]
        self.same([msgspec.structs.replace(answer, token="") for answer in ours], plain)
        assert [bool(answer.token) for answer in ours] == [bool(answer.token) for answer in theirs]

    def both_settle(self, ours: Settlement, theirs: Settlement) -> None:
        answers = self.server.settling.settle([ours], self.now)
        self.same(answers, drive(self.stores["n2"].settle([theirs])))

    def both_step_back(self, job: str, token: str, redis_token: str) -> None:
        ours = self.server.settling.step_back(job, token)
        self.same(ours, drive(self.stores["n1"].step_back(job, redis_token)))

    @invariant()
    def messages_are_the_same(self) -> None:
        for node, heard in self.inboxes.items():
            expected, heard.messages = heard.messages, []
            arrived: list[InboxMessage] = []
            while len(arrived) < len(expected):
                message = self.channels[node].get_message(timeout=1)
                assert message is not None, f"{node} misses one of {expected}"
                if message["type"] == "message":
                    arrived += self.for_(node, message)
            assert sorted(map(self.shown, expected)) == sorted(map(self.shown, arrived))
            tokens = dict(map(self.handed, filter(self.is_handed, arrived)))
            for told in filter(self.is_handed, expected):
                job, token = self.handed(told)
                self.claims.append((job, token, tokens[job]))
            stray = self.channels[node].get_message(timeout=0)
            while stray is not None:
                assert stray["type"] != "message" or not self.for_(node, stray), f"{node} got {stray}"
                stray = self.channels[node].get_message(timeout=0)

    @staticmethod
    def for_(node: str, message: Any) -> list[InboxMessage]:
        """What of a message is not of the node's own doing."""
        return [
            told for told in inbox(message["data"]) if not isinstance(told, SessionStopped) or told.by != node
        ]

    @staticmethod
    def is_handed(message: InboxMessage) -> bool:
        return isinstance(message, Handed)

    @staticmethod
    def handed(message: Any) -> tuple[str, str]:
        """Job and token."""
        (grant,) = message.answer.grants
        return grant.spec.id, grant.token

    @staticmethod
    def shown(message: InboxMessage) -> str:
        if isinstance(message, Handed):
            (grant,) = message.answer.grants
            what = msgspec.structs.asdict(grant) | {"token": "", "spec": encode_record(grant.spec)}
            return f"Handed {message.queue} {message.left} {what}"
        # Tokens differ between the two by design.
        named = {name: getattr(message, name) for name in message.__struct_fields__ if name != "token"}
        plain = {name: bytes(v) if isinstance(v, msgspec.Raw) else v for name, v in named.items()}
        return f"{type(message).__name__} {plain}"

    @invariant()
    def jobs_are_the_same(self) -> None:
        store = self.stores["n1"]
        self.same(self.server.jobs.view(IDS, self.now), drive(store.view(IDS)))
        self.same(self.server.queues.stats(QUEUES, self.now), drive(store.stats(QUEUES)))
        self.same(sorted(self.server.sessions.active_sessions()), sorted(drive(store.active_sessions())))
        node = NODES[self.now % len(NODES)]
        ours, theirs = self.server.nodes.holdings(node), drive(self.stores[node].holdings())
        self.same(sorted(job for job, _ in ours), sorted(job for job, _ in theirs))
        self.same(self.server.sessions.stops(SESSIONS), drive(store.stops(SESSIONS)))
        for session in SESSIONS:
            self.same(self.server.sessions.session_counts(session), drive(store.session_counts(session)))
            self.same(self.server.states.read(session, self.now), drive(store.states.read(session)))

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        places: dict[str, list[str]] = {job: [] for job in IDS}
        pipe = self.connection.pipeline(transaction=True)
        for queue in QUEUES:
            for name in (queue, *(f"{queue}@{session}" for session in SESSIONS)):
                pipe.lrange(spell("am2z", "sieved", name), 0, -1)
                pipe.lrange(spell("am2z", "wait", name), 0, -1)
            for turn in (*SESSIONS, *(f"/{job}" for job in IDS)):
                pipe.zrange(spell("am2z", "turns", f"{queue}@{turn}"), 0, -1)
            pipe.zrange(spell("am2z", "prio", queue), 0, -1)
            pipe.zrange(spell("am2z", "later", queue), 0, -1)
        for node in NODES:
            pipe.hkeys(spell("am2z", "active", node))
        for job in IDS:
            pipe.hmget(spell("am2z", "job", job), "status", "gen")
        answers = pipe.execute()
        records = dict(zip(IDS, answers[-len(IDS) :], strict=True))
        status = {job: (record[0] or b"").decode() for job, record in records.items()}
        generation = {job: (record[1] or b"").decode() for job, record in records.items()}
        of_queue = [
            *("listed" for _ in range(2 + 2 * len(SESSIONS))),
            *("waiting" for _ in range(len(SESSIONS) + len(IDS) + 1)),
            "later",
        ]
        kinds = of_queue * len(QUEUES) + ["active"] * len(NODES)
        for kind, ids in zip(kinds, answers, strict=False):
            for entry in map(bytes.decode, ids):
                # A cancelled job's entry may stay in a list for a while, even when its id is used again.
                job, _, of = entry.partition("\0")
                if kind == "listed":
                    there = status[job] == "waiting" and generation[job] == of
                else:
                    there = status[job] == kind
                if there:
                    places[job].append(kind)
        for job, found in places.items():
            name = status[job]
            assert len(found) == (0 if not name or name in TERMINAL else 1), (job, name, found)


class SessionMachine(StoreMachine):
    """The same, with what sessions add."""

    # --- sessions ---------------------------------------------------------------------------

    @rule(node=st.sampled_from(NODES), session=st.sampled_from(SESSIONS), running=st.booleans())
    def stop_session(self, node: str, session: str, running: bool) -> None:
        spared = self.server.sessions.stop_session(node, session, running=running, refuse=0.5, now=self.now)
        answer = drive(self.stores[node].stop_session(session, running=running, refuse=0.5))
        self.same(sorted(spared), sorted(answer))

    @rule(id=st.sampled_from(IDS), node=st.sampled_from(NODES))
    def a_session_stops_while_it_works(self, id: str, node: str) -> None:
        self.work_is_taken([id], node)
        self.stop_session("n1", "s", True)

    @rule(session=st.sampled_from(SESSIONS), ttl=st.sampled_from([0.3, 5.0, inf]))
    def set_ttl(self, session: str, ttl: float) -> None:
        self.server.states.set_ttl(session, ttl, self.now)
        drive(self.stores["n1"].states.set_ttl(session, ttl))

    @rule(
        node=st.sampled_from(NODES),
        step=st.sampled_from(["enter", "enter", "succeed", "fail", "fail"]),
    )
    def breaker(self, node: str, step: Any) -> None:
        policy = CircuitBreaker(failures=2, recovery=1.0, half_open=1)
        ours = self.server.breakers.step("p", step, policy, self.now)
        self.same(ours, drive(self.stores[node].breaker("p", step, policy)))

    # --- session states and locks -----------------------------------------------------------

    @rule(
        node=st.sampled_from(NODES),
        session=st.sampled_from(SESSIONS),
        value=st.none() | st.integers(0, 3),
        expected=st.sampled_from(["any", "current", "current", "none", "wrong"]),
        ttl=st.sampled_from([None, None, 0.3, 5.0, inf]),
        lock=st.sampled_from(["", "", *LOCKS]),
    )
    def a_write(self, **how: Any) -> None:
        self.write(**how)

    def write(
        self, node: str, session: str, value: int | None, expected: str, ttl: float | None, lock: str
    ) -> None:
        self.seq[node] += 1
        blob = b"" if value is None else msgspec.msgpack.encode(value)
        current = self.server.states.read(session, self.now).mark
        marks: dict[str, tuple[int, str] | None] = {
            "any": None,
            "none": (0, ""),
            "wrong": (current[0], "0" * 64),
            "current": current,
        }
        write = StateWrite(
            session=session,
            seq=self.seq[node],
            blob=blob,
            checksum=checksum(blob) if blob else "",
            expected=marks[expected],
            ttl=ttl,
            lock=lock,
        )
        self.writes.append((node, write))
        self._write(node, write)

    def _write(self, node: str, write: StateWrite) -> None:
        ours = self.server.states.write(node, write, self.now)
        self.same(ours, drive(self.stores[node].states.write(write)))

    @rule(node=st.sampled_from(NODES), session=st.sampled_from(SESSIONS))
    def a_write_is_overtaken(self, node: str, session: str) -> None:
        """By a later one of its node, and then arrives once more."""
        for value in (4, 5):
            self.write(node, session, value, "any", None, "")
        self._write(*self.writes[-2])

    @precondition(lambda self: self.writes)
    @rule(data=st.data())
    def an_earlier_write_arrives_again(self, data: st.DataObject) -> None:
        self._write(*data.draw(st.sampled_from(self.writes[-5:])))

    @rule(session=st.sampled_from(SESSIONS))
    def history(self, session: str) -> None:
        ours = self.server.states.history(session, self.now)
        self.same(ours, drive(self.stores["n1"].states.history(session)))

    @rule(
        session=st.sampled_from(SESSIONS),
        token=st.sampled_from(sorted(LOCKS)),
        step=st.sampled_from(["acquire", "acquire", "renew", "release"]),
    )
    def lock(self, session: str, token: str, step: str) -> None:
        self._lock(session, token, step)

    @rule(
        session=st.sampled_from(SESSIONS),
        tokens=st.permutations(sorted(LOCKS)),
        ms=st.sampled_from([0, 401, 6_001]),
        step=st.sampled_from(["renew", "release", "acquire"]),
    )
    def some_ask_for_a_lock(self, session: str, tokens: list[str], ms: int, step: str) -> None:
        for token in tokens:
            self._lock(session, token, "acquire")
        self.now += ms
        self._lock(session, tokens[0], step)

    def _lock(self, session: str, token: str, step: str) -> None:
        node, lease = LOCKS[token]
        locks, store = self.server.locks, self.stores[node].states
        if step == "acquire":
            ours = locks.acquire(node, session, token, lease, self.now)
            self.same(ours, drive(store.acquire(session, token, lease)))
        elif step == "renew":
            self.same(locks.renew(session, token, lease, self.now), drive(store.renew(session, token, lease)))
        else:
            held = locks.release(session, token, self.now)
            self.same(held, drive(store.release(session, token, lease)))


class PlainMachine(StoreMachine):
    """Few kinds of steps, on jobs that come, are claimed and end: the ground for what is limited or kept."""

    node_vanishes = node_comes_back = join = leave = reconcile = unpark = report = None  # type: ignore[assignment]
    enqueue = work_is_taken = a_job_calls_another = None  # type: ignore[assignment]
    a_job_is_lost_with_its_node = a_node_that_lost_a_job_is_there_after_all = None  # type: ignore[assignment]

    def jobs_are_enqueued(self, ids: list[str], session: str = "", **options: Any) -> None:
        raw = msgspec.Raw(msgspec.msgpack.encode(1))
        requests = [
            Enqueue(spec=JobSpec(WIRE_VERSION, job, "p", session, raw, "n1"), queue="p", **options)
            for job in ids
        ]
        self.both_enqueue(requests)

    @rule(node=st.sampled_from(["n1", "n2"]))
    def all_there_is_is_claimed(self, node: str) -> None:
        self._claim_next(node, "p", 9)

    @precondition(lambda self: self.claims)
    @rule(outcome=st.sampled_from(["completed", "failed", "failed", "released"]))
    def the_last_one_ends(self, outcome: Any) -> None:
        self.end_last(outcome)

    def end_last(self, outcome: Any) -> None:
        self._settle(self.claims.pop(), outcome)


class LimitsMachine(PlainMachine):
    """With limits of the queue."""

    @initialize(limits=st.sampled_from(LIMITS))
    def the_limits_are_these(self, limits: QueueLimits) -> None:
        self.limits = limits

    @rule(limits=st.sampled_from([UNLIMITED, *LIMITS]), again=st.integers(0, 9))
    def the_limit_is_another(self, limits: QueueLimits, again: int) -> None:
        if again == 0:
            self.limits = limits

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), back=st.sampled_from([False, False, True]))
    def one_waits_for_others(self, data: st.DataObject, back: bool) -> None:
        job, token, redis_token = data.draw(st.sampled_from(self.claims[-4:]))
        if back:
            self.both_step_back(job, token, redis_token)
        else:
            self.server.settling.step_aside(job, token)
            drive(self.stores["n1"].step_aside(job, redis_token))

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=2, max_size=3, unique=True),
        end=st.sampled_from(["completed", "retry"]),
    )
    def one_waits_for_others_and_goes_on(self, ids: list[str], end: str) -> None:
        self.jobs_are_enqueued(ids, "s")
        self._claim_next("n1", "p", 9)
        if not self.claims:
            return
        job, token, redis_token = self.claims[-1]
        self.server.settling.step_aside(job, token)
        drive(self.stores["n1"].step_aside(job, redis_token))
        self._claim_next("n2", "p", 1)
        self.both_step_back(job, token, redis_token)
        self.end_last(end)

    @precondition(lambda self: any(job.away for job in self.server.ledger.jobs.values()))
    @rule()
    def all_that_are_away_step_back(self) -> None:
        for job, token, redis_token in self.claims[-8:]:
            self.both_step_back(job, token, redis_token)

    @rule(queue=st.sampled_from(["p", "p", "q"]), on=st.sampled_from([True, False, False]))
    def pause(self, queue: str, on: bool) -> None:
        self.server.queues.pause(queue, on)
        drive(self.stores["n1"].pause(queue, on))

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=5, unique=True),
        session=st.sampled_from(["", "s", "s", "t"]),
        priority=st.sampled_from([0, 0, 0, 1]),
    )
    def jobs_come(self, ids: list[str], session: str, priority: int) -> None:
        self.jobs_are_enqueued(ids, session, priority=priority)


class TurnMachine(PlainMachine):
    """With jobs that take turns to work on their session's state."""

    @initialize()
    def the_queues_are_known(self) -> None:
        infos = [QueueInfo(queue=queue, processor=queue) for queue in QUEUES]
        self.server.queues.announce("n1", infos, self.now)
        drive(self.stores["n1"].announce(infos))

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=5, unique=True),
        queue=st.sampled_from(["p", "p", "q"]),
        session=st.sampled_from(["s", "s", "t"]),
        priority=st.sampled_from([0, 0, 0, 1]),
        delay=st.sampled_from([0.0, 0.0, 0.0, 0.05]),
        deadline=st.sampled_from([None, None, None, 0.2]),
        again=st.booleans(),
        given=st.booleans(),
    )
    def jobs_come(self, ids: list[str], session: str, given: bool, **options: Any) -> None:
        state = msgspec.Raw(msgspec.msgpack.encode(1)) if given else NO_STATE
        requests = [
            Enqueue(spec=JobSpec(WIRE_VERSION, job, "p", session, state, "n1"), **options) for job in ids
        ]
        self.both_enqueue(requests)

    @precondition(lambda self: self.active())
    @rule(data=st.data(), ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True))
    def a_job_calls_others(self, data: st.DataObject, ids: list[str]) -> None:
        parent = data.draw(st.sampled_from(self.active()))
        raw = msgspec.Raw(msgspec.msgpack.encode(1))
        requests = [
            Enqueue(
                spec=JobSpec(WIRE_VERSION, job, "p", "s", raw, "n2", parent=parent), queue="p", again=True
            )
            for job in ids
        ]
        self.both_enqueue(requests)

    @rule(limits=st.sampled_from([UNLIMITED, QueueLimits(per_session=1)]))
    def the_limit_is_another(self, limits: QueueLimits) -> None:
        self.limits = limits

    @precondition(lambda self: self.claims)
    @rule()
    def the_last_one_is_run_in_vain(self) -> None:
        job, token, redis_token = self.claims[-1]
        record = self.server.ledger.jobs.get(job)
        reason = "" if record is None else turn_of(record.spec)
        settlement = Settlement(id=job, token=token, outcome="conflicted", reason=reason)
        theirs = msgspec.structs.replace(settlement, token=redis_token)
        self.both_settle(settlement, theirs)

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=2, max_size=3, unique=True))
    def some_work_on_one_state(self, ids: list[str]) -> None:
        states = [NO_STATE, *[msgspec.Raw(b"\x01")] * 2]
        requests = [
            Enqueue(spec=JobSpec(WIRE_VERSION, job, "p", "s", state, "n1"), queue="p", again=True)
            for job, state in zip(ids, states, strict=False)
        ]
        self.both_enqueue(requests)
        self._claim_next("n1", "p", 9)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def one_commits_what_it_has_made_of_the_state(self, data: st.DataObject) -> None:
        job, token, redis_token = data.draw(st.sampled_from(self.claims[-4:]))
        record = self.server.ledger.jobs.get(job)
        if record is None:
            return
        blob = msgspec.msgpack.encode(token)
        mark = self.server.states.read(record.spec.session, self.now).mark
        commit = Commit(blob=blob, checksum=checksum(blob), expected=mark, turn=turn_of(record.spec))
        settlement = Settlement(id=job, token=token, outcome="completed", commit=commit)
        theirs = msgspec.structs.replace(settlement, token=redis_token)
        self.both_settle(settlement, theirs)

    @rule(node=st.sampled_from(NODES))
    def a_node_begins_anew(self, node: str) -> None:
        self.server.nodes.join(node, self.now)
        drive(self.stores[node].join())

    @rule(session=st.sampled_from(SESSIONS), running=st.booleans())
    def a_session_stops(self, session: str, running: bool) -> None:
        spared = self.server.sessions.stop_session("n1", session, running=running, refuse=0.0, now=self.now)
        answer = drive(self.stores["n1"].stop_session(session, running=running, refuse=0.0))
        self.same(sorted(spared), sorted(answer))

    @invariant()
    def who_stands_in_line_is_waited_for(self) -> None:
        jobs = self.server.ledger.jobs.values()
        for turn, lines in self.server.turns.lines.items():
            for queue, line in lines.items():
                about_to = [
                    job
                    for job in jobs
                    if (job.turn, job.queue) == (turn, queue)
                    and job.status in ("waiting", "later")
                    and (job.place, job.spec.id) not in line
                ]
                assert turn in self.server.turns.holders or about_to, (turn, queue, line)

    @invariant()
    def turns_are_the_same(self) -> None:
        turns = [*SESSIONS, *(f"/{job}" for job in IDS)]
        pipe = self.connection.pipeline(transaction=True)
        for turn in turns:
            pipe.hgetall(spell("am2z", "floor", turn))
        for turn, found in zip(turns, pipe.execute(), strict=True):
            expected = {f"q:{queue}": "1" for queue in self.server.turns.lines.get(turn, ())}
            if turn in self.server.turns.holders:
                expected["holder"] = self.server.turns.holders[turn]
            self.same(expected, {name.decode(): value.decode() for name, value in found.items()})


class CallMachine(TurnMachine):
    """With nodes that claim only what other jobs wait for."""

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=5, unique=True),
        session=st.sampled_from(["", "", "s", "t"]),
        priority=st.sampled_from([0, 0, 0, 1]),
        delay=st.sampled_from([0.0, 0.0, 0.0, 0.05]),
        deadline=st.sampled_from([None, None, None, 0.2]),
        again=st.booleans(),
        given=st.sampled_from([True, True, False]),
        depth=st.sampled_from([0, 0, 1, 2]),
    )
    def jobs_come(self, ids: list[str], session: str, given: bool, depth: int, **options: Any) -> None:
        state = NO_STATE if session and not given else msgspec.Raw(msgspec.msgpack.encode(1))
        requests = [
            Enqueue(
                spec=JobSpec(WIRE_VERSION, job, "p", session, state, "n1", depth=depth), queue="p", **options
            )
            for job in ids
        ]
        self.both_enqueue(requests)

    @rule(node=st.sampled_from(NODES), limit=st.integers(1, 4))
    def calls_are_claimed(self, node: str, limit: int) -> None:
        self._claim_next(node, "p", limit, calls_only=True)

    @rule(id=st.sampled_from(IDS))
    def a_job_waits_for_another(self, id: str) -> None:
        self.server.enqueuing.call_for(id)
        drive(self.stores["n1"].call_for(id))

    @rule(limits=st.sampled_from([UNLIMITED, UNLIMITED, *LIMITS]))
    def the_limit_is_another(self, limits: QueueLimits) -> None:
        self.limits = limits

    @rule(node=st.sampled_from(NODES))
    def a_node_serves_the_queue_no_more(self, node: str) -> None:
        self.server.queues.unpark(node, "p", self.now)
        drive(self.stores[node].unpark("p"))

    @rule(on=st.sampled_from([True, False, False]))
    def pause(self, on: bool) -> None:
        self.server.queues.pause("p", on)
        drive(self.stores["n1"].pause("p", on))

    @rule(node=st.sampled_from(NODES))
    def a_node_leaves_and_is_back(self, node: str) -> None:
        self.server.nodes.leave(node, self.now)
        drive(self.stores[node].leave())
        self.server.nodes.join(node, self.now)
        drive(self.stores[node].join())

    @invariant()
    def calls_are_those_that_wait(self) -> None:
        for queue in QUEUES:
            waiting = {
                job.spec.id
                for job in self.server.ledger.jobs.values()
                if job.depth and job.queue == queue and job.status == "waiting"
                if not self.server.turns.stands_in_line(job)
            }
            ours = [id for _, _, id in self.server.ledger.queue(queue)._by_depth]
            assert set(ours) == waiting
            theirs: Any = self.connection.zrange(spell("am2z", "calls", queue), 0, -1)
            self.same(ours, [id.decode() for id in theirs])

    @invariant()
    def the_same_nodes_are_parked(self) -> None:
        for queue in QUEUES:
            parked = self.server.ledger.queue(queue).parked
            ours = sorted(parked, key=lambda node: (parked[node], node))
            theirs: Any = self.connection.zrange(spell("am2z", "lot", queue), 0, -1)
            self.same(ours, [node.decode() for node in theirs])


class ServingMachine(PlainMachine):
    """With nodes that serve queues, and come and go."""

    all_there_is_is_claimed = the_last_one_ends = an_earlier_claim_arrives_again = None  # type: ignore[assignment]
    claim = settle = cancel = promote = a_caller_leaves = what_ended_jobs_had_called_ends = None  # type: ignore[assignment]
    # Nothing ends here: days pass, and of what has ended a server counts the time by a clock of its own.
    a_job_comes_that_is_built_on_an_outcome = None  # type: ignore[assignment]
    every_job_is_in_exactly_one_place = None  # type: ignore[assignment]
    node_vanishes = StoreMachine.node_vanishes  # type: ignore[assignment]
    node_comes_back = StoreMachine.node_comes_back  # type: ignore[assignment]
    join = StoreMachine.join  # type: ignore[assignment]
    leave = StoreMachine.leave  # type: ignore[assignment]

    @rule(
        node=st.sampled_from(NODES),
        queues=st.lists(st.sampled_from(QUEUES), min_size=1, unique=True),
        serves=st.sampled_from([True, True, True, False]),
    )
    def announce(self, node: str, queues: list[str], serves: bool) -> None:
        infos = [QueueInfo(queue=queue, processor=queue) for queue in queues]
        self.server.queues.announce(node, infos, self.now, serves=serves)
        drive(self.stores[node].announce(infos, serves=serves))

    @rule(node=st.sampled_from(NODES), queue=st.sampled_from(QUEUES), retire=st.booleans())
    def withdraw(self, node: str, queue: str, retire: bool) -> None:
        self.server.queues.withdraw(node, [queue], self.now, retire=retire)
        self.stores[node].withdraw_nowait([queue], retire=retire)

    @rule(days=st.sampled_from([0.4, 1, 7]), node=st.sampled_from(NODES))
    def much_time_passes(self, days: float, node: str) -> None:
        self.now += round(days * 24 * 3600 * 1000)
        self.server.nodes.join(node, self.now)
        drive(self.stores[node].join())

    @rule(node=st.sampled_from(NODES))
    def all_but_one_are_away_for_long(self, node: str) -> None:
        for _ in range(3):
            self.now += 4_000
            self.same(self.server.nodes.tick(node, self.now), drive(self.stores[node].tick()))

    @rule(node=st.sampled_from(NODES), queue=st.sampled_from(QUEUES))
    def nobody_is_to_know_it_and_one_submits_to_it(self, node: str, queue: str) -> None:
        for server in NODES:
            self.withdraw(server, queue, True)
        self.announce(node, [queue], False)

    def _serves(self, node: str, queue: str) -> None:
        self.join(node)
        self.announce(node, [queue], True)

    @rule(nodes=st.permutations(NODES), queue=st.sampled_from(QUEUES))
    def one_of_two_that_serve_it_withdraws(self, nodes: list[str], queue: str) -> None:
        for node in nodes[:2]:
            self._serves(node, queue)
        self.withdraw(nodes[0], queue, True)
        self.withdraw(nodes[1], queue, False)

    @rule(node=st.sampled_from(NODES), queue=st.sampled_from(QUEUES))
    def what_is_served_is_to_be_forgotten(self, node: str, queue: str) -> None:
        self._serves(node, queue)
        self.forget_queue(queue)

    @rule(node=st.sampled_from(NODES), queue=st.sampled_from(QUEUES), leaves=st.booleans())
    def it_is_served_for_long_and_then_no_more(self, node: str, queue: str, leaves: bool) -> None:
        self._serves(node, queue)
        self.now += 20 * 3600 * 1000
        self.join(node)
        if leaves:
            self.leave(node)
        else:
            self.withdraw(node, queue, False)
        self.now += 10 * 3600 * 1000

    @precondition(lambda self: len(self.channels) > 1)
    @rule(data=st.data(), queue=st.sampled_from(QUEUES), ms=st.sampled_from([1_900, 2_100]))
    def a_node_that_serves_vanishes(self, data: st.DataObject, queue: str, ms: int) -> None:
        node = data.draw(st.sampled_from(sorted(self.channels)))
        self._serves(node, queue)
        self._vanish(node)
        self.now += ms

    @rule(id=st.sampled_from(IDS), queue=st.sampled_from(QUEUES))
    def a_job_comes(self, id: str, queue: str) -> None:
        raw = msgspec.Raw(msgspec.msgpack.encode(1))
        request = Enqueue(spec=JobSpec(WIRE_VERSION, id, queue, "", raw, "n1"), queue=queue)
        self.both_enqueue([request])

    @rule(node=st.sampled_from(NODES), queue=st.sampled_from(QUEUES))
    def work_is_claimed(self, node: str, queue: str) -> None:
        self._claim_next(node, queue, 1)

    @invariant()
    def the_same_queues_are_known(self) -> None:
        for node in NODES[:2]:
            self.same(self.server.queues.known_queues(self.now), drive(self.stores[node].known_queues()))

    @invariant()
    def servers_are_nodes_and_know_what_they_serve(self) -> None:
        connection: Any = self.connection
        nodes = connection.zrange(spell("am2z", "nodes"), 0, -1)
        for queue in QUEUES:
            for name in connection.smembers(spell("am2z", "servers", queue)):
                assert name in nodes
                assert connection.sismember(spell("am2z", "serves", name.decode()), queue)


class KeptMachine(PlainMachine):
    """With what ended jobs leave behind, and jobs that give way to later ones.

    Its time passes in small steps: Redis drops keys by its own clock, not by the machine's.
    """

    time_passes = None  # type: ignore[assignment]

    @rule(ms=st.sampled_from([1, 50, 400]))
    def a_little_time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True),
        session=st.sampled_from(["", "s"]),
        priority=st.sampled_from([0, 0, 1]),
        delay=st.sampled_from([0.0, 0.0, 0.05]),
        debounce=st.sampled_from(["", "k"]),
        on_complete=st.sampled_from([None, Retention(age=600.0), Retention(count=1)]),
        on_fail=st.sampled_from([None, Retention(age=0.0), Retention(count=1)]),
        max_size=st.sampled_from([0, 0, 2]),
    )
    def jobs_come(self, ids: list[str], **options: Any) -> None:
        self.jobs_are_enqueued(ids, **options)

    @rule(jobs=st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True))
    def revive(self, jobs: list[str]) -> None:
        self.same(self.server.dead_letters.revive(jobs, self.now), drive(self.stores["n1"].revive(jobs)))

    @rule(id=st.sampled_from(IDS))
    def one_fails_at_its_second_attempt(self, id: str) -> None:
        self.jobs_are_enqueued([id])
        for outcome in ("retry", "failed"):
            self._claim_next("n1", "p", 9)
            if self.claims:
                self.end_last(outcome)

    @precondition(lambda self: self.server.ledger.queue("p").dead)
    @rule()
    def all_dead_letters_are_revived(self) -> None:
        jobs = self.server.dead_letters.dead_page("p", 0, 10, self.now)
        self.same(self.server.dead_letters.revive(jobs, self.now), drive(self.stores["n1"].revive(jobs)))

    @rule(jobs=st.lists(st.sampled_from(IDS), min_size=1, max_size=2, unique=True))
    def drop_dead_letters(self, jobs: list[str]) -> None:
        self.same(
            self.server.dead_letters.drop_dead_letters(jobs, self.now),
            drive(self.stores["n1"].drop_dead_letters(jobs)),
        )

    @invariant()
    def dead_letters_are_the_same(self) -> None:
        store = self.stores["n1"]
        for queue in QUEUES:
            page = self.server.dead_letters.dead_page(queue, 0, 10, self.now)
            self.same(page, drive(store.dead_page(queue, 0, 10)))
            if page:
                self.same(self.server.dead_letters.dead_jobs(page, self.now), drive(store.dead_jobs(page)))


class NamedMachine(PlainMachine):
    """With ids that several have chosen: in other sessions, of other processors, with other inputs."""

    @rule(
        id=st.sampled_from(IDS[:2]),
        session=st.sampled_from(["", "s", "t"]),
        processor=st.sampled_from(["p", "p", "p", "other"]),
        again=st.sampled_from([True, True, False]),
        joins=st.sampled_from([False, False, True]),
        stays=st.booleans(),
        input=st.sampled_from(["", "x", "x", "y"]),
        debounce=st.sampled_from(["", "", "k"]),
    )
    def an_id_is_asked_for(
        self, id: str, session: str, processor: str, again: bool, joins: bool, input: str, **options: Any
    ) -> None:
        raw = msgspec.Raw(msgspec.msgpack.encode(1))
        spec = JobSpec(WIRE_VERSION, id, processor, session, raw, "n1")
        again = again and not joins
        # What it is given is told of an id that may be used again, and of no other.
        told = input if again else ""
        request = Enqueue(spec=spec, queue="p", again=again, joins=joins, input=told, **options)
        self.both_enqueue([request])

    @rule(id=st.sampled_from(IDS[:2]))
    def one_is_cancelled(self, id: str) -> None:
        self.same(self.server.jobs.cancel(id, "why", self.now), drive(self.stores["n1"].cancel(id, "why")))


class WaitMachine(PlainMachine):
    """With jobs that wait for times and signals, to themselves and to their session."""

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True),
        session=st.sampled_from(["", "s", "s"]),
        priority=st.sampled_from([0, 0, 1]),
        deadline=st.sampled_from([None, None, 0.2, 5.0]),
    )
    def jobs_come(self, ids: list[str], **options: Any) -> None:
        self.jobs_are_enqueued(ids, again=True, **options)

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        waits=st.lists(st.sampled_from(WAITS), min_size=1, max_size=3, unique_by=lambda wait: wait.key),
        parks=st.sampled_from([True, True, False]),
        some=st.booleans(),
        twice=st.booleans(),
    )
    def one_waits(self, data: st.DataObject, waits: list[Wait], parks: bool, some: bool, twice: bool) -> None:
        packs = False
        job, token, redis_token = data.draw(st.sampled_from(self.claims[-4:]))
        for wait in waits * (1 + twice):
            answer = drive(self.stores["n1"].waits.wait(job, redis_token, wait))
            packs = packs or answer.many
            ours = self.server.waits.wait(job, token, wait, self.now)
            self.same(*(msgspec.structs.replace(one, many=False) for one in (ours, answer)))
        if parks:
            kept = [wait.key for wait in (waits[-1:] if some else waits)]
            reason = "\n".join(kept)
            if packs:
                self.server.waits.pack(job, token, kept)
                drive(self.stores["n1"].waits.pack(job, redis_token, kept))
            done = Settlement(id=job, token=token, outcome="parked", reason=reason)
            for _ in range(1 + twice):
                self.both_settle(done, msgspec.structs.replace(done, token=redis_token))

    @rule(
        job=st.sampled_from(IDS),
        name=st.sampled_from(["a", "b"]),
        op=st.sampled_from(["1", "2", "3", "4"]),
        to_all=st.booleans(),
    )
    def a_signal_is_sent(self, job: str, name: str, op: str, to_all: bool) -> None:
        store, signal = self.stores["n3"].waits, Signal(name=name, value=op.encode(), op=op)
        if to_all:
            ours = self.server.waits.signal_session("s", signal, self.now)
            self.same(ours, drive(store.signal_session("s", signal)))
        else:
            self.same(self.server.waits.signal(job, signal), drive(store.signal(job, signal)))

    @rule(running=st.booleans())
    def the_session_stops(self, running: bool) -> None:
        spared = self.server.sessions.stop_session("n1", "s", running=running, refuse=0.2, now=self.now)
        self.same(
            sorted(spared),
            sorted(drive(self.stores["n1"].stop_session("s", running=running, refuse=0.2))),
        )

    @invariant()
    def what_has_ended_waits_for_nothing(self) -> None:
        for id in IDS:
            job = self.server.ledger.jobs.get(id)
            waits = 0 if job is None or job.waits is None else 1
            assert self.connection.exists(spell("am2z", "waits", id)) == waits
        lines = self.server.waits._awaiting
        for name in ("a", "b"):
            there: Any = self.connection.zrange(spell("am2z", "awaiting", f"s:{name}"), 0, -1)
            assert [id.decode() for id in there] == [*lines.get(("s", name), ())]


@pytest.mark.parametrize(
    "machine",
    [
        StoreMachine,
        SessionMachine,
        LimitsMachine,
        TurnMachine,
        CallMachine,
        KeptMachine,
        NamedMachine,
        ServingMachine,
        WaitMachine,
    ],
)
def test_redis_does_what_the_specification_does(machine: type[StoreMachine], redis_server: Any) -> None:
    with redis_server.client() as connection:

        class Machine(machine):  # type: ignore[valid-type, misc]
            pass

        Machine.connection = connection
        assert anchor("am2z") == "{am2z:0}"
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES, stateful_step_count=40, deadline=None, phases=NO_EXPLAIN
            ),
        )


SMALL_STEPS = {
    "looks": 2,
    "looks_of_an_end": 1,
    "unblocked": 1,
    "sieved": 2,
    "sieved_per_ghost": 1,
    "sieved_at_least": 0,
    "trimmed": 1,
    "ended_at_once": 1,
    "few_waits": 1,
}


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both do so little in one call that hardly anything is done in one."""
    for name, value in SMALL_STEPS.items():
        monkeypatch.setattr(BOUNDS, name, value)
    bundler = Bundler(agreed.rendered())
    for name, script in list(vars(scripts).items()):
        if isinstance(script, Script) and script is not scripts.PROBE:
            monkeypatch.setattr(scripts, name, bundler.script(script.name, scripts.BUNDLER.signature(script)))


@pytest.mark.parametrize(
    "machine", [SessionMachine, LimitsMachine, KeptMachine, TurnMachine, CallMachine, WaitMachine]
)
def test_redis_does_what_the_specification_does_in_small_steps(
    machine: type[StoreMachine], small_steps: None, redis_server: Any
) -> None:
    test_redis_does_what_the_specification_does(machine, redis_server)


@pytest.mark.parametrize("again", [2, 3])
def test_any_script_call_may_arrive_again(redis_server: Any, again: int) -> None:
    """The same bytes twice (a lost reply, resent) change nothing more."""
    with redis_server.client() as connection:
        connection.flushall()
        client = BlockingClient(connection)
        store = blocking_store(client, "n1", SETTINGS, lambda: 1_000_000)

        def repeat(coroutine: Coroutine[Any, Any, T]) -> T:
            answer = drive(coroutine)
            before = snapshot(connection)
            for _ in range(again - 1):
                client.again()
                assert snapshot(connection) == before
            return answer

        repeat(store.join())
        spec = JobSpec(WIRE_VERSION, "j", "p", "s", msgspec.Raw(b"\x01"), "")
        repeat(store.enqueue([Enqueue(spec=spec, queue="p")]))
        (grant,) = repeat(store.claim("p", 1, 5)).grants
        repeat(store.report("j", grant.token, 0.5))
        told = KeptLines(id="j", token=grant.token, lines=[LogLine(1, "INFO", "once")])
        assert repeat(store.logs.keep([told], 10)) == [True]
        assert [line.text for line in drive(store.logs.read("j")) or []] == ["once"]
        blob = b"\x02"
        commit = Commit(blob=blob, checksum=checksum(blob), expected=(0, ""))
        done = Settlement(id="j", token=grant.token, outcome="completed", result=b"\x90", commit=commit)
        assert repeat(store.settle([done]))[0].status == "applied"
        assert drive(store.settle([done]))[0].status == "replay"
        assert drive(store.states.read("s")).version == 1
        repeat(store.cancel("j", "too late"))
        bad = JobSpec(WIRE_VERSION, "bad", "p", "s", msgspec.Raw(b"\x01"), "")
        repeat(store.enqueue([Enqueue(spec=bad, queue="p", debounce="k", on_fail=Retention(count=5))]))
        for seq in (2, 3):
            (grant,) = repeat(store.claim("p", seq, 1)).grants
            repeat(store.settle([Settlement(id="bad", token=grant.token, outcome="failed")]))
            assert repeat(store.revive(["bad"])) == ["queued"]
            assert drive(store.revive(["bad"])) == ["gone"]
        (grant,) = repeat(store.claim("p", 4, 1)).grants
        repeat(store.settle([Settlement(id="bad", token=grant.token, outcome="failed")]))
        drive(store.drop_dead_letters(["bad"]))
        worse = JobSpec(WIRE_VERSION, "worse", "p", "s", msgspec.Raw(b"\x01"), "")
        drive(store.enqueue([Enqueue(spec=worse, queue="p", again=True)]))
        asked = client.last
        (grant,) = repeat(store.claim("p", 5, 1)).grants
        repeat(store.settle([Settlement(id="worse", token=grant.token, outcome="failed")]))
        before = snapshot(connection)
        client.last = asked
        client.again()
        assert snapshot(connection) == before
        repeat(store.tick())
        repeat(store.leave())


def snapshot(connection: redis_py.Redis) -> dict[bytes, Any]:
    """Everything the server holds."""
    names: list[Any] = sorted(connection.keys("*"))
    return {name: connection.dump(name) for name in names}
