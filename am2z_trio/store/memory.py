"""The store in memory: one node's view of a `MemoryServer`, behind the `Store` port."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from am2z_trio.concurrency import Host, TaskStatus, current_host
from am2z_trio.model.codec import checksum
from am2z_trio.model.errors import RuntimeStateError, StateIntegrityError
from am2z_trio.model.events import Event
from am2z_trio.model.records import (
    ClaimAnswer,
    Enqueue,
    EnqueueAnswer,
    JobView,
    QueueInfo,
    QueueStats,
    SettleAnswer,
    Settlement,
    TickAnswer,
    Versioned,
)

from .memory_server import MemoryServer
from .ports import Listener


class MemoryStore:
    """`Store` without Redis. Several of them on one `MemoryServer` are the nodes of one process.

    Each call passes a checkpoint and then takes its effect: a caller that awaits the store in a
    loop lets others run, and a call that was cancelled has changed nothing.
    """

    def __init__(
        self,
        node: str,
        server: MemoryServer | None = None,
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`clock` returns milliseconds; the default is the host's clock, virtual ones included,
        shifted so that it tells the time of day."""
        self._node = node
        self._server = server if server is not None else MemoryServer()
        self._given_clock = clock
        self._host: Host | None = None
        self._offset = 0.0

    async def run(self, listener: Listener, *, task_status: TaskStatus) -> None:
        self._host = host = current_host()
        self._offset = time.time() - host.now()
        self._server.connect(self._node, listener)
        try:
            task_status.started()
            await host.event().wait()
        finally:
            self._server.disconnect(self._node)
            self._host = None

    def _now(self) -> float:
        if self._given_clock is not None:
            return self._given_clock()
        if self._host is None:
            raise RuntimeStateError("the memory store is not running")
        return (self._host.now() + self._offset) * 1000

    async def _checkpoint(self) -> None:
        if self._host is None:
            raise RuntimeStateError("the memory store is not running")
        await self._host.checkpoint()

    async def enqueue(self, jobs: Sequence[Enqueue]) -> list[EnqueueAnswer]:
        await self._checkpoint()
        return self._server.enqueue(jobs, self._now())

    async def claim(self, queue: str, seq: int, limit: int) -> ClaimAnswer:
        await self._checkpoint()
        return self._server.claim(self._node, queue, seq, limit, self._now())

    async def settle(self, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
        await self._checkpoint()
        return self._server.settle(settlements, self._now())

    async def report(self, job: str, token: str, progress: float) -> bool:
        await self._checkpoint()
        return self._server.report(job, token, progress, self._now())

    async def cancel(self, job: str, reason: str) -> str | None:
        await self._checkpoint()
        return self._server.cancel(job, reason, self._now())

    def cancel_nowait(self, job: str, reason: str) -> None:
        self._server.cancel(job, reason, self._now())

    async def view(self, jobs: Sequence[str]) -> list[JobView | None]:
        await self._checkpoint()
        return self._server.view(jobs, self._now())

    async def announce(self, queues: Sequence[QueueInfo]) -> None:
        await self._checkpoint()
        self._server.announce(queues)

    async def known_queues(self) -> list[QueueInfo]:
        await self._checkpoint()
        return self._server.known_queues()

    async def unpark(self, queue: str) -> None:
        await self._checkpoint()
        self._server.unpark(self._node, queue, self._now())

    async def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        await self._checkpoint()
        return self._server.stats(queues)

    async def join(self) -> None:
        await self._checkpoint()
        self._server.join(self._node, self._now())

    async def leave(self) -> None:
        await self._checkpoint()
        self._server.leave(self._node, self._now())

    async def tick(self) -> TickAnswer:
        await self._checkpoint()
        return self._server.tick(self._node, self._now())

    async def reconcile(self, known: Sequence[str]) -> int:
        await self._checkpoint()
        return self._server.reconcile(self._node, known, self._now())

    async def read_state(self, session: str) -> Versioned | None:
        await self._checkpoint()
        stored = self._server.read_state(session)
        if stored is not None and checksum(stored.blob) != stored.checksum:
            raise StateIntegrityError(f"the state of session {session!r} does not match its checksum")
        return stored

    async def publish(self, events: Sequence[Event]) -> None:
        await self._checkpoint()
        self._server.publish(events)

    async def watch_events(self, on: bool) -> None:
        await self._checkpoint()
        self._server.watch_events(self._node, on)

    @property
    def connections(self) -> dict[str, str]:
        return {"memory": "disconnected" if self._host is None else "ready"}

    async def ping(self) -> None:
        await self._checkpoint()
