"""A run's results as a picture: one panel a figure, one bar a contender, drawn as SVG text."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from statistics import median
from typing import Final, NamedTuple

from .contenders.field import FIELD
from .results import Results, Spread

COLOURS: Final = {
    "ours": "#0b6e4f",
    "memory": "#7fb8a4",
    "floor": "#c9c9c9",
    "node": "#d9822b",
    "python": "#5b7fa6",
}
WIDTH: Final = 470
NAMES: Final = 150
ROW: Final = 19
COLUMNS: Final = 2
CUT: Final = 5
"""So many times the median, where less is better: longer bars are cut."""
STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#222}"
    ".title{font-weight:600;font-size:13px}"
    ".value{font-size:11px}"
)


class Panel(NamedTuple):
    """What one of them shows."""

    title: str
    measure: str
    figure: str
    less_is_better: bool = False


PANELS: Final = (
    Panel("Jobs that do nothing, a second", "noop", "jobs/s"),
    Panel("Jobs that sleep 10 ms, a second", "sleep", "jobs/s"),
    Panel("Calls of 100 callers, a second", "calls", "100 callers/s"),
    Panel("Round trip, median, ms (less is better)", "calls", "p50 ms", True),
    Panel("Enqueued one by one by 100 callers, a second", "enqueue", "100 callers/s"),
    Panel("Enqueued in bulk, a second", "bulk", "jobs/s"),
    Panel("Worker's CPU a job, µs (less is better)", "noop", "worker µs/job", True),
    Panel("Commands a second at rest (less is better)", "idle", "commands/s", True),
)


def plot(results: Results) -> str:
    """The picture. A bar's thin line goes from the lowest to the highest round; one with a gap is longer."""
    panels = [(panel, bars) for panel in PANELS if (bars := _bars(results, panel))]
    rows = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    parts, top = list[str](), 66
    for row in rows:
        for column, (panel, bars) in enumerate(row):
            parts += _panel(panel, bars, 12 + column * (WIDTH + 20), top)
        top += 40 + ROW * max(len(bars) for _, bars in row)
    width, about = COLUMNS * (WIDTH + 20) + 4, results.about
    head = [
        ", ".join(f"{name} {about[name]}" for name in names if name in about)
        for names in (("date", "host"), ("server", "mode", "rounds"))
    ]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}">',
            f"<style>{STYLE}</style>",
            '<rect width="100%" height="100%" fill="white"/>',
            *(
                f'<text x="12" y="{22 + 16 * number}">{escape(line)}</text>'
                for number, line in enumerate(head)
            ),
            *parts,
            "</svg>\n",
        )
    )


def _bars(results: Results, panel: Panel) -> dict[str, Spread]:
    return {
        name: spread
        for name in results.contenders(panel.measure)
        if (spread := results.spread(panel.measure, name, panel.figure)) is not None
    }


def _panel(panel: Panel, bars: dict[str, Spread], left: int, top: int) -> Iterator[str]:
    longest = max(bar.high for bar in bars.values()) or 1
    if panel.less_is_better:
        # One that takes a hundred times as long would leave nothing to see of the others.
        longest = min(longest, CUT * median(bar.median for bar in bars.values()) or longest)
    # Room for the value behind the longest bar.
    scale = (WIDTH - NAMES - 70) / longest
    yield f'<text class="title" x="{left}" y="{top}">{escape(panel.title)}</text>'
    for number, (name, bar) in enumerate(bars.items()):
        y, x = top + 8 + number * ROW, left + NAMES
        colour = COLOURS[FIELD[name].kind if name in FIELD else "python"]
        yield f'<text x="{x - 6}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
        length = max(min(bar.median, longest) * scale, 1)
        yield f'<rect x="{x}" y="{y + 2}" width="{length:.1f}" height="{ROW - 5}" fill="{colour}"/>'
        high = min(bar.high, longest)
        if bar.median > longest:
            yield f'<path d="M{x + length - 16:.1f} {y + ROW}l8 -{ROW}" stroke="white" stroke-width="4"/>'
        elif bar.rounds > 1:
            low, middle = x + bar.low * scale, y + ROW / 2
            yield f'<path d="M{low:.1f} {middle}H{x + high * scale:.1f}" stroke="#222" stroke-width="1"/>'
        digits = 0 if bar.median >= 100 else 2
        end = x + max(length, high * scale)
        yield f'<text class="value" x="{end + 5:.1f}" y="{y + 13}">{bar.median:,.{digits}f}</text>'
