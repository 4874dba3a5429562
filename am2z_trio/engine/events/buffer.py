"""Events in line: bounded in number and in bytes, and what is lost of them is counted and logged."""

from __future__ import annotations

from collections import deque
from math import inf
from time import monotonic
from typing import Final

from am2z_trio.model.codec import encode_record
from am2z_trio.model.events import Event
from am2z_trio.model.limits import KIB, MAX_BUFFER_BYTES
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import attempt

logger: Final = Log("am2z_trio.events")

BUFFER: Final = 10_000
"""Events a subscription may be behind, of `MAX_BUFFER_BYTES` together."""

BATCH_BYTES: Final = 256 * KIB
"""Of the events of one call. Redis holds what it publishes for every listener, and closes one for which that
is too much."""

LOG_EVERY: Final = 1.0
"""Seconds between two lines about dropped events."""


class Buffer:
    """Events in line, bounded in number and in bytes: beyond that the oldest are dropped."""

    __slots__ = ("_bytes", "_events", "dropped")

    def __init__(self) -> None:
        self._events: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self.dropped = 0
        """How many were."""

    def __len__(self) -> int:
        return len(self._events)

    def push(self, event: Event, size: int) -> None:
        self._events.append((event, size))
        self._bytes += size
        while len(self._events) > BUFFER or (self._bytes > MAX_BUFFER_BYTES and len(self._events) > 1):
            self.pop()
            self.dropped += 1

    def pop(self) -> Event:
        event, size = self._events.popleft()
        self._bytes -= size
        return event

    def take(self, most: int) -> list[Event]:
        """The first ones, of `BATCH_BYTES` together, but at least one, if there is one."""
        batch: list[Event] = []
        size = 0
        while self._events and len(batch) < most:
            size += self._events[0][1]
            if batch and size > BATCH_BYTES:
                break
            batch.append(self.pop())
        return batch


def size_of(event: Event) -> int:
    """About how many bytes it takes on the wire; some hundred where its data cannot travel."""
    data = attempt(lambda: encode_record(event.data), b"") if event.data is not None else b""
    return 100 + len(event.name) + len(event.session) + len(event.job) + len(data)


class Losses:
    """Logs that events were dropped: at most once a second, and of all of them."""

    __slots__ = ("_about", "_again_at", "_template", "_unlogged")

    def __init__(self, template: str, *about: object) -> None:
        """The template takes how many, then `about`."""
        self._template = template
        self._about = about
        self._unlogged = 0
        self._again_at = -inf

    def add(self, many: int) -> None:
        self._unlogged += many
        self.log()

    def log(self, *, at_once: bool = False) -> None:
        """Log what has not been logged, if it is time, or `at_once`.

        By a clock that goes on where a subscription outlives its host's.
        """
        now = monotonic()
        if self._unlogged and (at_once or now >= self._again_at):
            logger.warning(self._template, self._unlogged, *self._about)
            self._unlogged, self._again_at = 0, -inf if at_once else now + LOG_EVERY
