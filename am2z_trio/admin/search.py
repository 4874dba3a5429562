"""Search: a query's places looked through, a bounded part of them for each page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.ids import is_made
from am2z_trio.model.limits import KIB
from am2z_trio.model.records import NO_STATE
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.model.views.jobs import JobPage, JobRow, Source
from am2z_trio.model.views.search import Page
from am2z_trio.store.ports import Store

from . import cursors
from .cursors import Cursor
from .exclusions import Tally, places_it
from .extents import MOST_OF_ONE, Extents
from .matching import NOT_KEPT, Candidate, is_met
from .plan import PART_OF, Place, Queue, plan
from .query import KINDS, Input, Kind, Query, Text

BUDGET: Final = 1_000
"""Records that one page looks at, and a few more: 10 to 50 ms of the store, in slices between which others
are served."""

SLICE: Final = 100
"""Records that one script is asked for where only some of them may be wanted: some milliseconds."""

MOST_GIVEN: Final = 8 * KIB * KIB
"""Bytes of what jobs were given that are held at a time: about, and one at least."""

ANYTHING: Final[StateCodec[object]] = StateCodec(object, max_bytes=2**31, takes_any=True)
"""Whatever its processor's node has accepted can be looked at."""


class Search:
    """Looks for jobs, of what whoever asks may see."""

    def __init__(
        self,
        store: Store,
        sees: Callable[[JobRow], bool],
        sees_session: Callable[[str], bool] = lambda session: True,
    ) -> None:
        self._store = store
        self._sees = sees
        self._sees_session = sees_session

    async def page(
        self,
        query: Query,
        queues: Sequence[Queue],
        *,
        limit: int,
        cursor: str,
        now: int,
        of: str = "",
        tells_why: bool = False,
    ) -> Page:
        """The next jobs that the query asks for at this time (ms), at most `limit`: those of these queues,
        and of sessions or ids that it names. `of`: what else the cursor is bound to. `tells_why`: where there
        are none, what has excluded them."""
        digest = cursors.digest_of(str(query), of)
        begun = cursors.read(cursor, digest) if cursor else Cursor(cursors.VERSION, digest, 0, 0)
        places = self._plan(query, queues)
        begun = _in(places, begun)
        tally = Tally(query) if tells_why else None
        look = _Look(self._store, self._sees, query, places, limit, now, begun, tally)
        await look.run()
        # What is elsewhere is asked for with what is here: nothing is, where anything was found.
        without = [] if tally is None or look.found else [one for one in query.demands if places_it(one)]
        others = [self._plan(query.without(one), queues) for one in without]
        here, *extents = await Extents(self._store).of(places, *others)
        elsewhere = {one: max(0, extent - here) for one, extent in zip(without, extents, strict=True)}
        return Page(
            rows=look.found,
            looked_at=begun.looked_at + look.looked_at,
            of=here,
            cursor="" if look.ended else cursors.written(look.at),
            gone=look.gone,
            excluded=[] if tally is None or look.found else tally.exclusions(elsewhere),
        )

    def _plan(self, query: Query, queues: Sequence[Queue]) -> list[Place]:
        """Where to look. How many jobs another one's session has is not told either."""
        places = plan(query, queues)
        return [place for place in places if place.kept != "session" or self._sees_session(place.name)]


class _Look:
    """One page."""

    def __init__(
        self,
        store: Store,
        sees: Callable[[JobRow], bool],
        query: Query,
        places: Sequence[Place],
        limit: int,
        now: int,
        begun: Cursor,
        tally: Tally | None,
    ) -> None:
        self._store = store
        self._sees = sees
        self._query = query
        self._demands = query.demands
        self._tally = tally
        self._places = places
        self._limit = limit
        self._now = now
        self._ids_before = {id for place in places if place.kept == "ids" for id in place.ids}
        self._sessions_before = {place.name for place in places if place.kept == "session"}
        self._dead_before = {place.name for place in places if place.kept == "dead"}
        self._takes_all = all(isinstance(term, Text) and _by_place(term) for term in query.terms)
        self._by_input = any(isinstance(term, Input) for term in query.terms)
        self.at = begun
        self.found: list[JobRow] = []
        self.looked_at = 0
        self.gone = 0

    @property
    def ended(self) -> bool:
        return self.at.source >= len(self._places)

    async def run(self) -> None:
        while not self.ended and len(self.found) < self._limit and self.looked_at < BUDGET:
            place = self._places[self.at.source]
            if place.kept == "ids":
                await self._ids(place)
            elif place.kept == "session" or place.kept == "node":
                await self._few(place)
            else:
                await self._list(place.kept, place.name)
        seen = self.at.looked_at + self.looked_at
        here = "" if self.ended else _named(self._places[self.at.source])
        self.at = msgspec.structs.replace(self.at, looked_at=min(seen, 2**53), place=here)

    # --- places ---------------------------------------------------------------------------------

    async def _ids(self, place: Place) -> None:
        last = self.at.last
        left = place.ids[place.ids.index(last) + 1 :] if last in place.ids else place.ids
        rows = await self._store.inspection.rows(left)
        self.looked_at += len(rows)
        # Of other jobs there are none, as of those that never were.
        kept = [row for row in rows if row is not None and self._sees(row)]
        if not self._query.wanted("word"):
            self.gone += len(rows) - len(kept)
        taken = await self._take(kept)
        if taken is not None and taken != left[-1]:
            self._go_on(0, taken)
        else:
            # An id that the engine has made is no session, and no other one begins with it.
            self._next_place(len(self._places) if any(is_made(row.id) for row in kept) else 1)

    async def _few(self, place: Place) -> None:
        """What a session has, or a node holds, in the order of the ids."""
        inspection = self._store.inspection
        of = inspection.of_session if place.kept == "session" else inspection.of_node
        ids = sorted(await of(place.name, MOST_OF_ONE))
        left = [id for id in ids if id > self.at.last]
        while left:
            some, left = left[: self._at_once], left[self._at_once :]
            rows = await inspection.rows(some)
            self.looked_at += len(rows)
            live = [row for row in rows if row is not None and row.status not in TERMINAL]
            taken = await self._take(live)
            self._go_on(0, taken or some[-1])
            if taken is not None or self.looked_at >= BUDGET:
                return
        self._next_place()

    async def _list(self, source: Source, queue: str) -> None:
        start, last = self.at.position, self.at.last
        if self.at.moment:
            # So many have ended since.
            start += await self._store.inspection.place(queue, self.at.moment)
        page = await self._store.inspection.page(queue, source, start, self._at_once)
        self.looked_at += page.looked_at
        self.gone += page.gone
        ids = [row.id for row in page.rows]
        # Newer ones have come before it where it is seen again.
        rows = page.rows[ids.index(last) + 1 :] if last in ids else page.rows
        taken = await self._take([row for row in rows if not self._seen_elsewhere(source, row)])
        is_read = taken is None or taken == ids[-1]
        if is_read and page.next is None:
            self._next_place()
            return
        behind = page.next if is_read and page.next is not None else start
        last = taken or (ids[-1] if ids else last)
        if source == "recent":
            await self._go_on_in_recent(queue, start, behind, last, page)
        else:
            self._go_on(behind, last)

    async def _go_on_in_recent(self, queue: str, start: int, behind: int, last: str, page: JobPage) -> None:
        """New ones come first there, so places are counted from the first one that was seen."""
        moment, first = self.at.moment, start - self.at.position
        if not moment and page.rows:
            moment = page.rows[0].ended
            first = await self._store.inspection.place(queue, moment)
        self._go_on(max(0, behind - first), last, moment)

    @property
    def _at_once(self) -> int:
        """How many records to ask for: as many as are missing, where hardly any of them is not wanted."""
        missing = self._limit - len(self.found)
        return missing if self._takes_all else max(missing, SLICE)

    def _seen_elsewhere(self, source: Source, row: JobRow) -> bool:
        """Whether it was found in a place that comes before the lists, or among the dead letters."""
        if row.id in self._ids_before:
            return True
        if source == "recent":
            return row.queue in self._dead_before and row.shown_as == "dead"
        return row.session in self._sessions_before and row.status not in TERMINAL

    # --- rows -----------------------------------------------------------------------------------

    async def _take(self, rows: Sequence[JobRow]) -> str | None:
        """Take what is asked for; returns the last one's id where the page is full."""
        for some in _portions(rows) if self._by_input else [rows]:
            inputs = await self._inputs(some) if self._by_input else {}
            for row in some:
                if not self._sees(row):
                    continue
                job = candidate_of(row, self._now, inputs.get(row.id, NOT_KEPT))
                if self._is_asked_for(job):
                    self.found.append(row)
                    if len(self.found) == self._limit:
                        return row.id
        return None

    def _is_asked_for(self, job: Candidate) -> bool:
        if self._tally is not None and not self.found:
            return self._tally.takes(job, self._now)
        return all(is_met(demand, job, self._now) for demand in self._demands)

    async def _inputs(self, rows: Sequence[JobRow]) -> dict[str, object]:
        """What they were given, where that is kept."""
        ids = [row.id for row in rows if row.size]
        found = dict[str, object]()
        for id, spec in zip(ids, await self._store.inspection.specs(ids), strict=True):
            if spec is not None and spec.state != NO_STATE:
                try:
                    found[id] = ANYTHING.decode(spec.state)
                except AM2ZError:
                    # Nothing that could be asked for.
                    continue
        return found

    def _go_on(self, position: int, last: str, moment: int = 0) -> None:
        self.at = msgspec.structs.replace(self.at, position=position, last=last, moment=moment)

    def _next_place(self, by: int = 1) -> None:
        source = min(self.at.source + by, len(self._places))
        self.at = msgspec.structs.replace(self.at, source=source, position=0, last="", moment=0)


def _named(place: Place) -> str:
    return cursors.digest_of(place.kept, place.name)


def _in(places: Sequence[Place], at: Cursor) -> Cursor:
    """The same place among these: there may be others before it than when it was left. Where it is gone, that
    which has come to where it was, from its beginning."""
    if not at.place:
        return at
    source = next((n for n, place in enumerate(places) if _named(place) == at.place), None)
    if source is None:
        return msgspec.structs.replace(at, position=0, last="", moment=0)
    return msgspec.structs.replace(at, source=source)


def _by_place(term: Text) -> bool:
    """Whether hardly any job of the places where it looks is none that it asks for. Parked ones are among the
    delayed."""
    return term.field in ("queue", "session") or (term.field == "status" and term.text != "parked")


def _portions(rows: Sequence[JobRow]) -> Iterator[list[JobRow]]:
    """So many that what they were given can be held at once."""
    some, size = list[JobRow](), 0
    for row in rows:
        if some and size + row.size > MOST_GIVEN:
            yield some
            some, size = [], 0
        some.append(row)
        size += row.size
    yield some


_KINDS: Final[dict[str, frozenset[Kind]]] = {
    kind: frozenset({kind, PART_OF.get(kind, kind)}) for kind in KINDS
}
"""What a query can say of a job's status, by what it is shown as; nothing of one that is spoilt."""


def candidate_of(row: JobRow, now: int, input: object = NOT_KEPT) -> Candidate:
    """A row as queries ask for it."""
    ran = row.ran
    if row.status == "active" and row.since:
        ran = max(0, now - row.since)
    return Candidate(
        id=row.id,
        kinds=_KINDS.get(row.shown_as, frozenset()),
        queue=row.processor,
        session=row.session,
        node=row.node,
        error=row.error or row.reason,
        code=row.code,
        schedule=row.schedule,
        caused_by=row.parent,
        trace=row.trace,
        tags=row.tags,
        attempt=row.attempt,
        came=row.at or None,
        ran=ran,
        input=input,
    )
