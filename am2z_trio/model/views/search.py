"""What a search has found, and how far it has looked."""

from __future__ import annotations

import msgspec

from .jobs import JobRow


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the jobs that a query asks for."""

    rows: list[JobRow]
    looked_at: int
    """Records that were looked at, by this page and those before it."""
    of: int
    """Records in all the places where such jobs can be: about, as they come and go."""
    cursor: str = ""
    """With which the next page begins; empty: all has been looked at."""
    gone: int = 0
    """Of those that this page has looked at, whose records are no longer kept."""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs a query asks for."""

    matched: int
    looked_at: int
    of: int
    complete: bool
    """Whether all of them have been counted; if not, there may be more."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one queue with which the same has gone wrong."""

    queue: str
    kind: str
    """What their errors say, without what differs."""
    jobs: int
    sessions: int
    newest: int
    """When the last one of them has ended, in ms since the epoch."""
    oldest: int
    examples: tuple[str, ...]
    """Ids of some of them."""
    times: tuple[int, ...] = ()
    """How many have ended in each tenth of the time from the oldest of all groups to the newest."""
