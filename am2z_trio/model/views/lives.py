"""What is around a job: its calls; how many jobs there are; what a query would find with one term less."""

from __future__ import annotations

import msgspec

from .jobs import JobRow


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a tree of calls. Rows come from the outside in: what a job has called follows it, one level
    deeper."""

    id: str
    level: int
    """0: nobody has called it, or nothing is known of who has."""
    row: JobRow | None = None
    """`None`: it is no longer kept, or is none that the principal sees."""
    asked: bool = False
    """It is the job that was asked for."""


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """The calls around one job: those that have led to it, and those that it has led to."""

    rows: list[CallRow]
    more: int = 0
    """Jobs that were left out, as there are very many; at least so many."""


class StatusCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of all queues that are the principal's business."""

    waiting: int = 0
    delayed: int = 0
    active: int = 0
    dead: int = 0
    """Dead letters, which count as failed, too."""
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    """Those that have ended since their queue was first used, whether they are kept or not."""


class Loosened(msgspec.Struct, frozen=True, kw_only=True):
    """What a query would find without one of its terms, or the alternatives of one field."""

    without: str
    """The term, or these."""
    query: str
    """What is left of it."""
    found: int
    more: bool = False
    """There may be more than these."""
