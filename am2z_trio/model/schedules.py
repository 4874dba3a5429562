"""Schedules as a user sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from .limits import MAX_JOB_ID_BYTES
from .records.schedules import Missed, Overlap

MAX_SCHEDULE_ID_BYTES: Final = MAX_JOB_ID_BYTES // 4
MAX_NOTE_BYTES: Final = 1024
MAX_HISTORY: Final = 10_000
MAX_CATCH_UP: Final = 1_000
MAX_BACKFILL: Final = 10_000
"""Times of one backfill."""
OVERLAPS: Final[tuple[Overlap, ...]] = ("skip", "queue", "cancel", "allow")
MISSED: Final[tuple[Missed, ...]] = ("once", "all", "skip")


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule, as it stands."""

    id: str
    processor: str = ""
    """Empty where it was written by another version, and cannot be read."""
    session: str | None = None
    when: str = ""
    """The cron text, `every 30 s`, or `every 3600 s + 60 s`."""
    words: str = ""
    """The same in words, where this node can read it."""
    tz: str = "UTC"
    rev: int = 1
    """Grows when another spec is written."""
    next: datetime | None = None
    """The next nominal time, UTC; `None`: it has ended, or is paused."""
    overlap: Overlap = "skip"
    missed: Missed = "once"
    missed_after: float = 60.0
    catch_up: int = 100
    jitter: float = 0.0
    start: datetime | None = None
    end: datetime | None = None
    limit: int | None = None
    pause_on_failure: bool = False
    history: int = 100
    owner: str = ""
    note: str = ""
    paused: str | None = None
    """Why it is paused; empty where nobody has said; `None`: it is not."""
    waits: bool = False
    """Its next run waits for the last one to end."""
    last: datetime | None = None
    """The nominal time of the last run."""
    last_job: str = ""
    last_status: str = ""
    """`busy`, `failed` or `ended`; empty where there was none."""
    fired: int = 0
    skipped: int = 0
    """Times that were passed by as the last run had not ended."""
    passed_by: int = 0
    """Times that were missed, or for which another run stood."""


class ScheduleRun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one nominal time."""

    at: datetime
    """The nominal time, UTC."""
    outcome: str
    """`queued`: it has a job; `skipped`: the last run had not ended; or why the job was not accepted."""
    fired: datetime
    """When that was, by the store's clock."""
    late: float
    """Seconds from one to the other."""
    job: str
    """The job's id; empty where there is none."""
    status: str
    """The job's status now; empty where there is no record of it any more."""
    ran: float | None = None
    """Seconds that its last run took, of one that has ended."""
    why: str = ""
    """Why it came late, or has no job; empty where all was as it should be."""


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """Earlier times of a schedule, and what became of them."""

    times: list[datetime]
    """Those that had no job, UTC."""
    had: int
    """How many others had one."""
    queued: int
    """How many have one now that they were given; 0 in a dry run."""
    refused: dict[str, int] = {}
    """How many were not accepted, by why."""


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an owner's schedules, by id."""

    created: list[str]
    changed: list[str]
    unchanged: list[str]
    removed: list[str]
