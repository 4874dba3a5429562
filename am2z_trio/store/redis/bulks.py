"""Actions on many jobs, on Redis."""

from __future__ import annotations

from collections.abc import Sequence

from . import arguments, rows, scripts
from .link import RedisLink


class RedisBulks:
    """`BulkStore` on a node's link. Every call is one script; or several, where records are large."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def write(self, id: str, nth: int, record: bytes) -> bool:
        arguments.require_text(id)
        return bool(await self._link.eval(scripts.WRITE_BULK, self._link.clock, id, nth, record))

    async def read(self, ids: Sequence[str]) -> list[tuple[int, bytes] | None]:
        asked = [(arguments.as_argument(id),) for id in ids]
        found = await self._link.eval_records(scripts.READ_BULKS, (), asked)
        return [(_nth(row[0]), row[1]) if row else None for row in found]

    async def newest(self, limit: int) -> list[str]:
        return [rows.text(id) for id in await self._link.eval(scripts.NEWEST_BULKS, limit)]


def _nth(data: bytes) -> int:
    """Of a record; 0 for one that is spoilt, which nobody can carry on."""
    return int(data) if data.isdigit() and len(data) < 16 else 0
