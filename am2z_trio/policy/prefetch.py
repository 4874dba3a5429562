"""How many jobs a worker claims beyond its free slots, so that slots do not wait for Redis."""

from __future__ import annotations

from math import ceil
from typing import Final

MOST: Final = 100
"""One claim answers at most about this many jobs; a longer script would hold up other clients."""

TURN: Final = 0.001
MOST_IN_A_ROW: Final = 16
"""A session's turn is one job, or several that take no more than so many seconds together; and the most."""

_WEIGHT: Final = 0.1
"""Share of a new measurement in the moving means: about the last twenty count."""


class Prefetch:
    """Little's law: while one claim is under way, the slots finish `concurrency x rtt / run time` jobs.

    So that many jobs are claimed ahead, and each waits for about one round trip at most. Work that
    takes long is never claimed ahead: another node may be free for it.
    """

    __slots__ = ("_round_trip", "_run_time")

    def __init__(self) -> None:
        self._run_time: float | None = None
        self._round_trip = 0.0

    def ran(self, seconds: float) -> None:
        """A job's code took this long."""
        mean = self._run_time
        self._run_time = seconds if mean is None else mean + _WEIGHT * (seconds - mean)

    def claimed(self, seconds: float) -> None:
        """A claim's round trip took this long."""
        self._round_trip += _WEIGHT * (seconds - self._round_trip)

    @property
    def in_a_row(self) -> int:
        """Jobs of one session at its turn, if others have any; 1 until a job has been measured.

        What a session's jobs have in common is done once for those that run together. As if no two of them
        ever ran at the same time: jobs that take long, or wait for long, are taken one by one.
        """
        if self._run_time is None:
            return 1
        return max(1, min(MOST_IN_A_ROW, int(TURN / max(self._run_time, 1e-6))))

    def ahead(self, concurrency: int) -> int:
        """Jobs to hold beyond the free slots; 0 until a job has been measured."""
        if self._run_time is None:
            return 0
        finished = concurrency * self._round_trip / max(self._run_time, 1e-6)
        # Less than half a job per round trip is not worth holding one back from other nodes.
        return min(MOST, ceil(finished)) if finished >= 0.5 else 0
