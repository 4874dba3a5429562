"""Time zones for schedules: of the package `tzdata` alone, so that all nodes with the same version of it
agree, whatever their systems have. Times are whole seconds since the epoch; wall times are datetimes without
a zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from difflib import get_close_matches
from functools import cache
from importlib import import_module, resources
from typing import Final

from am2z_trio.model.checks import require, require_text
from am2z_trio.model.limits import MAX_NAME_BYTES

SPAN: Final = 26 * 3600
"""Seconds within which a zone does not change its offset twice. The largest change is of a day."""

NOT_INSTALLED: Final = "needs the extra 'cron': pip install 'am2z-trio[cron]'"

_EPOCH: Final = datetime(1970, 1, 1)
_SECOND: Final = timedelta(seconds=1)


def seconds_of(wall: datetime) -> int:
    """A wall time as if it were UTC's."""
    return (wall - _EPOCH) // _SECOND


def wall_of(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


class Zone:
    """A time zone, asked in seconds."""

    __slots__ = ("is_utc", "name", "tzinfo")

    def __init__(self, name: str, info: tzinfo) -> None:
        self.name = name
        self.tzinfo = info
        self.is_utc = info is UTC

    def offset(self, at: int) -> int:
        """Seconds by which its wall clock is ahead of UTC at this instant."""
        if self.is_utc:
            return 0
        offset = datetime.fromtimestamp(at, self.tzinfo).utcoffset()
        assert offset is not None
        return offset // _SECOND

    def wall(self, at: int) -> datetime:
        return wall_of(at + self.offset(at))

    def aware(self, at: int) -> datetime:
        """The instant by its wall clock, with the offset of that moment as its zone: Python finds no time of
        an hour that comes twice equal to any in another zone."""
        return datetime.fromtimestamp(at, timezone(timedelta(seconds=self.offset(at))))

    def change(self, since: int, until: int) -> int | None:
        """The instant in (since, until], no more than `SPAN` apart, from which on another offset holds."""
        before = self.offset(since)
        if self.offset(until) == before:
            return None
        while until - since > 1:
            middle = (since + until) // 2
            if self.offset(middle) == before:
                since = middle
            else:
                until = middle
        return until

    def changes(self, since: int, until: int) -> list[int]:
        """All of them in (since, until]."""
        found: list[int] = []
        while not self.is_utc and since < until:
            end = min(until, since + SPAN)
            change = self.change(since, end)
            if change is not None:
                found.append(change)
            since = end
        return found

    def first(self, wall: datetime) -> int:
        """When this wall time comes: the first of two instants; where there is none, as the clock jumps."""
        seconds = seconds_of(wall)
        if self.is_utc:
            return seconds
        early, late = sorted((seconds - self.offset(seconds - SPAN), seconds - self.offset(seconds + SPAN)))
        for at in (early, late):
            if at + self.offset(at) == seconds:
                return at
        change = self.change(early - 1, late)
        return late if change is None else change


@cache
def zone(name: str) -> Zone:
    """The zone of this name. Raises `ConfigurationError` where there is none, or no extra `cron`."""
    if name == "UTC":
        return Zone(name, UTC)
    require(tz_version() != "", "Cron.tz", name, NOT_INSTALLED)
    known = _names()
    if name not in known:
        rule = "must be a time zone such as 'Europe/Berlin'"
        close = get_close_matches(name, known, n=1)
        require(False, "Cron.tz", name, f"{rule}; did you mean {close[0]!r}?" if close else rule)
    from zoneinfo import ZoneInfo

    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return Zone(name, ZoneInfo.from_file(file, name))


def zone_of(name: object) -> Zone:
    """As `zone`, of what a user gives."""
    return zone(require_text("Cron.tz", name, most=MAX_NAME_BYTES))


def tz_version() -> str:
    """The version of the time zones' database, such as `2026f`; empty where there is none."""
    try:
        return str(import_module("tzdata").IANA_VERSION)
    except ImportError:
        return ""


@cache
def _names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
