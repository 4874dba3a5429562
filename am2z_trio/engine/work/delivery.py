"""The last step of feeding: what was claimed goes to the worker of its session, in the order of claims."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from am2z_trio.concurrency.capacity import Capacity
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.settlements import released
from am2z_trio.engine.processors.registry import Definition, Registration
from am2z_trio.model.ids import MADE_ALIKE, made_at
from am2z_trio.model.records import SettleAnswer, Settlement
from am2z_trio.policy.buckets import BOUNDS
from am2z_trio.policy.prefetch import Prefetch

from .hogs import LATE
from .places import Places
from .services import WorkerServices
from .slots import Owner
from .worker import Worker

GIVEN_AT_ONCE: Final = 2
"""Jobs of one worker that are given to slots ahead of their turn where one of it waits. Each that comes to
wait has more given: all the slots that are needed start soon, and work that is done within one step starts
none but the first."""

STRANDED: Final = 0.5
"""Seconds a job may lie in the buffer while every slot is busy before it goes back to its queue."""


class Delivery:
    """The claimed jobs of one queue: those that wait for a place, and those that have one."""

    def __init__(
        self,
        services: WorkerServices,
        definition: Definition,
        registration: Registration,
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called when more may be claimed than before."""
        self.places = Places(services, registration, self._on_places)
        self.prefetch = Prefetch()
        self.buffer: deque[Claim] = deque()
        """Those that wait for a place; who adds some delivers or releases them."""
        self.unsettled = 0
        """Claims of it that the store has not yet settled."""
        self.jobs_run = 0
        self.figures = services.figures.of(definition.processor.name)
        self._services = services
        self._definition = definition
        self._registration = registration
        self._on_change = on_change
        self._workers: dict[str, Worker] = {}
        """By session."""
        self._lined_up = False
        self._beginning = ""
        """Of the id that was looked at last; and when, in s, the engine has made those that begin so."""
        self._made: float | None = None

    def release(self) -> None:
        """Hand back what waits for a place."""
        while self.buffer:
            self.hand_back(self.buffer.popleft())

    def hand_back(self, claim: Claim) -> None:
        """It waits for no place any more, and goes back to its queue."""
        self._services.settler.submit(claim, released(claim))

    def release_stranded(self) -> None:
        """Give back claimed jobs that have waited for a place for too long: others may be free."""
        if self.buffer and self._services.host.now() - self.buffer[0].since > STRANDED:
            self.prefetch.ran(STRANDED * 100)
            self.release()

    def settled(self, claim: Claim, settlement: Settlement, answer: SettleAnswer) -> None:
        """The store has settled it."""
        if answer.outcome == "completed":
            self.figures.completed += 1
        else:
            self.figures.settled(settlement, answer)
        worker = self._workers.get(claim.grant.spec.session)
        if worker is not None:
            worker.count(answer)
        self.let_go(claim)

    def let_go(self, claim: Claim) -> None:
        """It is settled, or ours no more."""
        self._services.claims.remove(claim)
        self.unsettled -= 1

    # --- the workers --------------------------------------------------------------------------

    def worker(self, session: str) -> Worker | None:
        """The worker of this session, if it is here."""
        return self._workers.get(session)

    def open_worker(self, session: str) -> Worker:
        """The worker of this session, opened on first use; to be given something, or pinned, at once."""
        worker = self._workers.get(session)
        if worker is None or worker.closed:
            hosted = self._services.sessions.open(session)
            worker = Worker(self._services, self, hosted, self._definition)
            self._workers[session] = worker
            hosted.add(worker)
        return worker

    def over(self, worker: Worker) -> None:
        """No slot of it is left."""
        if self._workers.get(worker.session.id) is worker:
            del self._workers[worker.session.id]

    def close_workers(self) -> None:
        """They take no more jobs, and end."""
        for worker in self._workers.values():
            worker.close()

    # --- a job's way --------------------------------------------------------------------------

    def deliver(self, ahead: int = 1) -> None:
        """Give what has a place to the workers, to each so many `ahead` of their turn."""
        buffer, workers = self.buffer, self._workers
        while buffer:
            worker = workers.get(buffer[0].grant.spec.session)
            if worker is not None and worker.given >= ahead:
                return
            claim = self._take()
            if claim is None:
                return
            self._give(claim)

    def on_wait(self) -> None:
        """The code of a job waits for the first time: others may begin."""
        if self.buffer:
            self.deliver(GIVEN_AT_ONCE)

    def _give(self, claim: Claim) -> None:
        session = claim.grant.spec.session
        worker = self._workers.get(session)
        if worker is None or worker.closed:
            worker = self.open_worker(session)
        worker.give(claim)

    def _take(self, *, has_room: bool = False) -> Claim | None:
        """The next job that can begin, with its place. `has_room`: there is room for it in the node's
        capacity, taken already."""
        buffer, places, definition = self.buffer, self.places, self._registration.current
        sessions = self._services.sessions
        if definition is None:
            self.release()
            return None
        concurrency = definition.processor.queue.concurrency
        in_loop = definition.processor.in_loop
        capacity = self._services.capacity if in_loop else self.places.capacity_of(definition)
        while buffer and places.busy - places.away < concurrency:
            if capacity.is_limited and not has_room and not capacity.take():
                self._line_up(capacity)
                return None
            has_room = False
            claim = buffer.popleft()
            places.busy += 1
            if capacity.is_limited:
                claim.room, claim.counts = capacity, True
            session = claim.grant.spec.session
            if claim.stop is None and not (sessions.closed or (session and sessions.is_stopping(session))):
                return claim
            self._turn_away(claim)
        return None

    def _line_up(self, capacity: Capacity) -> None:
        if not self._lined_up:
            self._lined_up = True
            capacity.line_up(partial(self._on_room, capacity))

    def _on_room(self, capacity: Capacity) -> bool:
        """There is room in the node's capacity; returns whether it was taken."""
        self._lined_up = False
        definition, places = self._registration.current, self.places
        if (
            not self.buffer
            or definition is None
            or self.places.capacity_of(definition) is not capacity
            or places.busy - places.away >= definition.processor.queue.concurrency
        ):
            return False
        claim = self._take(has_room=True)
        if claim is not None:
            self._give(claim)
        self.deliver()
        return True

    def _turn_away(self, claim: Claim) -> None:
        """End a job that has a place before its code has begun, or hand it back."""
        session = claim.grant.spec.session
        if claim.stop is not None or (session and self._services.sessions.is_stopping(session)):
            self.ended(claim, self._services.executor.settlements.unbegun(claim))
        else:
            self.ended(claim, released(claim))

    def begins(self, claim: Claim, *, at_once: bool) -> Definition | None:
        """A job that a slot has gets its turn: how it is run. `None` if it is not, and has ended. `at_once`:
        nobody else has run since it was taken."""
        services, session, definition = self._services, claim.grant.spec.session, self._registration.current
        sessions = services.sessions
        if (
            definition is None
            or claim.stop is not None
            or (session and not at_once and (sessions.closed or sessions.is_stopping(session)))
            or (not definition.processor.in_loop and services.executor.sites.of(definition.processor).is_full)
        ):
            self._turn_away(claim)
            return None
        grant, figures = claim.grant, self.figures
        spec = grant.spec
        claim.started = started = time.time()
        figures.started += 1
        if grant.deliveries == 1 and not spec.parent:
            if self._beginning != (beginning := spec.id[:MADE_ALIKE]):
                made, self._beginning = made_at(spec.id), beginning
                self._made = None if made is None else made / 1000
            if self._made is not None:
                # Of two clocks.
                waits, waited = figures.waits, started - self._made if started > self._made else 0.0
                waits.counts[bisect_left(BOUNDS, waited)] += 1
                waits.total += waited
        return definition

    def ended(self, claim: Claim, settlement: Settlement | None) -> None:
        """The job takes no place any more; `None` settles nothing."""
        services = self._services
        has_run, claim.is_running = claim.is_running, False
        if settlement is not None:
            # First of all: whoever waits for the job waits for this. Where there are more, they may well end
            # in the same pass: one call settles them.
            services.settler.submit(claim, settlement, alone=len(services.claims) == 1)
        if has_run:
            seconds = claim.ended - claim.began
            self.prefetch.ran(seconds)
            self.jobs_run += 1
            runs, stop = self.figures.runs, claim.stop
            runs.counts[bisect_left(BOUNDS, seconds)] += 1
            runs.total += seconds
            if stop is not None and stop.asked is not None:
                services.figures.cancel_latency.add(claim.ended - stop.asked)
            if seconds > LATE:
                services.hogs.ended(claim, settlement)
        places = self.places
        places.busy -= 1
        if claim.counts or places.returning:
            places.leave(claim)
        if settlement is None and not services.claims.forsaken:
            # A forsaken one stays with the claims: nobody is to take it for a stray.
            self.figures.lost += 1
            self.let_go(claim)
        self._on_change()

    def next_for(self, owner: Owner) -> Claim | None:
        """A job of this worker has ended: the next one, where that is its, too; any other is given to whom
        it is for, unless that one has some that it has not begun."""
        buffer = self.buffer
        if buffer and not owner.closed and buffer[0].grant.spec.session == owner.session.id:
            following = self._take()
            if following is not None:
                if following.grant.spec.session == owner.session.id:
                    return following
                self._give(following)
        elif buffer:
            self.deliver()
        owner.running -= 1
        if not owner.running and (owner.closed or owner.session.id):
            owner.rests()
        return None

    def _on_places(self) -> None:
        self.deliver()
        self._on_change()
