"""A job in a list: all that its record says, cut where it is long, and what of it was unusual."""

from __future__ import annotations

import re
from typing import Final, Literal, cast

import msgspec

from ..options import Retention
from ..records.facts import WaitFacts
from ..transitions import TERMINAL

Source = Literal["waiting", "later", "active", "dead", "recent"]
"""Where a queue's jobs are found: those that wait, in the order in which they are served; those that are due
later, the next one first; those that run; dead letters, the last to go first; and what has ended, newest
first."""

MOST_TRAIL: Final = 20
"""Entries that a record keeps of what happened to its job, the newest; the first one stays as well."""

MOST_TEXT: Final = 500
"""Bytes of a text in an entry or a row that anybody may have written, an error's message above all."""


def cut(text: str) -> str:
    """No more than `MOST_TEXT` bytes of it, without the character that they end in."""
    data = text.encode("utf-8", "surrogateescape")
    if len(data) <= MOST_TEXT:
        return text
    return _LAST.sub(b"", data[:MOST_TEXT]).decode("utf-8", "surrogateescape")


_LAST: Final = re.compile(rb"[\xc0-\xff][\x80-\xbf]*\Z")


class TrailEntry(msgspec.Struct, frozen=True, array_like=True):
    """Something that does not happen to a job where all goes well."""

    at: int
    what: str
    """`retry`: it has failed, and is tried again. `failed`: for good. `released`: its node gave it back;
    `conflicted`: its session's state had moved, and it runs again. `left`: its node left. `lost`: its node
    was lost. `refused`: a node came with an outcome after the job was taken from it. `conflict`: a commit
    found another state than it had read."""
    node: str
    """The node that held it then; empty where that is not known."""
    attempt: int
    code: str = ""
    """Of an error; the token of what was refused."""
    text: str = ""
    """An error's message, or a reason."""


class JobRow(msgspec.Struct, frozen=True):
    """A job as its record has it."""

    id: str
    status: str
    """As in `transitions`; `unreadable` where its record is spoilt."""
    queue: str = ""
    processor: str = ""
    session: str = ""
    at: int = 0
    """When it came; when it was queued again, of one that had been a dead letter."""
    since: int = 0
    """When its present run began, or the last one if it has ended in that."""
    ended: int = 0
    attempt: int = 1
    deliveries: int = 0
    """How often it was given to a node."""
    stalls: int = 0
    """How often it was lost with its node since it last got on."""
    node: str = ""
    """Who holds it."""
    token: str = ""
    """Under which token: its number is the fencing number."""
    due: int = 0
    """When it may be claimed, of one that is delayed or backs off."""
    deadline: int = 0
    """When it must have begun."""
    priority: int = 0
    progress: float = 0.0
    parent: str = ""
    """The job that has called it."""
    origins: tuple[str, ...] = ()
    """Nodes that wait for its outcome."""
    reason: str = ""
    """Why it was cancelled, or ended by the store."""
    cancel: str = ""
    """Why it is to be cancelled, of one that runs."""
    size: int = 0
    """Bytes of what its node is given, its input above all; 0 once it is no longer kept."""
    turn: str = ""
    """The turn that it takes to work on its session's state; empty for none."""
    away: bool = False
    """It runs and waits for other jobs: limits do not count it."""
    conflicts: int = 0
    """How often its attempt was run anew since its session's state had moved."""
    depth: int = 0
    """How deep it is in calls of other jobs."""
    trace: str = ""
    """The trace that it was sent in, where that is recorded: 32 hex digits."""
    schedule: str = ""
    """The schedule that has made it."""
    tags: tuple[str, ...] = ()
    trail: tuple[TrailEntry, ...] = ()
    on_complete: Retention | None = None
    """How long its record is kept where that is not usual: once it has completed, and once it has failed."""
    on_fail: Retention | None = None
    waits: tuple[WaitFacts, ...] = ()
    """What it waits for that no other job brings, of one that is parked; some, of very many."""

    @property
    def shown_as(self) -> Shown:
        """Its status in one word, as lists and queries say it: `told_status`."""
        is_dead = self.status == "failed" and not self.parent and self.size > 0
        return told_status(self.status, parked=bool(self.waits), dead=is_dead)

    @property
    def lost(self) -> int:
        """How often it was lost with its node, as far as its trail has it."""
        return sum(entry.what == "lost" for entry in self.trail)

    @property
    def code(self) -> str:
        """The code of its last error; empty where it had none."""
        return next((entry.code for entry in reversed(self.trail) if entry.what in _FAILURES), "")

    @property
    def error(self) -> str:
        """The message of its last error, cut."""
        return next((entry.text for entry in reversed(self.trail) if entry.what in _FAILURES), "")

    @property
    def ran(self) -> int | None:
        """Milliseconds from the beginning of its last run to its end; `None` where there was no such run, or
        it goes on."""
        return max(0, self.ended - self.since) if self.ended and self.since else None


_FAILURES: Final = frozenset({"retry", "failed"})


Shown = Literal[
    "waiting", "delayed", "parked", "active", "completed", "failed", "cancelled", "dead", "spoilt"
]
"""A job's status in one word, wherever it is told."""


def told_status(status: str, *, parked: bool = False, dead: bool = False) -> Shown:
    """The one word for it: `delayed` in place of `later`; `parked` of a delayed one that has begun, and waits
    without a worker; `dead` of one that has failed for good, and is kept to be looked at; `spoilt` where its
    record says nothing that is a status."""
    if status == "later":
        return "parked" if parked else "delayed"
    if status == "failed" and dead:
        return "dead"
    if status in TERMINAL or status in ("waiting", "active"):
        return cast("Shown", status)
    return "spoilt"


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the jobs of one source, in its order."""

    rows: list[JobRow]
    looked_at: int
    """Places that were looked at to find them."""
    of: int
    """Places that there are, by the source's own count."""
    gone: int = 0
    """Of those looked at, whose records are no longer kept."""
    next: int | None = None
    """Where the next page begins; `None`: there is none."""


class QueueTotals(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs each source of a queue has."""

    queue: str
    waiting: int = 0
    later: int = 0
    active: int = 0
    dead: int = 0
    recent: int = 0
    """About: a job that has run again counts for each time, and one whose record has gone still counts."""
    lanes: int = 0
    """Sessions whose jobs wait here and take turns."""
    blocked: int = 0
    """Sessions whose jobs wait here, and of which as many run as may."""
