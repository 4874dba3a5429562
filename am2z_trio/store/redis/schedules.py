"""Schedules on Redis: records to script arguments, script answers to records."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import chain
from math import ceil, inf
from typing import Any, Final, cast

from am2z_trio.model.codec import RecordDecoder, encode_record
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.records import (
    DueSchedules,
    FireAnswer,
    Firing,
    LastRun,
    RunRecord,
    ScheduleRecord,
    ScheduleSpec,
    ScheduleStanding,
    UpsertAnswer,
    plain_name,
)
from am2z_trio.model.records.schedules import LastStatus
from am2z_trio.wire.resp import Argument

from . import scripts
from .arguments import of_enqueue, require_text
from .begun import Kept
from .link import RedisLink
from .rows import text

_decode: Final = RecordDecoder[ScheduleSpec](ScheduleSpec)


class RedisSchedules:
    """`ScheduleStore` on a node's link. Every call is one script."""

    def __init__(self, link: RedisLink, kept: Kept) -> None:
        self._link = link
        self._kept = kept

    async def upsert(
        self,
        spec: ScheduleSpec,
        next: int | None,
        due: float = inf,
        tz_version: str = "",
        *,
        of: ScheduleRecord | None = None,
        take_over: bool = False,
    ) -> UpsertAnswer:
        require_text(spec.id)
        require_text(spec.owner)
        status, rev, *owner = await self._link.eval(
            scripts.UPSERT_SCHEDULE,
            *(_nonce(), spec.name, encode_record(spec), spec.owner, *_when(next, due), tz_version),
            *(("", "") if of is None else (of.mark, of.rev)),
            int(take_over),
        )
        return UpsertAnswer(status=status.decode(), rev=rev, owner=text(owner[0]) if owner else "")

    async def look(self, ids: Sequence[str]) -> tuple[int, list[ScheduleRecord | None]]:
        return await self.look_at([plain_name(id) for id in ids])

    async def look_at(self, names: Sequence[str]) -> tuple[int, list[ScheduleRecord | None]]:
        found, now = list[ScheduleRecord | None](), 0
        while True:
            now, *rows = await self._link.eval(
                scripts.LOOK_AT_SCHEDULES, self._link.clock, *names[len(found) :]
            )
            found += [_record(row) if row else None for row in rows]
            if len(found) >= len(names):
                return now, found

    async def page(self, offset: int, limit: int) -> list[str]:
        return [text(name) for name in await self._link.eval(scripts.SCHEDULES, offset, limit)]

    async def standings(self, offset: int, limit: int) -> tuple[int, list[ScheduleStanding]]:
        now, *rows = await self._link.eval(scripts.SCHEDULE_STANDINGS, self._link.clock, offset, limit)
        return now, [
            ScheduleStanding(name=text(name), due=_time(due), missed=_whole(missed) or 0, paused=bool(paused))
            for name, due, missed, paused in rows
        ]

    async def due(self, offset: int, limit: int) -> DueSchedules:
        now, wait, *rows = await self._link.eval(scripts.DUE_SCHEDULES, self._link.clock, offset, limit)
        found = [_record(row) for row in rows]
        return DueSchedules(now=now, found=found, wait=None if wait < 0 else wait / 1000)

    async def put(
        self,
        record: ScheduleRecord,
        next: int | None,
        due: float = inf,
        *,
        pause: str | None = None,
        resume: bool = False,
        tz_version: str = "",
    ) -> bool:
        said = "-" if resume else "" if pause is None else f"={pause}"
        expected = "" if record.next is None else record.next
        return bool(
            await self._link.eval(
                scripts.SET_SCHEDULE,
                *(record.name, record.mark, record.rev, expected, said, *_when(next, due), tz_version),
            )
        )

    async def remove(self, id: str, owner: str | None = None) -> bool:
        require_text(id)
        args = plain_name(id), "*" if owner is None else owner
        return bool(await self._link.eval(scripts.REMOVE_SCHEDULE, *args))

    async def fire(self, firing: Firing) -> FireAnswer:
        record = firing.record
        spec, last = record.spec, record.last
        assert spec is not None
        expected: Argument = "-" if firing.beside else "" if record.next is None else record.next
        stands = "" if not firing.looks_at_last else "ended" if last is None else last.status
        status, *outcomes = await self._link.eval(
            scripts.FIRE,
            *(self._link.clock, *self._kept, _nonce(), record.name, record.mark, record.rev),
            *(expected, stands),
            *(firing.cancel, firing.pause, " ".join(map(str, firing.skipped)), firing.missed),
            *_when(firing.next, firing.due),
            "" if firing.held is None else firing.held,
            spec.history,
            " ".join(f"{job.spec.schedule.at} {job.spec.id}" for job in firing.jobs if job.spec.schedule),
            *chain.from_iterable(map(of_enqueue, firing.jobs)),
        )
        return FireAnswer(done=status == b"done", outcomes=[outcome.decode() for outcome in outcomes])

    async def runs(self, id: str, offset: int, limit: int) -> list[RunRecord]:
        require_text(id)
        found = await self._link.eval(scripts.RUNS_OF_SCHEDULE, plain_name(id), offset, limit)
        return [run for one in found if (run := _run(text(one))) is not None]


def _nonce() -> str:
    return secrets.token_hex(8)


def _when(next: int | None, due: float) -> tuple[Argument, Argument]:
    return "" if next is None else next, "inf" if due == inf else ceil(due)


def _record(row: list[bytes]) -> ScheduleRecord:
    name, blob, mark, rev, at, due, paused, held, last, last_at, stands, *counts, tz_version = row
    spec, unread = None, ""
    try:
        spec = _decode(blob)
    except AM2ZError as error:
        # Whoever is to fire it says so, once; it is met again with every look.
        unread = error.message
    return ScheduleRecord(
        name=text(name),
        spec=spec,
        mark=text(mark),
        rev=_whole(rev) or 0,
        next=_whole(at),
        due=_time(due),
        paused=text(paused[1:]) if paused else None,
        held=_whole(held),
        last=_last(last, last_at, stands),
        fired=_whole(counts[0]) or 0,
        skipped=_whole(counts[1]) or 0,
        missed=_whole(counts[2]) or 0,
        tz_version=text(tz_version),
        unread=unread,
    )


def _last(job: bytes, at: bytes, stands: bytes) -> LastRun | None:
    if not job:
        return None
    return LastRun(job=text(job), at=_whole(at) or 0, status=cast("LastStatus", stands.decode()))


def _run(told: str) -> RunRecord | None:
    """`None` for what something else has written there."""
    parts = told.split(" ", 3)
    if len(parts) < 4 or not (parts[0].isdigit() and parts[2].isdigit()):
        return None
    return RunRecord(at=int(parts[0]), outcome=parts[1], fired=int(parts[2]), job=parts[3])


def _whole(data: bytes) -> int | None:
    """A stored number; `None` for none, or one that is spoilt."""
    try:
        return int(data)
    except ValueError:
        return None


def _time(data: Any) -> float:
    try:
        return float(data)
    except ValueError:
        return inf
