"""One table of durations for everything that shows them: 24 bounds from 100 µs to 2 h, and what lies beyond.

It contains every bound that OpenTelemetry's conventions recommend for messaging, so that a chart of ours, a
Prometheus histogram and an OpenTelemetry one are made of the same numbers. A histogram is a list of counts,
one per bucket: added to by one `bisect` and one addition, merged by adding, and never larger.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

RECOMMENDED: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bounds that the OpenTelemetry conventions say a messaging histogram should have."""

BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, *RECOMMENDED, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""The upper bounds of the buckets in seconds, each within its own; the last bucket has none."""

BUCKETS: Final = len(BOUNDS) + 1


class Histogram:
    """Durations as counts per bucket, and their sum. Added to by one thread, read by any."""

    __slots__ = ("counts", "total")

    def __init__(self, counts: Sequence[int] = (), total: float = 0.0) -> None:
        self.counts = [*counts] if counts else [0] * BUCKETS
        """How many durations are in each bucket."""
        self.total = total
        """Their sum, in seconds."""

    def add(self, seconds: float) -> None:
        """One more duration; a negative one (of two clocks) is none at all: zero."""
        if seconds > 0:
            self.counts[bisect_left(BOUNDS, seconds)] += 1
            self.total += seconds
        else:
            self.counts[0] += 1


def merged(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """The counts of both."""
    return [a + b for a, b in zip(one, other, strict=True)]


def since(before: Sequence[int], now: Sequence[int]) -> list[int]:
    """What has been added between two looks at the same counts."""
    return [b - a for a, b in zip(before, now, strict=True)]


def cumulated(counts: Sequence[int]) -> list[int]:
    """How many lie within each bound, the last of which is infinity: as Prometheus has them."""
    found, so_far = list[int](), 0
    for count in counts:
        so_far += count
        found.append(so_far)
    return found


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The duration below which this share of them lies, as far as buckets can tell: where it falls into one,
    they are taken to be spread over it evenly. `None` where there are none; the last bound where it is
    beyond."""
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a share is between 0 and 1, not {share!r}")
    wanted = share * sum(counts)
    so_far = 0
    for index, count in enumerate(counts):
        if count and so_far + count >= wanted:
            if index >= len(BOUNDS):
                return BOUNDS[-1]
            low = BOUNDS[index - 1] if index else 0.0
            return low + (BOUNDS[index] - low) * max(0.0, wanted - so_far) / count
        so_far += count
    return None
