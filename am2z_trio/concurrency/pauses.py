"""Pauses between the rounds of what is done again and again, which stand still while there is nothing to do.

So nobody wakes for nothing: days of a virtual clock pass in a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from ._nouns import CancelScope, Host


def _never() -> bool:
    return False


class Pauses:
    """Those of one node. Synchronous; for any task of the host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._open: dict[CancelScope, tuple[float, Callable[[], bool]]] = {}
        """Each pause that is under way: its seconds, and what lets it go on."""
        self._still = False

    @contextmanager
    def of(self, seconds: float, goes_on: Callable[[], bool] = _never) -> Iterator[None]:
        """Around waiting for something, perhaps for ever: that ends after so many seconds. Those begin anew
        when a standstill ends. `goes_on`: whether one that begins meanwhile is not to stop this pause."""
        host = self._host
        scope = host.cancel_scope(deadline=inf if self._still else host.now() + seconds)
        self._open[scope] = seconds, goes_on
        try:
            with scope:
                yield
        finally:
            del self._open[scope]

    def stand_still(self) -> None:
        """End none of them from now on."""
        if self._still:
            return
        self._still = True
        for scope, (_, goes_on) in self._open.items():
            if not goes_on():
                scope.deadline = inf

    def go_on(self) -> None:
        """Let them end again."""
        if not self._still:
            return
        self._still = False
        now = self._host.now()
        for scope, (seconds, _) in self._open.items():
            scope.deadline = min(scope.deadline, now + seconds)
