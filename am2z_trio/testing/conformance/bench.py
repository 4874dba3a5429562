"""What a case stands on: a backend to be tested, nodes on it that note what they hear, and a clock."""

from __future__ import annotations

from typing import Final, Literal, Protocol

import msgspec

from am2z_trio.concurrency import CancelScope, Host, Nursery, TaskStatus, current_host
from am2z_trio.model.events import Event
from am2z_trio.model.records import (
    UNLIMITED,
    ClaimAnswer,
    Commit,
    Grant,
    InboxMessage,
    JobView,
    QueueInfo,
    QueueLimits,
    QueueStats,
    SettleAnswer,
    Settlement,
    StateRecord,
)
from am2z_trio.store.ports import Store, StoreSettings

from .builders import timeless

SETTINGS: Final = StoreSettings(
    lease=60.0, result_ttl=3600.0, disconnect_grace=1.0, state_history=2, recent=300, event_history=10_000
)
"""What a backend's stores are to be made with. The lease is long in real time too: a store that keeps
it from a thread must not do so in the midst of a case that lets it pass on the case's own clock."""

GRACE: Final = SETTINGS.disconnect_grace

START_MS: Final = 1_700_000_000_000

Outcome = Literal["completed", "failed", "retry", "cancelled", "released", "conflicted", "parked"]


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

    def store(self, node: str, clock: Clock, disconnect_grace: float = GRACE) -> Store:
        """Make the store of one node, with `SETTINGS` but for its own grace, and on `clock`."""
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

    def drop_schedule(self, id: str) -> None:
        """Delete a schedule's record behind the store's back, and nothing else that is kept of it."""
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

    async def claim(
        self,
        limit: int = 1,
        queue: str = "q",
        limits: QueueLimits = UNLIMITED,
        *,
        calls_only: bool = False,
        in_a_row: int = 1,
    ) -> list[Grant]:
        """Claim with the next `seq`; the answer must be a plain one."""
        answer = await self.claim_answer(limit, queue, limits, calls_only=calls_only, in_a_row=in_a_row)
        return answer.grants

    async def claim_answer(
        self,
        limit: int = 1,
        queue: str = "q",
        limits: QueueLimits = UNLIMITED,
        *,
        calls_only: bool = False,
        in_a_row: int = 1,
    ) -> ClaimAnswer:
        answer = await self.store.claim(queue, self.next_seq(queue), limit, limits, calls_only, in_a_row)
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
        """Counts of the queue's jobs; not who serves it."""
        (stats,) = await self.store.stats([queue])
        return msgspec.structs.replace(stats, workers=0)

    async def workers(self, queue: str = "q") -> int:
        """How many live nodes serve the queue."""
        (stats,) = await self.store.stats([queue])
        return stats.workers

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

    async def connect(self, name: str = "a", *, disconnect_grace: float = GRACE) -> Node:
        """Open a node's store; it holds no lease yet."""
        node = Node(name, self.backend.store(name, self.clock, disconnect_grace), self._host)
        await self._nursery.start(node.run)
        return node

    async def node(self, name: str = "a") -> Node:
        """Open a node's store and take a lease."""
        node = await self.connect(name)
        await node.store.join()
        await node.store.announce([QueueInfo(queue="q", processor="work")])
        return node

    async def outlast(self, *nodes: Node) -> None:
        """Let the leases of all other nodes pass; who has not ticked for long is taken for away itself."""
        for _ in range(3):
            self.clock.advance(SETTINGS.lease * 0.4)
            for node in nodes:
                await node.store.tick(reap=False)

    async def crash(self, node: Node) -> None:
        """End a node without a farewell; returns when the backend has noticed."""
        await node.stop()
        await self.backend.wait_gone(node.name)
