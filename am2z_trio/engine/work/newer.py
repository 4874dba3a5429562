"""Jobs of one queue that this node leaves to those of a newer program, which then come first."""

from __future__ import annotations

from math import inf
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.engine.execution.verdict import NEWER_LATER
from am2z_trio.model.logs import Log

logger: Final = Log("am2z_trio.worker")

NEWER_FIRST: Final = 0.25
"""Seconds by which this node is behind others when delayed jobs become due."""

MOST_REASONS: Final = 100
"""Of which the log hears."""


class NewerJobs:
    """What is left to others, told once, however many jobs there are and however often each comes back."""

    def __init__(self, host: Host, queue: str) -> None:
        self._host = host
        self._queue = queue
        self._told = set[str]()
        self._until = -inf

    def left(self, why: str) -> None:
        """A job was."""
        # For as long as it may be away.
        self._until = self._host.now() + 2 * NEWER_LATER
        if why not in self._told and len(self._told) < MOST_REASONS:
            self._told.add(why)
            logger.warning("jobs of %s are left to newer nodes: %s", self._queue, why)

    def behind(self, now: float) -> float:
        """Seconds for which this node lets others have the first go at what is due."""
        return NEWER_FIRST if now < self._until else 0.0
