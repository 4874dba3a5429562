"""The store contract as tests: what `am2z_trio.store.ports.Store` promises, sentence by sentence.

For whoever writes a store. Implement `Backend` for it, then run every case:

```python
@pytest.mark.anyio
@pytest.mark.parametrize("case", CASES)
async def test_conformance(case):
    await run_case(case, MyBackend())
```

Cases run on Trio and on asyncio. They look at the store from outside only: through the port, through
the messages its nodes hear, and through a clock that stands still until a case moves it. Each case
needs a backend of its own that holds nothing yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from am2z_trio.concurrency import CancelScope, Host, Nursery, TaskStatus, current_host
from am2z_trio.model.codec import NIL, checksum
from am2z_trio.model.errors import StateIntegrityError
from am2z_trio.model.events import Event
from am2z_trio.model.options import QueueOptions, RateLimit, Retention
from am2z_trio.model.records import (
    DEBOUNCED,
    FREE,
    NO_STATE,
    WIRE_VERSION,
    CancelRequest,
    ClaimAnswer,
    Commit,
    Enqueue,
    Flow,
    Grant,
    InboxMessage,
    JobSpec,
    JobView,
    QueueInfo,
    QueueStats,
    SettleAnswer,
    Settled,
    Settlement,
    StateRecord,
    Wake,
)
from am2z_trio.store.ports import Store, StoreSettings

SETTINGS: Final = StoreSettings(lease=60.0, result_ttl=3600.0, gone_grace=1.0)
"""What a backend's stores are to be made with. The lease is long in real time too: a store that keeps
it from a thread must not do so in the midst of a case that lets it pass on the case's own clock."""

START_MS: Final = 1_700_000_000_000

Outcome = Literal["completed", "failed", "retry", "cancelled", "released"]


class Clock:
    """Milliseconds since the epoch. Stands still until it is moved."""

    def __init__(self, now: int = START_MS) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


class Backend(Protocol):
    """What a store's author provides: the one thing that all nodes share, empty at first."""

    def store(self, node: str, clock: Clock) -> Store:
        """Make the store of one node, with `SETTINGS` and on `clock`."""
        ...

    async def wait_gone(self, node: str) -> None:
        """Return when the backend has noticed that a node which ended is not connected any more."""
        ...

    def tamper_state(self, session: str) -> bool:
        """Change the bytes of a stored state behind the store's back; `False` if that is impossible."""
        ...

    def tamper_spec(self, job: str) -> bool:
        """Make a job's spec unreadable; `False` if that is impossible."""
        ...


class Node:
    """One node's store, and all it heard."""

    def __init__(self, name: str, store: Store, host: Host) -> None:
        self.name: Final = name
        self.store: Final = store
        self._messages: list[InboxMessage] = []
        self._events: list[Event] = []
        self._scope: CancelScope = host.cancel_scope()
        self._ended = host.event()
        self._seqs: dict[str, int] = {}

    def on_message(self, message: InboxMessage) -> None:
        self._messages.append(message)

    def on_event(self, event: Event) -> None:
        if not event.name.startswith("connection:"):
            self._events.append(event)

    def on_reconnect(self) -> None:
        pass

    async def run(self, *, task_status: TaskStatus) -> None:
        try:
            with self._scope:
                await self.store.run(self, task_status=task_status)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._ended.wait()

    async def heard(self) -> list[InboxMessage]:
        """Take the messages that had been sent to this node when this was called."""
        await self.store.ping()
        messages, self._messages = self._messages, []
        return messages

    async def events(self) -> list[Event]:
        """Take the events, as `heard` takes the messages."""
        await self.store.ping()
        events, self._events = self._events, []
        return events

    async def claim(self, limit: int = 1, queue: str = "q", flow: Flow = FREE) -> list[Grant]:
        """Claim with the next `seq`; the answer must be a plain one."""
        return (await self.claim_answer(limit, queue, flow)).grants

    async def claim_answer(self, limit: int = 1, queue: str = "q", flow: Flow = FREE) -> ClaimAnswer:
        answer = await self.store.claim(queue, self.next_seq(queue), limit, flow)
        assert not answer.lost
        assert not answer.stale
        assert not answer.unreadable
        return answer

    async def claim_one(self, queue: str = "q") -> Grant:
        (grant,) = await self.claim(1, queue)
        return grant

    def next_seq(self, queue: str = "q") -> int:
        self._seqs[queue] = self._seqs.get(queue, 0) + 1
        return self._seqs[queue]

    async def settle(
        self,
        grant: Grant,
        outcome: Outcome = "completed",
        *,
        result: bytes = b"",
        reason: str = "",
        delay: float = 0.0,
        commit: Commit | None = None,
    ) -> SettleAnswer:
        settlement = Settlement(
            id=grant.spec.id,
            token=grant.token,
            outcome=outcome,
            result=result,
            reason=reason,
            delay=delay,
            commit=commit,
        )
        (answer,) = await self.store.settle([settlement])
        return answer

    async def view(self, job: str) -> JobView:
        (view,) = await self.store.view([job])
        assert view is not None, f"there is no record of {job}"
        return view

    async def status(self, job: str) -> str:
        return (await self.view(job)).status

    async def stats(self, queue: str = "q") -> QueueStats:
        (stats,) = await self.store.stats([queue])
        return stats

    async def state(self, session: str = "s") -> StateRecord:
        """Read a session's state, without its times."""
        record = timeless(await self.store.states.read(session))
        assert record is not None
        return record


class Bench:
    """What a case works with: nodes on one backend, and the clock."""

    def __init__(self, backend: Backend, nursery: Nursery) -> None:
        self.backend: Final = backend
        self.clock: Final = Clock()
        self._nursery = nursery
        self._host = current_host()

    async def connect(self, name: str = "a") -> Node:
        """Open a node's store; it holds no lease yet."""
        node = Node(name, self.backend.store(name, self.clock), self._host)
        await self._nursery.start(node.run)
        return node

    async def node(self, name: str = "a") -> Node:
        """Open a node's store and take a lease."""
        node = await self.connect(name)
        await node.store.join()
        await node.store.announce([QueueInfo(queue="q", processor="work")])
        return node

    async def crash(self, node: Node) -> None:
        """End a node without a farewell; returns when the backend has noticed."""
        await node.stop()
        await self.backend.wait_gone(node.name)


async def run_case(name: str, backend: Backend) -> None:
    """Run one case of `CASES` on a fresh backend. Fails by `AssertionError`."""
    async with current_host().open_nursery() as nursery:
        await getattr(StoreConformance(), name)(Bench(backend, nursery))
        nursery.cancel_scope.cancel()


def job(
    id: str = "j",
    queue: str = "q",
    *,
    session: str = "",
    origin: str = "",
    state: bytes | None = b"\x01",
    priority: int = 0,
    delay: float = 0.0,
    parent: str = "",
    **options: Any,
) -> Enqueue:
    """Make one job; `state=None` works on the stored state. `options` are `Enqueue`'s."""
    spec = JobSpec(
        version=WIRE_VERSION,
        id=id,
        processor="work",
        session=session,
        state=NO_STATE if state is None else msgspec.Raw(state),
        origin=origin,
        parent=parent,
    )
    return Enqueue(spec=spec, queue=queue, priority=priority, delay=delay, **options)


def commit(text: str, expected: StateRecord | tuple[int, str] | None = (0, "")) -> Commit:
    """Make a commit of some bytes; `expected` as in `Commit`, or the state itself."""
    blob = msgspec.msgpack.encode(text)
    if isinstance(expected, StateRecord):
        expected = expected.mark
    return Commit(blob=blob, checksum=checksum(blob), expected=expected)


def version(number: int, text: str = "") -> StateRecord:
    """The state that `commit(text)` leaves as version `number`, without its times; no text: no state."""
    blob = msgspec.msgpack.encode(text) if text else b""
    return StateRecord(version=number, checksum=checksum(blob) if text else "", blob=blob)


def timeless(record: StateRecord | None) -> StateRecord | None:
    """A record without its times."""
    return record and msgspec.structs.replace(record, created=0, updated=0)


def settled(
    id: str, status: Literal["completed", "failed", "cancelled"], reason: str = "", result: bytes = b""
) -> Settled:
    """The message that tells of an end."""
    return Settled(id, status, reason, msgspec.Raw(result) if result else NIL)


def _ids(grants: Sequence[Grant]) -> list[str]:
    return [grant.spec.id for grant in grants]


def _names(events: Sequence[Event]) -> list[str]:
    return [event.name for event in events]


class StoreConformance:
    """The cases. Each is an async method that takes a `Bench` and asserts."""

    # --- enqueue ----------------------------------------------------------------------------

    async def test_an_accepted_job_is_granted_as_it_was_given(self, bench: Bench) -> None:
        a = await bench.node()
        request = job("j", session="s", origin="a", state=b"\xa3abc")
        (answer,) = await a.store.enqueue([request])
        assert answer.status == "queued"
        assert answer.settled is None
        assert await a.status("j") == "waiting"
        grant = await a.claim_one()
        assert grant.spec == request.spec
        assert (grant.attempt, grant.deliveries, grant.remaining, grant.stored) == (1, 1, None, None)
        assert await a.status("j") == "active"

    async def test_no_job_is_not_an_error(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.enqueue([]) == []
        assert await a.store.settle([]) == []
        assert await a.store.view([]) == []
        assert await a.store.stats([]) == []
        await a.store.announce([])
        await a.store.publish([])

    async def test_a_known_id_is_a_duplicate_and_changes_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        first, again = await a.store.enqueue([job("j", state=b"\x01"), job("j", state=b"\x02")])
        assert (first.status, again.status, again.settled) == ("queued", "dup", None)
        (grant,) = await a.claim(10)
        assert bytes(grant.spec.state) == b"\x01"
        (again,) = await a.store.enqueue([job("j")])
        assert (again.status, again.settled) == ("dup", None)
        assert (await a.stats()).active == 1

    async def test_a_duplicate_of_an_ended_job_has_its_outcome(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("done"), job("broken"), job("unwanted")])
        done, broken = await a.claim(2)
        await a.settle(done, "completed", result=b"\x05")
        await a.settle(broken, "failed", result=b"\x06")
        await a.store.cancel("unwanted", "why not")
        answers = await a.store.enqueue([job("done"), job("broken"), job("unwanted")])
        assert [answer.status for answer in answers] == ["dup"] * 3
        assert [answer.settled for answer in answers] == [
            settled("done", "completed", result=b"\x05"),
            settled("broken", "failed", result=b"\x06"),
            settled("unwanted", "cancelled", "why not"),
        ]
        assert await a.claim(10) == []

    async def test_every_origin_of_a_job_hears_its_outcome_once(self, bench: Bench) -> None:
        a, b, c = await bench.node("a"), await bench.node("b"), await bench.node("c")
        await a.store.enqueue([job("j", origin="a")])
        await b.store.enqueue([job("j", origin="b")])
        await b.store.enqueue([job("j", origin="b")])
        await a.store.enqueue([job("j", origin="a")])
        await c.store.enqueue([job("j")])
        await c.settle(await c.claim_one(), result=b"\x07")
        assert await a.heard() == [settled("j", "completed", result=b"\x07")]
        assert await b.heard() == [settled("j", "completed", result=b"\x07")]
        assert await c.heard() == []

    async def test_first_in_first_out(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{i}") for i in range(4)])
        await a.store.enqueue([job("j4"), job("j5")])
        assert _ids(await a.claim(2)) == ["j0", "j1"]
        assert _ids(await a.claim(9)) == ["j2", "j3", "j4", "j5"]

    async def test_jobs_without_priority_go_first_then_the_most_urgent(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue(
            [
                job("low", priority=2_097_151),
                job("mid", priority=7),
                job("mid2", priority=7),
                job("top", priority=1),
            ]
        )
        await a.store.enqueue([job("plain")])
        assert _ids(await a.claim(2)) == ["plain", "top"]
        assert _ids(await a.claim(9)) == ["mid", "mid2", "low"]

    async def test_queues_are_apart(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1", "q"), job("j2", "q@s")])
        assert _ids(await a.claim(9, "q@s")) == ["j2"]
        assert _ids(await a.claim(9, "q")) == ["j1"]

    async def test_a_delayed_job_waits_until_it_is_due(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("far", delay=9.0), job("near", delay=2.5)])
        answer = await a.store.claim("q", a.next_seq(), 5)
        assert (answer.grants, answer.next_due) == ([], 2.5)
        assert await a.status("near") == "later"
        bench.clock.advance(2.499)
        answer = await a.store.claim("q", a.next_seq(), 5)
        assert (answer.grants, answer.next_due) == ([], 0.001)
        bench.clock.advance(0.001)
        answer = await a.store.claim("q", a.next_seq(), 5)
        assert (_ids(answer.grants), answer.next_due) == (["near"], 6.5)
        bench.clock.advance(100)
        answer = await a.store.claim("q", a.next_seq(), 5)
        assert (_ids(answer.grants), answer.next_due) == (["far"], None)

    async def test_a_delayed_job_keeps_its_priority(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("urgent", priority=1, delay=1.0), job("other", priority=5)])
        await a.store.enqueue([job("plain", delay=1.0)])
        bench.clock.advance(1)
        assert _ids(await a.claim(9)) == ["plain", "urgent", "other"]

    # --- claim ------------------------------------------------------------------------------

    async def test_a_claim_takes_at_most_its_limit(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{i}") for i in range(5)])
        assert len(await a.claim(3)) == 3
        assert len(await a.claim(3)) == 2
        assert await a.claim(3) == []

    async def test_tokens_are_never_granted_twice(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{i}") for i in range(5)])
        tokens = set[str]()
        for _ in range(3):
            for grant in await a.claim(5):
                tokens.add(grant.token)
                await a.settle(grant, "released")
        assert len(tokens) == 15

    async def test_the_same_claim_again_gives_the_grants_that_stand(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1"), job("j2", session="s", state=None, deadline=9.0), job("j3")])
        first = await a.store.claim("q", 1, 2)
        assert _ids(first.grants) == ["j1", "j2"]
        assert await a.store.claim("q", 1, 2) == first
        assert (await a.view("j1")).deliveries == 1
        await a.settle(first.grants[0])
        again = await a.store.claim("q", 1, 2)
        assert again.grants == first.grants[1:]
        await a.settle(first.grants[1], "released")
        assert (await a.store.claim("q", 1, 2)).grants == []

    async def test_a_late_duplicate_of_a_claim_is_stale(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1"), job("j2"), job("j3")])
        await a.store.claim("q", 1, 1)
        await a.store.claim("q", 2, 1)
        answer = await a.store.claim("q", 1, 1)
        assert (answer.stale, answer.lost, answer.grants) == (True, False, [])
        assert await a.status("j3") == "waiting"

    async def test_seqs_belong_to_a_node_and_a_queue(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j1"), job("j2"), job("k", "other")])
        assert _ids((await a.store.claim("q", 5, 1)).grants) == ["j1"]
        assert _ids((await b.store.claim("q", 1, 1)).grants) == ["j2"]
        assert _ids((await a.store.claim("other", 1, 1)).grants) == ["k"]

    async def test_a_node_without_a_lease_gets_nothing(self, bench: Bench) -> None:
        a = await bench.connect("a")
        await a.store.enqueue([job("j")])
        answer = await a.store.claim("q", 1, 1)
        assert (answer.lost, answer.grants) == (True, [])
        assert await a.status("j") == "waiting"
        await a.store.join()
        assert _ids((await a.store.claim("q", 1, 1)).grants) == ["j"]

    async def test_an_unreadable_job_is_told_apart_and_can_be_failed(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("good"), job("bad", origin="a")])
        if not bench.backend.tamper_spec("bad"):
            return
        answer = await a.store.claim("q", 1, 5)
        assert _ids(answer.grants) == ["good"]
        (bad,) = answer.unreadable
        assert (bad.id, bad.reason != "") == ("bad", True)
        (outcome,) = await a.store.settle(
            [Settlement(id="bad", token=bad.token, outcome="failed", result=b"\x09")]
        )
        assert (outcome.status, outcome.outcome) == ("applied", "failed")
        assert await a.heard() == [settled("bad", "failed", result=b"\x09")]

    async def test_a_job_past_its_deadline_fails_instead_of_being_granted(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue(
            [job("late", deadline=2.0, origin="a"), job("ok", deadline=2.5), job("past", deadline=-3.0)]
        )
        bench.clock.advance(2.001)
        (grant,) = await a.claim(2)
        assert grant.spec.id == "ok"
        assert grant.remaining == 0.499
        assert (await a.view("late")).settled == settled("late", "failed", "deadline")
        assert await a.status("past") == "failed"
        assert await a.heard() == [settled("late", "failed", "deadline")]
        assert await a.stats() == QueueStats(active=1, failed=2, dead=2)

    async def test_a_deadline_counts_from_the_enqueue_and_may_pass_while_active(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", deadline=2.0)])
        grant = await a.claim_one()
        assert grant.remaining == 2.0
        bench.clock.advance(5)
        assert (await a.settle(grant)).status == "applied"

    # --- settle -----------------------------------------------------------------------------

    async def test_completed(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a")])
        answer = await b.settle(await b.claim_one(), "completed", result=b"\xa2ok")
        assert answer == SettleAnswer(status="applied", outcome="completed")
        view = await a.view("j")
        assert (view.status, view.settled) == ("completed", settled("j", "completed", result=b"\xa2ok"))
        assert await a.heard() == [settled("j", "completed", result=b"\xa2ok")]
        assert await a.stats() == QueueStats(completed=1)

    async def test_failed(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", origin="a")])
        answer = await a.settle(await a.claim_one(), "failed", result=b"\xa2no")
        assert answer == SettleAnswer(status="applied", outcome="failed")
        assert await a.heard() == [settled("j", "failed", result=b"\xa2no")]
        assert await a.stats() == QueueStats(failed=1, dead=1)

    async def test_cancelled(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", origin="a")])
        answer = await a.settle(await a.claim_one(), "cancelled", result=b"\x01", reason="stopped")
        assert answer == SettleAnswer(status="applied", outcome="cancelled")
        assert await a.heard() == [settled("j", "cancelled", "stopped", b"\x01")]
        assert await a.stats() == QueueStats(cancelled=1)

    async def test_retry_at_once_goes_to_the_end_of_the_queue(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", origin="a"), job("k")])
        answer = await a.settle(await a.claim_one(), "retry", result=b"\x01")
        assert answer == SettleAnswer(status="applied", outcome="retry")
        assert await a.heard() == []
        k, j = await a.claim(2)
        assert (k.spec.id, j.spec.id) == ("k", "j")
        assert (j.attempt, j.deliveries) == (2, 2)

    async def test_retry_after_a_while_waits_for_it(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        await a.settle(await a.claim_one(), "retry", delay=4.0)
        assert await a.stats() == QueueStats(delayed=1)
        answer = await a.store.claim("q", a.next_seq(), 1)
        assert (answer.grants, answer.next_due) == ([], 4.0)
        bench.clock.advance(4)
        assert (await a.claim_one()).attempt == 2

    async def test_released_goes_to_the_front_and_uses_no_attempt(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j"), job("k"), job("p", priority=3), job("p2", priority=3)])
        j = await a.claim_one()
        answer = await a.settle(j, "released")
        assert answer == SettleAnswer(status="applied", outcome="released")
        j, _k, p = await a.claim(3)
        assert (j.spec.id, j.attempt, j.deliveries) == ("j", 1, 2)
        await a.settle(p, "released")
        assert _ids(await a.claim(9)) == ["p", "p2"]
        assert (await a.view("j")).stalls == 0

    async def test_a_settlement_again_is_a_replay_with_the_same_outcome(self, bench: Bench) -> None:
        a = await bench.node()
        outcomes: tuple[Outcome, ...] = ("completed", "failed", "cancelled", "retry", "released")
        for outcome in outcomes:
            await a.store.enqueue([job(outcome, origin="a", session=outcome)])
            grant = await a.claim_one()
            change = commit("x") if outcome == "completed" else None
            assert (await a.settle(grant, outcome, delay=500, commit=change)).status == "applied"
            before = (
                await a.heard(),
                await a.view(outcome),
                await a.stats(),
                await a.state(outcome),
            )
            again = await a.settle(grant, outcome, delay=500, commit=change)
            assert again == SettleAnswer(status="replay", outcome=outcome)
            again = await a.settle(grant, "failed", result=b"\x33")
            assert again == SettleAnswer(status="replay", outcome=outcome)
            assert await a.heard() == []
            after = before[0], await a.view(outcome), await a.stats(), await a.state(outcome)
            assert after == before

    async def test_a_settlement_twice_in_one_call_is_applied_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s")])
        grant = await a.claim_one()
        once = Settlement(id="j", token=grant.token, outcome="completed", commit=commit("x"))
        first, second = await a.store.settle([once, once])
        assert (first.status, second.status) == ("applied", "replay")
        assert await a.state("s") == version(1, "x")

    async def test_a_token_that_is_not_the_current_one_is_fenced(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s"), job("waiting", "other")])
        old = await a.claim_one()
        await a.settle(old, "released")
        new = await a.claim_one()
        (answer,) = await a.store.settle([Settlement(id="j", token="0:other", outcome="completed")])
        assert answer.status == "fenced"
        (answer,) = await a.store.settle([Settlement(id="waiting", token="", outcome="completed")])
        assert answer.status == "fenced"
        await a.settle(new, "released")
        newest = await a.claim_one()
        answer = await a.settle(old, "completed", commit=commit("x"))
        assert answer.status == "fenced"
        assert await a.status("j") == "active"
        assert not (await a.state("s")).exists
        assert (await a.settle(newest)).status == "applied"
        assert (await a.settle(old)).status == "fenced"

    async def test_no_token_settles_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("cancelled"), job("waiting")])
        await a.store.cancel("cancelled", "")
        for id in ("cancelled", "waiting"):
            (answer,) = await a.store.settle([Settlement(id=id, token="", outcome="completed")])
            assert answer.status == "fenced"

    async def test_a_job_without_a_record_is_gone(self, bench: Bench) -> None:
        a = await bench.node()
        (answer,) = await a.store.settle([Settlement(id="nobody", token="1:x", outcome="completed")])
        assert answer == SettleAnswer(status="gone")
        assert await a.store.view(["nobody"]) == [None]

    async def test_settlements_are_answered_one_by_one(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1"), job("j2"), job("j3")])
        j1, j2, j3 = await a.claim(3)
        await a.settle(j2)
        answers = await a.store.settle(
            [
                Settlement(id="j1", token=j1.token, outcome="completed"),
                Settlement(id="j2", token=j2.token, outcome="completed"),
                Settlement(id="nobody", token="1:x", outcome="completed"),
                Settlement(id="j3", token=j1.token, outcome="completed"),
                Settlement(id="j3", token=j3.token, outcome="retry"),
            ]
        )
        assert [answer.status for answer in answers] == ["applied", "replay", "gone", "fenced", "applied"]

    # --- states -----------------------------------------------------------------------------

    async def test_a_state_is_committed_with_its_settlement(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert not (await a.state("s")).exists
        await a.store.enqueue([job("j1", session="s"), job("j2", session="s")])
        j1, j2 = await a.claim(2)
        assert (await a.settle(j1, commit=commit("one"))).status == "applied"
        assert await b.state("s") == version(1, "one")
        assert (await a.settle(j2, commit=commit("two", version(1, "one")))).status == "applied"
        assert await b.state("s") == version(2, "two")
        assert not (await b.state("other")).exists

    async def test_a_state_that_moved_is_a_conflict_and_the_claim_stands(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{i}", session="s", origin="a") for i in range(3)])
        j0, j1, j2 = await a.claim(3)
        answer = await a.settle(j0, commit=commit("x", (3, "no")))
        assert answer == SettleAnswer(status="conflict", current=version(0))
        await a.settle(j0, commit=commit("one"))
        await a.heard()
        answer = await a.settle(j1, commit=commit("two"))
        assert (answer.status, timeless(answer.current)) == ("conflict", version(1, "one"))
        # The version alone is not enough: versions repeat where a server lost its tail.
        answer = await a.settle(j1, commit=commit("two", (1, checksum(b"other"))))
        assert answer.status == "conflict"
        assert await a.status("j1") == "active"
        assert await a.heard() == []
        assert await a.state("s") == version(1, "one")
        assert (await a.settle(j1, commit=commit("two", version(1, "one")))).status == "applied"
        # In either order: a settlement that conflicts is no replay, and none that was applied conflicts.
        assert (await a.settle(j1, commit=commit("two", version(1, "one")))).status == "replay"
        assert (await a.settle(j2, "released", commit=commit("x"))).status == "applied"

    async def test_an_unconditional_commit_always_lands(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1", session="s"), job("j2", session="s")])
        j1, j2 = await a.claim(2)
        await a.settle(j1, commit=commit("one", None))
        assert await a.state("s") == version(1, "one")
        await a.settle(j2, commit=commit("two", None))
        assert await a.state("s") == version(2, "two")

    async def test_what_does_not_complete_has_no_effect(self, bench: Bench) -> None:
        a = await bench.node()
        outcomes: tuple[Outcome, ...] = ("failed", "cancelled", "retry", "released")
        await a.store.enqueue([job(outcome, session="s") for outcome in outcomes])
        for grant, outcome in zip(await a.claim(9), outcomes, strict=True):
            assert (await a.settle(grant, outcome, delay=99, commit=commit("x"))).status == "applied"
        assert not (await a.state("s")).exists

    async def test_a_job_on_the_stored_state_is_granted_with_it(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j0", session="s"), job("j1", session="s", state=None)])
        j0, j1 = await a.claim(2)
        assert j1.stored == version(0)
        await a.settle(j0, commit=commit("one"))
        await a.settle(j1, "released")
        j1 = await a.claim_one()
        assert timeless(j1.stored) == version(1, "one")
        await a.store.enqueue([job("j2", session="s")])
        assert (await a.claim_one()).stored is None

    async def test_a_job_without_a_session_has_no_state(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j1", state=None), job("j2"), job("j3")])
        j1, j2, j3 = await a.claim(9)
        assert j1.stored is None
        answers = await a.store.settle(
            [
                Settlement(id=j1.spec.id, token=j1.token, outcome="completed", commit=commit("x", None)),
                Settlement(id=j2.spec.id, token=j2.token, outcome="completed", commit=commit("x")),
                Settlement(id=j3.spec.id, token=j3.token, outcome="completed"),
            ]
        )
        assert [answer.status for answer in answers] == ["applied"] * 3
        assert not (await a.state("")).exists

    async def test_a_tampered_state_is_never_returned(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s")])
        await a.settle(await a.claim_one(), commit=commit("one"))
        if not bench.backend.tamper_state("s"):
            return
        try:
            await a.store.states.read("s")
        except StateIntegrityError:
            pass
        else:
            raise AssertionError("a state that does not match its checksum was returned")

    # --- progress ---------------------------------------------------------------------------

    async def test_progress_is_kept_and_fenced(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j"), job("k")])
        old = await a.claim_one()
        assert await a.store.report("j", old.token, 0.25) is True
        assert (await a.view("j")).progress == 0.25
        await a.settle(old, "released")
        assert await a.store.report("j", old.token, 0.5) is False
        new = await a.claim_one()
        assert await a.store.report("j", old.token, 0.5) is False
        assert await a.store.report("j", "", 0.5) is False
        assert await a.store.report("k", "", 0.5) is False
        assert await a.store.report("nobody", "1:x", 0.5) is False
        assert (await a.view("j")).progress == 0.25
        assert await a.store.report("j", new.token, 1e6) is True
        await a.settle(new)
        assert await a.store.report("j", new.token, 2.0) is False
        assert (await a.view("j")).progress == 1e6

    # --- cancel -----------------------------------------------------------------------------

    async def test_cancelling_a_job_that_waits_ends_it_at_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue(
            [job("w", origin="a"), job("p", priority=2, origin="a"), job("l", delay=5.0, origin="a")]
        )
        for id, before in (("w", "waiting"), ("p", "waiting"), ("l", "later")):
            assert await a.store.cancel(id, "unwanted") == before
            assert await a.heard() == [settled(id, "cancelled", "unwanted")]
            assert (await a.view(id)).settled == settled(id, "cancelled", "unwanted")
            assert await a.store.cancel(id, "again") == "cancelled"
            assert await a.heard() == []
        bench.clock.advance(10)
        answer = await a.store.claim("q", 1, 9)
        assert (answer.grants, answer.next_due) == ([], None)
        assert await a.stats() == QueueStats(cancelled=3)

    async def test_cancelling_an_active_job_tells_its_node(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a")])
        grant = await b.claim_one()
        assert await a.store.cancel("j", "enough") == "active"
        assert await b.heard() == [CancelRequest("j", grant.token, "enough")]
        assert await a.heard() == []
        assert await a.status("j") == "active"
        answer = await b.settle(grant, "cancelled")
        assert answer.outcome == "cancelled"
        assert await a.heard() == [settled("j", "cancelled", "enough")]

    async def test_a_job_may_complete_before_it_hears_of_its_cancellation(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await a.store.cancel("j", "enough")
        assert (await a.settle(grant, "completed")).outcome == "completed"
        assert await a.store.cancel("j", "enough") == "completed"
        assert (await a.view("j")).settled == settled("j", "completed")

    async def test_retry_and_release_of_a_cancelled_job_end_it(self, bench: Bench) -> None:
        a = await bench.node()
        outcomes: tuple[Outcome, ...] = ("retry", "released")
        for outcome in outcomes:
            await a.store.enqueue([job(outcome, origin="a")])
            grant = await a.claim_one()
            await a.store.cancel(outcome, "")
            await a.heard()
            answer = await a.settle(grant, outcome, delay=3.0)
            assert answer == SettleAnswer(status="applied", outcome="cancelled")
            assert await a.heard() == [settled(outcome, "cancelled")]
            again = await a.settle(grant, outcome, delay=3.0)
            assert again == SettleAnswer(status="replay", outcome="cancelled")
        assert await a.claim(9) == []

    async def test_cancelling_nothing_is_none(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.cancel("nobody", "") is None

    async def test_cancel_nowait_takes_effect(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        a.store.cancel_nowait("j", "gone")
        await a.store.ping()
        assert (await a.view("j")).settled == settled("j", "cancelled", "gone")

    async def test_a_cancellation_outlives_the_node_that_should_have_heard(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a")])
        await b.claim_one()
        await bench.crash(b)
        assert await a.store.cancel("j", "enough") == "active"
        await a.store.tick()
        bench.clock.advance(SETTINGS.gone_grace)
        assert (await a.store.tick()).reaped == 1
        assert await a.heard() == [settled("j", "cancelled", "enough")]
        assert await a.claim(9) == []

    # --- waking -----------------------------------------------------------------------------

    async def test_a_claim_that_finds_too_little_parks_and_is_woken_once(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.claim(1) == []
        await b.store.enqueue([job("j1"), job("j2")])
        assert await a.heard() == [Wake("q")]
        assert len(await a.claim(2)) == 2
        await b.store.enqueue([job("j3")])
        assert await a.heard() == []
        assert len(await a.claim(2)) == 1
        await b.store.enqueue([job("j4")])
        assert await a.heard() == [Wake("q")]

    async def test_one_node_is_woken_per_job(self, bench: Bench) -> None:
        nodes = [await bench.node(name) for name in "abc"]
        for node in nodes:
            assert await node.claim(1) == []
            bench.clock.advance(0.001)
        await nodes[0].store.enqueue([job("j1")])
        assert [await node.heard() for node in nodes] == [[Wake("q")], [], []]
        await nodes[0].store.enqueue([job("j2"), job("j3"), job("j4")])
        assert [await node.heard() for node in nodes] == [[], [Wake("q")], [Wake("q")]]

    async def test_a_dead_node_is_skipped(self, bench: Bench) -> None:
        a, b, c = await bench.node("a"), await bench.node("b"), await bench.node("c")
        assert await a.claim(1) == []
        bench.clock.advance(0.001)
        assert await b.claim(1) == []
        await bench.crash(a)
        await c.store.enqueue([job("j")])
        assert await b.heard() == [Wake("q")]

    async def test_the_first_delayed_job_wakes_a_node_to_learn_when(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.claim(1) == []
        await a.store.enqueue([job("late", delay=9.0)])
        assert await a.heard() == [Wake("q")]
        assert (await a.store.claim("q", a.next_seq(), 1)).next_due == 9.0
        await a.store.enqueue([job("later", delay=10.0)])
        assert await a.heard() == []
        await a.store.enqueue([job("sooner", delay=1.0)])
        assert await a.heard() == [Wake("q")]

    async def test_retry_and_release_wake_a_node(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j1"), job("j2"), job("j3")])
        j1, j2, j3 = await a.claim(3)
        outcomes: tuple[Outcome, ...] = ("retry", "released")
        for grant, outcome in zip((j1, j2), outcomes, strict=True):
            assert await b.claim(1) == []
            await a.settle(grant, outcome)
            assert await b.heard() == [Wake("q")]
            assert _ids(await b.claim(1)) == [grant.spec.id]
        assert await b.claim(1) == []
        await a.settle(j3, "retry", delay=5.0)
        assert await b.heard() == [Wake("q")]

    async def test_unpark_leaves_the_lot(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.claim(1) == []
        await a.store.unpark("q")
        await b.store.enqueue([job("j")])
        assert await a.heard() == []

    async def test_unpark_passes_the_wake_up_on(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        for request in (job("j"), job("p", priority=4), job("l", delay=7.0)):
            assert await a.claim(1) == []
            bench.clock.advance(0.001)
            assert await b.claim(1) == []
            await b.store.enqueue([request])
            assert await a.heard() == [Wake("q")]
            await a.store.unpark("q")
            assert await b.heard() == [Wake("q")]
            await b.store.cancel(request.spec.id, "")
            await b.claim(1)
            await b.store.unpark("q")

    async def test_unpark_without_work_wakes_nobody(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert await a.claim(1) == []
        assert await b.claim(1) == []
        await a.store.unpark("q")
        assert await b.heard() == []

    async def test_tick_wakes_a_queue_that_has_work_and_a_parked_node(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("soon", delay=5.0)])
        assert await a.claim(1) == []
        await a.store.tick()
        assert await a.heard() == []
        bench.clock.advance(5)
        await a.store.tick()
        assert await a.heard() == [Wake("q")]

    # --- queues -----------------------------------------------------------------------------

    async def test_queues_are_known_in_order_of_their_first_announcement(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        assert await a.store.known_queues() == []
        z = QueueInfo(queue="z", processor="zed")
        m = QueueInfo(queue="m@~x", processor="em", session="the session")
        c = QueueInfo(
            queue="c", processor="see", options=QueueOptions(max_size=7, limiter=RateLimit(max=1, duration=2))
        )
        await a.store.announce([z, m])
        await b.store.announce([c, m, z])
        bench.clock.advance(1)
        await a.store.announce([z])
        assert await b.store.known_queues() == [z, m, c]

    async def test_stats_count_each_queue(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.stats(["q", "empty"]) == [QueueStats(), QueueStats()]
        await a.store.enqueue([job(f"j{i}") for i in range(6)])
        await a.store.enqueue([job("l", delay=5.0), job("k", "other")])
        assert await a.store.stats(["q", "other", "empty"]) == [
            QueueStats(waiting=6, delayed=1),
            QueueStats(waiting=1),
            QueueStats(),
        ]
        j0, j1, j2, j3 = await a.claim(4)
        await a.settle(j0, "completed")
        await a.settle(j1, "failed")
        await a.settle(j2, "cancelled")
        await a.settle(j3, "retry", delay=3.0)
        assert await a.stats() == QueueStats(waiting=2, completed=1, failed=1, dead=1, cancelled=1, delayed=2)

    # --- nodes ------------------------------------------------------------------------------

    async def test_tick_renews_the_lease(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        for _ in range(3):
            bench.clock.advance(SETTINGS.lease * 0.75)
            answer = await a.store.tick()
            assert (answer.lost, answer.reaped) == (False, 0)
            assert (await b.store.tick()).lost is False
        assert (await a.settle(grant)).status == "applied"

    async def test_jobs_that_are_lost_again_come_back_one_by_one(self, bench: Bench) -> None:
        ids = ["j1", "j2", "j3"]
        a = await bench.node("a")
        await a.store.enqueue([job(id) for id in ids])
        for loss, order in enumerate([ids, ids, ids[::-1], ids], start=1):
            lost = await bench.node(f"lost{loss}")
            came: list[str] = []
            while len(came) < 3:
                grants = await lost.claim(9)
                came += _ids(grants)
                if loss == 1:
                    assert _ids(grants) == ids
                elif loss == 2:
                    # After the first loss they came back together.
                    assert sorted(came) == ids
                else:
                    assert len(grants) <= 1
                    bench.clock.advance(0.125)
            if loss > 2:
                assert came == order
            await a.store.tick()
            bench.clock.advance(SETTINGS.lease + 0.001)
            await a.store.tick()

    async def test_a_call_that_completes_takes_its_parents_losses_away(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("p", max_stalled=1)])
        for n in range(4):
            lost = await bench.node(f"lost{n}")
            await lost.claim_one()
            bench.clock.advance(SETTINGS.lease + 0.001)
            await a.store.tick()
            assert (await a.view("p")).stalls == 1
            parent = await a.claim_one()
            await a.store.enqueue([job(f"c{n}", parent="p")])
            await a.settle(await a.claim_one(), "completed")
            assert (await a.view("p")).stalls == 0
            await a.settle(parent, "released")

    async def test_a_node_whose_lease_has_passed_is_reaped(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", origin="a"), job("k")])
        old = await a.claim_one()
        bench.clock.advance(SETTINGS.lease / 2)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.lease / 2 + 0.001)
        assert (await b.store.tick(reap=False)).reaped == 0
        assert (await b.store.tick()).reaped == 1
        view = await b.view("j")
        assert (view.status, view.stalls) == ("waiting", 1)
        new = await b.claim_one()
        assert (new.spec.id, new.attempt, new.deliveries) == ("j", 1, 2)
        assert (await a.settle(old)).status == "fenced"
        assert await a.store.report("j", old.token, 0.5) is False
        assert await a.heard() == []
        assert (await a.store.claim("q", a.next_seq(), 1)).lost is True
        assert (await a.store.tick()).lost is True
        assert (await b.settle(new)).status == "applied"
        assert await a.heard() == [settled("j", "completed")]
        await a.store.join()
        assert (await a.store.tick()).lost is False
        assert _ids(await a.claim(1)) == ["k"]

    async def test_what_was_taken_from_a_node_is_fenced_before_it_is_granted_again(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j"), job("k", max_stalled=0)])
        j, k = await a.claim(2)
        bench.clock.advance(SETTINGS.lease + 0.001)
        assert (await b.store.tick()).reaped == 2
        # Settled with this token? No: somebody else ended the claim.
        assert (await a.settle(j)).status == "fenced"
        assert (await a.settle(k)).status == "fenced"

    async def test_a_node_without_a_subscriber_is_reaped_after_the_grace(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        await a.claim_one()
        await bench.crash(a)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.gone_grace - 0.001)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(0.001)
        assert (await b.store.tick()).reaped == 1
        assert (await b.claim_one()).spec.id == "j"

    async def test_a_node_that_is_back_within_the_grace_keeps_its_claims(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await bench.crash(a)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.gone_grace / 2)
        a = await bench.connect("a")
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.gone_grace)
        assert (await b.store.tick()).reaped == 0
        await bench.crash(a)
        assert (await b.store.tick()).reaped == 0
        a = await bench.connect("a")
        assert (await a.settle(grant)).status == "applied"

    async def test_a_job_that_loses_too_many_nodes_fails(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.enqueue([job("j", origin="b", max_stalled=1)])
        for stalls in (1, 2):
            (grant,) = await a.claim(1)
            assert (grant.attempt, grant.deliveries) == (1, stalls)
            bench.clock.advance(SETTINGS.lease + 1)
            await b.store.tick()
            assert (await b.view("j")).stalls == stalls
            await a.store.join()
        assert await b.heard() == [settled("j", "failed", "stalled")]
        assert (await b.view("j")).settled == settled("j", "failed", "stalled")
        assert await b.stats() == QueueStats(failed=1, dead=1)

    async def test_leave_hands_back_without_using_budget(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j1"), job("j2", priority=1)])
        j1, _ = await a.claim(2)
        assert await b.claim(1) == []
        await a.store.leave()
        assert await b.heard() == [Wake("q")]
        grants = {grant.spec.id: grant for grant in await b.claim(9)}
        assert {id: (grant.attempt, grant.deliveries) for id, grant in grants.items()} == {
            "j1": (1, 2),
            "j2": (1, 2),
        }
        assert (await b.view("j1")).stalls == 0
        assert (await a.settle(j1)).status == "fenced"
        assert (await a.store.claim("q", a.next_seq(), 1)).lost is True
        assert (await a.store.tick()).lost is True

    async def test_a_node_that_leaves_is_not_woken(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        await a.claim_one()
        assert await a.claim(1) == []
        bench.clock.advance(0.001)
        assert await b.claim(1) == []
        await a.store.leave()
        assert await a.heard() == []
        assert await b.heard() == [Wake("q")]

    async def test_leave_and_join_end_what_is_to_be_cancelled(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.enqueue([job("j1", origin="b"), job("j2", origin="b")])
        await a.claim_one()
        await a.store.cancel("j1", "one")
        await a.store.leave()
        assert await b.heard() == [settled("j1", "cancelled", "one")]
        await a.store.join()
        await a.store.claim("q", 1, 1)
        await a.store.cancel("j2", "two")
        await a.store.join()
        assert await b.heard() == [settled("j2", "cancelled", "two")]

    async def test_seqs_begin_anew_after_leave(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.claim("q", 7, 1)
        await a.store.leave()
        await a.store.join()
        await a.store.enqueue([job("j")])
        assert _ids((await a.store.claim("q", 1, 1)).grants) == ["j"]

    async def test_join_hands_back_what_the_node_held(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        old = await a.claim_one()
        await a.store.join()
        assert await a.status("j") == "waiting"
        assert (await a.settle(old)).status == "fenced"
        new = await a.claim_one()
        assert (new.attempt, new.deliveries, (await a.view("j")).stalls) == (1, 2, 0)

    async def test_reconcile_hands_back_what_the_node_does_not_know(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("known"), job("lost"), job("other", "r")])
        known, lost = await a.claim(2)
        await a.claim(1, "r")
        assert await a.store.reconcile(["known", "other", "nobody"]) == 1
        assert await a.store.reconcile(["known", "other", "nobody"]) == 0
        assert await a.status("known") == "active"
        view = await a.view("lost")
        assert (view.status, view.attempt, view.stalls) == ("waiting", 1, 0)
        assert (await a.settle(lost)).status == "fenced"
        assert (await a.settle(known)).status == "applied"
        assert _ids(await a.claim(9)) == ["lost"]

    # --- events -----------------------------------------------------------------------------

    async def test_events_are_heard_only_while_watched(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        event = Event("custom", 12, "a", data={"n": [1, "x", None]})
        await a.store.publish([event])
        await b.store.watch_events(True)
        assert await b.events() == []
        await a.store.publish([event, msgspec.structs.replace(event, name="second")])
        heard = await b.events()
        assert heard == [event, msgspec.structs.replace(event, name="second")]
        assert await a.events() == []
        await b.store.watch_events(False)
        await a.store.publish([event])
        assert await b.events() == []

    async def test_the_publisher_hears_its_own_events(self, bench: Bench) -> None:
        a = await bench.connect("a")
        await a.store.watch_events(True)
        await a.store.publish([Event("custom", 12, "a")])
        assert await a.events() == [Event("custom", 12, "a")]

    async def test_every_step_of_a_job_is_an_event(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.watch_events(True)
        await a.store.enqueue([job("j", session="s")])
        grant = await a.claim_one()
        await a.store.report("j", grant.token, 0.5)
        await a.settle(grant, "retry")
        await a.settle(await a.claim_one())
        now = bench.clock.now
        names = [
            ("job:enqueued", "", None),
            ("job:started", "a", {"attempt": 1}),
            ("job:progress", "a", {"progress": 0.5}),
            ("job:retrying", "a", {"attempt": 1}),
            ("job:started", "a", {"attempt": 2}),
            ("job:completed", "a", {"attempt": 2}),
        ]
        assert await b.events() == [
            Event(name, now, node, "j", "work", "s", data) for name, node, data in names
        ]

    async def test_ends_other_than_completion_are_events_too(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue(
            [job("f"), job("c"), job("s"), job("s0", max_stalled=0), job("w"), job("d", deadline=0)]
        )
        f, c, _s, _s0 = await a.claim(4)
        await b.store.watch_events(True)
        await a.settle(f, "failed")
        await a.settle(c, "cancelled")
        await a.store.cancel("w", "")
        bench.clock.advance(SETTINGS.lease + 1)
        await b.store.tick()
        heard = [(event.name, event.job, event.node) for event in await b.events()]
        assert heard[:4] == [
            ("job:failed", "f", "a"),
            ("job:dead", "f", "a"),
            ("job:cancelled", "c", "a"),
            ("job:cancelled", "w", ""),
        ]
        assert sorted(heard[4:]) == [
            ("job:dead", "s0", "a"),
            ("job:failed", "s0", "a"),
            ("job:stalled", "s", "a"),
        ]
        await b.claim(9)
        assert sorted((event.name, event.job) for event in await b.events()) == [
            ("job:dead", "d"),
            ("job:failed", "d"),
            ("job:started", "s"),
        ]

    async def test_what_changes_nothing_is_no_event(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await a.settle(grant)
        await a.store.watch_events(True)
        await a.store.enqueue([job("j")])
        await a.settle(grant)
        await a.store.report("j", grant.token, 0.1)
        await a.store.cancel("j", "")
        assert _names(await a.events()) == []

    # --- health -----------------------------------------------------------------------------

    async def test_connections_are_ready_while_it_runs(self, bench: Bench) -> None:
        a = await bench.connect("a")
        await a.store.ping()
        assert set(a.store.connections.values()) == {"ready"}
        await bench.crash(a)
        assert set(a.store.connections.values()) == {"disconnected"}

    # --- flow -------------------------------------------------------------------------------

    async def test_a_rate_limit_counts_starts_in_a_sliding_window(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        flow = Flow(starts=2, per=1.0)
        await a.store.enqueue([job(f"j{n}") for n in range(6)])
        (j0,) = await a.claim(1, flow=flow)
        bench.clock.advance(0.4)
        answer = await b.claim_answer(5, flow=flow)
        assert (_ids(answer.grants), answer.next_due) == (["j1"], 0.6)
        bench.clock.advance(0.6)
        # The first start is out of the window now, the second is not; one that is run again counts.
        await a.settle(j0, "released")
        answer = await a.claim_answer(5, flow=flow)
        assert (_ids(answer.grants), answer.next_due) == (["j0"], 0.4)
        assert await b.claim(5, flow=flow) == []
        bench.clock.advance(0.4)
        assert _ids(await b.claim(5, flow=flow)) == ["j2"]
        (stats,) = await a.store.stats(["q"])
        assert (stats.waiting, stats.active, stats.delayed) == (3, 3, 0)

    async def test_a_rate_limit_may_set_jobs_aside(self, bench: Bench) -> None:
        a = await bench.node("a")
        flow = Flow(starts=1, per=1.0, set_aside=True)
        await a.store.enqueue([job("j0"), job("s1", session="s"), job("j1")])
        answer = await a.claim_answer(5, flow=flow)
        assert (_ids(answer.grants), answer.next_due) == (["j0"], 1.0)
        assert [await a.status(name) for name in ("s1", "j1")] == ["later", "later"]
        bench.clock.advance(1.002)
        assert len(await a.claim(5, flow=flow)) == 1
        bench.clock.advance(1.002)
        assert len(await a.claim(5, flow=flow)) == 1

    async def test_no_more_are_active_than_may_be_and_who_frees_room_wakes(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        flow = Flow(most_active=2)
        await a.store.enqueue([job(f"j{n}") for n in range(4)])
        j0, _j1 = await a.claim(5, flow=flow)
        bench.clock.advance(0.001)
        assert await b.claim(5, flow=flow) == []
        assert (await a.heard(), await b.heard()) == ([], [])
        await a.settle(j0)
        assert (await a.heard(), await b.heard()) == ([Wake("q")], [])
        assert _ids(await a.claim(5, flow=flow)) == ["j2"]

    async def test_no_more_of_a_session_are_active_than_may_be(self, bench: Bench) -> None:
        a = await bench.node("a")
        flow = Flow(per_session=1)
        jobs = [job("s1", session="s"), job("s2", session="s"), job("t1", session="t"), job("j")]
        await a.store.enqueue([*jobs, job("s0", session="s", priority=1)])
        grants = {grant.spec.id: grant for grant in await a.claim(9, flow=flow)}
        assert sorted(grants) == ["j", "s1", "t1"]
        assert await a.claim(9, flow=flow) == []
        await a.settle(grants["j"])
        await a.settle(grants["t1"])
        assert await a.heard() == []
        await a.settle(grants["s1"], "released")
        assert await a.heard() == [Wake("q")]
        (s1,) = await a.claim(9, flow=flow)
        assert s1.spec.id == "s1"
        await a.settle(s1)
        # One with a priority went on with its session, behind those without.
        assert _ids(await a.claim(9, flow=flow)) == ["s2"]
        await a.store.cancel("s2", "enough")
        # Without the limit, nobody is held back any more.
        assert _ids(await a.claim(9)) == ["s0"]

    async def test_a_dead_nodes_jobs_leave_room(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        flow = Flow(most_active=1, per_session=1)
        await a.store.enqueue([job("s1", session="s"), job("s2", session="s")])
        assert _ids(await b.claim(5, flow=flow)) == ["s1"]
        assert await a.claim(5, flow=flow) == []
        await bench.crash(b)
        await a.store.tick()
        bench.clock.advance(SETTINGS.gone_grace)
        await a.store.tick()
        assert Wake("q") in await a.heard()
        assert _ids(await a.claim(5, flow=flow)) == ["s1"]

    async def test_a_paused_queue_grants_nothing_and_wakes_everybody_when_it_goes_on(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.pause("q", True)
        await a.store.pause("q", True)
        await a.store.enqueue([job("j1"), job("j2", delay=1.0)])
        assert (await a.claim_answer(5)).next_due is None
        await b.claim(5)
        bench.clock.advance(1.0)
        await a.store.tick()
        assert (await a.heard(), await b.heard()) == ([], [])
        (stats,) = await a.store.stats(["q"])
        assert (stats.waiting, stats.paused, stats.delayed) == (0, 1, 1)
        await b.store.pause("q", False)
        assert (await a.heard(), await b.heard()) == ([Wake("q")], [Wake("q")])
        assert _ids(await a.claim(5)) == ["j1", "j2"]

    # --- dead letters, retention, debounce --------------------------------------------------

    async def test_what_failed_for_good_is_kept_and_can_be_queued_again(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job(f"j{n}", origin="a", session="s") for n in range(3)])
        for grant in await a.claim(3):
            bench.clock.advance(0.001)
            await a.settle(grant, "failed", result=b"\x93")
        assert await a.store.dead_page("q", 0, 2) == ["j2", "j1"]
        assert await a.store.dead_page("q", 2, 2) == ["j0"]
        dead, none = await a.store.dead_jobs(["j1", "nobody"])
        assert none is None
        assert dead is not None
        assert (dead.spec, dead.attempt, dead.settled) == (
            job("j1", origin="a", session="s").spec,
            1,
            settled("j1", "failed", result=b"\x93"),
        )
        await a.heard()
        assert await b.claim(1) == []
        for _ in range(2):
            # However often it arrives.
            assert await a.store.revive(["j1", "nobody"]) == ["queued", "gone"]
        assert await b.heard() == [Wake("q")]
        assert await a.store.dead_page("q", 0, 9) == ["j2", "j0"]
        assert (await a.store.session_counts("s")).waiting == 1
        (grant,) = await b.claim(9)
        assert (grant.spec.id, grant.attempt, grant.deliveries) == ("j1", 1, 2)
        await b.settle(grant)
        assert await a.store.revive(["j1"]) == ["queued"]
        assert await a.stats() == QueueStats(completed=1, failed=2, dead=2)
        # Whoever waited has heard of the failure; nobody waits for the second life.
        assert await a.heard() == []

    async def test_dead_letters_are_dropped(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j0"), job("j1")])
        for grant in await a.claim(2):
            await a.settle(grant, "failed")
        await a.store.bury(["j0", "nobody"])
        assert await a.store.dead_page("q", 0, 9) == ["j1"]
        assert await a.store.revive(["j0"]) == ["gone"]
        # Its outcome stays for a while.
        assert await a.status("j0") == "failed"

    async def test_a_stopping_session_revives_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s")])
        await a.settle(await a.claim_one(), "failed")
        await a.store.stop_session("s", running=False, refuse=5.0)
        assert await a.store.revive(["j"]) == ["stopped"]
        bench.clock.advance(5.001)
        assert await a.store.revive(["j"]) == ["queued"]

    async def test_a_childs_failure_is_its_parents(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p")])
        await a.claim_one()
        await a.store.enqueue([job("c", parent="p")])
        await a.settle(await a.claim_one(), "failed")
        assert await a.store.dead_page("q", 0, 9) == []

    async def test_only_so_many_ended_jobs_are_kept(self, bench: Bench) -> None:
        a = await bench.node()
        keep = Retention(count=2)
        jobs = [job(f"j{n}", on_fail=keep, on_complete=keep) for n in range(8)]
        await a.store.enqueue(jobs)
        for number, grant in enumerate(await a.claim(8)):
            bench.clock.advance(0.001)
            await a.settle(grant, "failed" if number < 4 else "completed")
        assert await a.store.dead_page("q", 0, 9) == ["j3", "j2"]
        # What is not kept goes a minute later, as callers may not have heard of it yet.
        assert await a.status("j0") == "failed"
        assert await a.status("j4") == "completed"

    async def test_a_job_gives_way_to_a_later_one_of_the_same_key(self, bench: Bench) -> None:
        a = await bench.node("a")
        first = job("j1", debounce="k", delay=1.0, origin="a")
        await a.store.enqueue([first])
        await a.store.enqueue([first])
        await a.store.enqueue([job("other", debounce="l", delay=1.0)])
        await a.store.enqueue([job("j2", debounce="k", delay=1.0, max_size=2)])
        assert settled("j1", "cancelled", DEBOUNCED) in await a.heard()
        bench.clock.advance(1.0)
        assert _ids(await a.claim(9)) == ["j2", "other"]
        # One that has begun stays.
        await a.store.enqueue([job("j3", debounce="k")])
        assert await a.status("j2") == "active"
        assert _ids(await a.claim(9)) == ["j3"]

    # --- hostile text -----------------------------------------------------------------------

    async def test_any_text_will_do_for_ids_sessions_and_reasons(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.watch_events(True)
        for text in HOSTILE:
            await a.store.enqueue([job(text, session=text, origin="a")])
            grant = await a.claim_one()
            assert (grant.spec.id, grant.spec.session) == (text, text)
            assert await a.store.cancel(text, text) == "active"
            assert await a.heard() == [CancelRequest(text, grant.token, text)]
            await a.settle(grant, commit=commit(text))
            assert await a.state(text) == version(1, text)
            assert await a.heard() == [settled(text, "completed")]
            assert (await a.view(text)).id == text
        assert {(event.job, event.session) for event in await a.events()} == {(t, t) for t in HOSTILE}


HOSTILE: Final = (
    " ",
    "{}",
    "{other:0}:job:x",
    "a:b",
    "\r\nFLUSHALL\r\n",
    "\0",
    "\u202egnirts\u202c",
    "~tilde",
    "%s%d%%",
    "ünïcödé 🦊",
    "x" * 10_240,
    "line\nline",
    "'); redis.call('FLUSHALL') --",
)

CASES: Final = tuple(name for name in vars(StoreConformance) if name.startswith("test_"))
"""The names of all cases, for `run_case`."""
