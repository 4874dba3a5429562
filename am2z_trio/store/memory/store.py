"""The store in memory: one node's view of a `MemoryServer`, behind the `Store` port."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from am2z_trio.concurrency import Host, TaskStatus, current_host
from am2z_trio.concurrency.told import Told
from am2z_trio.model.errors import AM2ZError, RuntimeStateError
from am2z_trio.model.events import Event
from am2z_trio.model.integrity import verified
from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import (
    UNLIMITED,
    Bulk,
    BulkAnswer,
    ClaimAnswer,
    DeadJob,
    Enqueue,
    EnqueueAnswer,
    ForgetAnswer,
    JobView,
    LockAnswer,
    LockStanding,
    Permit,
    QueueInfo,
    QueueLimits,
    QueueStats,
    RenewAnswer,
    SessionCounts,
    SettleAnswer,
    Settlement,
    Standing,
    StateRecord,
    StateWrite,
    TickAnswer,
    WriteAnswer,
)
from am2z_trio.store.ports import (
    BreakerStep,
    BulkStore,
    Chronicle,
    ControlStore,
    InspectionStore,
    Listener,
    LogStore,
    ReviveAnswer,
    ScheduleStore,
    SilenceStore,
    StateStore,
    WaitStore,
)
from am2z_trio.store.ports.samples import SampleStore

from .bulks import MemoryBulks
from .chronicle import NodeChronicle
from .control import MemoryControl
from .inspection import MemoryInspection
from .logs import MemoryLogs
from .samples import NodeSamples
from .schedules import MemorySchedules
from .server import MemoryServer
from .silences import MemorySilences
from .waits import MemoryWaits


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
        disconnect_grace: float | None = None,
    ) -> None:
        """`clock` returns milliseconds; the default is the host's clock, virtual ones included,
        shifted so that it tells the time of day. `disconnect_grace` is this node's own, in seconds; the
        default is the server's."""
        self._node = node
        self._server = server if server is not None else MemoryServer()
        self._given_clock = clock
        self._grace = disconnect_grace
        self._host: Host | None = None
        self._offset = 0.0
        self.states: StateStore = _States(node, self._server, self._checkpoint, self._now)
        self.bulks: BulkStore = MemoryBulks(self._server.bulks, self._checkpoint, self._now)
        self.inspection: InspectionStore = MemoryInspection(self._server, self._checkpoint, self._now)
        self.silences: SilenceStore = MemorySilences(self._server.silences, self._checkpoint, self._now)
        self.logs: LogStore = MemoryLogs(self._server.logs, self._checkpoint, self._now)
        self.waits: WaitStore = MemoryWaits(self._server.waits, self._checkpoint, self._now)
        self.samples: SampleStore = NodeSamples(
            node, self._server.samples, self._server.census, self._checkpoint, self._now
        )
        self.control: ControlStore = MemoryControl(
            node, self._server.introductions, self._checkpoint, self._now
        )
        self.chronicle: Chronicle = NodeChronicle(self._server.chronicles, self._checkpoint, self._now)
        self.schedules: ScheduleStore = MemorySchedules(self._server.schedules, self._checkpoint, self._now)

    async def run(self, listener: Listener, *, task_status: TaskStatus) -> None:
        self._host = host = current_host()
        self._offset = self._server.time_of_day(host.current_loop(), time.time() - host.now())
        self._ending = host.event()
        self._server.outbox.connect(self._node, listener)
        self._server.endings.on_ending.append(self._on_ending)
        try:
            task_status.started()
            while True:
                await self._ending.wait()
                self._ending = host.event()
                while self._server.endings.end_children(self._now()):
                    await host.checkpoint()
        finally:
            self._server.endings.on_ending.remove(self._on_ending)
            self._server.outbox.disconnect(self._node)
            self._host = None

    def _on_ending(self) -> None:
        self._ending.set()

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

    async def enqueue(self, jobs: Sequence[Enqueue], at_rest: Collection[str] = ()) -> list[EnqueueAnswer]:
        await self._checkpoint()
        return self._server.enqueuing.enqueue(jobs, self._now(), self._node, at_rest)

    def begin_enqueue(self, jobs: Sequence[Enqueue], told: Told, at_rest: Collection[str]) -> None:
        """Whoever waits is answered in the next turn of the loop."""

    async def enqueue_bulk(self, bulk: Bulk) -> BulkAnswer:
        await self._checkpoint()
        return self._server.enqueuing.enqueue_bulk(bulk, self._now())

    async def claim(
        self,
        queue: str,
        seq: int,
        limit: int,
        limits: QueueLimits = UNLIMITED,
        calls_only: bool = False,
        in_a_row: int = 1,
        unasked: int = 0,
    ) -> ClaimAnswer:
        await self._checkpoint()
        claim = self._server.claiming.claim
        return claim(self._node, queue, seq, limit, self._now(), limits, calls_only, in_a_row, unasked)

    async def settle(self, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
        await self._checkpoint()
        return self._server.settling.settle(settlements, self._now())

    def begin_settle(self, settlements: Sequence[Settlement], told: Told) -> None:
        """As `begin_enqueue`."""

    async def report(self, job: str, token: str, progress: float) -> bool:
        await self._checkpoint()
        return self._server.settling.report(job, token, progress, self._now())

    async def call_for(self, job: str) -> None:
        await self._checkpoint()
        self._server.enqueuing.call_for(job)

    async def step_aside(self, job: str, token: str) -> None:
        await self._checkpoint()
        self._server.settling.step_aside(job, token)

    async def step_back(self, job: str, token: str) -> bool:
        await self._checkpoint()
        return self._server.settling.step_back(job, token)

    async def cancel(self, job: str, reason: str) -> str | None:
        await self._checkpoint()
        return self._server.jobs.cancel(job, reason, self._now())

    async def promote(self, job: str) -> str | None:
        await self._checkpoint()
        return self._server.jobs.promote(job)

    def cancel_nowait(self, job: str, reason: str) -> None:
        self._server.jobs.cancel(job, reason, self._now())

    def leave_nowait(self, job: str, reason: str) -> None:
        self._server.jobs.cancel(job, reason, self._now(), leaving=self._node)

    async def view(self, jobs: Sequence[str]) -> list[JobView | None]:
        await self._checkpoint()
        return self._server.jobs.view(jobs, self._now())

    async def stop_session(self, session: str, *, running: bool, refuse: float) -> list[str]:
        await self._checkpoint()
        spared: list[str] = []
        steps = self._server.sessions.stop_steps(
            self._node, session, running=running, refuse=refuse, clock=self._now
        )
        for some in steps:
            spared += some
            await self._checkpoint()
        return spared

    async def stops(self, sessions: Sequence[str]) -> list[int]:
        await self._checkpoint()
        return self._server.sessions.stops(sessions)

    async def active_sessions(self) -> list[str]:
        await self._checkpoint()
        return self._server.sessions.active_sessions()

    async def session_counts(self, session: str) -> SessionCounts:
        await self._checkpoint()
        return self._server.sessions.session_counts(session)

    async def breaker(self, processor: str, step: BreakerStep, policy: CircuitBreaker) -> Permit:
        await self._checkpoint()
        return self._server.breakers.step(processor, step, policy, self._now())

    async def announce(self, queues: Sequence[QueueInfo], *, serves: bool = True) -> None:
        await self._checkpoint()
        self._server.queues.announce(self._node, queues, self._now(), serves=serves)

    def withdraw_nowait(self, queues: Sequence[str], *, retire: bool = False) -> None:
        self._server.queues.withdraw(self._node, queues, self._now(), retire=retire)

    async def forget_queue(self, queue: str) -> ForgetAnswer:
        await self._checkpoint()
        return self._server.queues.forget_queue(queue, self._now())

    async def known_queues(self) -> list[QueueInfo]:
        await self._checkpoint()
        return self._server.queues.known_queues(self._now())

    async def unpark(self, queue: str) -> None:
        await self._checkpoint()
        self._server.queues.unpark(self._node, queue, self._now())

    async def dead_page(self, queue: str, offset: int, limit: int) -> list[str]:
        await self._checkpoint()
        return self._server.dead_letters.dead_page(queue, offset, limit, self._now())

    async def dead_jobs(self, jobs: Sequence[str]) -> list[DeadJob | None]:
        await self._checkpoint()
        return self._server.dead_letters.dead_jobs(jobs, self._now())

    async def revive(self, jobs: Sequence[str]) -> list[ReviveAnswer]:
        await self._checkpoint()
        return self._server.dead_letters.revive(jobs, self._now())

    async def drop_dead_letters(self, jobs: Sequence[str]) -> list[bool]:
        await self._checkpoint()
        return self._server.dead_letters.drop_dead_letters(jobs, self._now())

    async def pause(self, queue: str, on: bool) -> None:
        await self._checkpoint()
        self._server.queues.pause(queue, on)

    async def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        await self._checkpoint()
        return self._server.queues.stats(queues, self._now())

    async def join(self) -> None:
        await self._checkpoint()
        self._server.nodes.join(self._node, self._now(), self._grace)

    async def leave(self) -> None:
        await self._checkpoint()
        self._server.nodes.leave(self._node, self._now())

    def beat(self) -> None:
        """Nothing keeps the lease but the ticks."""

    async def renew(self, *, look_every: float) -> RenewAnswer:
        await self._checkpoint()
        return self._server.nodes.renew(self._node, self._now(), look_every)

    def rest(self, wake: Callable[[], object]) -> float:
        now = self._now()
        seconds = self._server.nodes.rest(self._node, now, wake)
        if seconds:
            self._server.introductions.prolong(self._node, now + seconds * 1000)
        return seconds

    async def tick(self, *, reap: bool = True) -> TickAnswer:
        await self._checkpoint()
        return self._server.nodes.tick(self._node, self._now(), reap=reap)

    async def reconcile(self, claims: Sequence[tuple[str, str]]) -> list[Standing]:
        await self._checkpoint()
        return self._server.nodes.reconcile(claims)

    async def holdings(self) -> list[tuple[str, str]]:
        await self._checkpoint()
        return self._server.nodes.holdings(self._node)

    async def lineage(self) -> str:
        await self._checkpoint()
        return "memory"

    async def publish(self, events: Sequence[Event]) -> None:
        await self._checkpoint()
        self._server.outbox.publish(events, self._now())
        self._server.outbox.send()

    async def watch_events(self, on: bool) -> None:
        await self._checkpoint()
        self._server.outbox.watch_events(self._node, on)

    @property
    def connections(self) -> dict[str, str]:
        return {"memory": "disconnected" if self._host is None else "ready"}

    async def ping(self) -> None:
        await self._checkpoint()

    @property
    def was_denied(self) -> bool:
        return False

    async def lacking(self) -> AM2ZError | None:
        await self._checkpoint()
        return None


class _States:
    """`StateStore` on the same server, seen from the same node."""

    def __init__(
        self,
        node: str,
        server: MemoryServer,
        checkpoint: Callable[[], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._states = server.states
        self._locks = server.locks
        self._checkpoint = checkpoint
        self._now = now

    async def read(self, session: str) -> StateRecord:
        await self._checkpoint()
        return verified(self._states.read(session, self._now()), session)

    async def write(self, write: StateWrite) -> WriteAnswer:
        await self._checkpoint()
        return self._states.write(self._node, write, self._now())

    async def set_ttl(self, session: str, ttl: float) -> None:
        await self._checkpoint()
        self._states.set_ttl(session, ttl, self._now())

    async def history(self, session: str, *, spoilt: bool = False) -> list[StateRecord]:
        await self._checkpoint()
        found = self._states.history(session, self._now())
        return found if spoilt else [verified(record, session) for record in found]

    async def acquire(self, session: str, token: str, lease: float) -> LockAnswer:
        await self._checkpoint()
        return self._locks.acquire(self._node, session, token, lease, self._now())

    async def renew(self, session: str, token: str, lease: float) -> bool:
        await self._checkpoint()
        return self._locks.renew(session, token, lease, self._now())

    async def release(self, session: str, token: str, lease: float) -> bool:
        await self._checkpoint()
        return self._locks.release(session, token, self._now())

    async def lock_standing(self, session: str) -> LockStanding:
        await self._checkpoint()
        return self._locks.look(session, self._now())

    def release_nowait(self, session: str, token: str, lease: float) -> None:
        self._locks.release(session, token, self._now())
