"""Series for charts: samples added up in slots of one width, the empty ones too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Final

import msgspec

from am2z_trio.model.records.agreed import FIRST_GAUGE
from am2z_trio.model.records.samples import Figures, StoredSample
from am2z_trio.model.views.queues import Earlier, Span
from am2z_trio.model.views.samples import Sample

from .throughput import shown

TOLD_AFTER: Final = 10
"""Seconds after which nodes have told what they have counted."""

ENDED: Final = (1, 2, 3, 4, 5)
"""Numbers of the figures that say how a job has ended."""


class Shape(msgspec.Struct, frozen=True):
    """How far a series looks back, and in which steps."""

    seconds: int
    width: int
    """Seconds of one slot."""
    periods: bool
    """Whether it is made of periods, where these are over, rather than of slots."""

    def first(self, now: int) -> int:
        """When its first slot began (ms). Of narrow slots the last one is that of which nodes have told all;
        of wide ones it is that of now, as far as it has come."""
        width = self.width * 1000
        last = now - now % width
        if not self.periods:
            told = now - TOLD_AFTER * 1000
            last = told - told % width - width
        return last - self.seconds * 1000 + width

    def earlier(self, now: int) -> int:
        """When the span before it began (ms): as long, and it ends where this one begins."""
        return self.first(now) - self.seconds * 1000

    @property
    def count(self) -> int:
        """How many slots there are."""
        return self.seconds // self.width


SHAPES: Final[Mapping[Span, Shape]] = {
    "15m": Shape(900, 10, False),
    "1h": Shape(3_600, 60, False),
    "24h": Shape(86_400, 1_200, True),
    "7d": Shape(604_800, 7_200, True),
}


def added(one: Figures, other: Figures) -> dict[int, int]:
    """What two slots that follow each other come to: counts are added, of gauges the larger counts."""
    sums = dict(one)
    for name, value in other.items():
        before = sums.get(name, 0)
        sums[name] = max(before, value) if name >= FIRST_GAUGE else before + value
    return sums


def in_sum(slots: Iterable[Figures]) -> dict[int, int]:
    """What a queue's slots come to, the oldest first: counts are added, of gauges the last one counts."""
    sums = dict[int, int]()
    for figures in slots:
        for name, value in figures.items():
            sums[name] = value if name >= FIRST_GAUGE else sums.get(name, 0) + value
    return sums


def earlier(past: Sequence[Figures], seconds: int, *, is_known: bool) -> Earlier | None:
    """What queues come to in a span of so many seconds, of each its sum; `None` where nothing was counted of
    any. `is_known`: how many waited and ran then in all of them."""
    counted = [figures for figures in past if figures]
    if not counted:
        return None
    sums = shown(StoredSample(0, reduce(beside, counted, {})), seconds)
    return Earlier(
        seconds=seconds,
        completed=sums.completed,
        failed=sums.failed + sums.timeout,
        waits=sums.waits,
        waiting=sums.waiting if is_known else None,
        active=sums.active if is_known else None,
    )


def beside(one: Figures, other: Figures) -> dict[int, int]:
    """What one slot of two queues comes to: everything is added."""
    sums = dict(one)
    for name, value in other.items():
        sums[name] = sums.get(name, 0) + value
    return sums


def slotted(samples: Iterable[StoredSample], width: int) -> dict[int, dict[int, int]]:
    """Samples added up in slots of so many seconds, by when these began."""
    found = dict[int, dict[int, int]]()
    for one in samples:
        at = one.at - one.at % (width * 1000)
        found[at] = added(found.get(at, {}), one.figures)
    return found


def carried(slots: Mapping[int, Figures], starts: Iterable[int]) -> dict[int, Figures]:
    """One queue's slots, each of these there: where nothing was counted, as many wait and run as in the one
    before, as nobody has told otherwise."""
    found, before = dict[int, Figures](), dict[int, int]()
    for at in starts:
        figures = slots.get(at)
        if figures is not None:
            before = {name: value for name, value in figures.items() if name >= FIRST_GAUGE}
        found[at] = before if figures is None else figures
    return found


def filled(slots: Mapping[int, Figures], shape: Shape, first: int, now: int) -> list[Sample]:
    """All slots of a series that begins then, the empty ones too. One that is not over is as long as it has
    lasted."""
    width, found = shape.width * 1000, list[Sample]()
    for at in range(first, first + shape.count * width, width):
        lasted = max(1, min(shape.width, (now - at) // 1000 - TOLD_AFTER))
        seconds = shape.width if at + width <= now else lasted
        found.append(shown(StoredSample(at, slots.get(at, {})), seconds))
    return found


def ended(figures: Figures) -> int:
    """How many jobs have ended in a slot, whichever way."""
    return sum(figures.get(number, 0) for number in ENDED)
