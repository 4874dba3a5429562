"""How much memory this process uses. Above its limit a node accepts no jobs, and claims none."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.engine.submission.preparation import Preparation
from am2z_trio.model.errors import ResourceError

from .fleet import Fleet

EVERY: Final = 1.0
"""Seconds between two looks."""

_STATM: Final = Path("/proc/self/statm")


class MemoryWatch:
    """Keeps a node from taking more work while the process is too large."""

    def __init__(self, host: Host, preparation: Preparation, fleet: Fleet, *, limit_mb: float) -> None:
        self._host = host
        self._preparation = preparation
        self._fleet = fleet
        self._limit = limit_mb

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._look()
            await self._host.sleep(EVERY)

    def _look(self) -> None:
        used, limit = resident_mb(), self._limit
        over = used > limit
        figures = f"uses {used:,.0f} MB of memory, the limit is {limit:,.0f} (max_memory_mb)"
        self._preparation.overload = (
            ResourceError(f"this process {figures}", context={"used_mb": round(used), "limit_mb": limit})
            if over
            else None
        )
        self._fleet.hold_back("memory", over, f"its process {figures}")


def resident_mb() -> float:
    """Resident memory in MB: now where the system says so (Linux), else the most there ever was."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
