"""The nodes that have joined: until when each may hold claims, and which of them are dead."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

from am2z_trio.store.agreed import DEAD_AMONG, FEW, LATEST, RENEWED, SOONEST, TRUCE
from am2z_trio.store.ports import StoreSettings

from .outbox import Outbox

DYING: Final = -1.0
"""Where a lease ends whose node is dead, and has jobs that are yet to be taken from it."""


@dataclass(slots=True)
class Lease:
    until: float
    grace: float
    """Seconds for which the node's inbox may be without a listener."""
    gone_since: float | None = None


class Leases:
    def __init__(self, settings: StoreSettings, outbox: Outbox) -> None:
        self._settings = settings
        self._outbox = outbox
        self._leases: dict[str, Lease] = {}
        self._truce = 0.0
        """Until when nobody is taken for dead, since some node was away."""
        self._look_at = 0.0
        """When the next node is to look for dead ones."""

    def __contains__(self, node: str) -> bool:
        """Whether it has joined and is not forgotten; it may be dead."""
        return node in self._leases

    def is_held(self, node: str) -> bool:
        """Whether its lease stands, as far as anybody has looked."""
        lease = self._leases.get(node)
        return lease is not None and lease.until >= 0

    def stands(self, node: str, now: float) -> bool:
        """Whether its time is not over."""
        lease = self._leases.get(node)
        return lease is not None and lease.until >= now

    def until(self, node: str) -> int | None:
        """Until when its lease runs; `None`: it has none."""
        lease = self._leases.get(node)
        return None if lease is None else int(lease.until)

    def names(self) -> list[str]:
        """Those that have joined and are not forgotten."""
        return list(self._leases)

    def left(self, node: str, now: float) -> float:
        """Milliseconds until the node's lease is over; below 0: it is."""
        until = self._leases[node].until
        return DYING if until < 0 else until - now

    def live(self, now: float) -> int:
        """How many leases stand."""
        return sum(lease.until >= now for lease in self._leases.values())

    def take(self, node: str, now: float, grace: float | None) -> None:
        if grace is None:
            grace = self._settings.disconnect_grace
        self._leases[node] = Lease(until=now + self._settings.lease * 1000, grace=grace)

    def drop(self, node: str) -> None:
        self._leases.pop(node, None)

    def give_up(self, node: str) -> None:
        """The node has left."""
        self.drop(node)
        if not self._leases:
            self._look_at = 0.0

    def renew(self, node: str, now: float) -> bool:
        """Renew a lease that stands; whether it is gone."""
        own = self._leases.get(node)
        if own is None or own.until < 0:
            return True
        lease = self._settings.lease * 1000
        if own.until - now < lease / 3:
            # The others may be on their way back, too.
            self._truce = now + min(lease, TRUCE * 1000)
        own.until = now + lease
        own.gone_since = None
        return False

    def prolong(self, node: str, seconds: float) -> None:
        """The node renews it so much later."""
        if node in self._leases:
            self._leases[node].until += seconds * 1000

    # --- who looks --------------------------------------------------------------------------

    def others(self, node: str) -> list[str]:
        """The other nodes that have joined, if they are few."""
        return [name for name in self._leases if name != node] if self.are_few else []

    @property
    def are_few(self) -> bool:
        return len(self._leases) <= FEW

    def turn_to_look(self, now: float, every: float) -> bool:
        """Whether it is up to the node that asks."""
        look = self._look_at <= now
        if look or self._look_at > now + every * 1000:
            self._look_at = now + every * 1000
        return look

    def wait(self, now: float, every: float, *, calm: bool) -> float:
        """Seconds after which the node that has asked is to ask again."""
        if calm and all(lease.gone_since is None for lease in self._leases.values()):
            return min(every, LATEST)
        if self.are_few:
            return min(max((self._look_at - now) / 1000, SOONEST), LATEST)
        return LATEST

    # --- who is dead ------------------------------------------------------------------------

    def keep(self, node: str) -> None:
        """The node has a claim again that was taken away. Unless it has joined again it counts as being
        reaped, so that the claim cannot be forgotten."""
        self._leases.setdefault(node, Lease(until=DYING, grace=0.0))

    def find_dead(self, now: float, most: int) -> list[str]:
        """Nodes that are dead, and hold no lease from now on; none during a truce."""
        if self._truce > now:
            return []
        return [name for name, lease in self._oldest(most) if self._is_dead(name, lease, now)]

    def _is_dead(self, name: str, lease: Lease, now: float) -> bool:
        if lease.until >= now:
            if self._outbox.is_connected(name):
                lease.gone_since = None
                return False
            if lease.gone_since is None:
                lease.gone_since = now
            over = lease.gone_since + lease.grace * 1000
            if over > now:
                # A suspect is looked at again as soon as its grace is over.
                self._look_at = min(self._look_at, over)
                return False
        lease.until = DYING
        return True

    def seem_dead(self, now: float) -> set[str]:
        """Of the nodes whose leases end first, those that can be told to be dead."""
        lease = self._settings.lease * 1000
        return {
            name
            for name, node in self._oldest(DEAD_AMONG)
            if node.until < now
            or (
                not self._outbox.is_connected(name)
                and now - (node.until - lease) > node.grace * 1000 + RENEWED * 1000
            )
        }

    def _oldest(self, most: int) -> list[tuple[str, Lease]]:
        """Those whose leases end first."""
        return heapq.nsmallest(most, self._leases.items(), key=lambda item: (item[1].until, item[0]))
