"""Numbers that only grow: those of claims, locks and stops."""

from __future__ import annotations


class Fence:
    def __init__(self) -> None:
        self._last = 0

    def __next__(self) -> int:
        self._last += 1
        return self._last

    def above(self, now: float) -> int:
        """The next one, not below the clock in microseconds: so that a server which has lost the end of its
        history gives none of these out again."""
        self._last = max(self._last + 1, int(now) * 1000)
        return self._last
