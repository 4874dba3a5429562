"""Stops the jobs that must not run beside another run of theirs, before others can be given them.

Nobody else is given a node's jobs while its lease lasts, or for its `disconnect_grace` after its connection
was closed. A node that is cut off ends such jobs a little earlier, by its own clock: all others go on, and
what they did is dropped if others were given them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.engine.work.claims import Claims
from am2z_trio.model.logs import Log

from .lease import SELF_FENCE, Lease

logger: Final = Log("am2z_trio.node")

PATIENCE: Final = 0.2
"""Seconds a request for the lease may take before it counts as unanswered: a job that has kept the event loop
to itself was no absence of the store, and the lease was kept by a thread meanwhile."""


class Fence:
    """Watches for how long this node has been cut off."""

    def __init__(self, host: Host, claims: Claims, lease: Lease, *, grace: float) -> None:
        self._host = host
        self._claims = claims
        self._lease = lease
        self._grace = grace
        self._asked_at = inf
        self._cut_at = inf
        self._is_down = False
        self._scope = host.cancel_scope()
        """Ends the wait for the next time at which there may be something to stop."""

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While the block runs, a request for the lease is under way."""
        self._asked_at = self._host.now()
        self._wait_anew()
        try:
            yield
        finally:
            self._asked_at = inf
            self._is_down = False
            self._wait_anew()

    def cut_off(self) -> None:
        """The connection was closed, and the store sees that.

        So may each new one be that is taken meanwhile; the store misses this node from the first on.
        """
        self._cut_at = min(self._cut_at, self._host.now())
        self._wait_anew()

    def back(self) -> None:
        """The connection stands again."""
        self._cut_at = inf
        self._is_down = False
        self._wait_anew()

    def _wait_anew(self) -> None:
        # The task itself is not woken: it is so with every beat.
        self._scope.deadline = self._due()

    def _due(self) -> float:
        if self._is_down:
            return inf
        unanswered = max(self._lease.seen + SELF_FENCE * self._lease.seconds, self._asked_at + PATIENCE)
        return min(unanswered, self._cut_at + SELF_FENCE * self._grace)

    async def run(self) -> None:
        never = self._host.event()
        while True:
            self._scope = scope = self._host.cancel_scope(deadline=self._due())
            with scope:
                await never.wait()
            if self._host.now() >= self._due():
                self._is_down = True
                if given_up := self._claims.give_up("this node cannot reach the store"):
                    logger.error("the store is out of reach; jobs stopped (stop_when_cut_off): %d", given_up)
