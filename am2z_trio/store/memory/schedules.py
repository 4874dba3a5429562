"""Schedules: kept, looked at, and fired in one step each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf

from am2z_trio.model.codec import encode_record
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
from am2z_trio.model.transitions import TERMINAL

from .enqueue import Enqueuing
from .jobs import Jobs


@dataclass(slots=True)
class _Schedule:
    """One schedule."""

    name: str
    mark: str
    spec: ScheduleSpec
    blob: bytes
    rev: int = 0
    next: int | None = None
    due: float = inf
    paused: str | None = None
    held: int | None = None
    last: str = ""
    last_at: int = 0
    forgiven: str = ""
    fired: int = 0
    skipped: int = 0
    missed: int = 0
    tz_version: str = ""
    runs: dict[int, RunRecord] = field(default_factory=dict[int, RunRecord])


class Schedules:
    def __init__(self, jobs: Jobs, enqueuing: Enqueuing) -> None:
        self._jobs = jobs
        self._enqueuing = enqueuing
        self._schedules: dict[str, _Schedule] = {}
        self._made = 0

    # --- kept ---------------------------------------------------------------------------------

    def upsert(
        self,
        spec: ScheduleSpec,
        next: int | None,
        due: float,
        tz_version: str,
        *,
        of: ScheduleRecord | None = None,
        take_over: bool = False,
    ) -> UpsertAnswer:
        blob = encode_record(spec)
        one = self._schedules.get(spec.name)
        if of is not None and self._same(of) is None:
            return UpsertAnswer(status="stale", rev=0 if one is None else one.rev)
        if one is not None and one.blob == blob:
            return UpsertAnswer(status="unchanged", rev=one.rev)
        if one is not None and one.spec.owner != spec.owner and not take_over:
            return UpsertAnswer(status="owned", rev=one.rev, owner=one.spec.owner)
        is_new = one is None
        if one is None:
            self._made += 1
            one = self._schedules[spec.name] = _Schedule(spec.name, str(self._made), spec, blob)
        one.spec, one.blob, one.rev = spec, blob, one.rev + 1
        one.next, one.tz_version, one.held = next, tz_version, None
        one.due = inf if one.paused is not None else _whole(due)
        return UpsertAnswer(status="created" if is_new else "changed", rev=one.rev)

    def put(
        self,
        record: ScheduleRecord,
        next: int | None,
        due: float,
        *,
        pause: str | None,
        resume: bool,
        tz_version: str,
    ) -> bool:
        one = self._same(record)
        if one is None or one.next != record.next:
            return False
        if resume:
            one.paused, one.forgiven = None, one.last
        elif pause is not None:
            one.paused = pause
        if resume or pause is not None:
            one.held = None
        one.next, one.tz_version = next, tz_version
        one.due = inf if one.paused is not None else _whole(due)
        return True

    def remove(self, name: str, owner: str | None) -> bool:
        one = self._schedules.get(name)
        if one is None or (owner is not None and one.spec.owner != owner):
            return False
        del self._schedules[name]
        return True

    # --- looked at ----------------------------------------------------------------------------

    def look(self, names: Sequence[str], now: float) -> tuple[int, list[ScheduleRecord | None]]:
        found = [self._schedules.get(name) for name in names]
        return int(now), [None if one is None else self._record(one, now) for one in found]

    def page(self, offset: int, limit: int) -> list[str]:
        return [one.name for one in self._in_order()[offset : offset + limit]]

    def standings(self, offset: int, limit: int) -> list[ScheduleStanding]:
        return [
            ScheduleStanding(name=one.name, due=one.due, missed=one.missed, paused=one.paused is not None)
            for one in self._in_order()[offset : offset + limit]
        ]

    def due(self, offset: int, limit: int, now: float) -> DueSchedules:
        found = [one for one in self._in_order() if one.due <= int(now)]
        later = [one.due for one in self._schedules.values() if int(now) < one.due < inf]
        return DueSchedules(
            now=int(now),
            found=[self._record(one, now) for one in found[offset : offset + limit]],
            wait=(min(later) - int(now)) / 1000 if later else None,
        )

    def wait(self, now: float) -> float | None:
        """Seconds until the first one is due; `None`: none is."""
        due = min((one.due for one in self._schedules.values()), default=inf)
        return None if due == inf else max(0, due - int(now)) / 1000

    def runs(self, name: str, offset: int, limit: int) -> list[RunRecord]:
        one = self._schedules.get(name)
        newest = [] if one is None else sorted(one.runs.values(), key=lambda run: -run.at)
        return newest[offset : offset + limit]

    def _in_order(self) -> list[_Schedule]:
        return sorted(self._schedules.values(), key=lambda one: (one.due, one.name))

    def _record(self, one: _Schedule, now: float) -> ScheduleRecord:
        last = LastRun(job=one.last, at=one.last_at, status=self._stands(one, now)) if one.last else None
        return ScheduleRecord(
            name=one.name,
            spec=one.spec,
            mark=one.mark,
            rev=one.rev,
            next=one.next,
            due=one.due,
            paused=one.paused,
            held=one.held,
            last=last,
            fired=one.fired,
            skipped=one.skipped,
            missed=one.missed,
            tz_version=one.tz_version,
        )

    def _stands(self, one: _Schedule, now: float) -> LastStatus:
        (view,) = self._jobs.view([one.last], now)
        if view is None:
            return "ended"
        if view.status not in TERMINAL:
            return "busy"
        return "failed" if view.status == "failed" and one.last != one.forgiven else "ended"

    # --- fired --------------------------------------------------------------------------------

    def fire(self, firing: Firing, now: float) -> FireAnswer:
        record = firing.record
        one = self._same(record)
        if one is None or self._has_moved(one, firing, now):
            return FireAnswer(done=False)
        if firing.cancel and one.last:
            self._jobs.cancel(one.last, firing.cancel, now)
        for at in firing.skipped:
            self._note(one, RunRecord(at=at, outcome="skipped", fired=int(now)))
        one.skipped += len(firing.skipped)
        one.missed += firing.missed
        outcomes: list[str] = []
        for job, answer in zip(firing.jobs, self._enqueuing.enqueue(firing.jobs, now), strict=True):
            scheduled, outcome = job.spec.schedule, "known" if answer.status == "dup" else answer.status
            assert scheduled is not None
            outcomes.append(outcome)
            if outcome == "queued":
                one.fired += 1
                if scheduled.at >= one.last_at:
                    one.last, one.last_at = job.spec.id, scheduled.at
            self._note(one, RunRecord(at=scheduled.at, outcome=outcome, fired=int(now), job=job.spec.id))
        for at in sorted(one.runs)[: max(0, len(one.runs) - one.spec.history)]:
            del one.runs[at]
        if not firing.beside:
            one.held, one.next = firing.held, firing.next
            one.paused = firing.pause or None
            one.due = inf if firing.pause else _whole(firing.due)
        return FireAnswer(done=True, outcomes=outcomes)

    def _has_moved(self, one: _Schedule, firing: Firing, now: float) -> bool:
        record = firing.record
        if not firing.beside and (one.paused is not None or one.next != record.next):
            return True
        told = "ended" if record.last is None else record.last.status
        stands = self._stands(one, now) if one.last else "ended"
        return firing.looks_at_last and told != stands

    def _same(self, record: ScheduleRecord) -> _Schedule | None:
        """The schedule of this record, if it is what it was."""
        one = self._schedules.get(record.name)
        return one if one is not None and (one.mark, one.rev) == (record.mark, record.rev) else None

    @staticmethod
    def _note(one: _Schedule, run: RunRecord) -> None:
        if run.outcome == "queued" or run.at not in one.runs:
            one.runs[run.at] = run


def _whole(due: float) -> float:
    return due if due == inf else ceil(due)


class MemorySchedules:
    """`ScheduleStore` on a server, seen from one node."""

    def __init__(
        self, schedules: Schedules, checkpoint: Callable[[], Awaitable[None]], now: Callable[[], float]
    ) -> None:
        self._schedules = schedules
        self._checkpoint = checkpoint
        self._now = now

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
        await self._checkpoint()
        return self._schedules.upsert(spec, next, due, tz_version, of=of, take_over=take_over)

    async def look(self, ids: Sequence[str]) -> tuple[int, list[ScheduleRecord | None]]:
        return await self.look_at([plain_name(id) for id in ids])

    async def look_at(self, names: Sequence[str]) -> tuple[int, list[ScheduleRecord | None]]:
        await self._checkpoint()
        return self._schedules.look(names, self._now())

    async def page(self, offset: int, limit: int) -> list[str]:
        await self._checkpoint()
        return self._schedules.page(offset, limit)

    async def standings(self, offset: int, limit: int) -> tuple[int, list[ScheduleStanding]]:
        await self._checkpoint()
        return int(self._now()), self._schedules.standings(offset, limit)

    async def due(self, offset: int, limit: int) -> DueSchedules:
        await self._checkpoint()
        return self._schedules.due(offset, limit, self._now())

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
        await self._checkpoint()
        return self._schedules.put(record, next, due, pause=pause, resume=resume, tz_version=tz_version)

    async def remove(self, id: str, owner: str | None = None) -> bool:
        await self._checkpoint()
        return self._schedules.remove(plain_name(id), owner)

    async def fire(self, firing: Firing) -> FireAnswer:
        await self._checkpoint()
        return self._schedules.fire(firing, self._now())

    async def runs(self, id: str, offset: int, limit: int) -> list[RunRecord]:
        await self._checkpoint()
        return self._schedules.runs(plain_name(id), offset, limit)
