"""What the engine asks of a store about the lines that jobs log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from am2z_trio.model.records import KeptLines, LogLine


class LogStore(Protocol):
    """Lines that jobs have logged, each kept with the record of its job and for as long."""

    async def keep(self, told: Sequence[KeptLines], most: int) -> list[bool]:
        """Add lines to those of their jobs: the last `most` of each stay, within `MAX_LINES_BYTES`.

        `False` for those of a claim that is not the job's, and is not the one by which it was settled last:
        they are kept nowhere. Lines that are the job's last ones already were sent again, and change nothing.

        Linearization point: the lines are in the job's record.
        """
        ...

    async def read(self, job: str) -> list[LogLine] | None:
        """The lines of a job, the oldest first; `None` where there is no record of it."""
        ...
