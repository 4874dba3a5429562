"""What a user says of a schedule, checked, and as it is kept."""

from __future__ import annotations

from datetime import datetime
from math import floor, inf
from typing import Any, Final, TypedDict, cast

import msgspec

from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.submission.preparation import Prepared
from am2z_trio.engine.submission.request import SubmitRequest
from am2z_trio.model.arguments import Options
from am2z_trio.model.checks import keep, require, require_count, require_seconds, require_text
from am2z_trio.model.moments import time_of
from am2z_trio.model.options import FROM_ITS_SUBMISSION, JobOptions
from am2z_trio.model.records import ScheduleSpec
from am2z_trio.model.records.schedules import Missed, Overlap
from am2z_trio.model.schedules import (
    MAX_CATCH_UP,
    MAX_HISTORY,
    MAX_NOTE_BYTES,
    MAX_SCHEDULE_ID_BYTES,
    MISSED,
    OVERLAPS,
)
from am2z_trio.policy.cron import Cron, Every, Timing, timing_of


class Schedule(Options, frozen=True, kw_only=False):
    """What is to run, when, and what is to become of times at which it cannot."""

    id: str
    """A text of up to 200 bytes."""
    processor: Processor[Any] | str
    when: Timing
    """`Cron(...)` or `Every(...)`."""
    state: Any = None
    """What each run is given; `None`, in a session: its stored state."""
    session: str | None = None
    timeout: float | None = None
    """Seconds that one attempt may run, as for `runtime.submit`."""
    options: JobOptions | None = None
    """Those of its jobs. A `total_timeout` is counted from when the job is made."""
    overlap: Overlap = "skip"
    """Where the last run has not ended when the next one is due: that one is passed by (`skip`); waits, and
    any that come meanwhile are one with it (`queue`); has the last one cancelled, and starts when it has
    ended (`cancel`); or runs beside it (`allow`)."""
    missed: Missed = "once"
    """Of times that are more than `missed_after` late, as no node was there, say: one run, for the last of
    them (`once`); one for each, the oldest first (`all`); or none (`skip`)."""
    missed_after: float = 60.0
    """Seconds."""
    catch_up: int = 100
    """With `all`: so many of them, the newest."""
    jitter: float = 0.0
    """Seconds by which a run is put off at most: some part of it, the same on every node."""
    start: datetime | None = None
    """The first time at which it may run, and the last."""
    end: datetime | None = None
    limit: int | None = None
    """Runs in all, after which it is over."""
    pause_on_failure: bool = False
    """It is paused, when the next run is due, if the last one has failed for good."""
    history: int = 100
    """Times of which is kept what became of them, the newest."""
    note: str = ""

    def __post_init__(self) -> None:
        keep(self, "id", require_text("Schedule.id", self.id, most=MAX_SCHEDULE_ID_BYTES))
        require(isinstance(self.when, Cron | Every), "Schedule.when", self.when, "must be a Cron or an Every")
        for name, known in (("overlap", OVERLAPS), ("missed", MISSED)):
            value = getattr(self, name)
            require(value in known, f"Schedule.{name}", value, f"must be one of {', '.join(known)}")
        for name in ("missed_after", "jitter"):
            keep(self, name, require_seconds(f"Schedule.{name}", getattr(self, name)))
        catch_up = require_count("Schedule.catch_up", self.catch_up, least=0, most=MAX_CATCH_UP)
        keep(self, "catch_up", catch_up)
        if self.limit is not None:
            keep(self, "limit", require_count("Schedule.limit", self.limit))
        keep(self, "history", require_count("Schedule.history", self.history, least=0, most=MAX_HISTORY))
        keep(self, "note", require_text("Schedule.note", self.note, most=MAX_NOTE_BYTES, empty=True))
        start, end = _ms_or_none("Schedule.start", self.start), _ms_or_none("Schedule.end", self.end)
        moment = self.options.moment if isinstance(self.options, JobOptions) else ""
        require(not moment, f"Schedule.options.{moment}", "a datetime", FROM_ITS_SUBMISSION)
        throttle = self.options.throttle if isinstance(self.options, JobOptions) else None
        rule = "must be None: each of its times has its job"
        require(throttle is None, "Schedule.options.throttle", throttle, rule)
        ordered = start is None or end is None or start <= end
        require(ordered, "Schedule.end", self.end, "must not be before the start")
        flag = self.pause_on_failure
        require(isinstance(flag, bool), "Schedule.pause_on_failure", flag, "must be True or False")

    @property
    def request(self) -> SubmitRequest:
        """What its jobs are asked for with."""
        return SubmitRequest(session=self.session, timeout=self.timeout, options=self.options, waits=False)

    def spec(self, made: Prepared[Any], owner: str) -> ScheduleSpec:
        """As it is kept; `made` is a job of it, as this node would send it now."""
        job = made.request
        spec = msgspec.structs.replace(job.spec, id=f"s/{self.id}", origin="")
        total = None if made.limits is None else made.limits.total
        job = msgspec.structs.replace(
            job, spec=spec, deadline=None if total == inf else total, only_asked=False
        )
        return ScheduleSpec(id=self.id, job=job, owner=owner, **self._terms())

    def amended(self, spec: ScheduleSpec) -> ScheduleSpec:
        """A schedule that is kept, with the terms of this one; what it runs, and whose it is, stays."""
        return msgspec.structs.replace(spec, **self._terms())

    def _terms(self) -> dict[str, Any]:
        """When it comes, and what is to become of its times, as that is kept."""
        when = self.when
        return {
            "cron": when.text if isinstance(when, Cron) else "",
            "tz": when.tz if isinstance(when, Cron) else "",
            "every": 0.0 if isinstance(when, Cron) else float(when.seconds),
            "phase": 0.0 if isinstance(when, Cron) else float(when.phase),
            "overlap": self.overlap,
            "missed": self.missed,
            "missed_after": float(self.missed_after),
            "catch_up": self.catch_up,
            "jitter": float(self.jitter),
            "start": _ms_or_none("Schedule.start", self.start),
            "end": _ms_or_none("Schedule.end", self.end),
            "limit": self.limit,
            "pause_on_failure": self.pause_on_failure,
            "history": self.history,
            "note": self.note,
        }


class ScheduleRules(TypedDict, total=False):
    """Those fields of `Schedule` that say what is to become of its times."""

    overlap: Overlap
    missed: Missed
    missed_after: float
    catch_up: int
    jitter: float
    start: datetime | None
    end: datetime | None
    limit: int | None
    pause_on_failure: bool
    history: int
    note: str


class ScheduleTerms(ScheduleRules, total=False):
    """Those, and when it comes."""

    when: Timing


def plan_of(spec: ScheduleSpec, terms: ScheduleTerms) -> Schedule:
    """A schedule that is kept, as a user would say it, with other terms; what it is given is not told.
    Raises `ConfigurationError` for bad terms."""
    kept: ScheduleTerms = {
        "when": timing_of(spec.cron, spec.tz, spec.every, spec.phase),
        "overlap": spec.overlap,
        "missed": spec.missed,
        "missed_after": spec.missed_after,
        "catch_up": spec.catch_up,
        "jitter": spec.jitter,
        "start": _time_or_none(spec.start),
        "end": _time_or_none(spec.end),
        "limit": spec.limit,
        "pause_on_failure": spec.pause_on_failure,
        "history": spec.history,
        "note": spec.note,
    }
    all_terms: dict[str, Any] = {**kept, **terms}
    return Schedule(spec.id, spec.job.spec.processor, **all_terms)


class ScheduleKeywords(ScheduleRules, total=False):
    """Fields of `Schedule`, where they are described."""

    state: Any
    session: str | None
    timeout: float | None
    options: JobOptions | None


DECORATED: Final = "@processor"
"""Who owns the schedules of processors."""


def checked_owner(owner: object) -> str:
    """One that a user may be: no name of the engine's own."""
    text = require_text("owner", owner, most=MAX_SCHEDULE_ID_BYTES, empty=True)
    require(not text.startswith("@"), "owner", owner, "must not begin with '@'")
    return text


def ms_of(field: str, at: object) -> int:
    """Ms since the epoch of a moment that a user gives. Raises `ConfigurationError` for what is none."""
    aware = isinstance(at, datetime) and at.tzinfo is not None
    require(aware, field, at, "must be a datetime with a time zone")
    return floor(cast("datetime", at).timestamp() * 1000)


def _ms_or_none(field: str, at: object) -> int | None:
    return None if at is None else ms_of(field, at)


def _time_or_none(ms: int | None) -> datetime | None:
    if ms is None:
        return None
    at = time_of(ms)
    require(at is not None, "Schedule.start or end", ms, "must be a time that a calendar knows")
    return at
