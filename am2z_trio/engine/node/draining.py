"""A node that is drained claims no more, and lets what runs end: until it is undrained, or left."""

from __future__ import annotations

from math import inf
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.engine.claim import Stop
from am2z_trio.engine.work.claims import Claims
from am2z_trio.model.logs import Log

from .fleet import DRAINED, Fleet

logger: Final = Log("am2z_trio.node")

TOO_LATE: Final = "its node is drained"
"""Why a job goes back to its queue whose node has no more time for it."""


class Draining:
    """Whether one node is, and for how long its jobs may go on."""

    def __init__(self, host: Host, claims: Claims, fleet: Fleet) -> None:
        self._host = host
        self._claims = claims
        self._fleet = fleet
        self._until = inf
        self._bell = host.spot()
        self.is_on = False
        self.since = -inf
        """When it was begun last."""

    @property
    def left(self) -> float | None:
        """Seconds until what runs goes back to its queues; `None`: it may end by itself."""
        return None if self._until == inf else max(0.0, self._until - self._host.now())

    def begin(self, grace: float | None) -> bool:
        """Claim no more; what waits for a place here goes back to its queues at once, and after `grace`
        seconds what runs does. Asked again, the newest grace counts. Returns whether it was not on before."""
        before, self.is_on = self.is_on, True
        if not before:
            self.since = self._host.now()
            logger.warning("this node is drained: it claims no more jobs")
        self._until = inf if grace is None else self._host.now() + grace
        self._fleet.hold_back(DRAINED, True)
        self._fleet.hand_back_waiting()
        self._bell.wake()
        return not before

    def end(self) -> bool:
        """Claim again. Returns whether it was on."""
        before, self.is_on = self.is_on, False
        if before:
            logger.warning("this node is drained no more: it claims jobs again")
        self._until = inf
        self._fleet.hold_back(DRAINED, False)
        return before

    async def run(self) -> None:
        """Give back what has not ended within the grace; until cancelled."""
        while True:
            with self._host.cancel_scope(deadline=self._until):
                await self._bell.park()
            if self._host.now() >= self._until:
                self._until = inf
                for claim in self._claims.all():
                    if claim.stop is None:
                        claim.cancel(Stop("released", TOO_LATE))
