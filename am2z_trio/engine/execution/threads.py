"""The threads in which a node's plain functions run, and those that are left behind.

A thread cannot be stopped: when its job is (a timeout, a cancellation), the job ends and the thread is
left behind until its function returns. It takes nobody's place, but it is a thread: beyond
`max_abandoned_threads` this node begins no plain function until one of them has ended. A process does not
wait for them at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import iscoroutine
from math import inf
from threading import get_ident
from types import FrameType
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import anyio

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.capacity import Capacity
from am2z_trio.engine.claim import Claim, running_job
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.model.errors import ResourceError
from am2z_trio.model.logs import Log

from .lines import other_threads

T = TypeVar("T")

logger: Final = Log("am2z_trio.jobs")


class _Run:
    """One call in a thread. What the thread writes is one flag, and it is the last to."""

    __slots__ = ("begun", "claim", "ended", "left", "processor", "thread")

    def __init__(self, processor: str) -> None:
        self.processor = processor
        self.claim = running_job()
        """The job that it is part of."""
        self.thread = 0
        """Its thread's identifier, once that runs."""
        self.begun = False
        self.ended = False
        self.left = False
        """Nobody waits for it any more."""


class Threads:
    """The threads of one node."""

    def __init__(self, host: Host, most_left: int) -> None:
        self._host = host
        self._most_left = most_left
        # None waits for a thread that is left behind: how many run is limited by the queue's slots.
        self._any_number = anyio.CapacityLimiter(inf)
        self._left: list[_Run] = []
        self._waited_for: dict[_Run, None] = {}
        self._rooms = WeakKeyDictionary[Definition, Capacity]()

    @property
    def left_behind(self) -> int:
        """Threads whose job has ended and whose function has not."""
        self.look()
        return len(self._left)

    @property
    def openings(self) -> float:
        """How many more jobs may be claimed for it: any number, or none."""
        return 0 if self.is_full else inf

    @property
    def is_full(self) -> bool:
        """Whether no plain function may begin here, as far as was seen lately."""
        return len(self._left) >= self._most_left

    def look(self) -> bool:
        """See which have ended; returns whether plain functions may begin again that could not."""
        was_full = self.is_full
        if self._left:
            self._left = [run for run in self._left if not run.ended]
        return was_full and not self.is_full

    def frames_of(self, claim: Claim) -> list[tuple[str, FrameType]]:
        """Where the plain functions of this job are now, each with the processor's name."""
        runs = [run for run in self._waited_for if run.claim is claim and run.thread]
        frames = other_threads() if runs else {}
        # A thread that has ended meanwhile may work for somebody else by now.
        return [(run.processor, frames[run.thread]) for run in runs if run.thread in frames and not run.ended]

    def why_full(self) -> str:
        """Empty while plain functions may begin."""
        self.look()
        if not self.is_full:
            return ""
        worst = Counter(run.processor for run in self._left).most_common(3)
        return (
            f"{len(self._left)} threads have outlived their jobs, the limit is {self._most_left} "
            f"(max_abandoned_threads): {', '.join(f'{count} of {name!r}' for name, count in worst)}"
        )

    def room(self, definition: Definition) -> Capacity:
        """Room for runs within other jobs, which no slot of the queue limits: its concurrency."""
        room = self._rooms.get(definition)
        if room is None:
            room = self._rooms[definition] = Capacity(self._host, definition.processor.queue.concurrency)
        return room

    def waits(self, claim: Claim) -> bool:
        """Whether the job needs a `seat`: one within another job, as no slot of its queue limits it."""
        return claim.root is not claim

    @asynccontextmanager
    async def seat(self, claim: Claim, definition: Definition) -> AsyncIterator[None]:
        """Around a run of a job within another one: there is a thread for it. To wait for that is no run."""
        room, grant = self.room(definition), claim.grant
        deadline = inf if grant.remaining is None else claim.since + grant.remaining
        taken = False
        claim.scope = scope = self._host.cancel_scope(deadline=deadline)
        try:
            with scope:
                if claim.stop is None:
                    await room.acquire()
                    taken = True
            claim.scope = None
            yield
        finally:
            if taken:
                room.release()

    async def run(self, processor: str, fn: Callable[[], T]) -> T:
        """Call a plain function in a thread. Cancelled, this ends at once, and what it returns is dropped.

        Raises `ResourceError` where too many threads were left behind.
        """
        if self.is_full and (why := self.why_full()):
            raise ResourceError(why, context={"threads": len(self._left), "limit": self._most_left})
        run = _Run(processor)

        def begin() -> None:
            run.begun = True

        def call() -> tuple[T]:
            run.thread = get_ident()
            try:
                returned = fn()
                if run.left and iscoroutine(returned):
                    # An async function's, which nobody will await: it was never begun.
                    returned.close()
                # In a box: Trio refuses a thread's coroutine.
                return (returned,)
            finally:
                run.ended = True

        self._waited_for[run] = None
        try:
            (returned,) = await self._host.run_in_thread(call, begin, self._any_number)
            return returned
        finally:
            del self._waited_for[run]
            run.claim = None
            if run.begun and not run.ended:
                run.left = True
                self._left.append(run)
                logger.warning(
                    "a thread of %r is left behind, as its job has ended before it: %d are by now",
                    processor,
                    len(self._left),
                )
