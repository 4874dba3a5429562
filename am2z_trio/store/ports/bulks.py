"""Actions on many jobs: how far each has come, for whoever carries it on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class BulkStore(Protocol):
    """Records of actions that take many steps. What they say is their writers' business."""

    async def write(self, id: str, nth: int, record: bytes) -> bool:
        """Write the n-th record of an action, which takes the place of the one before; the first one, 1,
        begins it. `False`, and nothing is written, where that is not the next one: somebody else has gone on.
        An action is forgotten `BULK_TTL` after its last record, and when `BULKS_KEPT` newer ones are known.

        Linearization point: the record and its number.
        """
        ...

    async def read(self, ids: Sequence[str]) -> list[tuple[int, bytes] | None]:
        """The last record of each, and its number; `None` for what is not known."""
        ...

    async def newest(self, limit: int) -> list[str]:
        """The ids of those that are known, the newest first."""
        ...
