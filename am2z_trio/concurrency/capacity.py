"""A limit on how many go on at a time, first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

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
