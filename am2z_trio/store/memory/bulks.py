"""Actions on many jobs: how far each has come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from am2z_trio.store.agreed import BULK_TTL, BULKS_KEPT


@dataclass(slots=True)
class _Known:
    began: float
    nth: int
    record: bytes
    forget_at: float


class Bulks:
    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def write(self, id: str, nth: int, record: bytes, now: float) -> bool:
        known = self._find(id, now)
        if known is not None and known.nth == nth:
            return known.record == record
        if nth != (1 if known is None else known.nth + 1):
            return False
        began = now if known is None else known.began
        self._known[id] = _Known(began, nth, record, now + BULK_TTL * 1000)
        if len(self._known) > BULKS_KEPT:
            for oldest in self.newest(len(self._known), now)[BULKS_KEPT:]:
                del self._known[oldest]
        return True

    def read(self, ids: Sequence[str], now: float) -> list[tuple[int, bytes] | None]:
        found = (self._find(id, now) for id in ids)
        return [None if known is None else (known.nth, known.record) for known in found]

    def newest(self, limit: int, now: float) -> list[str]:
        ids = [id for id in list(self._known) if self._find(id, now) is not None]
        return sorted(ids, key=lambda id: (self._known[id].began, id), reverse=True)[:limit]

    def _find(self, id: str, now: float) -> _Known | None:
        known = self._known.get(id)
        if known is not None and known.forget_at <= now:
            del self._known[id]
            return None
        return known


class MemoryBulks:
    """`BulkStore` on a server, seen from one node."""

    def __init__(
        self, bulks: Bulks, checkpoint: Callable[[], Awaitable[None]], now: Callable[[], float]
    ) -> None:
        self._bulks = bulks
        self._checkpoint = checkpoint
        self._now = now

    async def write(self, id: str, nth: int, record: bytes) -> bool:
        await self._checkpoint()
        return self._bulks.write(id, nth, record, self._now())

    async def read(self, ids: Sequence[str]) -> list[tuple[int, bytes] | None]:
        await self._checkpoint()
        return self._bulks.read(ids, self._now())

    async def newest(self, limit: int) -> list[str]:
        await self._checkpoint()
        return self._bulks.newest(limit, self._now())
