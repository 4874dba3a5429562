"""A limit on how many go on at a time, first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf

from am2z_trio.concurrency import Host, Spot

Taker = Callable[[], bool]
"""Called when there is room; returns whether it takes it."""


class Capacity:
    """So many at a time, or any number; first come, first served, so everybody who asks gets a turn."""

    def __init__(self, host: Host, limit: int | None) -> None:
        self._host = host
        self._free = limit
        self.is_limited = limit is not None
        self._waiting: deque[Taker] = deque()
        self._giving = False

    def take(self) -> bool:
        """Take room if there is some and nobody waits for it."""
        if self._free is None:
            return True
        if not self._free or self._waiting:
            return False
        self._free -= 1
        return True

    @property
    def has_room(self) -> bool:
        """Whether `take` would."""
        return self._free is None or (self._free > 0 and not self._waiting)

    @property
    def free(self) -> float:
        """How many more there is room for, those included that wait for some; none while anybody does."""
        if self._free is None:
            return inf
        return 0 if self._waiting else self._free

    def includes(self, other: Capacity) -> bool:
        """Whether room here is room there."""
        return other is self

    def line_up(self, taker: Taker) -> None:
        """Have `taker` called once, in its turn."""
        self._waiting.append(taker)

    async def acquire(self, *, first: bool = False) -> None:
        """Wait for room; `first`: before those who wait already. Not a checkpoint where there is room."""
        if self.take():
            return
        spot = self._host.spot()
        taker = partial(_wake, spot)
        if first:
            self._waiting.appendleft(taker)
        else:
            self._waiting.append(taker)
        try:
            await spot.park()
        except BaseException:
            if taker in self._waiting:
                self._waiting.remove(taker)
            else:
                self.release()
            raise

    def release(self) -> None:
        """Give room to who is next in line and takes it. Whoever gives it back in that very turn, as very
        many may, does so by the same loop."""
        if self._free is None:
            return
        self._free += 1
        if self._giving:
            return
        self._giving = True
        try:
            while self._free and self._waiting:
                self._free -= 1
                if not self._waiting.popleft()():
                    self._free += 1
        finally:
            self._giving = False


def _wake(spot: Spot) -> bool:
    spot.wake()
    return True


class Both(Capacity):
    """Room in two capacities at once. Nobody holds one while waiting for the other: so no two who want them
    in different order wait for each other."""

    def __init__(self, host: Host, one: Capacity, other: Capacity) -> None:
        super().__init__(host, None)
        self._one = one
        self._other = other
        self.is_limited = one.is_limited or other.is_limited

    def take(self) -> bool:
        if not self._one.take():
            return False
        if self._other.take():
            return True
        self._one.release()
        return False

    @property
    def has_room(self) -> bool:
        return self._one.has_room and self._other.has_room

    def includes(self, other: Capacity) -> bool:
        return self._one.includes(other) or self._other.includes(other)

    def line_up(self, taker: Taker) -> None:
        one, other = self._one, self._other
        if one.has_room:
            one, other = other, one
        one.line_up(partial(self._on_room, other, one, taker))

    def _on_room(self, short: Capacity, there: Capacity, taker: Taker) -> bool:
        """There is room in one of them, taken already; returns whether it was kept."""
        if not short.take():
            short.line_up(partial(self._on_room, there, short, taker))
            return False
        if taker():
            return True
        short.release()
        return False

    async def acquire(self, *, first: bool = False) -> None:
        one, other = self._one, self._other
        while True:
            await one.acquire(first=first)
            if other.take():
                return
            one.release()
            one, other = other, one

    def release(self) -> None:
        self._one.release()
        self._other.release()
