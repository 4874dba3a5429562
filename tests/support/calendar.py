"""An independent reading of cron texts: no calendar is walked, every minute of real time is looked at."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def minutes(text: str, tz: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """The times of a text of five fields from `start` to before `end`, in UTC."""
    zone, fields = ZoneInfo(tz), text.split()
    fixed = not fields[0].startswith("*") and not fields[1].startswith("*")
    at, before = start, (start - MINUTE).astimezone(zone).replace(tzinfo=None)
    while at < end:
        local = at.astimezone(zone)
        wall = local.replace(tzinfo=None)
        if not fixed:
            if matches(fields, wall):
                yield at
        elif local.fold == 0 and any(matches(fields, passed) for passed in _passed(before, wall)):
            yield at
        before, at = wall, at + MINUTE


def _passed(before: datetime, wall: datetime) -> Iterator[datetime]:
    """The wall times since the minute before: several, where the clock has been put forward."""
    first = before + MINUTE if before < wall else wall
    while first <= wall:
        yield first
        first += MINUTE


def matches(fields: list[str], wall: datetime) -> bool:
    minute, hour, day, month, weekday = fields
    if wall.minute not in _numbers(minute, 0) or wall.hour not in _numbers(hour, 1):
        return False
    if wall.month not in _numbers(month, 3):
        return False
    by_day, by_weekday = _is_day(day, wall), _is_weekday(weekday, wall)
    if day.startswith("*") or weekday.startswith("*"):
        return by_day and by_weekday
    return by_day or by_weekday


def _is_day(field: str, wall: datetime) -> bool:
    if field == "L":
        return wall.day == calendar.monthrange(wall.year, wall.month)[1]
    return wall.day in _numbers(field, 2)


def _is_weekday(field: str, wall: datetime) -> bool:
    today = wall.isoweekday() % 7
    if "#" in field:
        name, nth = field.split("#")
        return DAYS.index(name) == today and (wall.day - 1) // 7 + 1 == int(nth)
    if field.endswith("L"):
        last = calendar.monthrange(wall.year, wall.month)[1]
        return DAYS.index(field[:-1]) == today and wall.day > last - 7
    return today in {number % 7 for number in _numbers(field, 4)}


def _numbers(field: str, which: int) -> set[int]:
    least, most = RANGES[which]
    found = set[int]()
    for term in field.split(","):
        what, _, step = term.partition("/")
        if what == "*":
            first, last = least, most
        elif "-" in what:
            first, last = map(int, what.split("-"))
        else:
            first = int(what)
            last = most if step else first
        found.update(range(first, last + 1, int(step or 1)))
    return found


def in_ms(times: Iterator[datetime]) -> list[int]:
    return [round(at.timestamp() * 1000) for at in times]


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type, misc]
