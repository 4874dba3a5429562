"""The threads in which a node's plain functions run, and those that are left behind.

A thread cannot be stopped: when its job is (a timeout, a cancellation), the job ends and the thread is
left behind until its function returns. It takes nobody's place, but it is a thread: beyond
`max_abandoned_threads` this node begins no plain function until one of them has ended. A process does not
wait for them at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from inspect import iscoroutine
from math import inf
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import anyio

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.capacity import Capacity
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.model.errors import ResourceError
from am2z_trio.model.logs import Log

T = TypeVar("T")

logger: Final = Log("am2z_trio.jobs")


class _Run:
    """One call in a thread. What the thread writes is one flag, and it is the last to."""

    __slots__ = ("begun", "ended", "left", "processor")

    def __init__(self, processor: str) -> None:
        self.processor = processor
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
        self._rooms = WeakKeyDictionary[Definition, Capacity]()

    @property
    def left_behind(self) -> int:
        """Threads whose job has ended and whose function has not."""
        self.look()
        return len(self._left)

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
            try:
                returned = fn()
                if run.left and iscoroutine(returned):
                    # An async function's, which nobody will await: it was never begun.
                    returned.close()
                # In a box: Trio refuses a thread's coroutine.
                return (returned,)
            finally:
                run.ended = True

        try:
            (returned,) = await self._host.run_in_thread(call, begin, self._any_number)
            return returned
        finally:
            if run.begun and not run.ended:
                run.left = True
                self._left.append(run)
                logger.warning(
                    "a thread of %r is left behind, as its job has ended before it: %d are by now",
                    processor,
                    len(self._left),
                )
