"""Times and moments as queries say them: text to milliseconds, and back."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final

from am2z_trio.model.checks import MAX_SECONDS
from am2z_trio.model.moments import EPOCH

UNITS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
"""In milliseconds, the largest first."""

DAY_MS: Final = UNITS["d"]

_AMOUNT: Final = re.compile(r"(\d{1,12})(?:\.(\d{1,3}))?(ms|s|m|h|d)")
_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_STAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{3}))?)?(Z|[+-]\d\d:\d\d)?)?"
)


def milliseconds(text: str) -> int | None:
    """Of a time that a query says; `None` for what is none."""
    found = re.fullmatch(_AMOUNT, text) if text.isascii() else None
    if found is None:
        return None
    whole, part, unit = found.groups()
    amount = (int(whole) * 1000 + int((part or "").ljust(3, "0"))) * UNITS[unit] // 1000
    return amount if amount <= MAX_SECONDS * 1000 else None


def moment(text: str) -> tuple[int, bool] | None:
    """Milliseconds, and whether they are those of a day."""
    if not text.isascii():
        return None
    found = _TIME.fullmatch(text)
    if found is not None:
        hour, minute, second = (int(part or 0) for part in found.groups())
        return ((hour * 60 + minute) * 60 + second) * 1000, True
    found = _STAMP.fullmatch(text)
    if found is None:
        return None
    *numbers, offset = found.groups()
    year, month, day, hour, minute, second, ms = (int(part or 0) for part in numbers)
    try:
        at = datetime.combine(date(year, month, day), time(hour, minute, second, ms * 1000), _zone(offset))
        since = (at - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
    # What a stamp in UTC could not say is not taken from another zone either.
    return (since, False) if FIRST <= since <= LAST else None


def _zone(offset: str | None) -> timezone:
    if offset is None or offset == "Z":
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


FIRST: Final = -62_135_596_800_000
LAST: Final = 253_402_300_799_999
"""The first and the last millisecond that a date can say."""


def time_of(ms: int) -> str:
    """A time as a query says it, in as few characters as any."""
    if ms == 0:
        return "0s"
    told = list[str]()
    for unit, size in UNITS.items():
        thousandths, rest = divmod(ms * 1000, size)
        if rest == 0:
            whole, part = divmod(thousandths, 1000)
            told.append(f"{whole}.{part:03}".rstrip("0").rstrip(".") + unit if part else f"{whole}{unit}")
    return min(told, key=lambda text: (len(text), "." in text))


def moment_of(at_ms: int, *, daily: bool) -> str:
    """A moment as a query says it."""
    if daily:
        seconds = at_ms // 1000
        return f"{seconds // 3600}:{_minutes(seconds // 60 % 60, seconds % 60)}"
    at = EPOCH + timedelta(milliseconds=at_ms)
    day, ms = at.date().isoformat(), at.microsecond // 1000
    if not (at.hour or at.minute or at.second or ms):
        return day
    part = f".{ms:03}" if ms else ""
    return f"{day}T{at.hour:02}:{_minutes(at.minute, at.second, always=bool(ms))}{part}"


def _minutes(minute: int, second: int, *, always: bool = False) -> str:
    return f"{minute:02}:{second:02}" if second or always else f"{minute:02}"
