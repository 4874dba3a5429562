"""Several lines over time, with axes; and the same as a table for who reads rather than looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from markupsafe import Markup

from ..words import iso, number
from .scale import dash, nice, runs
from .svg import Point, element, points

LEFT: Final = 44.0
BELOW: Final = 20.0
ABOVE: Final = 8.0
MARKS: Final = 5
"""Times below a chart."""
MOST_ROWS: Final = 24
"""Of the table: of more slots, every so many."""

Say = Callable[[float | None], str]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a chart."""

    name: str
    kind: str
    """Its colour, as `sparkline` has them."""
    values: Sequence[float | None]
    """One a slot; `None`: there is none, which is a gap."""


class _Frame:
    """The field of a chart, and where things are in it."""

    def __init__(self, times: Sequence[int], most: float, width: float, height: float) -> None:
        self.times = times
        self.top = nice(most)
        self.width, self.height = width, height

    def at(self, place: int, value: float) -> Point:
        step = (self.width - LEFT) / max(1, len(self.times) - 1)
        room = self.height - BELOW - ABOVE
        return LEFT + place * step, self.height - BELOW - min(1.0, max(0.0, value / self.top)) * room

    def axes(self, say: Say) -> list[Markup]:
        drawn = list[Markup]()
        for value in (0.0, self.top / 2, self.top):
            _, y = self.at(0, value)
            drawn.append(element("line", {"class": "ax", "x1": LEFT, "x2": self.width, "y1": y, "y2": y}))
            text: dict[str, object] = {"x": LEFT - 7, "y": y + 4, "text-anchor": "end"}
            drawn.append(element("text", text, say(value) if value else "0"))
        return [*drawn, *self._marks()]

    def _marks(self) -> list[Markup]:
        last = len(self.times) - 1
        places = sorted({round(n * last / (MARKS - 1)) for n in range(MARKS)}) if last > 0 else [0]
        days = bool(self.times) and self.times[-1] - self.times[0] > 2 * 86_400_000
        drawn = list[Markup]()
        for place in places if self.times else []:
            x, _ = self.at(place, 0.0)
            anchor = "start" if place == 0 else "end" if place == last else "middle"
            moment = iso(self.times[place])
            shown = moment[5:10] if days else moment[11:16]
            drawn.append(element("text", {"x": x, "y": self.height - 4, "text-anchor": anchor}, shown))
        return drawn


def lines(
    title: str,
    times: Sequence[int],
    given: Sequence[Line],
    *,
    say: Say = number,
    width: float = 760.0,
    height: float = 190.0,
) -> Markup:
    """Each line by itself. `times`: when each slot began (ms); `say`: how a value is said."""
    most = max((value for line in given for value in line.values if value is not None), default=0.0)
    frame = _Frame(times, most, width, height)
    drawn = [part for line in given for part in _stroke(frame, line.kind, list(line.values))]
    return _figure(title, frame, drawn, given, say)


def layers(
    title: str,
    times: Sequence[int],
    given: Sequence[Line],
    *,
    say: Say = number,
    width: float = 760.0,
    height: float = 190.0,
) -> Markup:
    """Each line upon those before it: the last one is the sum of all. A gap counts as nothing."""
    plain = [[value or 0.0 for value in line.values] for line in given]
    sums, so_far = list[list[float]](), [0.0] * len(times)
    for one in plain:
        so_far = [a + b for a, b in zip(so_far, one, strict=True)]
        sums.append(so_far)
    frame = _Frame(times, max((value for line in sums for value in line), default=0.0), width, height)
    drawn, below = list[Markup](), [0.0] * len(times)
    for line, own, tops in zip(given, plain, sums, strict=True):
        edge = [frame.at(n, value) for n, value in enumerate(tops)]
        back = [frame.at(n, value) for n, value in reversed(list(enumerate(below)))]
        drawn.append(element("polygon", {"class": f"a f-{line.kind}", "points": points([*edge, *back])}))
        if any(own):
            drawn += _stroke(frame, line.kind, list(tops))
        below = tops
    return _figure(title, frame, drawn, given, say)


def _stroke(frame: _Frame, kind: str, values: list[float | None]) -> list[Markup]:
    drawn = list[Markup]()
    for first, part in runs(values):
        at = [frame.at(first + n, value) for n, value in enumerate(part)]
        if len(at) == 1:
            at = dash(at[0], 2.0, frame.width)
        drawn.append(element("polyline", {"class": f"l s-{kind}", "points": points(at)}))
    return drawn


def _figure(title: str, frame: _Frame, drawn: list[Markup], given: Sequence[Line], say: Say) -> Markup:
    """The drawing, and its figures below it, folded."""
    box = f"0 0 {frame.width:.0f} {frame.height:.0f}"
    picture = element(
        "svg",
        {"class": "chart", "viewBox": box, "role": "img", "aria-label": _told(title, given, say)},
        element("title", {}, title),
        *frame.axes(say),
        *drawn,
    )
    return element("figure", {}, picture, _table(title, frame.times, given, say))


def _told(title: str, given: Sequence[Line], say: Say) -> str:
    """What the chart shows, in a sentence."""
    parts = list[str]()
    for line in given:
        known = [value for value in line.values if value is not None]
        last = line.values[-1] if line.values else None
        most = say(max(known)) if known else say(None)
        parts.append(f"{line.name} now {say(last)}, at most {most}")
    return f"{title}: {'; '.join(parts)}"


def _table(title: str, times: Sequence[int], given: Sequence[Line], say: Say) -> Markup:
    """The newest on top; of many slots, every so many."""
    step = max(1, -(-len(times) // MOST_ROWS))
    names = ["From (UTC)", *(line.name for line in given)]
    rows = list[Markup]()
    for place in range(len(times) - 1, -1, -step):
        when = iso(times[place])
        moment = element("time", {"datetime": when}, when[:16].replace("T", " "))
        cells = [element("td", {"class": "num"}, say(line.values[place])) for line in given]
        rows.append(element("tr", {}, element("th", {"scope": "row"}, moment), *cells))
    head = element("tr", {}, *(element("th", {"scope": "col"}, name) for name in names))
    table = element(
        "table",
        {"class": "figures"},
        element("caption", {"class": "sr"}, title),
        element("thead", {}, head),
        element("tbody", {}, *rows),
    )
    # One that is unfolded stays so when the chart is drawn anew.
    name = "table-" + "-".join(title.casefold().split())
    return element(
        "details",
        {"class": "chart-table", "id": name},
        element("summary", {}, "As a table"),
        element("div", {"class": "scroll"}, table),
    )
