"""A run's results as a page: Markdown that is read as it stands, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .contenders.field import BASE, OURS
from .measures import MEASURES, Figure, Measure
from .results import Results, Spread, summary_of
from .targets import TARGETS


def page(results: Results, *, plot: str = "") -> str:
    """Everything that was found, with what it was found on."""
    parts = [
        "# Benchmarks",
        "",
        *(f"* {name}: {value}" for name, value in results.about.items()),
        "",
        "Medians of the rounds, the extremes in parentheses. Compare within this page only.",
        *([f"\n![]({plot})"] if plot else []),
        "",
        *_targets(results),
    ]
    for name, measure in MEASURES.items():
        if any(results.contenders(name)):
            parts += ["", f"## {measure.title}", "", measure.says, "", *_measured(results, name, measure)]
    parts += ["", *_settings(results)]
    return "\n".join(parts) + "\n"


def _targets(results: Results) -> Iterator[str]:
    rows = [
        (target.says, target.bound, f"{value:.2f}", "yes" if target.met(value) else "**no**")
        for target in TARGETS
        if (value := target.found(results)) is not None
    ]
    if rows:
        yield "## What it is to reach"
        yield ""
        yield from markdown(("ours", "wanted", "found", "reached"), rows)


def _measured(results: Results, name: str, measure: Measure) -> Iterator[str]:
    """The measure's table, and who did not do it."""
    shown = {figure: about for figure, about in measure.figures.items() if _any(results, name, figure)}
    rows: list[list[str]] = []
    for contender in results.contenders(name):
        row = [f"**{contender}**" if contender == OURS.name else contender]
        for figure, about in shown.items():
            spread = results.spread(name, contender, figure)
            row.append("–" if spread is None else told(spread))
            if about.compared and contender != OURS.name:
                row[-1] += _beside(results, name, figure, contender)
        rows.append(row)
    yield from markdown(("", *(_heading(figure, about) for figure, about in shown.items())), rows)
    yield from _in_short(results, name, measure)
    others = [one for one in results.contenders(name) if results.failure(name, one)]
    for contender in others:
        yield f"\n{contender}: {summary_of(str(results.failure(name, contender)))[:500]}"


def _in_short(results: Results, name: str, measure: Measure) -> Iterator[str]:
    """Our ratios of the first figure, in a sentence."""
    figure, about = next(iter(measure.figures.items()))
    best = results.best_of_python(name, figure, more_is_better=about.more_is_better)
    others = (
        {BASE.name: BASE.name} if best is None else {BASE.name: BASE.name, f"{best}, best of Python": best}
    )
    told = [
        f"to {label} {ratio:.2f}"
        for label, other in others.items()
        if (ratio := results.ratio(name, figure, other)) is not None
    ]
    if told:
        yield f"\nOurs in {figure}: {', '.join(told)}."


def _any(results: Results, measure: str, figure: str) -> bool:
    return any(results.values(measure, contender, figure) for contender in results.contenders(measure))


def _heading(figure: str, about: Figure) -> str:
    return figure + ("" if not about.compared else " ↑" if about.more_is_better else " ↓")


def _beside(results: Results, measure: str, figure: str, contender: str) -> str:
    """Ours to theirs."""
    ratio = results.ratio(measure, figure, contender)
    return "" if ratio is None else f" ×{ratio:.2f}" if ratio < 10 else f" ×{ratio:.0f}"


def told(spread: Spread) -> str:
    """The median, and the extremes where there is more than one round."""
    digits = _digits(spread.median)
    median = f"{spread.median:,.{digits}f}"
    return median if spread.rounds == 1 else f"{median} ({spread.low:,.{digits}f}–{spread.high:,.{digits}f})"


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2


def _settings(results: Results) -> Iterator[str]:
    yield "## Who took part"
    yield ""
    yield "Ours to theirs stands behind each figure as ×; ↑: more is better, ↓: less is."
    for name, entrant in results.entrants.items():
        yield ""
        yield f"### {name} {entrant.version}".rstrip()
        yield ""
        yield from (f"* {about}: {value}" for about, value in entrant.settings.items())
        if entrant.versions:
            yield f"* installed: {', '.join(f'{one} {version}' for one, version in entrant.versions.items())}"
    for name, reason in results.left_out.items():
        yield f"\n**Left out: {name}.** {reason}"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table whose columns stand below each other."""
    cells = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for number, row in enumerate(cells):
        if number == 1:
            yield (
                "|"
                + "|".join("-" * (width + 2 - (i > 0)) + ":" * (i > 0) for i, width in enumerate(widths))
                + "|"
            )
        aligned = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"| {' | '.join(aligned)} |"
