"""One node at work: its services, its workers, and the tree of tasks that owns them.

```
Node.open()
├─ services          shielded: outlives everything below, so that a cancelled job can still be
│  ├─ store          handed back
│  ├─ settler
│  ├─ jobs in flight
│  ├─ events
│  ├─ announcements
│  ├─ schedules
│  └─ heartbeat, fence, watches
├─ lifespan          shielded: entered before the first claim, left after the last job
└─ sessions          cancelled at once with the host
   ├─ feeder …
   └─ session …       those that jobs name, and one for all that name none
      └─ worker … ─ slot ─ job
```
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from am2z_trio.concurrency import Host, Nursery, TaskStatus, current_host
from am2z_trio.concurrency.contexts import OwnContext
from am2z_trio.concurrency.groups import Block, is_an_error, unwrapped
from am2z_trio.engine.claim import current_node
from am2z_trio.engine.events.bus import Bus
from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.execution.breakers import Breakers
from am2z_trio.engine.execution.calls import Calls
from am2z_trio.engine.execution.contexts import Contexts
from am2z_trio.engine.execution.executor import Executor
from am2z_trio.engine.execution.job_logs import JobLogs
from am2z_trio.engine.execution.settlements import Settlements
from am2z_trio.engine.execution.sites import Sites
from am2z_trio.engine.execution.traced import TracedExecutor
from am2z_trio.engine.execution.waits import Waits
from am2z_trio.engine.figures.figures import Figures
from am2z_trio.engine.here import Here
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.engine.schedules.scheduler import Scheduler
from am2z_trio.engine.sessions.opening import SessionOpening
from am2z_trio.engine.sessions.sessions import Sessions
from am2z_trio.engine.sessions.stopping import SessionStops
from am2z_trio.engine.states.access import NodeStates
from am2z_trio.engine.states.locks import Locks
from am2z_trio.engine.submission.directory import Directory
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.engine.submission.preparation import Preparation
from am2z_trio.engine.submission.submissions import Submissions
from am2z_trio.engine.submission.traced import TracedInFlight, TracedSubmissions
from am2z_trio.engine.tracing import GuardedTracer
from am2z_trio.engine.work.claims import Claims
from am2z_trio.engine.work.hogs import Hogs
from am2z_trio.engine.work.services import WorkerServices
from am2z_trio.engine.work.settler import Settler
from am2z_trio.engine.work.traced import TracedSettler
from am2z_trio.model.errors import AM2ZError, RuntimeStateError
from am2z_trio.model.logs import Log
from am2z_trio.model.runtime_options import RuntimeOptions
from am2z_trio.store.lasting import lasting
from am2z_trio.store.ports import Store

from .access import Access
from .beside import tell_beside
from .control import Control
from .fleet import Fleet
from .heartbeat import Heartbeat
from .inbox import Inbox
from .inside import Inside
from .lifespan import Lifespan
from .memory_watch import MemoryWatch
from .portal import Portal
from .sampling import Sampling

logger: Final = Log("am2z_trio.node")

SIGN_OFF_TIMEOUT: Final = 3.0
"""Seconds that handing jobs back may take at the end, even when the store is away."""


class Node:
    """Everything of a runtime that exists only while it is entered."""

    _outer: Nursery | None = None
    _sessions: Nursery | None = None
    _failed = _sessions_cancelled = False

    def __init__(
        self,
        node_id: str,
        options: RuntimeOptions,
        registry: Registry,
        bus: Bus,
        store: Store,
        figures: Figures,
        *,
        shared: bool,
        tracer: GuardedTracer | None = None,
    ) -> None:
        """`shared`: there may be other nodes. `figures` outlive it. `tracer`: who is told, if anybody is."""
        host: Host = current_host()
        self.id, self.host, self.here, self.store = node_id, host, Here(host), store
        self.started_at, self.portal = host.now(), Portal(host)
        self._options, self._registry, self._bus = options, registry, bus
        self._own_context, self.figures = OwnContext({current_node: node_id}), figures
        self.emitter = Emitter(bus, node_id)
        self.states = NodeStates(host, store.states, max_bytes=options.max_state_bytes)
        self.locks = Locks(host, self.states)
        self._tracer, self.signs_off_within = tracer, SIGN_OFF_TIMEOUT
        self._job_logs = JobLogs(host, store, options.job_logs) if options.job_logs else None
        self.in_flight = self._make_in_flight()
        directory = Directory(host, options, registry, store, shared=shared)
        self.preparation = Preparation(host, node_id, options, directory)
        self.submissions = self._make_submissions(directory)
        most = options.limits.max_sessions
        self.sessions = Sessions(host, self._on_session_cancelled, idle=options.session_idle, most=most)
        self.stops = SessionStops(host, store, self.sessions, self.in_flight, self.emitter)
        self.opening = self._make_opening()
        self.claims, self.waits = Claims(host.now), Waits(host, store.waits, self.states.codec)
        self.settler = self._make_settler()
        self.sites = Sites(host, node_id, options)
        self.hogs = Hogs(host, self.claims, registry, options.blocked_after)
        self.fleet = Fleet(host, registry, self.emitter, self._worker_services(), serves=options.workers)
        self.heartbeat = self._make_heartbeat()
        self.scheduler = self._make_scheduler()
        self.sampling = Sampling(host, store, self.fleet, self.heartbeat, self.why_it_cannot_claim)
        self.control = Control(Inside(self, options, registry))
        self.inbox = Inbox(self.emitter, self.locks, self.stops, self.waits, self.heartbeat, self.control)
        self.access = Access(
            host, store, self.in_flight, suspected=self._is_refused, on_back=self.inbox.look_anew
        )
        self.access.pauses = self.in_flight.looking.pauses = self.heartbeat.pauses
        self._services, self._grace = host.cancel_scope(shield=True), host.cancel_scope()
        self._serving, self._stopped, self._sessions_over = host.event(), host.event(), host.event()
        self._sessions_over.set()

    def _make_in_flight(self) -> InFlight:
        host, store, bus, tracer = self.host, self.store, self._bus, self._tracer
        before, may = bus.watch_if_allowed, bus.is_watched
        if tracer is None:
            return InFlight(host, store, before_send=before, may_send=may)
        return TracedInFlight(host, store, tracer, before_send=before, may_send=may)

    def _make_submissions(self, directory: Directory) -> Submissions:
        parts = self.host, self.in_flight, directory, self.preparation
        return Submissions(*parts) if self._tracer is None else TracedSubmissions(*parts, self._tracer)

    def _make_settler(self) -> Settler:
        parts = self.host, self.store, self.in_flight, self.id
        return Settler(*parts) if self._tracer is None else TracedSettler(*parts, self._tracer)

    def _make_executor(self, calls: Calls) -> Executor:
        parts = (
            self.host,
            self._own_context,
            self.states,
            Breakers(self.store),
            self.sites,
            calls,
            Contexts(self.id, self.emitter, self.store, calls, self.waits, self._job_logs),
            Settlements(self.id),
        )
        return Executor(*parts) if self._tracer is None else TracedExecutor(self._tracer, *parts)

    def _make_heartbeat(self) -> Heartbeat:
        held = self.claims, self.fleet, self.stops, self.sites.threads
        return Heartbeat(self.host, self.store, self._options, self._registry, *held)

    def _make_scheduler(self) -> Scheduler:
        scheduler = Scheduler(self.host, self.id, self.store.schedules, self.preparation, self.emitter)
        self.heartbeat.on_schedule = scheduler.due_in
        self.fleet.announcements.on_announced = scheduler.adopt
        return scheduler

    def _make_opening(self) -> SessionOpening:
        return SessionOpening(
            self.host,
            self.sessions,
            self.stops,
            self.preparation,
            self.store.states,
            self.emitter,
        )

    def _worker_services(self) -> WorkerServices:
        host, store = self.host, self.store
        calls = Calls(
            host, self.submissions, self._registry, self.emitter, is_closed=lambda: self.sessions.closed
        )
        return WorkerServices(
            host=host,
            store=store,
            sessions=self.sessions,
            executor=self._make_executor(calls),
            settler=self.settler,
            claims=self.claims,
            capacity=self.sites.capacity,
            hogs=self.hogs,
            figures=self.figures,
            max_conflicts=self._options.max_conflicts,
            on_lost=lambda: self.heartbeat.on_lost(),  # noqa: PLW0108 - which is made later
        )

    def _on_session_cancelled(self, session: str) -> None:
        self.stops.on_cancelled(session)

    # --- the tree ---------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, lifespan: Lifespan) -> AsyncIterator[None]:
        """Run the node around a block. What leaves it is one exception: the block's, or else its own."""
        block, self._lifespan = Block(), lifespan
        with unwrapped(block, tell_beside):
            async with self.host.open_nursery() as outer:
                self._outer = outer
                # Not `outer.start`: a host that is cancelled meanwhile would wait for a shielded task.
                outer.start_soon(self._run_services, name="am2z services")
                try:
                    await self._serving.wait()
                    if self._options.workers:
                        await lifespan.enter(outer)
                    await outer.start(self._run_sessions, name="am2z sessions")
                    for definition in self._registry.all():
                        self.fleet.serve(definition)
                    self.emitter.emit("runtime:started")
                    with block.watched():
                        yield
                    await self.stop(self._options.shutdown_grace)
                finally:
                    await self._leave()

    async def stop(self, grace: float) -> None:
        """Drain: claim no more, let running jobs end within `grace` seconds, cancel the others. Whoever asks
        only waits: cancelled, the drain goes on. Asked again, the shortest grace counts."""
        self._grace.deadline = min(self._grace.deadline, self.host.now() + grace)
        if not self.stopped:
            self.preparation.closed = True
            self.in_flight.on_stopping()
            self.fleet.close()
            assert self._outer is not None
            self._outer.start_soon(self._drain, name="am2z drain")
        await self._stopped.wait()

    async def _drain(self) -> None:
        with self._grace:
            await self.fleet.wait_idle()
        self._cancel_sessions()
        with self.host.cancel_scope(deadline=self.host.now() + SIGN_OFF_TIMEOUT) as patience:
            await self._sessions_over.wait()
        running = sum(claim.is_running for claim in self.claims.all())
        if patience.cancelled_caught and running:
            # One of them may shield itself, and wait for this very drain.
            logger.error("jobs that were cancelled and do not end: %d", running)
        self._stopped.set()

    async def _run_sessions(self, *, task_status: TaskStatus) -> None:
        """Own the sessions. A task of its own, so that cancelling them spares the host's block."""
        self._sessions_over = self.host.event()
        try:
            async with self.host.open_nursery() as nursery:
                self._sessions = nursery
                self.sessions.own(nursery)
                self.fleet.own(nursery)
                if self._options.workers:
                    self.in_flight.send_by(self.fleet.sending.send, self.fleet.sending.begin_send)
                task_status.started()
                try:
                    await self.host.event().wait()
                finally:
                    # From now on the nursery takes no more tasks.
                    self._sessions = None
                    self.sessions.own(None)
                    self.fleet.disown()
        finally:
            self._sessions_over.set()
        if not self._sessions_cancelled:
            raise RuntimeStateError(
                "the sessions of this node have ended by themselves, and the node with them"
            )

    def _cancel_sessions(self) -> None:
        self._sessions_cancelled = True
        if self._sessions is not None:
            self._sessions.cancel_scope.cancel()

    @property
    def stopped(self) -> bool:
        """Whether it takes no more jobs: it drains, or has."""
        return self.preparation.closed

    async def wait_stopped(self) -> None:
        await self._stopped.wait()

    async def _leave(self) -> None:
        """Hand back what was running. Shielded, since this is what cancellation must not lose;
        bounded, since the store may be away: the lease does it then."""
        self.preparation.closed = True
        self.fleet.disown()
        self._cancel_sessions()
        with self.host.cancel_scope(deadline=self.host.now() + self.signs_off_within, shield=True):
            try:
                with self.host.cancel_scope(deadline=self.host.now() + self.signs_off_within / 2):
                    await self._sessions_over.wait()
                if not self._failed:
                    await self._sign_off()
            except AM2ZError as error:
                logger.warning("the node could not sign off: %s", error)
        await self._lifespan.leave()
        self._stopped.set()
        self.in_flight.fail_all(RuntimeStateError("the runtime was left while the job was under way"))
        self._services.cancel()

    async def _sign_off(self) -> None:
        await self.in_flight.leaving.let_go()
        await self.settler.wait_idle()
        await self.stops.wait_idle()
        if self._job_logs is not None:
            await self._job_logs.flush()
        if self._serving.is_set():
            self.emitter.emit("runtime:stopped")
            await self._bus.flush()
        await self.sampling.end()
        await self.heartbeat.end()
        if self.heartbeat.lease.was_taken and not (self.claims.failing or self.claims.forsaken):
            await self.store.leave()

    async def _run_services(self) -> None:
        try:
            await self._serve()
        except BaseException as raised:
            self.claims.failing = self._failed = is_an_error(raised, self.host)
            if isinstance(raised, AM2ZError):
                # Nobody can hear of an outcome here any more, or settle one.
                self.in_flight.fail_all(raised)
            raise

    async def _serve(self) -> None:
        host, heartbeat = self.host, self.heartbeat
        with unwrapped(), self._services:
            async with host.open_nursery() as nursery:
                self.stops.own(nursery)
                await nursery.start(lasting, host, "the store", self.store.run, self.inbox)
                await nursery.start(lasting, host, "the settler", self.settler.run)
                nursery.start_soon(lasting, host, "the settler of compositions", self.settler.run_behind)
                await nursery.start(lasting, host, "the task that submits", self.in_flight.run)
                await nursery.start(
                    lasting, host, "the task of events", self._bus.run, host, self.store, self._own_context
                )
                if self._options.workers:
                    await nursery.start(self.sites.run)
                    nursery.start_soon(lasting, host, "the fence", heartbeat.fence.run)
                    nursery.start_soon(lasting, host, "the watch over the loop", self.hogs.run)
                    nursery.start_soon(lasting, host, "the task of schedules", self.scheduler.run)
                # Cancelled while a service started, its store may be closed by now.
                await host.checkpoint()
                await heartbeat.begin()
                announcements, limit = self.fleet.announcements, self._options.limits.max_memory_mb
                nursery.start_soon(lasting, host, "the task that announces", announcements.run)
                nursery.start_soon(lasting, host, "the task that says it again", announcements.run_reminder)
                nursery.start_soon(lasting, host, "the task that looks", heartbeat.look_forever)
                nursery.start_soon(lasting, host, "the task that looks at rights", self.access.run)
                if self._job_logs is not None:
                    nursery.start_soon(lasting, host, "the task that keeps logs", self._job_logs.run)
                nursery.start_soon(self.sampling.run)
                nursery.start_soon(lasting, host, "the task that talks with other nodes", self.control.run)
                if limit is not None:
                    watch = MemoryWatch(host, self.preparation, self.fleet, limit_mb=limit)
                    nursery.start_soon(lasting, host, "the watch over memory", watch.run)
                await nursery.start(self.portal.run)
                nursery.start_soon(heartbeat.run)
                self._serving.set()

    # --- whether it can claim ---------------------------------------------------------------

    def why_it_cannot_claim(self) -> str:
        """Empty if this node could claim a job now; for a pure client, too."""
        if self.stopped:
            return "the runtime is stopping"
        if self.preparation.overload is not None:
            return self.preparation.overload.message
        if self.access.lost is not None:
            return self.access.lost.message
        why = self.sites.threads.why_full() or self.fleet.why_short()
        return why or (self.heartbeat.lease.why_not_held() if self._options.workers else "")

    def _is_refused(self) -> bool:
        """Whether the store refuses what this node asks for now."""
        return self.settler.refusal != "" or self.fleet.is_refused or self.store.was_denied
