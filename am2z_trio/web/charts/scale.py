"""Round numbers for axes, and lines with gaps."""

from __future__ import annotations

import sys
from math import floor, isfinite, log10
from typing import Final

STEPS: Final = (1.0, 2.0, 5.0, 10.0)


def nice(most: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below; 1 for nothing to show."""
    # The powers of ten of the very least numbers are none.
    if not isfinite(most) or most < sys.float_info.min:
        return 1.0
    power = 10.0 ** floor(log10(most))
    # A hair more than what fits is what fits: 0.1 + 0.2 is 0.3.
    return next((step * power for step in STEPS if most <= step * power * (1 + 1e-9)), 10 * power)


def runs(values: list[float | None]) -> list[tuple[int, list[float]]]:
    """The parts of a line without a gap: where each begins, and what it has."""
    found = list[tuple[int, list[float]]]()
    open_ = False
    for place, value in enumerate(values):
        if value is None or not isfinite(value):
            open_ = False
            continue
        if not open_:
            found.append((place, []))
            open_ = True
        found[-1][1].append(value)
    return found


def dash(at: tuple[float, float], length: float, width: float) -> list[tuple[float, float]]:
    """How a value without neighbours is seen: a short line, also at the right edge, where the newest is."""
    x, y = at
    return [at, (x + length, y)] if x + length <= width else [(x - length, y), at]
