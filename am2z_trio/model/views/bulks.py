"""An action on many jobs: what it is to do, and how far it has come."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

BulkAction = Literal["cancel", "retry", "drop", "stop"]
"""`stop` is for sessions, the others for jobs."""

BulkState = Literal["runs", "done", "stopped"]

_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Moment = Annotated[int, Meta(ge=0, le=2**53)]
"""Milliseconds since the epoch."""


class Failure(msgspec.Struct, frozen=True):
    """A job, or a session, with which it could not be done."""

    job: str
    why: str


class BulkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One action on all jobs, or sessions, that a query asks for, as it is kept in the store."""

    id: Annotated[str, Meta(min_length=1, max_length=100)]
    action: BulkAction
    query: str
    who: str
    role: str
    face: str
    reason: str = ""
    sessions: tuple[str, ...] = ("*",)
    queues: tuple[str, ...] = ("*",)
    """What whoever began it may see: nobody acts on more in its name."""
    began: _Moment = 0
    """Jobs that have come since are left alone."""
    state: BulkState = "runs"
    note: str = ""
    """Why it was stopped."""
    most: _Count = 0
    """It acts on no more jobs than whoever began it has agreed to."""
    rate: Annotated[float, Meta(gt=0)] | None = None
    """Jobs per second; `None`: as fast as it goes."""
    probe: Literal["", "asked", "waits", "passed"] = ""
    """Whether one is tried first: `asked` for, on its way, or completed."""
    probed: str = ""
    """Which one."""
    cursor: str = ""
    passes: _Count = 0
    """How often all places have been looked through."""
    acted: _Count = 0
    """In this pass."""
    looked_at: _Count = 0
    of: _Count = 0
    done: _Count = 0
    skipped: _Count = 0
    """Jobs that had moved on when it came to them."""
    failed: _Count = 0
    failures: tuple[Failure, ...] = ()
    """The first 100."""
    carrier: str = ""
    """Who carries it on now."""
    until: _Moment = 0
    """When somebody else may, if nothing is heard of that."""
    changed: _Moment = 0


class BulkPreview(msgspec.Struct, frozen=True, kw_only=True):
    """What an action would be done to now; nothing was done."""

    action: BulkAction
    query: str
    matched: int
    complete: bool
    """Whether that is all; if not, there may be more."""
    sample: list[str] = []
    """Some of the sessions, where it is about these."""
    text: str
    """One sentence."""
