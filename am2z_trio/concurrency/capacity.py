"""A limit on how many go on at a time, first come, first served."""

from __future__ import annotations

from collections import deque

from am2z_trio.concurrency import Host, Spot


class Capacity:
    """So many at a time, or any number; first come, first served, so everybody who asks gets a turn."""

    def __init__(self, host: Host, limit: int | None) -> None:
        self._host = host
        self._free = limit
        self.is_limited = limit is not None
        self._waiting: deque[Spot] = deque()

    async def acquire(self, *, first: bool = False) -> None:
        """Wait for room; `first`: before those who wait already. Not a checkpoint where there is room."""
        if self._free is None:
            return
        if self._free and not self._waiting:
            self._free -= 1
            return
        spot = self._host.spot()
        if first:
            self._waiting.appendleft(spot)
        else:
            self._waiting.append(spot)
        try:
            await spot.park()
        except BaseException:
            if spot in self._waiting:
                self._waiting.remove(spot)
            else:
                self.release()
            raise

    def release(self) -> None:
        if self._free is None:
            return
        if self._waiting:
            self._waiting.popleft().wake()
        else:
            self._free += 1
