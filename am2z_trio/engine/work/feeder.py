"""A feeder: claims the jobs of one queue for this node, as many as there are places for.

And a few ahead where the work is short (`policy.prefetch`). When the store has nothing, the node is parked
there and the feeder sleeps until a wake-up arrives or the next delayed job is due: nothing polls. While it is
parked, jobs that come are given to it, as many as have a place: claimed already, so no call is needed. Where
as many jobs wait for others as may (`QueueOptions.max_waiting_parents`), the feeder claims only what other
jobs wait for: these are always begun, so whatever waits gets on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from logging import INFO
from math import inf
from typing import Final

from am2z_trio.concurrency import TaskStatus
from am2z_trio.concurrency.groups import is_an_error
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.run_log import runs
from am2z_trio.engine.execution.settlements import conflicted, released
from am2z_trio.engine.processors.registry import Definition, Registration
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import (
    UNLIMITED,
    ClaimAnswer,
    Grant,
    Handed,
    SettleAnswer,
    Settlement,
    Unreadable,
)
from am2z_trio.model.telling import text_of

from .delivery import Delivery
from .newer import NewerJobs
from .services import WorkerServices

logger: Final = Log("am2z_trio.worker")

CLAIM_AGAIN_AFTER: Final = 0.5
"""Seconds after a claim the store refused (an error reply, not a lost connection)."""

GIVEN_UP: Final = ("cancelled", "released", "conflicted", "parked")
"""Outcomes with which nothing is lost that the job has done here."""

MOST_AT_ONCE: Final = 200
"""Jobs per claim; bounds the time one script holds the store."""


class Feeder:
    """Serves one queue on one node: a task of the node's tree, part of no session.

    It is the holder of the claims it makes, until they are settled.
    """

    def __init__(
        self,
        services: WorkerServices,
        definition: Definition,
        registration: Registration,
        on_unparked: Callable[[Feeder], None],
    ) -> None:
        self.queue = definition.queue
        self.processor = definition.processor.name
        self.delivery = Delivery(services, definition, registration, self._on_change)
        self.on_wait = self.delivery.on_wait
        self.newer = NewerJobs(services.host, self.queue)
        self.refusal = ""
        """Why the store refuses claims now; empty if it grants them."""
        self.held_back = False
        """Claim nothing for now; what is claimed runs."""
        self._services, self._now = services, services.host.clock()
        self._registration = registration
        self._on_unparked = on_unparked
        self._parked = False
        self._in_lot = False
        """It is woken when there is work, or may be given some; until it claims again."""
        self._calls_only = False
        self._woken = self._claiming = False
        self._due = inf
        self.unconfirmed = 0  # jobs that it began as the store was told of them, which has not answered
        self._closing = self._closed = False
        self._bell = services.host.spot()

    # --- told from outside, synchronously ---------------------------------------------------

    def wake(self) -> None:
        """The queue has work, or may have: claim again."""
        self._woken = True
        self._parked = False
        self._bell.wake()

    def hand(self, handed: Handed) -> None:
        """A job was claimed for this node as it came. One that it would not have claimed now goes back."""
        if not handed.left:
            self._in_lot = False
            self.wake()
        answer, claims = handed.answer, self._services.claims
        for grant in answer.grants:
            if claims.has(grant.spec.id, grant.token):
                # It was told of it twice.
                return
            if self._leaves_to_others(grant):
                self._claimed(grant, self._now())
                self.delivery.hand_back(self.delivery.buffer.pop())
                return
        self._accept(answer)

    def _leaves_to_others(self, grant: Grant) -> bool:
        places = self.delivery.places
        if self.held_back or self._services.claims.on_hold or (self.unconfirmed and self.free() <= 0):
            return True
        return places.has_called and places.has_many_away and not grant.spec.depth

    @property
    def is_at_rest(self) -> bool:
        """Whether it is parked, and has nothing to do but to wait for others."""
        delivery = self.delivery
        return self._in_lot and delivery.places.busy == delivery.places.away and not delivery.buffer

    def close(self) -> None:
        """Claim no more, hand back what waits for a place, end when the running jobs have."""
        self._closing = self._closed = True
        self.delivery.release()
        self._bell.wake()

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
        return self.delivery.places.busy

    @property
    def jobs_run(self) -> int:
        return self.delivery.jobs_run

    def pin_worker(self, session: str) -> None:
        """Have a worker in this session, until the session is stopped."""
        worker = self.delivery.open_worker(session)
        worker.session.pin(worker)

    # --- the holder of its claims -------------------------------------------------------------

    @property
    def stops_when_cut_off(self) -> bool:
        """Whether its jobs must not go on while others may be given them."""
        definition = self._registration.current
        return definition is not None and definition.processor.queue.stop_when_cut_off

    def away(self, claim: Claim, uncalled: str = "") -> AbstractAsyncContextManager[None]:
        """Around waiting for other jobs: this one takes no place then."""
        return self.delivery.places.given_up(claim, uncalled)

    async def stay_aside(self, claim: Claim) -> None:
        """The limits of the queue do not count a job that waits for others."""
        await self.delivery.places.stay_aside(claim)

    def look_back(self, claim: Claim, settlement: Settlement | None) -> None:
        """A job, or one within it, has run: say so if that was for longer than a scope should have let it."""
        self._services.hogs.ended(claim, settlement)

    def on_settled(self, claim: Claim, settlement: Settlement, answer: SettleAnswer) -> None:
        """The store has answered."""
        services = self._services
        if answer.status == "conflict":
            self.delivery.figures.conflicts += 1
            # The claim stands; it is run again in its turn, which is a start like any other.
            if claim.grant.conflicts >= services.max_conflicts:
                services.settler.submit(claim, services.executor.conflict_exhausted(claim))
            else:
                services.settler.submit(claim, conflicted(claim))
            return
        if answer.status == "unfounded":
            # The claim stands. What it has called answers from its record when it is run again.
            claim.builds_on = ()
            services.settler.submit(claim, released(claim))
            return
        if answer.status == "fenced" and settlement.outcome not in GIVEN_UP:
            logger.warning("job %s was taken away; what it did here is dropped", settlement.id)
            # By another node, or by whatever has changed its record: then it is ours, and nobody knows it.
            services.claims.has_strays = True
        self.delivery.settled(claim, settlement, answer)
        self._on_change()

    def _on_change(self) -> None:
        """There may be more to claim than before, or less to wait for."""
        waits = self._parked or self._claiming
        if not waits or self._closing or (self._calls_only and not self.delivery.places.has_many_away):
            self._bell.wake()

    # --- its task -----------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus) -> None:
        """Serve until closed or cancelled; cancelled jobs are handed back through the settler."""
        try:
            task_status.started()
            await self._feed()
            while self.busy or self.delivery.unsettled:
                await self._bell.park()
        except BaseException as raised:
            if is_an_error(raised, self._services.host):
                self._services.claims.failing = True
            raise
        finally:
            self._closing = True
            self.delivery.release()
            self.delivery.close_workers()
            self._services.claims.has_strays = self._services.claims.has_strays or self._claiming

    async def _feed(self) -> None:
        host, bell, store, claims = (
            self._services.host,
            self._bell,
            self._services.store,
            self._services.claims,
        )
        places = self.delivery.places
        while not self._closing:
            want = self.want()
            if self._parked and (host.now() >= self._due or (self._calls_only and not places.has_many_away)):
                self._parked = False
            if want <= 0 and self._in_lot:
                # What comes is for others: it would be given some, or be woken in vain.
                await self._leave_lot()
                continue
            if want <= 0 or self._parked:
                with host.cancel_scope(deadline=self._due if self._parked else inf):
                    await bell.park()
                continue
            self._parked = self._woken = False
            began, definition = host.now(), self._registration.current
            limits = UNLIMITED if definition is None else definition.limits
            self._calls_only = calls_only = places.has_called and places.has_many_away
            in_a_row = self.delivery.prefetch.in_a_row
            self._claiming = True
            unasked = 0 if calls_only else min(want, self.free())
            seq = claims.begin()
            try:
                answer = await store.claim(self.queue, seq, want, limits, calls_only, in_a_row, unasked)
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
                claims.has_strays = True
                await host.sleep(CLAIM_AGAIN_AFTER)
                continue
            finally:
                claims.end(seq)
        await self._leave_lot()
        self._on_unparked(self)

    async def _leave_lot(self) -> None:
        # Nobody wakes it any more: it is to see for itself when it wants some.
        self._in_lot = self._parked = False
        try:
            await self._services.store.unpark(self.queue)
        except AM2ZError as error:
            logger.warning(
                "node could not leave queue %s, and is taken off it when it is woken: %s", self.queue, error
            )

    def free(self) -> int:
        """How many jobs could begin at once."""
        definition, delivery = self._registration.current, self.delivery
        if definition is None:
            return 0
        processor, places = definition.processor, delivery.places
        most = MOST_AT_ONCE if processor.in_loop else places.openings(definition)
        return min(most, processor.queue.concurrency - (places.busy - places.away)) - len(delivery.buffer)

    def want(self) -> int:
        """How many jobs it would claim now, if there are any."""
        definition, services, delivery = self._registration.current, self._services, self.delivery
        if definition is None or self.held_back or services.claims.on_hold:
            return 0
        places = delivery.places
        most = MOST_AT_ONCE if definition.processor.in_loop else places.openings(definition)
        options = definition.processor.queue
        ahead = delivery.prefetch.ahead(options.concurrency)
        free = options.concurrency + ahead - (places.busy - places.away) - len(delivery.buffer)
        # Work that settles more slowly than it runs must not pile up.
        most = min(free, 2 * (options.concurrency + ahead) - (delivery.unsettled - places.away), most)
        if places.has_called and not places.has_many_away:
            # All of it may come to wait for others.
            most = min(
                most, options.most_waiting_parents + options.concurrency - places.busy - len(delivery.buffer)
            )
        return most

    def _take(self, answer: ClaimAnswer, want: int, began: float) -> None:
        now = self._now()
        if answer.lost:
            self._parked, self._due = True, inf
            self._services.on_lost()
            return
        self._in_lot = len(answer.grants) + len(answer.unreadable) + len(answer.newer) < want
        if self._in_lot and not answer.stale:
            # A wake-up may have come in between the claim and this task's turn: then claim again.
            self._parked = not self._woken
            due = inf if answer.next_due is None else now + answer.next_due
            self._due = due + self.newer.behind(now)
        if answer.grants:
            self.delivery.prefetch.claimed(now - began)
        self._accept(answer)

    def _accept(self, answer: ClaimAnswer) -> None:
        services, delivery = self._services, self.delivery
        for job in answer.unreadable:
            self._refuse(job)
        for job in answer.newer:
            self.newer.left(job.reason)
            services.settler.submit(None, services.executor.settlements.leave_to_newer(job))
        now = self._now()
        # Once for the jobs that come together.
        services.executor.tells = runs.is_enabled_for(INFO)
        for grant in answer.grants:
            if grant.spec.processor != self.processor:
                reason = f"it is in the queue of {self.processor!r}, and a job of {grant.spec.processor!r}"
                self._refuse(Unreadable(id=grant.spec.id, token=grant.token, reason=reason))
            else:
                self._claimed(grant, now)
        if self._closing:
            delivery.release()
        elif answer.grants:
            delivery.deliver()

    def _claimed(self, grant: Grant, now: float) -> None:
        claim = Claim(grant, self, now)
        self._services.claims.add(claim)
        self.delivery.buffer.append(claim)
        self.delivery.unsettled += 1

    def _refuse(self, job: Unreadable) -> None:
        logger.error("job %s of %s is a dead letter: %s", text_of(job.id), self.queue, job.reason)
        self._services.settler.submit(None, self._services.executor.settlements.refuse(job))
