"""What a node has counted, on its way into the samples of the store; and a reading of it with each beat.

What was counted is told every ten seconds at most, and not where nothing was. A call whose answer is lost is
made again as it was, under its number, before anything new: nothing counts twice. A node that is killed takes
what it has not told with it: ten seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.engine.figures.counting import ProcessorFigures
from am2z_trio.engine.figures.figures import OTHERS
from am2z_trio.engine.figures.reading import Reading
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import queue_name
from am2z_trio.model.records.samples import QueueFigures
from am2z_trio.store.agreed import SLOT
from am2z_trio.store.lasting import lasting
from am2z_trio.store.ports import Store

from .fleet import Fleet
from .heartbeat import Heartbeat

logger: Final = Log("am2z_trio.node")

AT_ONCE: Final = 50
"""Queues that one call tells of."""

PATIENCE: Final = 5.0
"""Seconds for which an answer is waited for; then the call is made again, later. At the end"""

LAST_PATIENCE: Final = 1.0
"""so many, and what is not told is lost: there is more to be said then."""


class Sampling:
    """One node's, from its first beat until it signs off."""

    def __init__(
        self, host: Host, store: Store, fleet: Fleet, heartbeat: Heartbeat, why_not: Callable[[], str]
    ) -> None:
        self._host = host
        self._store = store
        self._fleet = fleet
        self._figures = fleet.figures
        self._lease = heartbeat.lease
        self._hurry = heartbeat.hurry
        self._why_not = why_not
        self._seq = 0
        self._under_way: list[QueueFigures] = []
        """What call `seq` tells; empty once it is answered."""
        self._moved: dict[str, int] = {}
        self._due = host.now() + SLOT
        self._bell = host.spot()
        self._refusal = ""
        self._scope = host.cancel_scope()
        self._over = host.event()
        self._over.set()
        heartbeat.on_beat, heartbeat.may_rest_for = self._on_beat, self._may_rest_for

    def _may_rest_for(self) -> float:
        """Seconds until there is something to tell. What there is now is told first, where it can be."""
        if self._refusal or self._under_way:
            return max(0.0, self._due - self._host.now())
        if any(map(self._has_moved, self._figures.all())):
            self._due = self._host.now() + SLOT
            self._bell.wake()
        return inf

    def _has_moved(self, one: ProcessorFigures) -> bool:
        return self._moved.get(one.processor) != one.moved and one.processor != OTHERS

    def _on_beat(self, rest: float = 0.0) -> None:
        self._figures.round_trip = self._lease.round_trip
        now, remaining = time.monotonic(), self._lease.remaining
        self._figures.reading = Reading(
            at=now + rest,
            host=self._host.name,
            slots=self._fleet.slots(),
            lease_until=None if remaining is None else now + remaining,
            is_ready=not self._why_not(),
        )
        if self._host.now() >= self._due:
            self._due = self._host.now() + SLOT
            self._bell.wake()

    async def run(self) -> None:
        """Tell until the node signs off."""
        self._over = self._host.event()
        self._on_beat()
        try:
            with self._scope:
                await lasting(self._host, "the task that samples", self._run)
        finally:
            self._over.set()

    async def _run(self) -> None:
        while True:
            await self._bell.park()
            await self.flush()
            if self._refusal:
                # It may be resting, and is needed to try again.
                self._hurry()

    async def end(self) -> None:
        """Tell what is left, and no more."""
        self._scope.cancel()
        await self._over.wait()
        await self.flush(LAST_PATIENCE)

    async def flush(self, seconds: float = PATIENCE) -> None:
        """Tell what was counted since the last time. An error is logged, and what was to be told is kept."""
        try:
            with self._host.cancel_scope(deadline=self._host.now() + seconds) as patience:
                while self._under_way or self._next():
                    await self._store.samples.flush(self._seq, self._under_way)
                    self._under_way, self._refusal = [], ""
            if patience.cancelled_caught:
                self._tell(f"the store has not answered within {seconds:g} s")
        except AM2ZError as error:
            self._tell(error.message)

    def _tell(self, refusal: str) -> None:
        if refusal != self._refusal:
            # Once, however often it is tried again.
            self._refusal = refusal
            logger.warning("what this node has counted could not be stored, and is told later: %s", refusal)

    def _next(self) -> bool:
        """Take what is to be told next, under the next number; returns whether there is any."""
        for one in self._figures.all():
            if self._has_moved(one):
                self._moved[one.processor] = one.moved
                self._take(one)
                if len(self._under_way) == AT_ONCE:
                    break
        self._seq += bool(self._under_way)
        return bool(self._under_way)

    def _take(self, one: ProcessorFigures) -> None:
        now, before = one.numbered(), one.added_up
        news = {number: value - before.get(number, 0) for number, value in now.items()}
        one.added_up = now
        news = {number: value for number, value in news.items() if value}
        if news:
            self._under_way.append(QueueFigures(queue_name(one.processor), news))
