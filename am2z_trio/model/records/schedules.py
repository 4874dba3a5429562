"""A schedule: what is to run again and again, what the store knows of it, and how a node fires it.

Its jobs are named `s/<schedule>/<nominal time in ms>`: no id that a user may choose has a '/' where it begins
with no '@', and that of a call has a ':' behind its last one. So a time has one job, whoever asks for it.
"""

from __future__ import annotations

from math import inf
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .jobs import Enqueue, Scheduled, Seconds
from .names import plain_name

Overlap = Literal["skip", "queue", "cancel", "allow"]
Missed = Literal["once", "all", "skip"]
LastStatus = Literal["busy", "failed", "ended"]


class ScheduleSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a schedule is, as somebody has written it down. Two with the same bytes are the same."""

    id: Annotated[str, Meta(min_length=1)]
    job: Enqueue
    """Each of its jobs, but for the id, and for what its spec says of the time."""
    cron: str = ""
    """Empty: every so many seconds."""
    tz: str = ""
    every: Seconds = 0.0
    phase: Seconds = 0.0
    overlap: Overlap = "skip"
    missed: Missed = "once"
    missed_after: Seconds = 60.0
    catch_up: Annotated[int, Meta(ge=0, le=1000)] = 100
    jitter: Seconds = 0.0
    start: int | None = None
    """First and last time that it may run, in ms since the epoch."""
    end: int | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    """Runs in all."""
    pause_on_failure: bool = False
    history: Annotated[int, Meta(ge=0, le=10_000)] = 100
    owner: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """As it stands in keys."""
        return plain_name(self.id)


def job_of_instant(spec: ScheduleSpec, at: int, missed: int = 0, id: str = "") -> Enqueue:
    """The job of a nominal time; one that runs beside these has an `id` of its own."""
    job = msgspec.structs.replace(
        spec.job.spec, id=f"s/{spec.name}/{id or at}", schedule=Scheduled(spec.id, at, missed)
    )
    return msgspec.structs.replace(spec.job, spec=job)


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """The job that a schedule has made last."""

    job: str
    at: int
    """Its nominal time."""
    status: LastStatus
    """`ended` also where there is no record of it any more."""


class ScheduleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of a schedule."""

    name: str
    spec: ScheduleSpec | None
    """`None` where this version cannot read it, for what `unread` says."""
    mark: str
    """Another one for one that was removed and made anew."""
    rev: int
    """Grows when another spec is written."""
    next: int | None = None
    """The next nominal time, ms; `None`: there is none any more."""
    due: float = inf
    """When it is looked at next, ms; `inf`: not while this stands."""
    paused: str | None = None
    """Why it is paused."""
    held: int | None = None
    """Since when its next run waits for the last one, ms."""
    last: LastRun | None = None
    fired: int = 0
    skipped: int = 0
    missed: int = 0
    tz_version: str = ""
    """Of the time zones by which `next` was computed."""
    unread: str = ""


class ScheduleStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How a schedule stands, without what it runs."""

    name: str
    due: float
    """As in its record."""
    missed: int
    paused: bool


class DueSchedules(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be fired now."""

    now: int
    """By the store's clock, ms."""
    found: list[ScheduleRecord] = []
    wait: float | None = None
    """Seconds until the first of all others is due; `None`: none is."""


class UpsertAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a spec that was written."""

    status: Literal["created", "changed", "unchanged", "owned", "stale"]
    """`owned`: it is another owner's. `stale`: it is not what it was. Nothing was written then."""
    rev: int
    owner: str = ""
    """For `owned`: whose it is."""


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a schedule, decided by what its record said; nothing of it is done if that has changed."""

    record: ScheduleRecord
    beside: bool = False
    """It has nothing to do with the next time: run now, or earlier times again."""
    looks_at_last: bool = False
    """It was decided by how the last run stands."""
    jobs: list[Enqueue] = []
    """What is to run; each says for which time."""
    skipped: list[int] = []
    """Times that are passed by as the last run had not ended."""
    missed: int = 0
    """Times that are passed by as it was too late for them."""
    next: int | None = None
    due: float = inf
    held: int | None = None
    cancel: str = ""
    """Why the last run is to stop."""
    pause: str = ""
    """Why it is paused from now on."""


class FireAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it."""

    done: bool
    """`False`: it was changed, paused or fired meanwhile."""
    outcomes: list[str] = []
    """Of each job: `queued`, or why it was not accepted; of the first ones only, where that is too much."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one nominal time."""

    at: int
    outcome: str
    """`queued`, `skipped`, or why the job was not accepted."""
    fired: int
    """When, ms."""
    job: str = ""
