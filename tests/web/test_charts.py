"""Charts: geometry without inline style, texts escaped, and the same figures as words."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.web.charts import Line, bar, layers, lines, sparkline
from am2z_trio.web.charts.scale import nice, runs

VALUES = st.lists(st.none() | st.floats(min_value=0, max_value=1e12), max_size=40)
HOSTILE = "</svg><img src=x onerror=alert(1)>\" ' & {{ 7 }}"


def parsed(markup) -> ElementTree.Element:
    assert "style=" not in markup
    assert "NaN" not in markup
    assert "nan" not in re.sub(r">[^<]*<", "><", markup)
    return ElementTree.fromstring(markup)


@given(VALUES)
def test_a_sparkline_stays_in_its_box_whatever_it_shows(values):
    svg = parsed(sparkline(values, "done", "completed"))
    for line in svg.iter("polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert -0.1 <= x <= 98
            assert -0.1 <= y <= 24.1


@given(st.lists(VALUES, min_size=1, max_size=3), st.booleans())
def test_a_chart_stays_in_its_box_and_has_a_table(values, layered):
    n = max(map(len, values))
    times = [1_700_000_000_000 + 60_000 * place for place in range(n)]
    given_lines = [
        Line(name=f"line {k}", kind="done", values=[*one, *[None] * (n - len(one))])
        for k, one in enumerate(values)
    ]
    figure = parsed((layers if layered else lines)("Jobs", times, given_lines))
    for line in figure.iter("polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 43.9 <= x <= 762
            assert 7.9 <= y <= 170.1
    rows = list(figure.iter("tr"))
    assert len(rows) == 1 + min(n, math.ceil(n / max(1, math.ceil(n / 24))))


def test_texts_of_users_are_texts():
    line = Line(name=HOSTILE, kind="done", values=[1.0, 2.0])
    for markup in (
        lines(HOSTILE, [1_700_000_000_000, 1_700_000_060_000], [line]),
        sparkline([1.0], "done", HOSTILE),
        bar(("ok", 1), whole=2, label=HOSTILE),
    ):
        assert "<img" not in markup
        parsed(markup)


def test_a_gap_is_no_zero():
    assert runs([1.0, None, 2.0, 3.0, None]) == [(0, [1.0]), (2, [2.0, 3.0])]
    svg = parsed(sparkline([1.0, 2.0, None, 2.0, 1.0]))
    assert len(list(svg.iter("polyline"))) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_value_without_neighbours_is_seen_also_where_it_is_the_newest(place):
    values: list[float | None] = [None, None, None]
    values[place] = 0.2
    times = [1_700_000_000_000 + 60_000 * n for n in range(3)]
    for svg, width in (
        (parsed(sparkline(values)), 96),
        (parsed(lines("Time to start", times, [Line(name="p50", kind="done", values=values)])), 760),
    ):
        (line,) = svg.iter("polyline")
        xs = [float(point.split(",")[0]) for point in line.attrib["points"].split()]
        assert max(xs) - min(xs) >= 1.5
        assert max(xs) <= width


@pytest.mark.parametrize(
    ("most", "top"), [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (412, 500), (0.0021, 0.005), (math.inf, 1)]
)
def test_the_top_of_an_axis_is_round(most, top):
    assert nice(most) == pytest.approx(top)


def test_parts_of_a_bar_are_no_more_than_its_whole():
    widths = [
        float(rect.attrib["width"])
        for rect in parsed(bar(("ok", 3), ("wait", 9), whole=6, label="x")).iter("rect")
    ]
    assert widths == [50.0, 50.0]
    assert not list(parsed(bar(("ok", 1), whole=0, label="none")).iter("rect"))
