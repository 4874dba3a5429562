"""The whole product of gates: for each combination of what may stand in a job's way, what is said of the next
claim is what the next claim does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple, Protocol

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from am2z_trio.model.options import QueueOptions, RateLimit
from am2z_trio.model.records import ClaimAnswer, Enqueue, JobFacts, QueueInfo, QueueLimits, limits_of
from am2z_trio.policy.diagnosis import diagnose
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import SETTINGS, START_MS, job
from benchmarks.scripts.probe import drive
from tests.support.blocking import BlockingClient, blocking_store


class Gates(NamedTuple):
    """What stands in a job's way."""

    due: str
    deadline: str
    paused: bool
    rate: str
    session: str
    active: str
    turn: str
    priority: bool
    before: str


WAYS: dict[str, tuple[Any, ...]] = {
    "due": ("at once", "by now", "later"),
    "deadline": ("none", "ahead", "passed"),
    "paused": (False, True),
    "rate": ("none", "one more", "full"),
    "session": ("none", "one more", "full"),
    "active": ("none", "one more", "full"),
    "turn": ("none", "free", "taken"),
    "priority": (False, True),
    "before": ("nobody", "another", "one that is to end", "one of the same turn"),
}
"""Each way that each of them may be."""


class World(Protocol):
    """A store, on which time passes where it is told to."""

    now: int

    def announce(self, options: QueueOptions) -> None: ...
    def enqueue(self, *jobs: Enqueue) -> None: ...
    def claim(self, limit: int, limits: QueueLimits) -> ClaimAnswer: ...
    def pause(self) -> None: ...
    def facts(self, id: str) -> JobFacts | None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.now, self._seq, self._server = START_MS, 0, MemoryServer(SETTINGS)
        self._server.nodes.join("a", self.now)

    def announce(self, options: QueueOptions) -> None:
        info = QueueInfo(queue="q", processor="q", options=options)
        self._server.queues.announce("a", [info], self.now)

    def enqueue(self, *jobs: Enqueue) -> None:
        self._server.enqueuing.enqueue(jobs, self.now)

    def claim(self, limit: int, limits: QueueLimits) -> ClaimAnswer:
        self._seq += 1
        return self._server.claiming.claim("a", "q", self._seq, limit, self.now, limits)

    def pause(self) -> None:
        self._server.queues.pause("q", True)

    def facts(self, id: str) -> JobFacts | None:
        return self._server.facts.facts(id, self.now)


class RedisWorld:
    def __init__(self, connection: Any) -> None:
        connection.flushall()
        self.now, self._seq = START_MS, 0
        self._store: RedisStore = blocking_store(BlockingClient(connection), "a", SETTINGS, lambda: self.now)
        drive(self._store.join())

    def announce(self, options: QueueOptions) -> None:
        drive(self._store.announce([QueueInfo(queue="q", processor="q", options=options)]))

    def enqueue(self, *jobs: Enqueue) -> None:
        drive(self._store.enqueue(jobs))

    def claim(self, limit: int, limits: QueueLimits) -> ClaimAnswer:
        self._seq += 1
        return drive(self._store.claim("q", self._seq, limit, limits))

    def pause(self) -> None:
        drive(self._store.pause("q", True))

    def facts(self, id: str) -> JobFacts | None:
        return drive(self._store.inspection.facts(id))


def build(world: World, gates: Gates) -> QueueLimits:
    """Bring the store, by what nodes do, to where these stand in the way of job `j`; its queue's limits."""
    session = "s" if gates.session != "none" or gates.turn != "none" else ""
    stored = None if gates.turn != "none" else b"\x01"
    begun = [job("elsewhere")]
    if gates.turn == "taken":
        begun.append(job("holder", session="s", state=None))
    elif gates.session == "full":
        begun.append(job("mate", session="s"))
    of_session = sum(one.spec.session == "s" for one in begun)
    more = {"full": 0, "one more": 1}
    options = QueueOptions(
        limiter=RateLimit(max=len(begun) + more[gates.rate], duration=600.0) if gates.rate in more else None,
        global_concurrency=len(begun) + more[gates.active] if gates.active in more else None,
        session_concurrency=max(1, of_session + more[gates.session]) if gates.session in more else None,
    )
    limits = limits_of(options)
    world.announce(options)
    world.enqueue(*begun)
    assert len(world.claim(len(begun), limits).grants) == len(begun)
    before = {
        "another": [job("x", session=session, priority=int(gates.priority))],
        "one that is to end": [job("x", session=session, priority=int(gates.priority), deadline=1.0)],
        "one of the same turn": [job("x", session=session, priority=int(gates.priority), state=stored)],
    }
    world.enqueue(*before.get(gates.before, []))
    delay = {"at once": 0.0, "by now": 1.0, "later": 100.0}[gates.due]
    deadline = {"none": None, "ahead": 500.0, "passed": 1.0}[gates.deadline]
    world.enqueue(
        job(session=session, state=stored, delay=delay, deadline=deadline, priority=2 * gates.priority)
    )
    world.now += 2_000
    if gates.paused:
        world.pause()
    return limits


def held_against(world: World, gates: Gates) -> bool | None:
    """What is said of the job, once it is seen to be what happens to it."""
    limits = build(world, gates)
    facts = world.facts("j")
    assert facts is not None
    found, granted, again = diagnose(facts), set[str](), True
    while again:
        answer = world.claim(50, limits)
        granted.update(grant.spec.id for grant in answer.grants)
        again = answer.next_due == 0
    if found.granted_next is not None:
        assert ("j" in granted) is found.granted_next, (gates, found.verdict, found.gates)
    return found.granted_next


def every_combination() -> Iterator[Gates]:
    """But of what is told apart by one figure alone."""
    ways: dict[str, tuple[Any, ...]] = {**WAYS, "due": ("at once", "by now"), "deadline": ("none", "passed")}
    return (Gates(*chosen) for chosen in product(*ways.values()))


def test_of_every_combination_what_is_said_is_what_happens():
    said = Counter(held_against(MemoryWorld(), gates) for gates in every_combination())
    assert sum(said.values()) == 5184
    # It is no answer to know nothing.
    assert said[None] < 0.06 * sum(said.values()), said


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.builds(Gates, **{name: st.sampled_from(ways) for name, ways in WAYS.items()}))
def test_both_stores_know_the_same_of_any_combination(redis_server: Any, gates: Gates):
    with redis_server.client() as connection:
        memory, redis = MemoryWorld(), RedisWorld(connection)
        build(memory, gates)
        build(redis, gates)
        assert memory.facts("j") == redis.facts("j")
        assert held_against(MemoryWorld(), gates) == held_against(RedisWorld(connection), gates)
