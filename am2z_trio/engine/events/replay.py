"""Events from a place in the history on, and then as they happen: none is missed, and none comes twice.

All of them are read from the history. What is heard meanwhile only says that there is more to be read, and so
does a connection that is back: what was told while it was away is in the history, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from am2z_trio.concurrency import Host, Spot
from am2z_trio.concurrency.keyed_lock import KeyedLock
from am2z_trio.model.errors import NetworkError
from am2z_trio.model.events import Event
from am2z_trio.model.logs import Log
from am2z_trio.model.records import EventPage
from am2z_trio.store.ports import Store

from .filters import Filters
from .subscription import Subscription

logger: Final = Log("am2z_trio.events")

PAGE: Final = 500
"""Events that are read at a time."""

AGAIN_AFTER: Final = 1.0
"""Seconds after which a store that could not be reached is asked again, if nothing is heard before."""

BACK: Final = Filters("connection:ready")


LOOKED_AT: Final = 10_000
"""Events that one call looks at to find some."""


def fits(event: Event, filters: Filters) -> bool:
    """Whether it is asked for."""
    pattern, session, job = filters
    return event.matches(pattern) and session in (None, event.session) and job in (None, event.job)


async def read_history(
    store: Store, filters: Filters, place: str, limit: int, *, backwards: bool = False
) -> EventPage:
    """The next events that match, at most so many, or those before."""
    pages: list[list[Event]] = []
    looked, room, unreadable, gap = 0, limit, 0, False
    page = EventPage(events=[], last=place, more=True)
    while page.more and looked < LOOKED_AT and room:
        page = await store.chronicle.events(page.last, min(PAGE, LOOKED_AT - looked), backwards=backwards)
        gap, unreadable = gap or page.gap, unreadable + page.unreadable
        looked += len(page.events) + page.unreadable
        found = [event for event in page.events if fits(event, filters)]
        if len(found) > room:
            found = found[-room:] if backwards else found[:room]
            page = msgspec.structs.replace(page, last=found[0 if backwards else -1].id, more=True)
        room -= len(found)
        pages.append(found)
    events = [event for found in (pages[::-1] if backwards else pages) for event in found]
    return msgspec.structs.replace(page, events=events, unreadable=unreadable, gap=gap)


class Bell(Subscription):
    """Hears of events, and keeps none."""

    def __init__(self, filters: Filters, ring: Callable[[], None]) -> None:
        super().__init__(filters)
        self._ring = ring

    def push(self, event: Event, size: int) -> None:
        self._ring()

    def close(self) -> None:
        super().close()
        self._ring()


class Replay:
    """What matches, in order. Any number of tasks may read it: each event goes to one of them."""

    def __init__(self, store: Callable[[], Store], host: Host, filters: Filters, since: str) -> None:
        self._store = store
        self._filters = filters
        self._last = since
        self._ready: deque[Event] = deque()
        self._reading = KeyedLock(host)
        self._waiting: Spot | None = None
        self._is_more = True
        self.closed = False
        self.bells: Final = (Bell(filters, self.ring), Bell(BACK, self.ring))
        """To be hung up before anything is read."""
        self.dropped = 0
        """Entries that could not be read."""

    def ring(self) -> None:
        """There may be more."""
        self._is_more = True
        if self._waiting is not None:
            self._waiting.wake()

    def close(self) -> None:
        """Nothing more is read but what was."""
        self.closed = True
        self.ring()

    async def next(self, host: Host) -> Event | None:
        """Wait for the next event; `None` when it is closed and none is left."""
        async with self._reading.hold(""):
            while not self._ready:
                if self.closed:
                    return None
                if self._is_more:
                    await self._read(host)
                else:
                    await self._wait(host)
            return self._ready.popleft()

    async def _read(self, host: Host) -> None:
        self._is_more = False
        try:
            page = await self._store().chronicle.events(self._last, PAGE)
        except NetworkError as error:
            logger.warning("the history of events cannot be read for now: %s", error)
            await self._wait(host, AGAIN_AFTER)
            self._is_more = True
            return
        except BaseException:
            self._is_more = True
            raise
        if page.gap:
            logger.warning("some events before %s are not kept any more", _first(page.events) or "now")
        self.dropped += page.unreadable
        self._last = page.last
        self._is_more = self._is_more or page.more
        self._ready += [event for event in page.events if fits(event, self._filters)]

    async def _wait(self, host: Host, most: float | None = None) -> None:
        self._waiting = spot = host.spot()
        try:
            if most is None:
                await spot.park()
            else:
                with host.cancel_scope(deadline=host.now() + most):
                    await spot.park()
        finally:
            self._waiting = None


def _first(events: list[Event]) -> str:
    return events[0].id if events else ""
