"""A job's life as an SVG of lanes: pure geometry, drawn by a template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

LEFT: Final = 120.0
RIGHT: Final = 1_040.0
TOP: Final = 26
STEP: Final = 28
HEIGHT: Final = 20
MOST_LANES: Final = 16
MOST_BARS: Final = 400
LEAST: Final = 2.0
"""Of a bar's width: a moment is seen, too."""

PER_CHARACTER: Final = 6.6
"""Room that a letter within a bar takes, about."""

_STEPS: Final = (1, 2, 5)


class Span(NamedTuple):
    """A part of a job's life, in ms."""

    lane: str
    begin: int
    end: int
    kind: str = ""
    """A class of `fill`: `wait`, `ok`, `bad`, `later`, `off`; empty for what runs."""
    text: str = ""
    unsure: bool = False
    """It is not known when it began."""


class Bar(msgspec.Struct, frozen=True):
    """One rectangle."""

    x: float
    y: int
    width: float
    kind: str
    text: str
    """Within it; empty where there is no room."""
    title: str
    unsure: bool


class Tick(msgspec.Struct, frozen=True):
    """A line of the time axis."""

    x: float
    label: str


class Lane(msgspec.Struct, frozen=True):
    """The name of a lane, at its height."""

    y: int
    name: str


class Life(msgspec.Struct, frozen=True):
    """All of it."""

    height: int
    ticks: list[Tick]
    lanes: list[Lane]
    bars: list[Bar]


def life(spans: Sequence[Span], begin: int, end: int) -> Life | None:
    """The lanes in the order in which they come first; `None` where there is nothing to see."""
    shown = [one for one in spans if one.end >= one.begin > 0][:MOST_BARS]
    if not shown or end < begin:
        return None
    begin, end = min(begin, *(one.begin for one in shown)), max(end, *(one.end for one in shown))
    whole = max(1, end - begin)
    step = _step(whole)
    upto = -(-whole // step) * step
    scale = (RIGHT - LEFT) / upto
    names = list(dict.fromkeys(one.lane for one in shown))[:MOST_LANES]
    height = TOP + STEP * len(names)
    bars = list[Bar]()
    for one in shown:
        if one.lane not in names:
            continue
        width = max(LEAST, (one.end - one.begin) * scale)
        fits = len(one.text) * PER_CHARACTER + 14 <= width
        lasted = _said(one.end - one.begin)
        bars.append(
            Bar(
                x=round(min(LEFT + (one.begin - begin) * scale, RIGHT - LEAST), 1),
                y=TOP + STEP * names.index(one.lane),
                width=round(width, 1),
                kind=one.kind,
                text=one.text if fits and one.kind != "wait" else "",
                title=f"{one.lane}: {one.text + ', ' if one.text else ''}{lasted}",
                unsure=one.unsure,
            )
        )
    return Life(
        height=height,
        ticks=[Tick(round(LEFT + at * scale, 1), _said(at)) for at in range(0, upto + 1, step)],
        lanes=[Lane(TOP + STEP * n + 14, name) for n, name in enumerate(names)],
        bars=bars,
    )


def _step(whole: int) -> int:
    """Between two lines: at most eight of them, at round times."""
    for size in (1, 10, 100, 1_000, 10_000):
        for step in _STEPS:
            if whole / (size * step) <= 8 and size * step < 30_000:
                return size * step
    for step in (30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000):
        if whole / step <= 8:
            return step
    day = 86_400_000
    return max(1, -(-whole // (8 * day))) * day


def _said(ms: int) -> str:
    if ms < 1_000:
        return f"{ms} ms" if ms else "0"
    seconds = ms / 1_000
    if seconds < 60:
        return f"{seconds:g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s" if rest else f"{minutes} m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02} m" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02} h" if hours else f"{days} d"
