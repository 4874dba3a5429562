"""Places in the history of events, and pages of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from ..checks import require
from ..errors import ValidationError
from ..events import Event, EventGroup

_PLACE: Final = re.compile(r"(\d{1,16})-(\d{1,16})(?:\.(\d{1,9}))?")


class Place(NamedTuple):
    """How far somebody has read: an entry, and how many of its events; `None`: all of them."""

    entry: str
    seen: int | None = None

    @classmethod
    def of(cls, text: object, field: str = "since") -> Place:
        """What the id of an event stands for, or `EventPage.last`. Raises `ConfigurationError` for what is
        neither."""
        found = _PLACE.fullmatch(text) if isinstance(text, str) else None
        require(found is not None, field, text, "must be the id of an event, or `last` of a page")
        assert found is not None
        entry = f"{int(found[1])}-{int(found[2])}"
        return cls(entry, None if found[3] is None else int(found[3]) + 1)

    def __str__(self) -> str:
        return self.entry if self.seen is None else f"{self.entry}.{self.seen - 1}"


Entries = Iterable[tuple[str, EventGroup | None]]
"""Entries of the history; of one that cannot be read there is `None`."""


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some events, each with its id, in the order in which they happened."""

    events: list[Event]
    last: str
    """With which the next page goes on, the same way; empty: nothing has been written yet."""
    more: bool = False
    """Whether there are more already."""
    unreadable: int = 0
    """Entries in between that cannot be read."""
    gap: bool = False
    """What it goes on from is not kept any more, nor perhaps some of what came after it."""
    kept: bool = True
    """Whether there is any history."""
    length: int = 0
    """Entries of the history in all: each is of all events of a name, queue and node of one step."""

    @classmethod
    def behind(cls, entries: Entries, since: str, limit: int, *, more: bool, kept: bool) -> EventPage:
        """The first events of entries, the first of which is the one of `since`, if that is still kept."""
        place = Place.of(since) if since else None
        gap, start = place is not None, 0
        events: list[Event] = []
        last, unreadable = since, 0
        for entry, group in entries:
            if place is not None and entry == place.entry:
                gap = False
                if place.seen is None:
                    continue
                start = place.seen
            if len(events) == limit:
                more = True
                break
            found = _events_of(group)
            unreadable += found is None
            told = (found or ())[start : start + limit - len(events)]
            events += [_with_id(event, entry, start + n) for n, event in enumerate(told)]
            last = events[-1].id if told else entry if found is None else last
            if len(found or ()) > start + len(told):
                more = True
                break
            start = 0
        return cls(events=events, last=last, more=more, unreadable=unreadable, gap=gap, kept=kept)

    @classmethod
    def before(cls, entries: Entries, before: str, limit: int, *, more: bool, kept: bool) -> EventPage:
        """The last events of entries that come backwards, the first of which is the one of `before`, if that
        is still kept."""
        place = Place.of(before) if before else None
        backwards: list[Event] = []
        last, unreadable, gap = before, 0, place is not None
        for entry, group in entries:
            end: int | None = None
            if place is not None and entry == place.entry:
                gap = False
                end = (place.seen or 1) - 1
            if len(backwards) == limit:
                more = True
                break
            found = _events_of(group)
            unreadable += found is None
            ours = (found or ())[:end]
            told = ours[max(0, len(ours) - (limit - len(backwards))) :]
            first = len(ours) - len(told)
            backwards += [_with_id(event, entry, first + n) for n, event in enumerate(told)][::-1]
            last = backwards[-1].id if told else entry
            if first:
                more = True
                break
        events = backwards[::-1]
        return cls(events=events, last=last, more=more, unreadable=unreadable, gap=gap, kept=kept)


def _with_id(event: Event, entry: str, place: int) -> Event:
    return msgspec.structs.replace(event, id=f"{entry}.{place}")


def _events_of(group: EventGroup | None) -> list[Event] | None:
    try:
        return None if group is None else list(group.events())
    except ValidationError:
        return None
