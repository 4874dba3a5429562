"""How this node is, by its own judgement: facts read off its parts; `policy.health` says what they mean."""

from __future__ import annotations

from typing import Final

from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.views.health import Figures, NodeHealth
from am2z_trio.policy.health import Facts, judge

from .draining import Draining
from .inside import Inside
from .memory_watch import resident_mb
from .pulse import Pulse
from .wedged import Wedged

logger: Final = Log("am2z_trio.node")

PATIENCE: Final = 0.9
"""Seconds the store may take to answer: whoever asks this node from elsewhere waits for one."""


class HealthCheck:
    """Of one node."""

    def __init__(self, inside: Inside, draining: Draining, pulse: Pulse) -> None:
        self._inside = inside
        self._draining = draining
        self._pulse = pulse
        self._wedged = Wedged(inside)

    async def look(self) -> NodeHealth:
        """Ask the store, and judge. Takes a second at most, and raises nothing for an answer of "no"."""
        inside, host = self._inside, self._inside.host
        began, round_trip = host.now(), None
        wedged: dict[str, float] = {}
        with host.cancel_scope(deadline=began + PATIENCE):
            try:
                await inside.store.ping()
                round_trip = host.now() - began
                wedged = await self._wedged.look()
            except AM2ZError as error:
                # Whether the store has answered is among the figures.
                logger.debug("the store was not asked how this node is: %s", error)
        return judge(self._facts(round_trip, wedged))

    def _facts(self, round_trip: float | None, wedged: dict[str, float]) -> Facts:
        inside, now = self._inside, self._inside.host.now()
        lease, draining = inside.lease, self._draining
        workers = inside.options.workers
        return Facts(
            node=inside.id,
            figures=self._figures(now, round_trip),
            stopping=inside.node.stopped,
            draining=now - draining.since if draining.is_on else None,
            lease_lost=workers and not lease.is_held,
            wedged=wedged,
            refused=inside.node.why_it_cannot_claim(),
        )

    def _figures(self, now: float, round_trip: float | None) -> Figures:
        inside, pulse, lease = self._inside, self._pulse, self._inside.lease
        left = lease.remaining or 0.0
        return Figures(
            uptime=now - inside.started_at,
            loop_silent=pulse.silent,
            loop_lag_p50=pulse.lag(0.5),
            loop_lag_p99=pulse.lag(0.99),
            kept_by=pulse.kept_by(),
            blocked=inside.hogs.blocked(),
            store_silent=0.0 if round_trip is not None else now - lease.seen,
            round_trip=round_trip,
            lease_left=left if inside.options.workers else None,
            memory_mb=resident_mb(),
            memory_limit_mb=inside.options.limits.max_memory_mb,
            claims=len(inside.claims),
            running=inside.fleet.busy,
        )
