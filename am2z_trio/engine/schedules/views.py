"""Schedules as a user sees them, of what the store knows."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.moments import time_of
from am2z_trio.model.records import RunRecord, ScheduleRecord, ScheduleSpec
from am2z_trio.model.schedules import ScheduleRun, ScheduleView
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.policy.cron import Every, written
from am2z_trio.policy.schedules import timing
from am2z_trio.policy.spans import span

_WHY: Final = {
    "skipped": "the last run had not ended",
    "known": "it has had its job before",
    "full": "its queue was full",
    "stopping": "its session was being stopped",
}
"""By what became of a time that has no job of its own."""


def view_of(record: ScheduleRecord) -> ScheduleView:
    """A schedule; of one that this version cannot read, what there is."""
    spec, last = record.spec, record.last
    if spec is None:
        return ScheduleView(id=record.name, rev=record.rev, paused=record.paused)
    job = spec.job.spec
    return ScheduleView(
        id=spec.id,
        processor=job.processor,
        session=job.session or None,
        when=_when(spec),
        words=_words(spec),
        tz=spec.tz or "UTC",
        rev=record.rev,
        next=None if record.paused is not None else _time(record.next),
        overlap=spec.overlap,
        missed=spec.missed,
        missed_after=spec.missed_after,
        catch_up=spec.catch_up,
        jitter=spec.jitter,
        start=_time(spec.start),
        end=_time(spec.end),
        limit=spec.limit,
        pause_on_failure=spec.pause_on_failure,
        history=spec.history,
        owner=spec.owner,
        note=spec.note,
        paused=record.paused,
        waits=record.held is not None,
        last=None if last is None else _time(last.at),
        last_job="" if last is None else last.job,
        last_status="" if last is None else last.status,
        fired=record.fired,
        skipped=record.skipped,
        passed_by=record.missed,
    )


def run_of(record: RunRecord, row: JobRow | None, patience: float) -> ScheduleRun | None:
    """What became of a time, and of its job; `None` for a time that no calendar knows. `patience`: seconds
    after which it counts as missed."""
    at, fired = time_of(record.at), time_of(record.fired)
    if at is None or fired is None:
        return None
    return ScheduleRun(
        at=at,
        outcome=record.outcome,
        fired=fired,
        late=(record.fired - record.at) / 1000,
        job=record.job,
        status="" if row is None else row.status,
        ran=None if row is None or row.ran is None else row.ran / 1000,
        why=_why(record, patience),
    )


def _why(record: RunRecord, patience: float) -> str:
    if record.outcome != "queued":
        return _WHY.get(record.outcome, record.outcome)
    late = (record.fired - record.at) / 1000
    return f"caught up: it came {span(late)} after its time" if late > patience else ""


def _when(spec: ScheduleSpec) -> str:
    try:
        return spec.cron or written(Every(spec.every, spec.phase))
    except ConfigurationError:
        # Something else than this package has written it.
        return ""


def _words(spec: ScheduleSpec) -> str:
    try:
        return timing(spec).explain()
    except ConfigurationError:
        # The extra `cron` is not installed here, or its zones are older ones.
        return ""


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else time_of(ms)
