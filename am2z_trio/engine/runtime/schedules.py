"""`runtime.schedules`: what is to run by the clock, on any node."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from math import inf
from typing import Any, Final, Unpack, cast

import msgspec

from am2z_trio.engine.node.node import Node
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.schedules.plan import (
    Schedule,
    ScheduleKeywords,
    ScheduleTerms,
    checked_owner,
    ms_of,
)
from am2z_trio.engine.schedules.views import run_of, view_of
from am2z_trio.engine.schedules.writer import whose
from am2z_trio.engine.submission.job import Job
from am2z_trio.model.arguments import exact_arguments
from am2z_trio.model.callables import require_items
from am2z_trio.model.checks import require, require_count, require_text
from am2z_trio.model.errors import ResourceError, ScheduleNotFoundError, StateConflictError
from am2z_trio.model.limits import MAX_REASON_BYTES
from am2z_trio.model.records import Enqueue, Firing, ScheduleRecord, job_of_instant
from am2z_trio.model.schedules import (
    MAX_BACKFILL,
    MAX_HISTORY,
    MAX_SCHEDULE_ID_BYTES,
    Backfill,
    ScheduleRun,
    ScheduleView,
    Synced,
)
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.policy.cron import MOST_SHOWN, Timing
from am2z_trio.policy.schedules import at_once, first_after, instants, upcoming
from am2z_trio.store.ports import BATCH

HAD_A_JOB: Final = ("queued", "known")

Views = list[ScheduleView]
Runs = list[ScheduleRun]
"""Inside the class, `list` is a method of it."""


class ScheduleManager:
    """The schedules of all nodes.

    Each nominal time of a schedule has one job, however many nodes there are, whichever of them die, and
    whatever answers are lost; one that no node was there for is dealt with as `missed` says. Any node that
    serves queues fires any schedule; its jobs are those of its processor's queue like any others.

    Methods raise `NetworkError` where the store cannot be reached, and `ScheduleNotFoundError` for an id that
    there is not; cancelled, what they have asked for may still happen.
    """

    def __init__(self, running: Callable[[], Node], job: Callable[[str], Awaitable[Job[Any]]]) -> None:
        """`job` gives the handle of one that the store has."""
        self._running = running
        self._job = job

    @exact_arguments
    async def upsert(
        self,
        id: str | Schedule,
        processor: Processor[Any] | str | None = None,
        when: Timing | None = None,
        *,
        owner: str = "",
        take_over: bool = False,
        **options: Unpack[ScheduleKeywords],
    ) -> ScheduleView:
        """Write a schedule down: `upsert("nightly", report, Cron("30 2 * * *"), state={})`, or a `Schedule`,
        whose fields the options are.

        One that is there and says the same is left as it is, so that every start of a program may do this. If
        it says something else, that counts from now on: `rev` grows, and the next time is computed anew. A
        pause, what has been counted, and its runs stay. Raises what `submit` of such a job would, and a
        `ConfigurationError` where the id is that of a schedule of another owner, or has none where this one
        has, or is a processor's own: `take_over=True` makes it this owner's.
        """
        require(isinstance(take_over, bool), "take_over", take_over, "must be True or False")
        if not isinstance(id, Schedule):
            require(processor is not None, "processor", processor, "must be a processor or its name")
            id = Schedule(id, cast("Processor[Any]", processor), cast("Timing", when), **options)
        else:
            alone = processor is None and when is None and not options
            require(alone, "id", id.id, "is a Schedule, and goes without further arguments")
        await self._write(id, checked_owner(owner), take_over=take_over)
        return await self.get(id.id)

    @exact_arguments
    async def amend(self, id: str, *, rev: int | None = None, **terms: Unpack[ScheduleTerms]) -> ScheduleView:
        """Change when a schedule comes, and what is to become of its times: `amend("nightly", jitter=60.0)`.
        What it runs, on which state and with which options, stays as it is; all else as for `upsert`.

        Atomic: of two who change different terms at a time, both count. `rev`: the revision that is meant;
        where it is another one by now, a `StateConflictError` says so, and nothing is done. That of a
        `@processor(schedule=...)` is as the code says again when a node announces the processor.
        """
        if rev is not None:
            rev = require_count("rev", rev)
        node = self._running()
        while True:
            record, _ = await self._readable(id)
            if rev is not None and record.rev != rev:
                raise StateConflictError(
                    f"schedule {id!r} has moved on: revision {record.rev} is the newest",
                    context={"schedule": id, "rev": record.rev},
                )
            answer, due_in = await node.scheduler.writer.amend(record, terms)
            if answer.status != "stale":
                node.scheduler.is_due_in(due_in)
                return await self.get(id)

    async def _write(self, plan: Schedule, owner: str, *, take_over: bool) -> str:
        node = self._running()
        answer, due_in = await node.scheduler.writer.write(plan, owner, take_over=take_over)
        if answer.status == "owned":
            rule = f"a schedule of this id is {whose(answer.owner)}; take_over=True makes it yours"
            require(False, "id", plan.id, rule)
        node.scheduler.is_due_in(due_in)
        return answer.status

    async def sync(self, schedules: Iterable[Schedule], *, owner: str, take_over: bool = False) -> Synced:
        """Have exactly these schedules of an owner: they are upserted, and others of the same owner removed.
        `take_over` as for `upsert`. Not in one step: what fails midway, as one of another owner does, has
        upserted some, and removed none."""
        owner = checked_owner(owner)
        require(isinstance(take_over, bool), "take_over", take_over, "must be True or False")
        require(owner != "", "owner", owner, "must be a text that is not empty")
        plans = [*require_items("schedules", schedules, "Schedules")]
        for plan in plans:
            require(isinstance(plan, Schedule), "schedules", plan, "must be Schedules")
        by_status: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
        for plan in plans:
            by_status[await self._write(plan, owner, take_over=take_over)].append(plan.id)
        kept, removed = {plan.id for plan in plans}, list[str]()
        for record in await self._all():
            spec = record.spec
            is_other = spec is not None and spec.owner == owner and spec.id not in kept
            if spec is not None and is_other and await self._running().scheduler.writer.remove(record, owner):
                removed.append(spec.id)
        return Synced(**by_status, removed=removed)

    async def get(self, id: str) -> ScheduleView:
        """One of them."""
        return view_of((await self._find(id))[0])

    async def get_many(self, ids: Iterable[str]) -> Views:
        """Those of these that there are."""
        _, found = await self._running().store.schedules.look(_ids(ids))
        return [view_of(record) for record in found if record is not None]

    async def list(self, *, offset: int = 0, limit: int = 100) -> Views:
        """A page of them, those that come next in front, paused ones and those at their end last."""
        offset = require_count("offset", offset, least=0, most=2**31)
        limit = require_count("limit", limit, most=1_000)
        schedules = self._running().store.schedules
        _, found = await schedules.look_at(await schedules.page(offset, limit))
        return [view_of(record) for record in found if record is not None]

    async def pause(self, id: str, reason: str = "") -> None:
        """Let it come no more until it is resumed. What has begun goes on."""
        reason = require_text("reason", reason, most=MAX_REASON_BYTES, empty=True)
        node = self._running()
        while True:
            record, _ = await self._find(id)
            if await node.store.schedules.put(
                record, record.next, pause=reason, tz_version=record.tz_version
            ):
                break
        if record.spec is not None:
            node.scheduler.writer.tell("paused", record.spec, {"reason": reason})

    async def resume(self, id: str) -> None:
        """Let it come again, from now on: the times while it was paused are not missed. A failure for which
        it was paused is forgiven."""
        node = self._running()
        while True:
            record, now = await self._readable(id)
            if record.paused is None:
                return
            spec = record.spec
            assert spec is not None
            next, due = first_after(spec, now, record.fired)
            tz = node.scheduler.writer.tz_version_of(spec)
            if await node.store.schedules.put(record, next, due, resume=True, tz_version=tz):
                break
        node.scheduler.is_due_in((due - now) / 1000)
        node.scheduler.writer.tell("changed", spec, {"what": "resumed"})

    async def remove(self, id: str) -> bool:
        """Remove it; returns whether there was one. Its jobs go on. That of a `@processor(schedule=...)` is
        written down anew when a node announces the processor: to be rid of it, pause it."""
        node = self._running()
        _, (record,) = await node.store.schedules.look([_id(id)])
        if record is not None and record.spec is None:
            # Another version's: there is nothing to tell of it.
            return await node.store.schedules.remove(id)
        return record is not None and await node.scheduler.writer.remove(record)

    async def run_now(self, id: str) -> Job[Any]:
        """Run it once, now, beside its times, also where it is paused or its last run has not ended. The next
        time looks at this run as at any other."""
        while True:
            record, now = await self._readable(id)
            spec = record.spec
            assert spec is not None
            job = job_of_instant(spec, now, id=f"now-{secrets.token_hex(8)}")
            answer = await self._running().store.schedules.fire(
                Firing(record=record, beside=True, jobs=[job])
            )
            if answer.done:
                break
        if answer.outcomes != ["queued"]:
            raise ResourceError(
                f"a run of schedule {id!r} was not accepted: {', '.join(answer.outcomes)}",
                context={"schedule": id, "outcomes": answer.outcomes},
            )
        return await self._job(job.spec.id)

    async def next(self, id: str, n: int = 10) -> Sequence[datetime]:
        """The next nominal times, UTC, without jitter; none where it is paused, or at its end."""
        n = require_count("n", n, most=MOST_SHOWN)
        record, _ = await self._readable(id)
        if record.paused is not None:
            return []
        return [_time(at) for at in upcoming(record, n)]

    async def backfill(self, id: str, start: datetime, end: datetime, *, dry_run: bool = True) -> Backfill:
        """Run it for the times from `start` to `end`, both included and up to now, that have had no job: all
        of them at once, whatever `overlap` says. With `dry_run`, only tell which these are.

        A time has had a job if that is noted (`history`), or the job's record is still there.
        """
        record, now = await self._readable(id)
        spec = record.spec
        assert spec is not None
        require(isinstance(dry_run, bool), "dry_run", dry_run, "must be True or False")
        first, last = ms_of("start", start), min(ms_of("end", end), now)
        times = list(islice(_until(instants(spec, first - 1), last), MAX_BACKFILL + 1))
        rule = f"must be close enough to the start for {MAX_BACKFILL:,} times at most"
        require(len(times) <= MAX_BACKFILL, "end", end, rule)
        jobs = await self._without_job(record, times)
        told = Backfill(times=[_time(_at(job)) for job in jobs], had=len(times) - len(jobs), queued=0)
        if dry_run:
            return told
        queued, refused = 0, dict[str, int]()
        while jobs:
            some = jobs[: at_once(spec)]
            answer = await self._running().store.schedules.fire(
                Firing(record=record, beside=True, jobs=[*some])
            )
            if not answer.done:
                # It was written anew, or removed.
                record, _ = await self._readable(id)
                spec = record.spec
                assert spec is not None
                jobs = [job_of_instant(spec, _at(job)) for job in jobs]
                continue
            for outcome in answer.outcomes:
                if outcome == "queued":
                    queued += 1
                elif outcome != "known":
                    refused[outcome] = refused.get(outcome, 0) + 1
            jobs = jobs[len(answer.outcomes) :]
        return msgspec.structs.replace(told, queued=queued, refused=refused)

    async def _without_job(self, record: ScheduleRecord, times: Sequence[int]) -> Sequence[Enqueue]:
        spec, store = record.spec, self._running().store
        assert spec is not None
        noted, offset = set[int](), 0
        while page := await store.schedules.runs(spec.id, offset, 1_000):
            offset += len(page)
            noted.update(run.at for run in page if run.outcome in HAD_A_JOB)
        jobs = [job_of_instant(spec, at) for at in times if at not in noted]
        found: list[Enqueue] = []
        for start in range(0, len(jobs), BATCH):
            some = jobs[start : start + BATCH]
            views = await store.view([job.spec.id for job in some])
            found += [job for job, view in zip(some, views, strict=True) if view is None]
        return found

    async def runs(self, id: str, *, offset: int = 0, limit: int = 100) -> Runs:
        """What became of its times, the newest first, and of their jobs; `history` says how many are kept."""
        offset = require_count("offset", offset, least=0, most=MAX_HISTORY)
        limit = require_count("limit", limit, most=1_000)
        record, _ = await self._find(id)
        return (await self._runs([(id, record)], offset, limit))[id]

    async def last_runs(self, ids: Iterable[str], limit: int = 8) -> dict[str, Runs]:
        """The same of many schedules, the newest runs of each; those that there are not are left out."""
        limit = require_count("limit", limit, most=1_000)
        wanted = _ids(ids)
        _, records = await self._running().store.schedules.look(wanted)
        there = [(id, one) for id, one in zip(wanted, records, strict=True) if one is not None]
        return await self._runs(there, 0, limit)

    async def _runs(
        self, of: Sequence[tuple[str, ScheduleRecord]], offset: int, limit: int
    ) -> dict[str, Runs]:
        store = self._running().store
        noted = {id: await store.schedules.runs(id, offset, limit) for id, _ in of}
        ids = [run.job for runs in noted.values() for run in runs if run.job]
        rows: dict[str, JobRow | None] = {}
        for start in range(0, len(ids), BATCH):
            some = ids[start : start + BATCH]
            rows.update(zip(some, await store.inspection.rows(some), strict=True))
        found: dict[str, Runs] = {}
        for id, record in of:
            patience = inf if record.spec is None else record.spec.missed_after
            told = (run_of(run, rows.get(run.job), patience) for run in noted[id])
            found[id] = [run for run in told if run is not None]
        return found

    # --- what it stands on --------------------------------------------------------------------

    async def _find(self, id: str) -> tuple[ScheduleRecord, int]:
        now, (record,) = await self._running().store.schedules.look([_id(id)])
        if record is None:
            raise ScheduleNotFoundError(f"there is no schedule {id!r}", context={"schedule": id})
        return record, now

    async def _readable(self, id: str) -> tuple[ScheduleRecord, int]:
        record, now = await self._find(id)
        if record.spec is None:
            raise ScheduleNotFoundError(
                f"schedule {id!r} was written by another version, which this one cannot read",
                context={"schedule": id},
            )
        return record, now

    async def _all(self) -> Sequence[ScheduleRecord]:
        schedules, found = self._running().store.schedules, dict[str, ScheduleRecord]()
        offset = 0
        while names := await schedules.page(offset, BATCH):
            offset += len(names)
            _, records = await schedules.look_at(names)
            found |= {record.name: record for record in records if record is not None}
        return list(found.values())


def _id(id: object) -> str:
    return require_text("id", id, most=MAX_SCHEDULE_ID_BYTES)


def _ids(ids: object) -> Sequence[str]:
    given = require_items("ids", ids, "ids of schedules")
    return [require_text("ids", id, most=MAX_SCHEDULE_ID_BYTES) for id in given]


def _until(times: Iterable[int], last: int) -> Iterable[int]:
    for at in times:
        if at > last:
            return
        yield at


def _at(job: Enqueue) -> int:
    assert job.spec.schedule is not None
    return job.spec.schedule.at


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
