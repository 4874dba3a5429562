"""Search for sessions: those that have jobs, page by page, each with a bounded look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from am2z_trio.model.views.search import Exclusion, SessionPage
from am2z_trio.model.views.sessions import SessionNames, SessionRow
from am2z_trio.store.ports import InspectionStore

from .exclusions import Tally
from .session_query import SessionQuery, is_asked_for, is_met, is_so

NAMES: Final = 2_000
"""Sessions whose names one page looks at."""

ROWS: Final = 500
"""Sessions that one page looks at, where it is asked for more than names."""

AT_ONCE: Final = 100
"""Names that are asked for at a time, where not all are wanted."""


class SessionSearch:
    """One page: of those that are theirs, what is asked for."""

    def __init__(
        self, inspection: InspectionStore, asked: SessionQuery, is_theirs: Callable[[str], bool], now: int
    ) -> None:
        self._inspection = inspection
        self._asked = asked
        self._is_theirs = is_theirs
        self._now = now
        self._found = dict[str, SessionRow | None]()
        """By id; without a row where nothing but names was looked at."""
        self._undecided = 0
        self._demands = asked.text.demands
        self._tally = Tally(asked.text)

    async def page(self, limit: int, cursor: str) -> SessionPage:
        """At most `limit` of them, from the cursor on; all of those that are named, at rest as well."""
        if self._asked.exact:
            return await self._named()
        budget, looked_at = ROWS if self._asked.facts else NAMES, 0
        while True:
            missing = limit - len(self._found)
            most = missing if self._asked.takes_all else max(missing, AT_ONCE)
            names = await self._inspection.sessions(cursor, most)
            last = await self._take(names, missing)
            if last:
                # It is full before these names end: it goes on behind the last one that it has.
                names = await self._inspection.sessions(cursor, last)
            cursor, looked_at = names.cursor, looked_at + len(names.sessions)
            if not cursor or len(self._found) >= limit or looked_at >= budget:
                return SessionPage(
                    rows=await self._rows(),
                    of=names.of,
                    looked_at=looked_at,
                    cursor=cursor,
                    undecided=self._undecided,
                    excluded=self._excluded,
                )

    async def _named(self) -> SessionPage:
        theirs = [
            name
            for name in self._asked.exact
            if is_asked_for(self._asked.ids, name) and self._is_theirs(name)
        ]
        rows = await self._inspection.session_rows([*dict.fromkeys(theirs)])
        there = [row for row in rows if row.jobs or row.version]
        said = [(row, is_so(self._asked.facts, row, self._now)) for row in there]
        self._found.update((row.session, row) for row, so in said if so)
        for row in there:
            self._count(row.session, row)
        return SessionPage(
            rows=[row for row, so in said if so],
            of=(await self._inspection.sessions("", 1)).of,
            looked_at=len(rows),
            undecided=sum(so is None for _, so in said),
            excluded=self._excluded,
        )

    async def _take(self, names: SessionNames, missing: int) -> int:
        """Take what is asked for; returns how many of the names come before the page is full, or 0."""
        theirs = [
            name
            for name in dict.fromkeys(names.sessions)
            if name not in self._found and self._is_theirs(name)
        ]
        meant = [name for name in theirs if is_asked_for(self._asked.ids, name)]
        rows: list[SessionRow | None] = [None] * len(meant)
        if self._asked.facts and meant:
            rows = [*await self._inspection.session_rows(meant)]
        if not self._found:
            known = dict(zip(meant, rows, strict=True))
            for name in theirs:
                self._count(name, known.get(name))
        for name, row in zip(meant, rows, strict=True):
            said = row is None or is_so(self._asked.facts, row, self._now)
            self._undecided += said is None
            if said:
                self._found[name] = row
                missing -= 1
            if not missing:
                return names.sessions.index(name) + 1
        return 0

    def _count(self, session: str, row: SessionRow | None) -> None:
        self._tally.count([is_met(demand, session, row, self._now) for demand in self._demands])

    @property
    def _excluded(self) -> list[Exclusion]:
        return [] if self._found else self._tally.exclusions({})

    async def _rows(self) -> list[SessionRow]:
        if self._asked.facts:
            return [row for row in self._found.values() if row is not None]
        return await self._inspection.session_rows([*self._found])
