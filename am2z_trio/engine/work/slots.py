"""Slots: tasks that run one job after the other, each for as long as there is one for it."""

from __future__ import annotations

from typing import Final, Protocol

from am2z_trio.concurrency import CancelScope
from am2z_trio.concurrency.groups import is_an_error, must_propagate
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.settlements import released
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.engine.sessions.hosted import HostedSession
from am2z_trio.model.records import Settlement

from .services import WorkerServices

SLICE: Final = 0.001
"""Seconds a slot may run jobs that never wait before it lets other tasks have a turn."""


class Source(Protocol):
    """Where a slot's jobs come from, and what hears how they end."""

    def begins(self, claim: Claim, *, at_once: bool) -> Definition | None:
        """A job that a slot has gets its turn: how it is run. `None` if it is not, and has ended. `at_once`:
        nobody else has run since the slot was given it."""
        ...

    def ended(self, claim: Claim, settlement: Settlement | None) -> None:
        """The job takes no place any more; `None` settles nothing."""
        ...

    def deliver(self) -> None:
        """Give the places that are free to the jobs that wait for one."""
        ...

    def next_for(self, owner: Owner) -> Claim | None:
        """A job of this worker has ended: the next one, where that is its, too; any other is given to whom
        it is for."""
        ...


class Owner(Protocol):
    """The worker that a slot is of."""

    session: HostedSession
    closed: bool
    """It takes no more jobs."""
    running: int
    """Jobs that its slots have in hand."""
    given: int
    """Of these, those that wait for their turn."""
    idle: list[Slot]
    """Slots that have none, to be given one."""
    most_idle: float
    """So many of them stay, and the first in any case."""

    @property
    def first(self) -> Slot:
        """The one that always is."""
        ...

    def rests(self) -> None:
        """The last job that it had has ended; need not be told of a worker that is open and of no session."""
        ...

    def left(self, slot: Slot) -> None:
        """The slot's task ends."""
        ...


class Slot:
    """One task of a worker."""

    __slots__ = ("_definition", "_owner", "_services", "_source", "claim", "is_given", "spot", "task")

    def __init__(self, services: WorkerServices, source: Source, owner: Owner, claim: Claim | None) -> None:
        self.claim = claim
        """The job it has in hand."""
        self.is_given = claim is not None
        """It was given that, and has not had its turn since."""
        self.spot = services.host.spot()
        """Where it waits while it has none."""
        self.task: object = None
        """The host's, while it runs."""
        self._definition: Definition | None = None
        self._services = services
        self._source = source
        self._owner = owner

    async def run(self) -> None:
        """Run jobs one after the other.

        Plain ones share one scope for as long as nobody cancels it: to enter and to leave a scope costs as
        much as all else that a short job needs. Whatever cancels it is meant for the one that runs then.
        """
        host, is_open = self._services.host, True
        self.task = host.current_task()
        try:
            while is_open:
                scope, error = host.cancel_scope(), None
                try:
                    with scope:
                        is_open = await self._serve(scope)
                except BaseException as raised:
                    if not (self._runs() and scope.cancel_called) or must_propagate(raised, host):
                        raise
                    error = raised
                if self._runs():
                    self._cut_short(error, caught=scope.cancelled_caught)
        except BaseException as raised:
            if is_an_error(raised, host):
                self._services.claims.failing = True
            if self.claim is not None:
                # It may have been given to this slot just now, and its code not begun.
                self._end_of(self.claim, self._broken_off(self.claim, raised))
            raise
        finally:
            self.task = None
            self._owner.left(self)

    async def _serve(self, scope: CancelScope) -> bool:
        """Run jobs until the scope is used up, or nobody needs this slot: returns whether it goes on."""
        services, source, owner, spot = self._services, self._source, self._owner, self.spot
        # There may be very many of these that wait: what this keeps, Python's collector looks through.
        host, executor, now = services.host, services.executor, services.host.clock()
        shares, turn_ends, at_once = host.sees_scopes, now() + SLICE, False
        while True:
            claim = self.claim
            if claim is None:
                if (owner.closed and not owner.running) or (
                    len(owner.idle) >= owner.most_idle and owner.first is not self
                ):
                    return False
                owner.idle.append(self)
                await spot.park()
                turn_ends, at_once = now() + SLICE, False
                continue
            if self.is_given:
                self.is_given = False
                owner.given -= 1
            definition = source.begins(claim, at_once=at_once)
            at_once = True
            if definition is None:
                self.claim = source.next_for(owner)
                continue
            claim.is_running, claim.has_waited = True, False
            if shares and definition.processor.is_plain:
                self._definition = definition
                source.ended(claim, await executor.run_plain(claim, definition, scope))
                self.claim = source.next_for(owner)
                if (claim.stop is not None or claim.is_limited) and scope.cancel_called:
                    # Too late for this one, and not meant for the next.
                    return True
            else:
                source.ended(claim, await executor.run(claim, definition))
                self.claim = source.next_for(owner)
            if claim.ended > turn_ends:
                # Where jobs keep the loop to themselves, each that ends is a sign of life.
                services.store.beat()
                if not claim.has_waited:
                    await host.checkpoint()
                    at_once = False
                turn_ends = now() + SLICE

    def _runs(self) -> bool:
        """Whether the job in hand is a plain one under the slot's scope that has not told how it ends."""
        return self.claim is not None and self.claim.is_running

    def _cut_short(self, raised: BaseException | None, *, caught: bool) -> None:
        """The scope was left before the plain job that ran under it had told how it ends."""
        claim, definition, source = self.claim, self._definition, self._source
        assert claim is not None
        assert definition is not None
        source.ended(claim, self._services.executor.cut_short(claim, definition, raised, caught=caught))
        self.claim = source.next_for(self._owner)

    def _end_of(self, claim: Claim, settlement: Settlement | None) -> None:
        """Its task has ended before the job."""
        owner = self._owner
        owner.given -= self.is_given
        self.claim, claim.is_running = None, False
        self._source.ended(claim, settlement)
        owner.running -= 1
        if not owner.running:
            owner.rests()
        if owner.session.cancel_scope.cancel_called:
            # Its session has been stopped, and the others go on.
            self._source.deliver()

    def _broken_off(self, claim: Claim, raised: BaseException) -> Settlement | None:
        """How to settle a job whose task is ended: if it was cancelled from above, the job goes back."""
        claims, executor = self._services.claims, self._services.executor
        if not self._services.host.is_cancellation(raised):
            # The executor lets nothing out that a job has done, but for Ctrl-C: is it to blame?
            claims.forsaken = True
            return None
        if self._owner.session.cancel_scope.cancel_called:
            return executor.settlements.session_stopped(claim)
        if claims.failing:
            claims.forsaken = True
            return None
        return released(claim)
