"""Standing in line: one task per name at a time, first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from am2z_trio.concurrency import Host, Spot


class Lines:
    """A lock per name, which exists while somebody holds it. For the tasks of one node."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._waiting: dict[str, deque[Spot]] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for one's turn; leaving the block calls the next one up. Cancelled while waiting: the
        place is given up."""
        await self._enter(name)
        try:
            yield
        finally:
            self._leave(name)

    async def _enter(self, name: str) -> None:
        line = self._waiting.get(name)
        if line is None:
            self._waiting[name] = deque()
            return
        spot = self._host.spot()
        line.append(spot)
        try:
            await spot.park()
        except BaseException:
            if spot in line:
                line.remove(spot)
            else:
                # Called up at the very moment of being cancelled.
                self._leave(name)
            raise

    def _leave(self, name: str) -> None:
        line = self._waiting[name]
        if line:
            line.popleft().wake()
        else:
            del self._waiting[name]
