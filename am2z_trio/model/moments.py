"""When something is to happen: so many seconds from now, or at a moment. And when something was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from .arguments import refusal
from .checks import MAX_SECONDS, require_seconds

if TYPE_CHECKING:
    When: TypeAlias = float | timedelta | datetime
    """Seconds or a `timedelta`, from now on, or a `datetime` with a time zone."""
else:
    # As options keep it: a `timedelta` is seconds from when it was checked.
    When: TypeAlias = float | datetime

EPOCH: Final = datetime.fromtimestamp(0, UTC)


def time_of(ms: int) -> datetime | None:
    """A stored time; `None` for one that no calendar knows."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def time_or_epoch(ms: int) -> datetime:
    """The same of what has to have a time."""
    return time_of(ms) or EPOCH


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
