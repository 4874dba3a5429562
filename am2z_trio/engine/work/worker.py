"""Works one queue off: claims jobs for its free slots and runs each under its own cancel scope.

Two kinds of tasks share a buffer of claimed jobs. The *feeder* claims: as many jobs as there are
free slots, and a few ahead where the work is short (`policy.prefetch`). *Slots* take from the buffer
and run; there are never more of them than the queue's concurrency, and they are started only when
there is work for them. When the store has nothing, the node is parked there and the feeder sleeps
until a wake-up arrives or the next delayed job is due: nothing polls. Where as many jobs wait for others
as may (`QueueOptions.max_waiting_parents`), the feeder claims only what other jobs wait for: these are always
begun, so whatever waits gets on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Final

from am2z_trio.concurrency import CancelScope, Nursery, Spot, TaskStatus
from am2z_trio.concurrency.groups import is_an_error, is_not_the_codes_own
from am2z_trio.engine.claim import Claim, Stop
from am2z_trio.engine.execution.settlements import conflicted, released
from am2z_trio.engine.processors.registry import Registered, Registration
from am2z_trio.engine.sessions.hosted import HostedSession, SessionWorker
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import FREE, ClaimAnswer, Flow, SettleAnswer, Settlement, Unreadable
from am2z_trio.model.telling import text_of
from am2z_trio.policy.prefetch import Prefetch

from .hogs import LATE
from .services import WorkerServices

logger: Final = Log("am2z_trio.worker")

SLICE: Final = 0.001
"""Seconds a slot may run jobs that never wait before it lets other tasks have a turn."""

STRANDED: Final = 0.5
"""Seconds a job may lie in the buffer while every slot is busy before it goes back to its queue."""

ASK_AGAIN_AFTER: Final = 2.0
"""Seconds after which a job that is to go on asks again whether there is room."""

CLAIM_AGAIN_AFTER: Final = 0.5
"""Seconds after a claim the store refused (an error reply, not a lost connection)."""

MOST_AT_ONCE: Final = 200
"""Jobs per claim; bounds the time one script holds the store."""

ROUSED_AT_ONCE: Final = 2
"""Slots woken ahead of need: each wakes as many again, so n slots start in log2(n) steps, and work
that is done within one step wakes no more than these."""


class Slot:
    """What one of a worker's tasks has in hand."""

    __slots__ = ("claim", "is_open", "registered", "spot")

    def __init__(self, spot: Spot) -> None:
        self.spot = spot
        self.is_open = True
        self.claim: Claim | None = None
        """The plain job that runs under the scope of the slot."""
        self.registered: Registered | None = None
        """How it is run."""


class Worker:
    """Serves one queue on one node, as a task of the nursery that owns it."""

    def __init__(
        self,
        services: WorkerServices,
        registered: Registered,
        registration: Registration,
        on_unparked: Callable[[Worker], None],
    ) -> None:
        self.queue = registered.queue
        self.processor = registered.processor.name
        self._host = host = services.host
        self._store = services.store
        self._executor = services.executor
        self._settler = services.settler
        self._claims = services.claims
        self._registration = registration
        self._sessions = services.sessions
        self._capacity = services.capacity
        self._hogs = services.hogs
        self._max_conflicts = services.max_conflicts
        self._on_lost = services.on_lost
        self._on_unparked = on_unparked
        self._prefetch = Prefetch()
        self._buffer: deque[Claim] = deque()
        self._idle: list[Spot] = []
        self._slots = 0
        self._busy = 0
        self._away = 0
        self._returning: deque[Spot] = deque()
        self._roused = 0
        self._unsettled = 0
        self._parked = False
        self._calls_only = False
        self._has_called = False
        self._woken = False
        self._due = inf
        self._claiming = False
        self._closing = self._closed = False
        self._bell = host.spot()
        self._nursery: Nursery | None = None
        self._newer: set[str] = set()
        self.refusal = ""
        """Why the store refuses claims now; empty if it grants them."""
        self.jobs_run = 0
        self.held_back = False
        """Claim nothing for now; what is claimed runs."""

    # --- told from outside, synchronously ---------------------------------------------------

    def wake(self) -> None:
        """The queue has work, or may have: claim again."""
        self._woken = True
        self._parked = False
        self._bell.wake()

    def close(self) -> None:
        """Claim no more, hand back what waits for a slot, end when the running jobs have."""
        self._closing = self._closed = True
        self._release_buffer()
        self._bell.wake()

    @property
    def stops_when_cut_off(self) -> bool:
        """Whether its jobs must not go on while others may be given them."""
        registered = self._registration.current
        return registered is not None and registered.processor.queue.stop_when_cut_off

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def closed(self) -> bool:
        """Whether anybody has asked it to end."""
        return self._closed

    @property
    def busy(self) -> int:
        """Jobs whose code runs now, those included that wait for another job."""
        return self._busy

    def release_stranded(self) -> None:
        """Give back claimed jobs that have waited for a slot for too long: others may be free."""
        if self._buffer and self._host.now() - self._buffer[0].since > STRANDED:
            self._prefetch.ran(STRANDED * 100)
            self._release_buffer()

    def on_settled(self, claim: Claim, settlement: Settlement, answer: SettleAnswer) -> None:
        """The store has answered."""
        if answer.status == "conflict":
            # The claim stands; it is run again in its turn, which is a start like any other.
            if claim.grant.conflicts >= self._max_conflicts:
                self._settler.submit(claim, self._executor.conflict_exhausted(claim))
            else:
                self._settler.submit(claim, conflicted(claim))
            return
        if answer.status == "fenced" and settlement.outcome not in ("cancelled", "released", "conflicted"):
            logger.warning("job %s was taken away; what it did here is dropped", settlement.id)
            # By another node, or by whatever has changed its record: then it is ours, and nobody knows it.
            self._claims.has_strays = True
        self._let_go(claim)
        if self._closing or not (self._parked or self._claiming):
            self._bell.wake()

    def _let_go(self, claim: Claim) -> None:
        self._claims.remove(claim)
        self._unsettled -= 1

    # --- jobs that wait for other jobs ------------------------------------------------------

    @asynccontextmanager
    async def away(self, claim: Claim, uncalled: str = "") -> AsyncIterator[None]:
        """Around waiting for other jobs; what it needs of its room is given back for as long."""
        claim.calls += 1
        first = claim.calls == 1
        if first:
            self._step_aside(claim)
        try:
            if first:
                await self.stay_aside(claim)
            if uncalled:
                await self._call_for(uncalled)
            yield
        finally:
            claim.calls -= 1
            if claim.calls == 0:
                await self._step_back(claim)

    async def stay_aside(self, claim: Claim) -> None:
        """The limits of the queue do not count a job that waits for others."""
        if self._is_limited:
            await self._store.step_aside(claim.grant.spec.id, claim.grant.token)

    async def _call_for(self, job: str) -> None:
        """Nodes whose jobs wait for others, as many as may, begin none that nobody waits for."""
        try:
            await self._store.call_for(job)
        except AM2ZError as error:
            logger.warning("job %s is waited for, and the store was not told: %s", text_of(job), error)

    @property
    def _is_limited(self) -> bool:
        flow = self._flow()
        return flow.most_active > 0 or flow.per_session > 0

    async def _wait_for_room(self, claim: Claim) -> None:
        """The limits of the queue let the job go on before any that has not begun."""
        spec, token = claim.grant.spec, claim.grant.token
        while True:
            claim.may_go_on = self._host.event()
            try:
                if await self._store.step_back(spec.id, token):
                    return
            except AM2ZError as error:
                logger.warning("job %s goes on without asking: %s", spec.id, error)
                return
            # Asked again now and then: a message may have been lost with a connection.
            with self._host.cancel_scope(deadline=self._host.now() + ASK_AGAIN_AFTER):
                await claim.may_go_on.wait()

    def _step_aside(self, claim: Claim) -> None:
        """The job waits for another one: its slot is free meanwhile, so that the other can run."""
        self._away += 1
        self._has_called = True
        self._give_back_capacity(claim)
        self._slot_is_free()
        self._rouse()
        if not (self._parked or self._claiming):
            self._bell.wake()

    async def _step_back(self, claim: Claim) -> None:
        """Wait for room in the limits and for a slot, before any job that has not begun."""
        if self._is_limited:
            try:
                await self._wait_for_room(claim)
            except BaseException:
                # It will not go on: what takes its slot up again is its end.
                self._one_is_back()
                raise
        if self._busy - self._away < self._concurrency():
            self._one_is_back()
        else:
            spot = self._host.spot()
            self._returning.append(spot)
            try:
                await spot.park()
            except BaseException:
                if spot in self._returning:
                    self._returning.remove(spot)
                    self._one_is_back()
                raise
        await self._capacity.acquire(first=True)
        if claim.counts or claim.calls:
            # Another call of it has come back meanwhile, or has begun: that one will.
            self._capacity.release()
        else:
            claim.counts = True

    def _slot_is_free(self) -> None:
        """A job that has waited for another one goes on first."""
        if self._returning:
            self._one_is_back()
            self._returning.popleft().wake()

    def _one_is_back(self) -> None:
        self._away -= 1
        if self._parked and self._calls_only and not self._has_many_away:
            self._bell.wake()

    @property
    def _has_many_away(self) -> bool:
        """Whether as many wait for others as may: then nothing is begun but what others wait for."""
        registered = self._registration.current
        return registered is not None and self._away >= registered.processor.queue.most_waiting_parents

    def _give_back_capacity(self, claim: Claim) -> None:
        if claim.counts:
            claim.counts = False
            self._capacity.release()

    def _concurrency(self) -> float:
        registered = self._registration.current
        return inf if registered is None else registered.processor.queue.concurrency  # what has begun goes on

    # --- the feeder -------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus) -> None:
        """Serve until closed or cancelled; cancelled jobs are handed back through the settler."""
        async with self._host.open_nursery() as self._nursery:
            try:
                task_status.started()
                await self._feed()
                while self._busy or self._unsettled:
                    await self._bell.park()
                self._nursery.cancel_scope.cancel()
            except BaseException as raised:
                self._on_failure(raised)
                raise
            finally:
                # From now on the nursery takes no more slots.
                self._closing = True
                self._release_buffer()
                self._claims.has_strays = self._claims.has_strays or self._claiming

    async def _feed(self) -> None:
        host, bell = self._host, self._bell
        while not self._closing:
            want = self._want()
            if self._parked and (host.now() >= self._due or (self._calls_only and not self._has_many_away)):
                self._parked = False
            if want <= 0 or self._parked:
                with host.cancel_scope(deadline=self._due if self._parked else inf):
                    await bell.park()
                continue
            self._parked = self._woken = False
            began = host.now()
            self._calls_only = calls_only = self._has_many_away
            self._claiming = True
            seq = self._claims.begin()
            try:
                answer = await self._store.claim(self.queue, seq, want, self._flow(), calls_only)
                # Before the claims hear that this call is over: they may know who is to stop.
                self._claiming = False
                self._take(answer, want, began)
                self.refusal = ""
            except AM2ZError as error:
                self._claiming = False
                if error.message != self.refusal:
                    # Once, however often it is tried again.
                    self.refusal = error.message
                    logger.error("claiming from %s failed, and is tried again: %s", self.queue, error)
                self._claims.has_strays = True
                await host.sleep(CLAIM_AGAIN_AFTER)
                continue
            finally:
                self._claims.end(seq)
        try:
            await self._store.unpark(self.queue)
        except AM2ZError as error:
            logger.warning(
                "node could not leave queue %s, and is taken off it when it is woken: %s", self.queue, error
            )
        self._on_unparked(self)

    def _want(self) -> int:
        registered = self._registration.current
        if registered is None or self.held_back or self._claims.on_hold:
            return 0
        if not registered.processor.is_async and self._executor.threads.is_full:
            return 0
        concurrency = registered.processor.queue.concurrency
        ahead = self._prefetch.ahead(concurrency)
        free = concurrency + ahead - (self._busy - self._away) - len(self._buffer)
        # Work that settles more slowly than it runs must not pile up.
        most = min(free, 2 * (concurrency + ahead) - (self._unsettled - self._away), MOST_AT_ONCE)
        if self._has_called and not self._has_many_away:
            # All of it may come to wait for others.
            parents = registered.processor.queue.most_waiting_parents
            most = min(most, parents + concurrency - self._busy - len(self._buffer))
        return most

    def _flow(self) -> Flow:
        registered = self._registration.current
        return FREE if registered is None else registered.flow

    def _take(self, answer: ClaimAnswer, want: int, began: float) -> None:
        host = self._host
        now = host.now()
        if answer.lost:
            self._parked, self._due = True, inf
            self._on_lost()
            return
        grants = answer.grants
        if len(grants) + len(answer.unreadable) + len(answer.newer) < want and not answer.stale:
            # A wake-up may have come in between the claim and this task's turn: then claim again.
            self._parked = not self._woken
            self._due = inf if answer.next_due is None else now + answer.next_due
        for job in answer.unreadable:
            self._refuse(job)
        for job in answer.newer:
            if job.reason not in self._newer:
                self._newer.add(job.reason)
                logger.warning("jobs of %s are left to newer nodes: %s", self.queue, job.reason)
            self._settler.submit(None, self._executor.settlements.leave_to_newer(job))
        if not grants:
            return
        self._prefetch.claimed(now - began)
        for grant in grants:
            if grant.spec.processor != self.processor:
                reason = f"it is in the queue of {self.processor!r}, and a job of {grant.spec.processor!r}"
                self._refuse(Unreadable(id=grant.spec.id, token=grant.token, reason=reason))
                continue
            claim = Claim(grant, self, now)
            self._claims.add(claim)
            self._buffer.append(claim)
            self._unsettled += 1
        if self._closing:
            self._release_buffer()
        else:
            self._rouse()

    def _refuse(self, job: Unreadable) -> None:
        logger.error("job %s of %s is a dead letter: %s", text_of(job.id), self.queue, job.reason)
        self._settler.submit(None, self._executor.settlements.refuse(job))

    def _release_buffer(self) -> None:
        while self._buffer:
            claim = self._buffer.popleft()
            self._settler.submit(claim, released(claim))

    # --- the slots --------------------------------------------------------------------------

    def _rouse(self) -> None:
        """Get slots going for what lies in the buffer, starting new ones only where none is idle."""
        registered = self._registration.current
        if registered is None or self._nursery is None:
            return
        most = registered.processor.queue.concurrency + self._away
        for _ in range(min(ROUSED_AT_ONCE - self._roused, len(self._buffer) - self._roused)):
            if self._idle:
                self._idle.pop().wake()
            elif self._slots < most:
                self._slots += 1
                self._nursery.start_soon(self._slot, name=f"{self.queue} slot")
            else:
                return
            self._roused += 1

    def _on_failure(self, raised: BaseException) -> None:
        if is_an_error(raised, self._host):
            self._claims.failing = True

    async def _slot(self) -> None:
        try:
            await self._take_turns()
        except BaseException as raised:
            self._on_failure(raised)
            raise

    async def _take_turns(self) -> None:
        """Run jobs one after the other.

        Plain ones share one scope for as long as nobody cancels it: to enter and to leave a scope costs as
        much as all else that a short job needs. Whatever cancels it is meant for the one that runs then.
        """
        host, slot = self._host, Slot(self._host.spot())
        self._roused -= 1
        while slot.is_open:
            scope, error = host.cancel_scope(), None
            try:
                with scope:
                    await self._serve(slot, scope)
            except BaseException as raised:
                if slot.claim is None:
                    raise
                if not scope.cancel_called or is_not_the_codes_own(raised, host):
                    self._ended(slot.claim, self._broken_off(slot.claim, None, raised))
                    raise
                error = raised
            if slot.claim is not None:
                self._cut_short(slot, error, caught=scope.cancelled_caught)

    async def _serve(self, slot: Slot, scope: CancelScope) -> None:
        """Run jobs until the scope is used up, or this slot is one too many."""
        host, buffer, now, spot = self._host, self._buffer, self._host.now, slot.spot
        shares, run_plain = host.sees_scopes, self._executor.run_plain
        turn_ends = now() + SLICE
        while True:
            registered = self._registration.current
            if registered is None or self._slots > registered.processor.queue.concurrency + self._away:
                # Concurrency went down by a hot reload, or a job that had stepped aside is back.
                self._slots -= 1
                slot.is_open = False
                self._release_if_unserved(registered)
                return
            if not buffer:
                self._idle.append(spot)
                await spot.park()
                self._roused -= 1
                turn_ends = now() + SLICE
                continue
            if self._capacity.is_limited:
                await self._capacity.acquire()
                if not buffer:
                    self._capacity.release()
                    continue
            claim = buffer.popleft()
            claim.counts = True
            if buffer:
                self._rouse()
            session = claim.grant.spec.session
            if claim.stop is not None or (session and self._sessions.is_stopping(session)):
                self._drop(claim)
            elif (not registered.processor.is_async and self._executor.threads.is_full) or (
                session and self._sessions.closed
            ):
                self._give_back_capacity(claim)
                self._settler.submit(claim, released(claim))
            elif session:
                await self._run_in_session(claim, registered, spot)
            elif shares and registered.processor.is_plain:
                self._busy += 1
                claim.is_running = True
                slot.claim, slot.registered = claim, registered
                settlement = await run_plain(claim, registered, scope)
                slot.claim = None
                self._ran(claim, settlement)
                if (claim.stop is not None or claim.is_limited) and scope.cancel_called:
                    # Too late for this one, and not meant for the next.
                    return
            else:
                self._busy += 1
                await self._run(claim, registered, None)
            if claim.ended > turn_ends:
                # Where jobs keep the loop to themselves, each that ends is a sign of life.
                self._store.beat()
                await host.checkpoint()
                turn_ends = now() + SLICE

    def _drop(self, claim: Claim) -> None:
        """End a job that is to stop before its code has begun."""
        self._give_back_capacity(claim)
        settlement = self._executor.settlements.unbegun(claim)
        if settlement is None:
            self._let_go(claim)
        else:
            self._settler.submit(claim, settlement)

    def _release_if_unserved(self, registered: Registered | None) -> None:
        if registered is None:
            self._release_buffer()
        elif self._buffer:
            self._rouse()

    async def _run_in_session(self, claim: Claim, registered: Registered, spot: Spot) -> None:
        """Run the job as a task of its session's nursery, and keep this slot until it has ended."""
        session = self._sessions.open(claim.grant.spec.session)
        place = session.enter(self.queue)
        # Not first when the task gets its turn: till then another job could take this one for a free slot.
        self._busy += 1
        session.start_soon(self._run_as_task, claim, registered, session, place, spot)
        try:
            await spot.park()
        except BaseException:
            claim.cancel(Stop("released", "the worker was stopped"))
            raise

    async def _run_as_task(
        self, claim: Claim, registered: Registered, session: HostedSession, place: SessionWorker, spot: Spot
    ) -> None:
        try:
            await self._run(claim, registered, session)
        finally:
            session.leave(place)
            spot.wake()

    async def _run(self, claim: Claim, registered: Registered, session: HostedSession | None) -> None:
        claim.is_running = True
        try:
            if session is not None and session.cancel_scope.cancel_called:
                # Stopped since the slot has looked: its code is not begun.
                await self._host.checkpoint()
            settlement = await self._executor.run(claim, registered)
        except BaseException as raised:
            self._ended(claim, self._broken_off(claim, session, raised))
            raise
        self._ran(claim, settlement)

    def _cut_short(self, slot: Slot, raised: BaseException | None, *, caught: bool) -> None:
        """The scope was left before the plain job that ran under it had told how it ends."""
        claim, registered = slot.claim, slot.registered
        assert claim is not None
        assert registered is not None
        slot.claim = None
        try:
            settlement = self._executor.cut_short(claim, registered, raised, caught=caught)
        except BaseException as worse:
            self._ended(claim, self._broken_off(claim, None, worse))
            raise
        self._ran(claim, settlement)

    def _broken_off(
        self, claim: Claim, session: HostedSession | None, raised: BaseException
    ) -> Settlement | None:
        """How to settle a job whose task is ended: if it was cancelled from above, the job goes back."""
        if not self._host.is_cancellation(raised):
            # The executor lets nothing out that a job has done, but for Ctrl-C: is it to blame?
            self._claims.forsaken = True
            self._on_failure(raised)
            return None
        if session is not None and session.cancel_scope.cancel_called:
            return self._executor.settlements.session_stopped(claim)
        if self._claims.failing:
            self._claims.forsaken = True
            return None
        return released(claim)

    def _ran(self, claim: Claim, settlement: Settlement | None) -> None:
        self._prefetch.ran(claim.ended - claim.began)
        self.jobs_run += 1
        if claim.ended - claim.began > LATE:
            self.look_back(claim, settlement)
        self._ended(claim, settlement)

    def look_back(self, claim: Claim, settlement: Settlement | None) -> None:
        """A job, or one within it, has run: say so if that was for longer than a scope should have let it."""
        self._hogs.ended(claim, settlement)

    def _ended(self, claim: Claim, settlement: Settlement | None) -> None:
        """The job's code has ended, and it takes no room any more; `None` settles nothing."""
        claim.is_running = False
        self._busy -= 1
        self._give_back_capacity(claim)
        self._slot_is_free()
        if settlement is None:
            # A forsaken one stays with the claims: nobody is to take it for a stray.
            if not self._claims.forsaken:
                self._let_go(claim)
        else:
            self._settler.submit(claim, settlement)
        if self._closing or not (self._parked or self._claiming):
            self._bell.wake()
