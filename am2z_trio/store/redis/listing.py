"""A Redis store's jobs in lists: slices of pages, and rows as the scripts pack them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from am2z_trio.model.codec import RecordDecoder
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.options import Retention
from am2z_trio.model.records import JobSpec, Labels, WaitFacts, plain_name
from am2z_trio.model.views.jobs import JobPage, JobRow, QueueTotals, Source, TrailEntry
from am2z_trio.store.ports import MOST_LOOKED_AT
from am2z_trio.wire.resp import Argument
from am2z_trio.wire.scripts import Script

from . import scripts
from .arguments import as_argument, require_text
from .link import RedisLink
from .rows import text

SLICE: Final = 250
"""Places that one script looks at: a few milliseconds."""

IDS: Final = 1_000
"""Ids that one script tells: a millisecond."""


class Shown(NamedTuple):
    """A row as it is packed by the scripts."""

    id: str
    status: str
    queue: str
    processor: str
    session: str
    at: int
    since: int
    ended: int
    attempt: int
    deliveries: int
    stalls: int
    node: str
    token: str
    due: float
    deadline: int
    priority: int
    progress: float
    parent: str
    origin: str
    reason: str
    cancel: str
    size: int
    turn: str
    away: int
    conflicts: int
    depth: int
    keep: str
    labels: Labels
    trail: tuple[TrailEntry, ...]
    waits: tuple[tuple[str, float, float], ...]


_decode: Final = RecordDecoder[Shown](Shown)
_decode_spec: Final = RecordDecoder[JobSpec](JobSpec)


class RedisListing:
    """Jobs in lists, of `InspectionStore`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def page(self, queue: str, source: Source, start: int = 0, count: int = 50) -> JobPage:
        found, looked_at, gone = list[JobRow](), 0, 0
        while True:
            # Where hardly any of those that were looked at are there, more are.
            missing = count - len(found)
            most = min(SLICE, missing if looked_at == 0 else SLICE, MOST_LOOKED_AT - looked_at)
            of, behind, looked, lost, *rows = await self._link.eval(
                scripts.PAGE, self._link.clock, queue, source, start, most, missing
            )
            looked_at, gone, start = looked_at + looked, gone + lost, behind
            found += [row_of(row) for row in rows]
            if behind < 0 or len(found) >= count or looked_at >= MOST_LOOKED_AT:
                break
        return JobPage(rows=found, looked_at=looked_at, of=of, gone=gone, next=None if start < 0 else start)

    async def rows(self, ids: Sequence[str]) -> list[JobRow | None]:
        found = list[JobRow | None]()
        for first in range(0, len(ids), SLICE):
            some: list[tuple[Argument, ...]] = [(as_argument(id),) for id in ids[first : first + SLICE]]
            packed = await self._link.eval_records(scripts.ROWS, (), some)
            found += [row_of(row) if row else None for row in packed]
        return found

    async def specs(self, ids: Sequence[str]) -> list[JobSpec | None]:
        asked: list[tuple[Argument, ...]] = [(as_argument(id),) for id in ids]
        return [_spec_of(spec) for spec in await self._link.eval_records(scripts.SPECS, (), asked)]

    async def children(self, id: str, most: int = 1_000) -> list[str]:
        return await self._ids(scripts.CHILDREN, as_argument(id), most)

    async def of_session(self, session: str, most: int = 1_000) -> list[str]:
        require_text(session)
        return await self._ids(scripts.OF_SESSION, plain_name(session), most)

    async def of_node(self, node: str, most: int = 1_000) -> list[str]:
        require_text(node)
        return await self._ids(scripts.HOLDINGS, node, most, 2)

    async def _ids(self, script: Script, of: Argument, most: int, apart: int = 1) -> list[str]:
        """Gone through a page at a time; `apart`: how far one id is from the next."""
        found, cursor = dict[bytes, None](), b"0"
        while True:
            cursor, *some = await self._link.eval(script, of, cursor, IDS)
            found.update(dict.fromkeys(some[::apart]))
            if cursor == b"0" or len(found) >= most:
                return [text(id) for id in found][:most]

    async def place(self, queue: str, at: int) -> int:
        return int(await self._link.eval(scripts.PLACE, queue, at))

    async def totals(self, queues: Sequence[str]) -> list[QueueTotals]:
        records: list[tuple[Argument, ...]] = [(queue,) for queue in queues]
        found = await self._link.eval_records(scripts.TOTALS, (self._link.clock,), records)
        return [
            QueueTotals(
                queue=queue,
                waiting=waiting,
                later=later,
                active=active,
                dead=dead,
                recent=recent,
                lanes=lanes,
                blocked=blocked,
            )
            for queue, (waiting, later, active, dead, recent, lanes, blocked) in zip(
                queues, found, strict=True
            )
        ]


def row_of(packed: bytes) -> JobRow:
    """A row that a script has packed. One whose texts are none says so, and nothing else."""
    try:
        shown = _decode(packed)
    except ValidationError:
        return JobRow(id=_id_of(packed), status="unreadable")
    on_complete, on_fail = _retention_of(shown.keep)
    return JobRow(
        id=shown.id,
        status=shown.status,
        queue=shown.queue,
        processor=shown.processor,
        session=shown.session,
        at=shown.at,
        since=shown.since,
        ended=shown.ended,
        attempt=shown.attempt,
        deliveries=shown.deliveries,
        stalls=shown.stalls,
        node=shown.node,
        token=shown.token,
        due=int(shown.due),
        deadline=shown.deadline,
        priority=shown.priority,
        progress=shown.progress,
        parent=shown.parent,
        origins=tuple(filter(None, shown.origin.split("\n"))),
        reason=shown.reason,
        cancel=shown.cancel,
        size=shown.size,
        turn=shown.turn,
        away=bool(shown.away),
        conflicts=shown.conflicts,
        depth=shown.depth,
        trace=shown.labels.trace,
        schedule=shown.labels.schedule,
        tags=shown.labels.tags,
        trail=shown.trail,
        on_complete=on_complete,
        on_fail=on_fail,
        waits=tuple(
            WaitFacts(name=name, since=int(since), until=None if until < 0 else int(until))
            for name, since, until in shown.waits
        ),
    )


def _retention_of(keep: str) -> tuple[Retention | None, Retention | None]:
    """What `arguments` has written of how long a job's record is kept; `None` for what says nothing."""
    numbers = [int(word) for word in keep.split() if word.removeprefix("-").isdecimal()]
    if len(numbers) != 4:
        return None, None
    pairs = (numbers[:2], numbers[2:])
    first, second = (
        Retention(age=None if age < 0 else age / 1000, count=None if count < 0 else count)
        if age >= 0 or count >= 0
        else None
        for age, count in pairs
    )
    return first, second


def _id_of(packed: bytes) -> str:
    """The first item of a row, a text that may be none."""
    at, kind = 4, packed[3]
    if kind < 0xC0:
        size = kind & 0x1F
    else:
        width = {0xD9: 1, 0xDA: 2, 0xDB: 4}[kind]
        size, at = int.from_bytes(packed[4 : 4 + width], "big"), 4 + width
    return text(packed[at : at + size])


def _spec_of(data: bytes) -> JobSpec | None:
    try:
        return _decode_spec(data)
    except ValidationError:
        # None is kept any more, or it is spoilt.
        return None
