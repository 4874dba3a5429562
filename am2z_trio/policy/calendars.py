"""In which days and hours a schedule comes: by the wall clock of a zone, however often that is.

A day or an hour is asked once whether anything comes in it, and the rest of it is passed by, so that a year
of a schedule that comes every second costs no more than one of a schedule that comes every day.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final, Literal, NamedTuple

from .zones import seconds_of, zone_of

Instants = Callable[[float], Iterator[int]]
"""The times after one, ms: of a `Timing`, or of a schedule with its start and end."""

HourState = Literal["", "on", "twice", "missing"]
"""`twice`: the hour comes twice on that day, and the schedule in both; `missing`: there is no such hour."""

HOURS: Final = 24
PATIENCE: Final = 8
"""Times of one span that are passed one by one before the rest of it is passed by."""


class _Stretch(NamedTuple):
    """A part of one hour by the wall clock, in which no clock is set."""

    begin: int
    """Seconds since the epoch."""
    day: date
    hour: int


def spans_with(instants: Instants, edges: Sequence[int]) -> Iterator[int]:
    """Which spans of the edges (seconds, in order) anything comes in: span i is [edges[i], edges[i + 1])."""
    at_edge = [edge * 1000 for edge in edges]
    index, newest, last = 0, -1, len(edges) - 1
    while index < last:
        passed = 0
        for at in instants(at_edge[index] - 1):
            if at >= at_edge[-1]:
                return
            index = bisect_right(at_edge, at) - 1
            if index > newest:
                newest, passed = index, 0
                yield index
            passed += 1
            if passed > PATIENCE:
                break
        else:
            return
        index += 1


def days_from(zone: str, first: date, count: int) -> list[int]:
    """When so many days in a row begin in a zone, and when the last one ends: seconds."""
    clock = zone_of(zone)
    midnight = datetime(first.year, first.month, first.day)
    return [clock.first(midnight + timedelta(days=number)) for number in range(count + 1)]


def days_with(instants: Instants, zone: str, first: date, count: int) -> Iterator[date]:
    """The days, of so many in a row, on which anything comes."""
    for index in spans_with(instants, days_from(zone, first, count)):
        yield first + timedelta(days=index)


class Hours:
    """So many days in a row by the hour, in one zone."""

    def __init__(self, zone: str, first: date, days: int) -> None:
        self.days: Final = [first + timedelta(days=number) for number in range(days)]
        edges = days_from(zone, first, days)
        self._stretches = list(_stretches(zone, edges[0], edges[-1]))
        self._edges = [*(one.begin for one in self._stretches), edges[-1]]
        self._there = {(one.day, one.hour) for one in self._stretches}

    def of(self, instants: Instants) -> dict[tuple[date, int], int]:
        """In which hours anything comes, and in how many of an hour's passages of the clock."""
        found: dict[tuple[date, int], int] = {}
        for index in spans_with(instants, self._edges):
            one = self._stretches[index]
            found[one.day, one.hour] = found.get((one.day, one.hour), 0) + 1
        return found

    def is_there(self, day: date, hour: int) -> bool:
        """Whether the clock shows this hour on that day at all."""
        return (day, hour) in self._there


def _stretches(zone: str, begin: int, end: int) -> Iterator[_Stretch]:
    """The hours by the wall clock, in order; one that the clock is set in comes in several parts."""
    clock, at = zone_of(zone), begin
    while at < end:
        wall = clock.wall(at)
        over = at + 3600 - seconds_of(wall) % 3600
        change = clock.change(at, over)
        yield _Stretch(at, wall.date(), wall.hour)
        at = min(end, over if change is None else change)
