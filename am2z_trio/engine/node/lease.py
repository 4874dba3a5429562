"""A node's lease on what it claims: taken, renewed, lost."""

from __future__ import annotations

from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.model.records import RenewAnswer
from am2z_trio.store.ports import Store

SELF_FENCE: Final = 0.8
"""Share of the lease, or of the grace, after which a node that is cut off gives up what others may get."""


class Lease:
    """What this node knows of its lease. A pure client has none, and keeps the time by renewing it."""

    def __init__(self, host: Host, store: Store, seconds: float) -> None:
        self._host = host
        self._store = store
        self.seconds = seconds
        self.is_held = False
        self.was_taken = False
        """Whether it was ever asked for, answered or not."""
        self.seen = host.now()
        """When the last one that was granted was asked for."""
        self.prolonged = 0.0
        """Seconds for which that is longer than usual."""
        self.round_trip: float | None = None
        """Seconds that the store took to renew it last."""

    async def take(self) -> None:
        """Take one, or another."""
        self.was_taken = True
        now = self._host.now()
        await self._store.join()
        self.is_held, self.seen, self.prolonged = True, now, 0.0

    async def renew(self, look_every: float) -> RenewAnswer | None:
        """Renew it; `None` if the store has not answered within its time."""
        now = self._host.now()
        with self._host.cancel_scope(deadline=now + self.seconds):
            answer = await self._store.renew(look_every=look_every)
            self.seen, self.prolonged = now, 0.0
            self.round_trip = self._host.now() - now
            return answer
        return None

    def lose(self) -> None:
        """It is gone: what runs here may run elsewhere."""
        self.is_held = False

    @property
    def remaining(self) -> float | None:
        """Seconds for which it is held, if nobody renews it; `None` while it is not."""
        return (
            max(0.0, self.seen + self.seconds + self.prolonged - self._host.now()) if self.is_held else None
        )

    def why_not_held(self) -> str:
        """Empty while it is held, as far as is known."""
        if not self.is_held:
            return "this node has lost its lease and not yet taken another"
        if self._host.now() - self.seen - self.prolonged > SELF_FENCE * self.seconds:
            return "the lease has not been renewed for most of its time"
        return ""
