"""What a search has found, and how far it has looked."""

from __future__ import annotations

import msgspec

from .jobs import JobRow
from .sessions import SessionRow


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """What one demand of a query has kept from being found."""

    terms: str
    """The demand: one term of the query, or the alternatives of one field."""
    of: int
    """Jobs, or sessions, that were held against it: what this page has looked at, of what may be seen by who
    asks."""
    excluded: int
    """How many of these are not what it asks for."""
    alone: int
    """How many of those are what all other terms ask for: they would have been found without it."""
    elsewhere: int = 0
    """Records that nobody had to look at, as it says where to look: about."""


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
    excluded: list[Exclusion] = []
    """Of a page that has found nothing: what each demand of the query has excluded, that which has excluded
    most first. Where no job was there to be looked at, the first one leaves out most records."""


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the sessions that a query asks for. Those that come or go between two pages may be shown, or
    not."""

    rows: list[SessionRow]
    of: int
    looked_at: int
    """Sessions whose names were looked at by this page."""
    cursor: str = ""
    undecided: int = 0
    """Sessions of which it is not known whether they are asked for: they have more jobs than were counted."""
    excluded: list[Exclusion] = []
    """Of a page that has found nothing: what each term of the query has excluded, or the alternatives of ids,
    that which has excluded most first. More than the id was asked of those alone whose ids are asked for."""


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
