"""How much time has passed, where the server's clock says something else.

Redis tells the time of day, and that may be set: by hand, by a time service that finds it an hour off, by
a failover to another machine. Nothing that waits may wait an hour longer for it, or end at once. So what
counts is the time that the nodes keep (`clock` in Redis): the server's plus an offset, and when it was seen
last. Scripts take it from there. Where it is not within some seconds after that, either the clock was set or
no node was there to keep it: time stands still for everybody until a node that was there says which, by its
own clock, which nobody sets. That takes until its next tick, a second at most. The offset then goes back to
nothing, one part in a hundred at a time.

So leases, deadlines, delays, limits and the age of states neither stand still nor pass at once. What cannot
hold: steps forward of less than 5 s count as time; where no node is there, whatever the clock does counts;
and Redis's own expiry of keys follows the server's clock, so that a step forward of an hour drops records
and receipts that were to be kept for less, and the locks and rate limits in force then (fencing numbers
still refuse what an old holder writes). Times that are shown (of events, dead letters, states) are those
the nodes keep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SLACK: Final = 200.0
"""Milliseconds by which two good clocks may differ over a second or a minute."""


def elapsed() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps, where there is one."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class Witness:
    """One node's knowledge of how the server's clock runs."""

    __slots__ = ("_heard", "_now", "_sent", "_server")

    def __init__(self, now: Callable[[], float] = elapsed) -> None:
        """`now` tells seconds."""
        self._now = now
        self._server: float | None = None
        self._sent = self._heard = 0.0

    def now(self) -> float:
        """Seconds on this node's own clock."""
        return self._now()

    def note(self, server: float, sent: float) -> float | None:
        """The server's clock showed `server` (ms) at some time between `sent` and now.

        Returns by how many milliseconds it was set since it was noted last, 0 for none; `None` if it never
        was noted. However long request and answer took, nothing is taken for a step that may be none.
        """
        heard, before = self._now(), self._server
        least, most = (sent - self._heard) * 1000, (heard - self._sent) * 1000
        self._server, self._sent, self._heard = server, sent, heard
        if before is None:
            return None
        passed = server - before
        if passed > most + SLACK:
            return passed - most
        return passed - least if passed < least - SLACK else 0.0
