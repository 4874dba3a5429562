"""Lengths of time as a person says and writes them."""

from __future__ import annotations

import re
from typing import Final

_WRITTEN: Final = re.compile(r"(\d{1,10}(?:\.\d{1,9})?)\s?(ms|s|m|h|d)", re.ASCII)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def span(seconds: float) -> str:
    """Two figures at most: `320 ms`, `4.2 s`, `6 m 02 s`, `3 h 05 m`, `2 d 04 h`."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02} m"
    days, hours = divmod(hours, 24)
    return f"{days:,} d {hours:02} h"


def seconds_of(text: str) -> float | None:
    """The seconds that `90s`, `1.5 h` or `1d` are; `None` for what is no such length."""
    found = _WRITTEN.fullmatch(text)
    return None if found is None else float(found[1]) * _UNITS[found[2]]
