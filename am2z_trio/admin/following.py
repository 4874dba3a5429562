"""What a job logs, line by line, out of looks at the last ones that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from am2z_trio.model.records import LogLine

LOOK_EVERY: Final = 0.5
"""Seconds between looks, as nodes send what gathers."""

LINGER: Final = 2.0
"""Seconds for which lines may come behind the end of a job."""


def new_lines(before: Sequence[LogLine], now: Sequence[LogLine]) -> list[LogLine]:
    """Those of `now` that have come since: it begins with what is left of `before`, of which the oldest lines
    may have gone. Where none are left all are new: more have come than are kept."""
    for gone in range(max(0, len(before) - len(now)), len(before)):
        left = len(before) - gone
        if list(before[gone:]) == list(now[:left]):
            return list(now[left:])
    return list(now)
