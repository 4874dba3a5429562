"""A fair lock per key: one task at a time, first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from am2z_trio.concurrency import Host, Spot


class KeyedLock:
    """A lock per key, which exists while somebody holds it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._waiting: dict[str, deque[Spot]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Wait for this key's lock, and hold it for the block. Cancelled while waiting: the place in line is
        given up."""
        await self._enter(key)
        try:
            yield
        finally:
            self._leave(key)

    async def _enter(self, key: str) -> None:
        line = self._waiting.get(key)
        if line is None:
            self._waiting[key] = deque()
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
                self._leave(key)
            raise

    def _leave(self, key: str) -> None:
        line = self._waiting[key]
        if line:
            line.popleft().wake()
        else:
            del self._waiting[key]
