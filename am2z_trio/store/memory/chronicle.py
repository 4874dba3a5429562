"""What happened, written down: the history of events, and what operators have done."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from heapq import merge
from itertools import chain, islice, takewhile
from typing import Final

import msgspec

from am2z_trio.model.events import EventGroup
from am2z_trio.model.records import EventPage, Place
from am2z_trio.model.views.audit import AuditEntry, AuditPage, before_number
from am2z_trio.store.agreed import AUDIT_KEPT, REFUSALS_KEPT


class Chronicles:
    """All that is written down."""

    def __init__(self, event_history: int) -> None:
        self.keeps_events: Final = event_history > 0
        self._log: deque[tuple[tuple[int, int], EventGroup]] = deque(maxlen=event_history)
        """By time, and number within it."""
        self._last = (0, 0)
        self._audit: deque[tuple[int, AuditEntry]] = deque(maxlen=AUDIT_KEPT)
        self._refused: deque[tuple[int, AuditEntry]] = deque(maxlen=REFUSALS_KEPT)
        self._written = 0

    def write(self, group: EventGroup) -> None:
        """Write events down, if there is a history."""
        if self.keeps_events:
            last, number = self._last
            self._last = (group.at, 0) if group.at > last else (last, number + 1)
            self._log.append((self._last, group.in_short()))

    def events(self, place: str, limit: int, *, backwards: bool = False) -> EventPage:
        first = tuple(map(int, Place.of(place).entry.split("-"))) if place else None
        found: Iterator[tuple[tuple[int, int], EventGroup]]
        if backwards:
            found = (one for one in reversed(self._log) if first is None or one[0] <= first)
        else:
            # Looked for from the end, where those who go on are.
            behind = takewhile(lambda one: first is None or one[0] >= first, reversed(self._log))
            found = islice(self._log, len(self._log) - sum(1 for _ in behind), None)
        entries = ((_spelled(at), copy.deepcopy(group)) for at, group in found)
        page_of = EventPage.before if backwards else EventPage.behind
        page = page_of(entries, place, limit, more=False, kept=self.keeps_events)
        return msgspec.structs.replace(page, length=len(self._log))

    def newest(self) -> str:
        return _spelled(self._last) if self._log else ""

    def append_audit(self, entry: AuditEntry, now: float) -> None:
        if any(known.id == entry.id for _, known in chain(self._audit, self._refused)):
            return
        self._written += 1
        kept = self._refused if entry.outcome == "refused" else self._audit
        kept.append((self._written, msgspec.structs.replace(entry, at=int(now))))

    def audit_page(self, before: str, limit: int) -> AuditPage:
        till = before_number(before)[0] if before else self._written + 1
        # Both are numbered together.
        newest_first = merge(reversed(self._audit), reversed(self._refused), key=lambda one: -one[0])
        older = (one for one in newest_first if one[0] < till)
        found = list(islice(older, limit + 1))
        last = f"{found[limit - 1][0]}-0" if len(found) > limit else ""
        return AuditPage(entries=[entry for _, entry in found[:limit]], next=last)


def _spelled(at: tuple[int, int]) -> str:
    return f"{at[0]}-{at[1]}"


class NodeChronicle:
    """`Chronicle`, seen from a node."""

    def __init__(
        self, server: Chronicles, checkpoint: Callable[[], Awaitable[None]], now: Callable[[], float]
    ) -> None:
        self._server = server
        self._checkpoint = checkpoint
        self._now = now

    async def events(self, place: str = "", limit: int = 1_000, *, backwards: bool = False) -> EventPage:
        await self._checkpoint()
        return self._server.events(place, limit, backwards=backwards)

    async def newest(self) -> str:
        await self._checkpoint()
        return self._server.newest()

    async def append_audit(self, entry: AuditEntry) -> None:
        await self._checkpoint()
        self._server.append_audit(entry, self._now())

    async def audit_page(self, before: str = "", limit: int = 100) -> AuditPage:
        await self._checkpoint()
        return self._server.audit_page(before, limit)
