"""A worker: runs the jobs of one processor in one session, or those that are of no session."""

from __future__ import annotations

from collections.abc import Awaitable
from math import inf
from typing import Final, Protocol

from am2z_trio.concurrency import Event
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.engine.sessions.hosted import HostedSession
from am2z_trio.model.records import SettleAnswer

from .services import WorkerServices
from .slots import Slot, Source

KEPT_IDLE: Final = 1
"""Slots beside the first that a session's worker keeps while they have nothing to do; there may be very many
sessions."""


class Home(Source, Protocol):
    """Where its slots' jobs come from, and what hears of its own end."""

    def over(self, worker: Worker) -> None:
        """No slot of it is left."""
        ...


class Worker:
    """Its slots, tasks of its session's nursery: a first one, and as many more as it needs."""

    __slots__ = (
        "_early",
        "_has_begun",
        "_is_over",
        "_over",
        "_services",
        "_source",
        "closed",
        "completed",
        "failed",
        "first",
        "given",
        "idle",
        "more",
        "most_idle",
        "pinned",
        "processor",
        "queue",
        "running",
        "session",
        "slots",
    )

    def __init__(
        self,
        services: WorkerServices,
        source: Home,
        session: HostedSession,
        definition: Definition,
    ) -> None:
        self.session = session
        self.processor = definition.processor.name
        self.queue = definition.queue
        self.closed = False
        """It takes no more jobs, and ends with the last it has."""
        self.pinned = False
        """Asked for by itself, not only by a job: it keeps the session here."""
        self.running = 0
        """Jobs of it that run now, or are about to."""
        self.given = 0
        """Of these, those that wait for their turn."""
        self.completed = self.failed = 0
        """Jobs that have ended so."""
        self.idle: list[Slot] = []
        self.most_idle = KEPT_IDLE if session.id else inf
        self.slots = 1
        """Tasks that it has, its own included."""
        self.more: dict[Slot, None] = {}
        """Of these, all but the first that have been started."""
        self._services = services
        self._source = source
        self._has_begun = False
        self.first = Slot(services, source, self, None)
        self._early: tuple[Slot, ...] = ()
        self._is_over = False
        self._over: Event | None = None

    async def run(self) -> None:
        """Be the first slot, until it is closed and the last job has ended, or until it is cancelled."""
        await self.begin()

    def begin(self) -> Awaitable[None]:
        """The same in a task that runs already: no coroutine of its own, since there may be very many."""
        self._has_begun = True
        for slot in self._early:
            self._start(slot)
        self._early = ()
        return self.first.run()

    def give(self, claim: Claim) -> None:
        """Run the job: in a slot that has none, or in one more. Not when `closed`."""
        self.given += 1
        self.running += 1
        if self.running == 1 and self.session.id:
            self.session.begins()
        if self.idle:
            slot = self.idle.pop()
            slot.claim, slot.is_given = claim, True
            slot.spot.wake()
        elif not self._has_begun and self.first.claim is None:
            self.first.claim, self.first.is_given = claim, True
        else:
            self.slots += 1
            slot = Slot(self._services, self._source, self, claim)
            if self._has_begun:
                self._start(slot)
            else:
                self._early += (slot,)

    def _start(self, slot: Slot) -> None:
        self.more[slot] = None
        self.session.start_soon(slot.run, name=f"{self.queue} slot")

    def close(self) -> None:
        """Take no more jobs; end when those that run have."""
        self.closed = True
        self._perhaps_end()

    def _perhaps_end(self) -> None:
        if self.closed and not self.running:
            # Those that have none to run look at that, and end.
            for slot in self.idle:
                slot.spot.wake()
            self.idle.clear()

    def count(self, answer: SettleAnswer) -> None:
        """A job of it has been settled."""
        if answer.outcome == "completed":
            self.completed += 1
        elif answer.outcome == "failed":
            self.failed += 1

    def task_of(self, claim: Claim) -> object:
        """The host's task that runs this job; `None` if none does."""
        slots = (self.first, *self.more)
        return next((slot.task for slot in slots if slot.claim is claim and claim.is_running), None)

    async def wait_over(self) -> None:
        """Wait until it has ended."""
        if not self._is_over:
            if self._over is None:
                self._over = self._services.host.event()
            await self._over.wait()

    # --- told by its slots --------------------------------------------------------------------

    def rests(self) -> None:
        """The last job that it had has ended."""
        if self.session.id:
            self.session.rests()
        self._perhaps_end()

    def left(self, slot: Slot) -> None:
        """The slot's task ends."""
        self.slots -= 1
        if slot is self.first:
            # Whoever has ended it ends the others, too.
            self.closed = True
        self.more.pop(slot, None)
        if not self.slots:
            self._is_over = True
            # It and its slots are gone with who asks for it last: they need not wait for Python's collector.
            del self.first
            self.idle.clear()
            self.session.forget(self)
            self._source.over(self)
            if self._over is not None:
                self._over.set()
