"""One node at work: its services, its workers, and the tree of tasks that owns them.

```
Node.open()
├─ services          shielded: outlives everything below, so that a cancelled job can still be
│  ├─ store          handed back
│  ├─ settler
│  ├─ results
│  ├─ events
│  ├─ announcements
│  └─ tick
└─ sessions          cancelled at once with the host
   └─ (shared)
      └─ worker … ─ slot ─ job
```
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any, Final

from am2z_trio.concurrency import CancelScope, Host, Nursery, TaskStatus, current_host
from am2z_trio.concurrency.capacity import Capacity
from am2z_trio.concurrency.contexts import OwnContext
from am2z_trio.concurrency.groups import Block, is_an_error, unwrapped
from am2z_trio.engine.events.bus import Bus
from am2z_trio.engine.execution.breakers import Circuits
from am2z_trio.engine.execution.calls import Calls
from am2z_trio.engine.execution.executor import Executor, log_failure
from am2z_trio.engine.execution.threads import Threads
from am2z_trio.engine.here import Here
from am2z_trio.engine.processors.registry import Registered, Registry
from am2z_trio.engine.sessions.hosted import HostedSession
from am2z_trio.engine.sessions.sessions import Sessions
from am2z_trio.engine.sessions.stopping import SessionStops
from am2z_trio.engine.states.access import NodeStates
from am2z_trio.engine.states.locks import Locks
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.engine.submission.submissions import Submissions
from am2z_trio.engine.work.claims import Claims
from am2z_trio.engine.work.hogs import Hogs
from am2z_trio.engine.work.services import WorkerServices
from am2z_trio.engine.work.settler import Settler
from am2z_trio.engine.work.worker import Worker
from am2z_trio.model.errors import (
    AM2ZError,
    JobStalledError,
    ResourceError,
    RuntimeStateError,
    SessionStoppedError,
)
from am2z_trio.model.events import Event
from am2z_trio.model.limits import MAX_TEXT_BYTES
from am2z_trio.model.logs import Log
from am2z_trio.model.options import RuntimeOptions, require_number
from am2z_trio.model.records import (
    STALLED,
    CancelRequest,
    Grant,
    InboxMessage,
    LockGranted,
    MayGoOn,
    SessionStopped,
    Settled,
    TickAnswer,
    Wake,
)
from am2z_trio.model.telling import attempt, described, trace_of
from am2z_trio.store.lasting import lasting
from am2z_trio.store.ports import Store

from .access import Access
from .announcements import Announcements
from .fence import SELF_FENCE, Fence
from .holdings import Holdings
from .memory_watch import resident_mb

logger: Final = Log("am2z_trio.node")

DEAF_TICKS: Final = 3
"""Ticks per `disconnect_grace` of a node that can ask and does not hear: the others see nobody listen there,
and must not take it for dead."""

SOONEST_TICK: Final = 0.05
"""Fewest seconds between two ticks, however little grace there is."""

RENEWALS: Final = 4
"""Renewals of a lease within its time, at least."""

TICK: Final = 1.0
"""Most seconds between two ticks. Of a few nodes each ticks when the next look at what they share is due."""

REPLACED_AFTER: Final = 1.0
"""Seconds after which a worker that has ended by itself is replaced: one that always does must not spin."""

SETTLING_IN: Final = 3.0
"""Seconds after an absence of the store before a node looks for dead ones again: the others are back a second
after the server is, the longest pause between two attempts, and have renewed their leases."""

LAST_WORDS: Final = 3.0
"""Seconds that handing jobs back may take at the end, even when the store is away."""


def _tell_beside(raised: BaseException, beside: list[BaseException]) -> None:
    """What has been raised at the same time as what leaves the runtime's block."""
    for error in beside:
        logger.error("at the end of the runtime there was another error", trace=trace_of(error))
        note = f"At the same time, at the end of the runtime: {described(error, MAX_TEXT_BYTES)}"
        attempt(partial(BaseException.add_note, raised, note), None)


class Node:
    """Everything of a runtime that exists only while it is entered."""

    def __init__(
        self,
        node_id: str,
        options: RuntimeOptions,
        registry: Registry,
        bus: Bus,
        store: Store,
        *,
        shared: bool,
    ) -> None:
        """`shared`: there may be other nodes, now or later."""
        self.id = node_id
        self.host: Host = current_host()
        self.here = Here(self.host)
        self.store = store
        self.claims = Claims()
        self.holdings = Holdings(self.host, store, self.claims)
        self.fence = Fence(
            self.host,
            self.claims,
            lease=options.lease,
            grace=options.disconnect_grace,
            lease_seen=lambda: self._lease_seen,
        )
        self.settler = Settler(self.host, store, node_id)
        self.states = NodeStates(self.host, store.states, max_bytes=options.max_state_bytes)
        self.locks = Locks(self.host, self.states)
        self.in_flight = InFlight(self.host, store, before_send=bus.watch_if_allowed)
        self.access = Access(
            self.host, store, self.in_flight, suspected=self._is_refused, on_back=self._look_anew
        )
        self.submissions = Submissions(
            self.host, node_id, options, registry, store, self.in_flight, shared=shared
        )
        self.sessions = Sessions(self.host, self._on_session_cancelled)
        self.stops = SessionStops(
            self.host, store, self.sessions, self.in_flight, on_stopped=self._on_stopped
        )
        self.announcements = Announcements(self.host, store, registry, self._served)
        self.capacity = Capacity(self.host, options.max_running)
        self.workers: dict[str, Worker] = {}
        """By queue: those that serve now. One that was replaced may still let its jobs end."""
        self.started_at = self.host.now()
        self._options = options
        self._registry = registry
        self._bus = bus
        self._calls = Calls(
            self.host, self.submissions, registry, self._tell_of, is_closed=lambda: self.sessions.closed
        )
        own = self._own = OwnContext()
        self.threads = Threads(self.host, options.limits.max_abandoned_threads)
        self.hogs = Hogs(self.host, self.claims, registry)
        self._executor = Executor(
            self.host,
            node_id,
            self.states,
            Circuits(store),
            own,
            self.threads,
            self._calls,
            emit=self._emit,
            report=self._report,
        )
        self._services: CancelScope = self.host.cancel_scope(shield=True)
        self._serving = self.host.event()
        self._outer: Nursery | None = None
        self._sessions: Nursery | None = None
        self._at_work: set[Worker] = set()
        self._joined = False
        self._joining = False
        self._lease_seen = self.host.now()
        self._stopped = self.host.event()
        self._stopping = False
        self._grace: CancelScope = self.host.cancel_scope()
        self._ticking: CancelScope = self.host.cancel_scope()
        self._ticks_over = self.host.event()
        self._ticks_over.set()
        self._sessions_over = self.host.event()
        self._sessions_over.set()
        self._sessions_cancelled = False
        self._failed = False
        self._fallen: set[str] = set()
        self._worker_ended = self.host.event()
        self._jobs_run_before = 0
        self._tick_bell = self.host.spot()
        self._look_for_dead_at = self._chores_at = -inf
        self._look_bell = self.host.spot()
        self._pace = 0.0
        self._stray_wakes: set[str] = set()

    # --- the tree ---------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run the node around a block. What leaves it is one exception: the block's, or else its own."""
        block = Block()
        with unwrapped(block, _tell_beside):
            async with self.host.open_nursery() as outer:
                self._outer = outer
                # Not `outer.start`: a host that is cancelled meanwhile would wait for a shielded task.
                outer.start_soon(self._run_services, name="am2z services")
                try:
                    await self._serving.wait()
                    await outer.start(self._run_sessions, name="am2z sessions")
                    for registered in self._registry.all():
                        self.serve(registered)
                    self.tell("runtime:started")
                    with block.watched():
                        yield
                    await self.stop(self._options.shutdown_grace)
                finally:
                    await self._last_words()

    async def stop(self, grace: float) -> None:
        """Drain: claim no more, let running jobs end within `grace` seconds, cancel the others.

        Whoever asks only waits: cancelled, the drain goes on. Asked again, the shortest grace counts.
        """
        self._grace.deadline = min(self._grace.deadline, self.host.now() + grace)
        if not self._stopping:
            self._stopping = self.submissions.closed = True
            self.stop_serving(*self.workers)
            assert self._outer is not None
            self._outer.start_soon(self._drain, name="am2z drain")
        await self._stopped.wait()

    async def _drain(self) -> None:
        with self._grace:
            await self.wait_for_workers(lambda: not self._at_work)
        self._cancel_sessions()
        with self.host.cancel_scope(deadline=self.host.now() + LAST_WORDS) as patience:
            await self._sessions_over.wait()
        if patience.cancelled_caught:
            # One of them may shield itself, and wait for this very drain.
            logger.error("%d jobs were cancelled and do not end", self.busy)
        self._stopped.set()

    async def _run_sessions(self, *, task_status: TaskStatus) -> None:
        """Own the sessions. A task of its own, so that cancelling them spares the host's block."""
        self._sessions_over = self.host.event()
        try:
            async with self.host.open_nursery() as nursery:
                self._sessions = nursery
                self.sessions.own(nursery)
                task_status.started()
                try:
                    await self.host.event().wait()
                finally:
                    # From now on the nursery takes no more tasks.
                    self._sessions = None
                    self.sessions.own(None)
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
        return self._stopping

    async def wait_stopped(self) -> None:
        await self._stopped.wait()

    async def _last_words(self) -> None:
        """Hand back what was running. Shielded, since this is what cancellation must not lose;
        bounded, since the store may be away: the lease does it then."""
        self._stopping = self.submissions.closed = True
        self._cancel_sessions()
        with self.host.cancel_scope(deadline=self.host.now() + LAST_WORDS, shield=True):
            try:
                with self.host.cancel_scope(deadline=self.host.now() + LAST_WORDS / 2):
                    await self._sessions_over.wait()
                if not self._failed:
                    await self._sign_off()
            except AM2ZError as error:
                logger.warning("the node could not sign off: %s", error)
        self._stopped.set()
        self.in_flight.fail_all(RuntimeStateError("the runtime was left while the job was under way"))
        self._services.cancel()

    async def _sign_off(self) -> None:
        await self.in_flight.leaving.let_go()
        await self.settler.wait_idle()
        await self.stops.wait_idle()
        if self._serving.is_set():
            self.tell("runtime:stopped")
            await self._bus.flush()
        # A tick that joined after the node has left would leave a lease behind.
        self._ticking.cancel()
        await self._ticks_over.wait()
        if self._joining and not (self.claims.failing or self.claims.forsaken):
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
        with unwrapped(), self._services:
            async with self.host.open_nursery() as nursery:
                self.stops.own(nursery)
                await nursery.start(lasting, self.host, "the store", self.store.run, self)
                await nursery.start(lasting, self.host, "the settler", self.settler.run)
                await nursery.start(lasting, self.host, "the task that submits", self.in_flight.run)
                await nursery.start(
                    lasting, self.host, "the task of events", self._bus.run, self.host, self.store, self._own
                )
                # Cancelled while a service started, its store may be closed by now.
                await self.host.checkpoint()
                # The first to come says what time it is, where nobody has kept it.
                await self.store.renew(look_every=0.0)
                if self._options.workers:
                    nursery.start_soon(lasting, self.host, "the fence", self.fence.run)
                    nursery.start_soon(lasting, self.host, "the watch over the loop", self.hogs.run)
                    await self._join()
                nursery.start_soon(lasting, self.host, "the task that announces", self.announcements.run)
                nursery.start_soon(lasting, self.host, "the task that looks", self._look_forever)
                nursery.start_soon(lasting, self.host, "the task that looks at rights", self.access.run)
                nursery.start_soon(self._tick_until_left)
                self._serving.set()

    # --- workers ----------------------------------------------------------------------------

    def serve(self, registered: Registered) -> None:
        """Work this processor's queue off from now on."""
        queue = registered.queue
        if not self._options.workers or self._sessions is None or self._stopping:
            return
        serving = self.workers.get(queue)
        if serving is not None and not serving.closing:
            serving.wake()
            self.announcements.add(registered.processor.name)
            return
        name = registered.processor.name
        self.announcements.add(name)
        services = WorkerServices(
            host=self.host,
            store=self.store,
            sessions=self.sessions,
            executor=self._executor,
            settler=self.settler,
            claims=self.claims,
            capacity=self.capacity,
            hogs=self.hogs,
            max_conflicts=self._options.max_conflicts,
            on_lost=self._lost,
        )
        worker = Worker(services, registered, self._registry.look_up(name), self._on_unparked)
        self.workers[queue] = worker
        self._at_work.add(worker)
        self._sessions.start_soon(self._work, worker, registered, name=f"worker {name}")

    def _served(self) -> list[str]:
        return [worker.processor for worker in self.workers.values() if not worker.closing]

    def _on_unparked(self, worker: Worker) -> None:
        """A worker has taken the node off its queue. Another one that serves it by now parks anew."""
        serving = self.workers.get(worker.queue)
        if serving is not None and serving is not worker:
            serving.wake()

    def stop_serving(self, *queues: str, retire: bool = False) -> None:
        """Claim no more of these queues; running jobs end by themselves. With `retire`, those that nobody
        serves then are known by name no more."""
        for queue in queues:
            if queue in self.workers:
                self.workers[queue].close()
        if self._options.workers:
            self.announcements.withdraw(queues, retire=retire)

    async def _work(self, worker: Worker, registered: Registered) -> None:
        try:
            async with self.host.open_nursery() as nursery:
                await nursery.start(worker.run)
                self.tell("worker:started", processor=registered.processor.name)
        finally:
            self.tell("worker:stopped", processor=registered.processor.name)
            self._jobs_run_before += worker.jobs_run
            self._at_work.discard(worker)
            if self.workers.get(worker.queue) is worker:
                del self.workers[worker.queue]
            self._worker_ended.set()
        if not worker.closed:
            await self._replace(worker)

    async def _replace(self, worker: Worker) -> None:
        """A worker has ended and nobody had asked it to: say so, and start another."""
        logger.error("the worker of %r has ended by itself; another one is started", worker.processor)
        self._fallen.add(worker.processor)
        try:
            await self.host.sleep(REPLACED_AFTER)
        finally:
            self._fallen.discard(worker.processor)
        registered = self._registry.get(worker.processor)
        if registered is not None:
            self.serve(registered)

    async def wait_for_workers(self, condition: Callable[[], bool]) -> None:
        """Wait until the workers of this node are as `condition` wants them."""
        while not condition():
            if self._worker_ended.is_set():
                self._worker_ended = self.host.event()
            await self._worker_ended.wait()

    def is_at_work(self, worker: Worker) -> bool:
        """Whether it has not ended: it serves, or lets its jobs end."""
        return worker in self._at_work

    @property
    def jobs_run(self) -> int:
        return self._jobs_run_before + sum(worker.jobs_run for worker in self._at_work)

    @property
    def busy(self) -> int:
        return sum(worker.busy for worker in self._at_work)

    # --- what the store tells us (Listener) -------------------------------------------------

    def on_message(self, message: InboxMessage) -> None:
        if isinstance(message, Settled):
            self.in_flight.on_settled(message)
        elif isinstance(message, Wake):
            worker = self.workers.get(message.queue)
            if worker is not None:
                worker.wake()
            else:
                self._stray_wakes.add(message.queue)
                self._tick_bell.wake()
        elif isinstance(message, CancelRequest):
            self.claims.cancel(message)
        elif isinstance(message, MayGoOn):
            self.claims.let_go_on(message)
        elif isinstance(message, LockGranted):
            self.locks.on_granted(message)
        else:
            assert isinstance(message, SessionStopped)
            self.stops.on_stopped(message.session, message.number)

    def on_event(self, event: Event) -> None:
        own = event.node == self.id and not event.job
        if own and event.name == "connection:lost" and event.data.get("connection") == "pushes":
            self.fence.cut_off()
        self._bus.deliver(event)

    def on_reconnect(self) -> None:
        self.fence.back()
        self._look_for_dead_at = self.host.now() + SETTLING_IN
        self._look_anew()

    def _look_anew(self) -> None:
        """Whatever the store had to tell may have been missed."""
        self.in_flight.on_reconnect()
        self.claims.has_strays = True
        self.locks.on_reconnect()
        # The server may be another one, or have lost its end.
        if self._options.workers and not self._stopping:
            self.announcements.say_again()
        for worker in self.workers.values():
            worker.wake()
        self._tick_bell.wake()

    # --- sessions ---------------------------------------------------------------------------

    def _on_stopped(self, session: str) -> None:
        self.tell("session:stopped", session=session)

    def _on_session_cancelled(self, session: str) -> None:
        self.stops.on_cancelled(session)

    def require_open(self, session: str) -> None:
        """Raise the error that says why the session cannot be opened here now."""
        if self._stopping or self.sessions.closed:
            raise RuntimeStateError("the runtime is stopping: it opens no more sessions")
        if self.sessions.is_stopping(session):
            raise SessionStoppedError(
                f"session {session!r} is being stopped: it can be opened anew when that is over",
                context={"session": session},
            )
        self._require_room_for(session)

    async def open_session(self, session: str) -> HostedSession:
        """The session, held; after the end of a stop that is under way here."""
        number = await self.stops.last_stop(session)
        self.require_open(session)
        hosted = self.sessions.open(session)
        if not hosted.holders:
            hosted.seen_stop = number
        hosted.hold()
        return hosted

    def _require_room_for(self, session: str) -> None:
        """Raise `ResourceError` if one more session would be too many here."""
        most = self._options.limits.max_sessions
        if most is None or len(self.sessions) < most or self.sessions.get(session) is not None:
            return
        # One that is over is still here until its last task has ended.
        held = len(self.sessions.ids())
        if held >= most:
            raise ResourceError(
                f"{held} sessions are open on this node, the limit is {most} (max_sessions)",
                context={"sessions": held, "limit": most},
            )

    # --- lease and housekeeping -------------------------------------------------------------

    async def _join(self) -> None:
        self._joining = True
        now = self.host.now()
        with self.fence.asking():
            await self.store.join()
        self._joined = True
        self._lease_seen = now

    def _lost(self) -> None:
        """The lease is gone, and what runs here may run elsewhere: nothing is claimed until that is known."""
        self.claims.on_hold = self.claims.has_strays = True
        self._joined = False
        self._tick_bell.wake()

    async def _tick_until_left(self) -> None:
        """Tick until the node signs off: it keeps its lease for as long as a job of it may run."""
        self._ticks_over = self.host.event()
        try:
            with self._ticking:
                await lasting(self.host, "the tick", self._tick_forever)
        finally:
            self._ticks_over.set()

    async def _tick_forever(self) -> None:
        host = self.host
        while True:
            # Often enough for any lease: whoever is close to the end of its own takes nobody for dead.
            pace = min(TICK, self._pace, self._options.lease / RENEWALS)
            if self._is_deaf:
                pace = min(pace, max(SOONEST_TICK, self._options.disconnect_grace / DEAF_TICKS))
            with host.cancel_scope(deadline=host.now() + pace):
                await self._tick_bell.park()
            failed, reached = False, True
            try:
                reached = await self._tick()
            except AM2ZError as error:
                logger.warning("tick failed: %s", error)
                failed = True
            if reached:
                # Also where the tick was refused (by the server's access rules, say): blocks of this node
                # still hear that their sessions were stopped.
                try:
                    await self._look()
                except AM2ZError as error:
                    logger.warning("looking for stops failed: %s", error)
                    failed = True
            if failed:
                await host.sleep(TICK)

    def _watch_memory(self) -> None:
        """Above the limit, accept no jobs and claim none until it is below again."""
        limit = self._options.limits.max_memory_mb
        if limit is None:
            return
        used = resident_mb()
        over = used > limit
        if over:
            self.submissions.overload = ResourceError(
                f"this process uses {used:,.0f} MB of memory, the limit is {limit:,.0f} (max_memory_mb)",
                context={"used_mb": round(used), "limit_mb": limit},
            )
        else:
            self.submissions.overload = None
        for worker in self.workers.values():
            if worker.held_back != over:
                worker.held_back = over
                worker.wake()

    async def _tick(self) -> bool:
        """Keep the lease and look after what this node holds; returns whether the store has answered."""
        host = self.host
        self._watch_memory()
        if self.threads.look():
            for worker in self.workers.values():
                worker.wake()
        if self._options.workers:
            if not self._joined:
                await self._join()
                # The store may have been emptied.
                self.announcements.say_again()
            if self.claims.on_hold:
                # First what nobody took goes on here: this very node could be granted it otherwise.
                with self.fence.asking():
                    await self.holdings.look()
                self.claims.on_hold = False
                for worker in self.workers.values():
                    worker.wake()
            if not await self._renew():
                return False
            if not self.claims.on_hold and (self.claims.has_strays or host.now() >= self._chores_at):
                self._chores_at = host.now() + TICK
                with self.fence.asking():
                    await self.holdings.look()
            for worker in list(self.workers.values()):
                worker.release_stranded()
                if self._is_deaf:
                    worker.wake()
            return True
        # A pure client keeps the time, too.
        return await self._renew()

    @property
    def _is_deaf(self) -> bool:
        """Whether what the store has to tell does not arrive, wake-ups among it."""
        return any(state != "ready" for state in self.store.connections.values())

    async def _renew(self) -> bool:
        """Renew the lease, before anything else; returns whether the store has answered within its time."""
        host, now = self.host, self.host.now()
        looks = self._options.workers and now >= self._look_for_dead_at
        every = self._registry.stalled_interval if looks else 0.0
        with self.fence.asking(), host.cancel_scope(deadline=now + self._options.lease) as patience:
            answer = await self.store.renew(look_every=every)
            self._lease_seen = now
            self._pace = answer.wait
            if answer.lost and self._options.workers:
                self._lost()
            elif answer.look:
                self._look_bell.wake()
        if patience.cancelled_caught:
            # Whoever was away itself cannot tell who is dead: all may be on their way back.
            self._look_for_dead_at = host.now() + SETTLING_IN
            return False
        return True

    async def _look_forever(self) -> None:
        """When it is this node's turn, look after what all nodes share; beside the ticks, which renew."""
        while True:
            await self._look_bell.park()
            try:
                # Not once the node signs off: nothing of it shall come after that.
                while not self._ticking.cancel_called and self._has_looked(await self.store.tick()).more:
                    pass
            except AM2ZError as error:
                logger.warning("looking for dead nodes and stuck queues failed: %s", error)

    def _is_refused(self) -> bool:
        """Whether the store refuses what this node asks for now."""
        refused = self.settler.refusal != "" or any(worker.refusal for worker in self.workers.values())
        return refused or self.store.was_denied

    def _has_looked(self, answer: TickAnswer) -> TickAnswer:
        """Say which jobs have failed that no worker can speak for any more."""
        for job in answer.failed:
            log_failure(job, JobStalledError.code, STALLED)
        back = answer.reaped - len(answer.failed)
        if back:
            logger.warning("%d jobs were taken back from nodes that are gone", back)
        return answer

    async def _look(self) -> None:
        """Pass stray wake-ups on, and ask for stops that were not heard of."""
        store = self.store
        while self._stray_wakes:
            queue = self._stray_wakes.pop()
            if queue not in self.workers:
                await store.unpark(queue)
        await self.stops.look()

    def why_it_cannot_claim(self) -> str:
        """Empty if this node could claim a job now; for a pure client, too."""
        if self._stopping:
            return "the runtime is stopping"
        if self.submissions.overload is not None:
            return self.submissions.overload.message
        if self.access.lost is not None:
            return self.access.lost.message
        if why := self.threads.why_full():
            return why
        if self._fallen:
            return (
                f"the worker of {min(self._fallen)!r} has ended by itself, and another one is not yet there"
            )
        if self._options.workers and not self._joined:
            return "this node has lost its lease and not yet taken another"
        if self._options.workers and self.host.now() - self._lease_seen > SELF_FENCE * self._options.lease:
            return "the lease has not been renewed for most of its time"
        return ""

    # --- events -----------------------------------------------------------------------------

    def tell(self, event: str, *, processor: str = "", session: str = "") -> None:
        """Publish an event of this node, soon."""
        self._bus.emit(Event(event, 0, self.id, processor=processor, session=session))

    def _tell_of(self, name: str, data: Any, grant: Grant) -> None:
        """Publish an event of a job that the store knows nothing of, soon."""
        spec = grant.spec
        self._bus.emit(Event(name, 0, self.id, spec.id, spec.processor, spec.session, data))

    # --- what processors may do -------------------------------------------------------------

    def _emit(self, name: str, data: Any, grant: Grant) -> None:
        spec = grant.spec
        event = Event.emitted(
            name, data, node=self.id, job=spec.id, processor=spec.processor, session=spec.session
        )
        self._bus.emit(event)

    async def _report(self, grant: Grant, progress: float) -> None:
        await self.store.report(grant.spec.id, grant.token, require_number("progress", progress))
