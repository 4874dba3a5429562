"""The auditor: reads a whole keyspace, and what was seen from outside, and says what is wrong.

It knows the invariants of a store that is at rest for the moment of the look (between two scripts):

* I1 each job is in exactly one place: in a list of its queue, delayed, active, or ended; counts are what
  is there
* I2, I3, I4 a session's effects are those of its completed jobs, each once; its version is their number
* I5 tokens are held once, by the node they were granted to, and are no newer than the counter
* I8 what a caller has heard of a job is what its record says
* I9 where there is a history of events, it says of each job's ends what its record does
* I10 nothing was lost with a worker where no worker was lost
* I12 nothing is left that is not referred to or on its way out; and when all is over, only what is permanent

`check` returns findings, none for a store that is well. `Outside` is what the jobs and callers of a test saw.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from math import inf
from typing import Any, Final

import msgspec
import redis

from am2z_trio.model.codec import RecordDecoder
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.events import EventGroup
from am2z_trio.model.records import CHILD_TTL, DEAD_TTL, KEPT, plain_name
from am2z_trio.store.agreed import PERIODS_KEPT

from .keyspace import Keyspace, text

UNBEGUN: Final = frozenset({"waiting", "later"})
ALIVE: Final = UNBEGUN | {"active"}
ENDED: Final = frozenset({"completed", "failed", "cancelled"})

NOT_OF_PLAIN: Final = frozenset(
    {"attempt", "cancel", "calls", "conflicts", "deadline", "debounce", "depth", "errors", "gen", "keep"}
    | {"labels", "last_token", "parent", "promised", "stored", "turn", "away"}
    | {"waits"}
)
"""Fields of a job that the scripts look for only where its record says `more`."""

PERMANENT: Final = frozenset(
    {"meta", "queues", "fence", "lineage", "clock", "session", "history", "expiries", "audit", "refused"}
    | {"schedules", "schedule", "runs"}
    | {"log", "kept"}
)
"""Kinds of keys that may stay for ever when nothing is under way any more; all others must have a TTL."""

KEPT_MS: Final = int(KEPT * 1000)

LONGEST_MS: Final = int(max(CHILD_TTL, DEAD_TTL) * 1000) + 1
"""No TTL is longer, as long as nobody asked for more; but for"""

ARCHIVE_MS: Final = int(PERIODS_KEPT * 1000)
"""what samples are added up to."""


_group: Final = RecordDecoder[EventGroup](EventGroup)


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    invariant: str
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.key}: {self.text}"


class Outside(msgspec.Struct, kw_only=True):
    """What was seen from outside of the store."""

    sessions: dict[str, str] = {}
    """Session of each job that has an effect there, by job id."""
    outcomes: dict[str, str] = {}
    """What the callers have heard: `completed`, `failed` or `cancelled`, by job id."""
    effects: Callable[[bytes], list[str]] | None = None
    """Reads the ids of the jobs whose effects are in a session's state; `None`: states are not looked at."""
    acknowledged: bool = True
    """Whether what was acknowledged must be there: not after a server has lost the end of its history."""
    crashed: bool = True
    """Whether a worker was lost, or could be thought to be."""


def check(
    keyspace: Keyspace,
    outside: Outside | None = None,
    *,
    drained: bool = False,
    steady_flow: bool = True,
    known_since_ever: bool = True,
    longest_ms: int = LONGEST_MS,
    drift_ms: int = 1_000,
) -> list[Finding]:
    """What is wrong. `drained`: nothing is under way and no node is there. `steady_flow`: the limits of each
    queue were always the same. `known_since_ever`: no queue was forgotten, and its counts with it.
    `drift_ms`: for how long the clock that the nodes keep may have stood still while the server's went on, by
    which keys expire; where time is a test's own, that is as long as the test has run."""
    auditor = _Auditor(keyspace, steady_flow, known_since_ever, longest_ms, drift_ms)
    found = [*auditor.everywhere()]
    if outside is not None:
        found += auditor.as_seen_outside(outside)
    if drained:
        found += auditor.drained()
    return found


def audit(
    connection: redis.Redis, outside: Outside | None = None, *, prefix: str = "am2z", **options: Any
) -> list[Finding]:
    """Read the keyspace and check it."""
    return check(Keyspace.read(connection, prefix), outside, **options)


class _Auditor:
    def __init__(
        self,
        keyspace: Keyspace,
        steady_flow: bool,
        known_since_ever: bool,
        longest_ms: int,
        drift_ms: int,
    ) -> None:
        self.keyspace = keyspace
        self.steady_flow = steady_flow
        self.known_since_ever = known_since_ever
        self.longest_ms = longest_ms
        self.drift_ms = drift_ms
        self.jobs: dict[str, dict[str, bytes]] = {id: entry.value for id, entry in keyspace.of("job").items()}
        self.places: Counter[tuple[str, str]] = Counter()
        """(job id, list) → how often it stands there."""
        self.ghosts: Counter[str] = Counter()
        """list → entries of jobs that do not wait any more, or wait as another entry."""
        for name, entry in [*keyspace.of("wait").items(), *keyspace.of("sieved").items()]:
            for member in entry.value:
                id, _, generation = member.rpartition("\0") if "\0" in member else (member, "", "")
                if self.field(id, "gen") == generation:
                    self.places[id, name] += 1
                if self.status(id) != "waiting" or self.field(id, "gen") != generation:
                    self.ghosts[name] += 1
        self.listed: Counter[str] = Counter()
        for (id, _), times in self.places.items():
            self.listed[id] += times

    def status(self, id: str) -> str:
        job = self.jobs.get(id)
        return "" if job is None else text(job.get("status", b"?"))

    def field(self, id: str, name: str) -> str:
        return text(self.jobs.get(id, {}).get(name, b""))

    def everywhere(self) -> Iterator[Finding]:
        yield from self.known_kinds()
        for id in self.jobs:
            yield from self.one_job(id)
        yield from self.lists()
        yield from self.claims()
        yield from self.counts()
        yield from self.turns()
        yield from self.flow()
        yield from self.sessions()
        yield from self.children()
        yield from self.kept()
        yield from self.states()
        yield from self.told()
        yield from self.nodes()
        yield from self.schedules()
        yield from self.times_to_live()

    # --- keys -------------------------------------------------------------------------------

    def known_kinds(self) -> Iterator[Finding]:
        for entry in self.keyspace.entries:
            if entry.kind == "":
                yield Finding("I12", entry.key, "a key of no known kind")

    def times_to_live(self) -> Iterator[Finding]:
        """What can only be in use for a time says so."""
        for kind in (
            "lock",
            "line",
            "breaker",
            "dead",
            "called",
            "mail",
            "done",
            "recent",
            "starts",
            "truce",
            "receipts",
            "look",
            "sweep",
            "stopped",
            "bulk",
            "bulks",
            "fresh",
            "samples",
            "archive",
            "flushed",
            "noted",
            "told",
        ):
            for entry in self.keyspace.of(kind).values():
                if entry.pttl < 0:
                    yield Finding("I12", entry.key, "never expires")
        for entry in self.keyspace.entries:
            if entry.pttl > max(self.longest_ms, ARCHIVE_MS if entry.kind == "archive" else 0):
                yield Finding("I12", entry.key, f"expires in {entry.pttl} ms only")

    # --- jobs -------------------------------------------------------------------------------

    def one_job(self, id: str) -> Iterator[Finding]:
        key, job, status = f"job:{id}", self.jobs[id], self.status(id)
        queue, skey = self.field(id, "queue"), self.field(id, "skey")
        pttl = self.keyspace.of("job")[id].pttl
        if status not in ALIVE | ENDED:
            yield Finding("I1", key, f"has no status, or a strange one: {status!r}")
            return
        own_list = f"{queue}@{skey}" if skey else queue
        prio, later = self.keyspace.get("prio", queue) or {}, self.keyspace.get("later", queue) or {}
        turn = self.field(id, "turn")
        in_line = turn != "" and id in (self.keyspace.get("turns", f"{queue}@{turn}") or ())
        waits = self.listed[id] + (id in prio) + in_line
        if status == "waiting":
            if waits != 1:
                yield Finding("I1", key, f"waits, and stands {waits} times in its queue")
            elif id not in prio and not in_line and not self.places[id, own_list]:
                yield Finding("I1", key, f"waits in another list than {own_list}")
        elif status in ALIVE and waits:
            yield Finding("I1", key, f"is {status}, and stands {waits} times among those that wait")
        elif status in ENDED and id in prio:
            yield Finding("I1", key, f"is {status}, and stands among the waiting ones with a priority")
        called = status == "waiting" and not in_line and self.field(id, "depth") != ""
        if (id in (self.keyspace.get("calls", queue) or {})) != called:
            yield Finding("I1", key, f"is {status}, and {'is not' if called else 'is'} in {queue}:calls")
        if (id in later) != (status == "later"):
            yield Finding("I1", key, f"is {status}, and {'is' if id in later else 'is not'} in {queue}:later")
        # A plain one that has ended keeps the token that it was settled with.
        has_claim = "token" in job and not (status in ("completed", "cancelled") and "more" not in job)
        if (status == "active") != has_claim or (status == "active") != ("node" in job):
            yield Finding("I5", key, f"is {status} on {job.get('node')!r} under {job.get('token')!r}")
        if status in ALIVE and "more" not in job:
            unread = NOT_OF_PLAIN & job.keys() | (
                {"deliveries"} & job.keys() if status != "active" else set()
            )
            if unread:
                yield Finding("I1", key, f"counts as plain, and has {', '.join(sorted(unread))}")
        if status == "active":
            held = self.keyspace.get("active", self.field(id, "node")) or {}
            if held.get(id) != job.get("token"):
                yield Finding("I1", key, f"is active on {job.get('node')!r}, which holds {held.get(id)!r}")
        if status in ALIVE and "at" not in job:
            yield Finding("I1", key, f"is {status}, and does not say since when it is there")
        if status == "active" and "since" not in job:
            yield Finding("I1", key, "is active, and does not say since when")
        if status in ENDED:
            yield from self.one_ended(id, queue)
        if status in ALIVE and "spec" not in job:
            yield Finding("I1", key, f"is {status} without a spec")
        if status in ALIVE and pttl >= 0:
            yield Finding("I1", key, f"is {status} and will expire")
        if status in ENDED and pttl < 0:
            yield Finding("I12", key, f"is {status} and never expires")
        if status in ("completed", "cancelled") and "spec" in job:
            yield Finding("I12", key, f"is {status} and keeps its payload")
        dead = self.keyspace.get("dead", queue) or {}
        is_dead = status == "failed" and "spec" in job
        if is_dead != (id in dead):
            yield Finding("I12", key, f"is {status}, and {'is' if id in dead else 'is not'} in {queue}:dead")

    def one_ended(self, id: str, queue: str) -> Iterator[Finding]:
        if "ended" not in self.jobs[id]:
            yield Finding("I1", f"job:{id}", "has ended, and does not say when")
        times = (self.keyspace.get("recent", queue) or []).count(id)
        again = {"gen", "revived"} & self.jobs[id].keys()
        if self.known_since_ever and not (times == 1 or (times and again)):
            yield Finding("I1", f"job:{id}", f"has ended, and stands {times} times among what has")

    def lists(self) -> Iterator[Finding]:
        """What waits for a session is in turn or held up; what is in turn waits."""
        sessions: dict[str, list[str]] = {}
        for name in self.keyspace.of("wait"):
            queue, at, skey = name.partition("@")
            if at:
                sessions.setdefault(queue, []).append(skey)
        queues = {*sessions, *self.keyspace.of("ready"), *self.keyspace.of("blocked")}
        for queue in sorted(queues):
            ready = self.keyspace.get("ready", queue) or {}
            blocked = self.keyspace.get("blocked", queue) or {}
            for skey in sessions.get(queue, ()):
                turns = (skey in ready) + (skey in blocked)
                if turns != 1:
                    yield Finding("I1", f"q:{queue}@{skey}:wait", f"its session is in turn {turns} times")
            for skey in {*ready, *blocked} - {*sessions.get(queue, ())}:
                yield Finding("I12", f"q:{queue}:ready", f"session {skey} is in turn; nothing of it waits")
        counted: dict[str, int] = {}
        for entry in self.keyspace.of("ghosts").values():
            counted.update((name, int(count)) for name, count in entry.value.items())
        for name in {*counted, *self.ghosts}:
            there = self.ghosts[name]
            if counted.get(name, 0) != there:
                yield Finding(
                    "I12", f"q:{name}:wait", f"counts {counted.get(name)} ghosts; there are {there}"
                )
        for name in set(self.keyspace.of("sieved")) - set(self.keyspace.of("wait")):
            yield Finding("I1", f"q:{name}:sieved", "nothing is being sieved, and it stands apart")
        for kind, status in (("prio", "waiting"), ("later", "later"), ("calls", "waiting")):
            for queue, entry in self.keyspace.of(kind).items():
                for id in entry.value:
                    if self.status(id) != status or self.field(id, "queue") != queue:
                        yield Finding("I1", entry.key, f"holds {id}, which is {self.status(id) or 'no job'}")

    def claims(self) -> Iterator[Finding]:
        tokens: dict[str, str] = {}
        newest = int(self.keyspace.get("fence") or 0)
        for node, entry in self.keyspace.of("active").items():
            if node not in (self.keyspace.get("nodes") or {}):
                yield Finding("I12", entry.key, "holds jobs, and its node is not among the nodes")
            for id, token in entry.value.items():
                if self.status(id) != "active" or self.jobs[id].get("token") != token:
                    yield Finding("I1", entry.key, f"holds {id}, which is {self.status(id) or 'no job'}")
                number, of_parent = text(token).partition(":")[0], text(token).partition("/")[0]
                if of_parent != text(token):
                    # It was begun as it was promised with its parent, which had that token then.
                    number = text(token)
                if number in tokens:
                    yield Finding("I5", entry.key, f"{id} and {tokens[number]} have one fencing number")
                tokens[number] = id
                number = of_parent.partition(":")[0]
                if not number.isdecimal() or int(number) > newest:
                    yield Finding("I5", entry.key, f"{id} is held by {token!r}; the counter is at {newest}")

    def counts(self) -> Iterator[Finding]:
        actual: dict[str, Counter[str]] = {}
        for id in self.jobs:
            actual.setdefault(self.field(id, "queue"), Counter())[self.status(id)] += 1
            for queue in self.field(id, "promised").split():
                # Its node may have begun such a job, of which it has yet to tell.
                actual.setdefault(queue, Counter())["active"] += 1
                if self.status(id) != "active":
                    yield Finding(
                        "I1", f"job:{id}", f"is {self.status(id)}, and {queue} was promised with it"
                    )
        for queue in {*actual, *self.keyspace.of("meta")}:
            meta, here = self.keyspace.get("meta", queue) or {}, actual.get(queue, Counter())
            for status in sorted(ALIVE):
                counted = int(meta.get(status, 0))
                if counted != here[status]:
                    yield Finding(
                        "I1", f"q:{queue}:meta", f"counts {counted} {status}; there are {here[status]}"
                    )
            away = sum(self.field(id, "away") != "" for id in self.jobs if self.field(id, "queue") == queue)
            if int(meta.get("away", 0)) != away:
                yield Finding("I1", f"q:{queue}:meta", f"counts {meta.get('away')} away; there are {away}")
            for status in sorted(ENDED):
                counted = int(meta.get(status, 0))
                if self.known_since_ever and counted < here[status]:
                    yield Finding(
                        "I1", f"q:{queue}:meta", f"counts {counted} {status}; there are {here[status]}"
                    )

    def turns(self) -> Iterator[Finding]:
        """Who is in line for a turn will be called; who has it works; who comes back had stepped aside."""
        for name, entry in self.keyspace.of("turns").items():
            queue, _, turn = name.partition("@")
            floor: dict[str, bytes] = self.keyspace.get("floor", turn) or {}
            if f"q:{queue}" not in floor:
                yield Finding("I12", entry.key, "nobody will call up who waits in this line")
            for id in entry.value:
                if self.status(id) != "waiting" or self.field(id, "turn") != turn:
                    yield Finding("I12", entry.key, f"holds {id}, which is {self.status(id) or 'gone'}")
            called = any(
                self.status(id) in UNBEGUN and id not in entry.value
                for id in self.jobs
                if (self.field(id, "queue"), self.field(id, "turn")) == (queue, turn)
            )
            if self.status(text(floor.get("holder", b""))) != "active" and not called:
                yield Finding("I12", entry.key, "nobody has the turn, and nobody was called up")
        for turn, entry in self.keyspace.of("floor").items():
            for field, value in entry.value.items():
                if field == "holder" and self.status(text(value)) != "active":
                    yield Finding("I12", entry.key, f"is held by {text(value)}, which is not active")
                elif field != "holder" and f"{field[2:]}@{turn}" not in self.keyspace.of("turns"):
                    yield Finding("I12", entry.key, f"nobody waits in {field[2:]}")
        for entry in self.keyspace.of("back").values():
            for id in entry.value:
                if not self.field(id, "away"):
                    yield Finding("I12", entry.key, f"{id} has not stepped aside")
        for id in self.jobs:
            if self.field(id, "away") and self.status(id) != "active":
                yield Finding("I1", f"job:{id}", f"is {self.status(id)}, and has stepped aside")

    def flow(self) -> Iterator[Finding]:
        active: Counter[tuple[str, str]] = Counter()
        for id in self.jobs:
            if self.status(id) == "active" and self.field(id, "skey") and not self.field(id, "away"):
                active[self.field(id, "queue"), self.field(id, "skey")] += 1
        for queue, entry in self.keyspace.of("meta").items():
            limit = int(entry.value.get("per_session", 0))
            running = self.keyspace.get("running", queue) or {}
            blocked = self.keyspace.get("blocked", queue) or {}
            if not limit:
                if running or blocked:
                    yield Finding("I12", entry.key, "counts sessions' jobs, and their number is not limited")
                continue
            for skey in {*running, *(skey for of, skey in active if of == queue)}:
                counted, there = int(running.get(skey, 0)), active[queue, skey]
                if counted > there or (self.steady_flow and counted != there):
                    yield Finding("I1", entry.key, f"counts {counted} of session {skey}; {there} are active")
            for skey in blocked:
                if int(running.get(skey, 0)) < limit:
                    yield Finding(
                        "I12", entry.key, f"holds session {skey} up, with {running.get(skey)} active"
                    )

    def sessions(self) -> Iterator[Finding]:
        alive: dict[str, set[str]] = {}
        for id in self.jobs:
            if self.status(id) in ALIVE and self.field(id, "skey"):
                alive.setdefault(self.field(id, "skey"), set()).add(id)
        names = self.keyspace.get("sessions") or {}
        for skey in {*alive, *self.keyspace.of("jobs"), *names}:
            held = self.keyspace.get("jobs", skey) or set()
            if held != alive.get(skey, set()):
                difference = sorted(held ^ alive.get(skey, set()))[:5]
                yield Finding("I1", f"session:{skey}:jobs", f"differs from what is there by {difference}")
            if (skey in names) != bool(held):
                yield Finding("I12", "sessions", f"session {skey} has {len(held)} jobs, and is listed or not")
            if skey in names and plain_name(text(names[skey])) != skey:
                yield Finding("I12", "sessions", f"session {skey} is named {names[skey]!r}")

    def children(self) -> Iterator[Finding]:
        for parent, entry in self.keyspace.of("children").items():
            if self.status(parent) not in ALIVE:
                yield Finding("I12", entry.key, f"its job is {self.status(parent) or 'gone'}")
            for id in entry.value:
                if id in self.jobs and self.field(id, "parent") != parent:
                    yield Finding("I9", entry.key, f"{id} is no child of it")
        doomed = {id for entry in self.keyspace.of("doomed").values() for id in entry.value}
        if bool(doomed) != bool(self.keyspace.get("ending")):
            yield Finding("I12", "ending", f"{len(doomed)} jobs are doomed, and nobody will know, or none is")
        for id in self.jobs:
            parent = self.field(id, "parent")
            if not parent or self.status(id) not in ALIVE or id in doomed:
                continue
            if id not in (self.keyspace.get("children", parent) or ()):
                asked = "cancel" in self.jobs[id]
                if not asked:
                    yield Finding("I9", f"job:{id}", f"is {self.status(id)}, and {parent} does not know it")

    def kept(self) -> Iterator[Finding]:
        records = self.keyspace.of("job")
        for id, entry in records.items():
            parent = self.field(id, "parent")
            if (
                self.status(id) == "failed"
                and not parent
                and "spec" not in entry.value
                and entry.pttl > KEPT_MS
            ):
                yield Finding("I12", entry.key, f"is a dropped letter, and stays for {entry.pttl} ms")
            if self.status(id) in ENDED and self.status(parent) in ENDED:
                # A parent that was dropped goes first, and so does a dead letter that has completed.
                longest = records[parent].pttl
                revived = "revived" in records[parent].value
                if longest > KEPT_MS and not revived and entry.pttl > longest + self.drift_ms:
                    yield Finding("I12", entry.key, f"stays {entry.pttl - longest} ms longer than {parent}")
        for name, entry in self.keyspace.of("debounce").items():
            queue, _, debounce = name.partition(":")
            id = text(entry.value)
            if self.status(id) not in UNBEGUN:
                yield Finding("I12", entry.key, f"keeps {id}, which is {self.status(id) or 'gone'}")
            elif (self.field(id, "queue"), self.field(id, "debounce")) != (queue, debounce):
                yield Finding("I12", entry.key, f"keeps {id}, which has another key")
        for name, entry in self.keyspace.of("waits").items():
            if self.status(name) not in ALIVE or not self.field(name, "waits"):
                yield Finding("I12", entry.key, f"is of {name}, which is {self.status(name) or 'gone'}")
        for name, entry in self.keyspace.of("awaiting").items():
            session = name.partition(":")[0]
            for id in entry.value:
                if self.status(id) not in ALIVE or self.field(id, "skey") != session:
                    yield Finding("I12", entry.key, f"holds {id}, which is {self.status(id) or 'gone'}")
        for kind, status in (("dead", "failed"), ("done", "completed")):
            for entry in self.keyspace.of(kind).values():
                for id in entry.value:
                    # A job that was retried under its id, or has expired since, may still be listed as done.
                    if kind == "dead" and id in self.jobs and self.status(id) != status:
                        yield Finding("I12", entry.key, f"lists {id}, which is {self.status(id)}")

    # --- sessions' states -------------------------------------------------------------------

    def told(self) -> Iterator[Finding]:
        names = dict[str, list[str]]()
        for _, entry in self.keyspace.get("log") or ():
            try:
                group = _group(entry.get(b"g", b""))
            except ValidationError:
                continue
            for id in group.jobs:
                names.setdefault(id, []).append(group.name)
        for id, heard in names.items():
            ends = [name[4:] for name in heard if name[4:] in ENDED]
            if heard[0] != "job:enqueued" or id not in self.jobs:
                continue
            if len(ends) > heard.count("job:enqueued"):
                yield Finding("I9", f"job:{id}", f"is told to have ended more often than it came: {heard}")
            elif self.status(id) in ENDED and ends[-1:] != [self.status(id)]:
                yield Finding("I9", f"job:{id}", f"is {self.status(id)}, and this was told: {heard}")

    def states(self) -> Iterator[Finding]:
        expiries = self.keyspace.get("expiries") or {}
        for name, entry in self.keyspace.of("session").items():
            record: dict[str, bytes] = entry.value
            if "sha" in record:
                if hashlib.sha256(record.get("blob", b"")).hexdigest() != text(record["sha"]):
                    yield Finding("I2", entry.key, "its state does not match its checksum")
                if entry.pttl >= 0:
                    yield Finding("I2", entry.key, "has a state, and the key itself expires")
            elif entry.pttl < 0:
                yield Finding("I12", entry.key, f"has no state and never expires: {sorted(record)[:5]}")
            if ("expires" in record) != (name in expiries):
                yield Finding("I12", entry.key, "its state's end is in one of record and `expiries` only")
            history: list[str] = self.keyspace.get("history", name) or []
            versions = [int(item.split(" ", 1)[0]) for item in history]
            if versions != sorted(set(versions), reverse=True):
                yield Finding("I2", entry.key, f"its history goes {versions[:10]}")
            if history and ("sha" not in record or versions[0] != int(record.get("version", b"0"))):
                yield Finding("I2", entry.key, f"its history begins at {versions[0]}, not at its version")
        for name in expiries:
            if name not in self.keyspace.of("session"):
                yield Finding("I12", "expiries", f"lists session {name}, which has no record")
        for name, entry in self.keyspace.of("history").items():
            if name not in self.keyspace.of("session"):
                yield Finding("I12", entry.key, "a history without a session")

    def nodes(self) -> Iterator[Finding]:
        nodes = self.keyspace.get("nodes") or {}
        for node, entry in self.keyspace.of("claims").items():
            if node not in nodes and entry.pttl < 0:
                yield Finding("I12", entry.key, "its node is gone, and it never expires")
            if float(nodes.get(node, -1)) >= 0 and entry.pttl >= 0:
                yield Finding("I1", entry.key, "its node is there, and its claims' numbers expire")
        for node, entry in self.keyspace.of("info").items():
            if node not in nodes or entry.pttl < 0:
                yield Finding("I12", entry.key, "its node is gone, or it never expires")
        for kind in ("promising", "suspects", "graces", "leases", "leaving"):
            for node in self.keyspace.get(kind) or {}:
                if node not in nodes:
                    yield Finding("I12", kind, f"{node} is not among the nodes")
        for queue, entry in self.keyspace.of("servers").items():
            for node in self.keyspace.get("servers", queue) or ():
                if node not in nodes:
                    yield Finding("I12", entry.key, f"{node} serves it and is not among the nodes")
                elif queue not in (self.keyspace.get("serves", node) or ()):
                    yield Finding("I1", entry.key, f"{node} serves it and does not know that")

    # --- the outside ------------------------------------------------------------------------

    def as_seen_outside(self, outside: Outside) -> Iterator[Finding]:
        for id, heard in outside.outcomes.items():
            status = self.status(id)
            if status in ENDED and status != heard and outside.acknowledged:
                yield Finding("I8", f"job:{id}", f"is {status}; its caller has heard {heard}")
            if status in ALIVE and outside.acknowledged:
                yield Finding("I8", f"job:{id}", f"is {status}; its caller has heard {heard}")
        if not outside.crashed:
            for id in self.jobs:
                if int(self.field(id, "stalls") or 0):
                    yield Finding("I10", f"job:{id}", f"was lost {self.field(id, 'stalls')} times")
        if outside.effects is not None:
            yield from self.effects(outside, outside.effects)

    def effects(self, outside: Outside, read: Callable[[bytes], list[str]]) -> Iterator[Finding]:
        there: set[str] = set()
        for entry in self.keyspace.of("session").values():
            record: dict[str, bytes] = entry.value
            if "sha" not in record:
                continue
            try:
                applied = read(record["blob"])
            except (msgspec.MsgspecError, KeyError) as error:
                yield Finding("I2", entry.key, f"its effects cannot be read: {error!r}")
                continue
            there.update(applied)
            version = int(record.get("version", b"0"))
            if version != len(applied):
                yield Finding("I2", entry.key, f"version {version} after {len(applied)} effects")
            for id, times in Counter(applied).items():
                if times > 1:
                    yield Finding("I2", entry.key, f"the effect of {id} is there {times} times")
        for id, session in outside.sessions.items():
            status, heard = self.status(id), outside.outcomes.get(id, "")
            if status == "completed" and id not in there:
                yield Finding("I3", f"job:{id}", f"is completed; session {session} lacks its effect")
            if heard == "completed" and id not in there and outside.acknowledged:
                yield Finding(
                    "I3", f"job:{id}", f"its caller has heard so; session {session} lacks its effect"
                )
            if id in there and status in ENDED - {"completed"}:
                yield Finding("I4", f"job:{id}", f"is {status}; session {session} has its effect")
            if id in there and heard in ENDED - {"completed"}:
                yield Finding("I4", f"job:{id}", f"was heard {heard}; session {session} has its effect")

    # --- the end ----------------------------------------------------------------------------

    def schedules(self) -> Iterator[Finding]:
        """A schedule is in line exactly when it is there, and never while it is paused."""
        line: dict[str, float] = self.keyspace.get("schedules") or {}
        kept = self.keyspace.of("schedule")
        for name, entry in kept.items():
            due = line.get(name)
            if due is None:
                yield Finding("I12", entry.key, "is in no line")
            elif due < inf and ("paused" in entry.value or not entry.value.get("next")):
                yield Finding("I12", entry.key, f"is due at {due}, and paused or at its end")
            last = text(entry.value.get("last", b""))
            if last and not last.startswith(f"s/{name}/"):
                yield Finding("I12", entry.key, f"has a last run {last} of another one")
        for name in {*line} - {*kept}:
            yield Finding("I12", "schedules", f"{name} is in line, and there is no such schedule")
        for name in {*self.keyspace.of("runs")} - {*kept}:
            yield Finding("I12", f"schedule:{name}:runs", "is of no schedule")

    def drained(self) -> Iterator[Finding]:
        for id in self.jobs:
            if self.status(id) in ALIVE:
                yield Finding("I12", f"job:{id}", f"is {self.status(id)} when all should be over")
        for entry in self.keyspace.entries:
            if entry.kind and entry.kind not in PERMANENT and entry.pttl < 0:
                yield Finding("I12", entry.key, "is left, and never expires")
