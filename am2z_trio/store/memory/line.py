"""What waits, first in first out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

Entry = tuple[str, int]
"""A job's id and its generation: one that is run again under its id is another entry in its line."""


class Line:
    """May hold ghosts: entries of jobs that wait no more.

    They are skipped when they are served. Where they are half of the line they are sieved out, in steps:
    what has been looked at lies in `_sieved`, which comes before the rest.
    """

    __slots__ = ("_rest", "_sieved", "ghosts")

    def __init__(self) -> None:
        self._sieved = deque[Entry]()
        self._rest = deque[Entry]()
        self.ghosts = 0

    def __iter__(self) -> Iterator[Entry]:
        return chain(self._sieved, self._rest)

    def __len__(self) -> int:
        return len(self._sieved) + len(self._rest)

    def push(self, entry: Entry, *, front: bool) -> None:
        if not front:
            self._rest.append(entry)
        else:
            (self._sieved or self._rest).appendleft(entry)

    def take(self, most: int) -> list[Entry]:
        """Take out what comes first."""
        taken = [self._sieved.popleft() for _ in range(min(most, len(self._sieved)))]
        return taken + [self._rest.popleft() for _ in range(min(most - len(taken), len(self._rest)))]

    def sieve(self, most: int, waits: Callable[[Entry], bool]) -> None:
        """Look at some of what has not been looked at, then at what has, and drop the ghosts among them."""
        while most > 0 and self.ghosts > 0 and len(self):
            looked_at = min(most, len(self._rest))
            for _ in range(looked_at):
                entry = self._rest.popleft()
                if waits(entry):
                    self._sieved.append(entry)
                else:
                    self.ghosts -= 1
            most -= looked_at
            if not self._rest:
                self._sieved, self._rest = self._rest, self._sieved
