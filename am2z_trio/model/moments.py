"""When something is to happen: so many seconds from now, or at a moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from .arguments import refusal
from .checks import MAX_SECONDS, require_seconds

if TYPE_CHECKING:
    When: TypeAlias = float | timedelta | datetime
    """Seconds or a `timedelta`, from now on, or a `datetime` with a time zone."""
else:
    # As options keep it: a `timedelta` is seconds from when it was checked.
    When: TypeAlias = float | datetime


def require_when(field: str, value: object, *, zero: bool = True) -> float | datetime:
    """Seconds from now on, as exactly a number, or a moment; `zero=False`: seconds must be more than none."""
    if isinstance(value, timedelta):
        return require_seconds(field, value.total_seconds(), zero=zero)
    if not isinstance(value, datetime):
        return require_seconds(field, value, zero=zero)
    if value.utcoffset() is None:
        raise refusal(field, value, "must be a datetime with a time zone, such as UTC")
    return value


def seconds_until(when: When, now: float) -> float:
    """From `now` on, in seconds since the epoch; 0 for a moment that has passed."""
    if isinstance(when, datetime):
        return min(max(0.0, when.timestamp() - now), MAX_SECONDS)
    return when.total_seconds() if isinstance(when, timedelta) else when
