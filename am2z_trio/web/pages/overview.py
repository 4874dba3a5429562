"""The overview: what needs a person first, then figures, charts, queues, and what happens now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from markupsafe import Markup
from starlette.responses import Response

from am2z_trio.admin.query import Query, Text
from am2z_trio.model.events import Event
from am2z_trio.model.views.findings import Finding
from am2z_trio.model.views.queues import QueueRow, Series, Span
from am2z_trio.model.views.samples import Sample
from am2z_trio.policy.buckets import BUCKETS, merged, quantile

from ..charts import Line, layers, lines, sparkline
from ..routes import Action, Page, Route
from ..view import View
from ..words import number, percent, seconds

SPANS: Final[dict[Span, str]] = {
    "15m": "the last 15 minutes",
    "1h": "the last hour",
    "24h": "the last day",
    "7d": "the last week",
}
BEFORE: Final[dict[Span, tuple[str, str]]] = {
    "15m": ("the 15 minutes before", "15 minutes ago"),
    "1h": ("the hour before", "an hour ago"),
    "24h": ("the day before", "a day ago"),
    "7d": ("the week before", "a week ago"),
}
"""What a span is compared with: the one before it, and the moment between the two."""

MOST_QUEUES: Final = 8
MOST_EVENTS: Final = 12
LATE: Final = 60.0
"""Seconds beyond which it is told that the oldest job waits."""

GLYPHS: Final = {
    "completed": "completed",
    "started": "active",
    "failed": "failed",
    "retry": "later",
    "cancelled": "cancelled",
    "fenced": "warning",
    "stalled": "warning",
}


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One of those on top."""

    label: str
    page: str
    value: str
    unit: str = ""
    said: str = ""
    mood: str = ""
    """`good`, `warn`, `bad`, or nothing."""
    spark: Markup = Markup("")
    was: str = ""
    """What it was in the span before; empty where nothing was counted then."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one may do about a finding: a page to look at."""

    label: str
    to: str


async def show(view: View) -> Response:
    """All of it; where there is nothing yet, the first steps."""
    admin, span = view.admin, span_of(view)
    findings = await admin.findings(watch=view.watch)
    rows = await admin.queues()
    series = await admin.series(span)
    census = await admin.census()
    events = (await admin.events(limit=MOST_EVENTS)).events
    names = {row.queue for row in rows}
    return view.render(
        "overview/overview.html",
        span=span,
        spans=SPANS,
        findings=[(one, steps_for(view, one, names)) for one in findings],
        figures=figures(rows, series, census.sessions, census.nodes, SPANS[span]),
        throughput=throughput(series),
        waits=quantiles("Time to start", series, lambda sample: sample.waits, 420.0),
        queues=sorted(rows, key=lambda row: (row.waiting + row.active, row.rate), reverse=True)[:MOST_QUEUES],
        all_queues=len(rows),
        sparks={name: sparkline(ended, "active") for name, ended in series.ended.items()},
        events=[(one, glyph_of(one)) for one in reversed(events[-MOST_EVENTS:])],
        started=bool(rows),
        prefix=view.console.runtime.options.prefix,
    )


def span_of(view: View) -> Span:
    """How far a page looks back."""
    given = view.choice("range", list(SPANS), "1h")
    return next(span for span in SPANS if span == given)


# --- findings --------------------------------------------------------------------------------


def steps_for(view: View, one: Finding, queues: set[str]) -> list[Step]:
    """Where one looks into a finding."""
    target = one.target
    if one.code in ("dead_rising", "failed_share") and target in queues:
        query = str(Query((Text("queue", target),)))
        return [Step(label="Review", to=view.url("dead", query={"q": query}))]
    if target in queues:
        found = [Step(label="Open the queue", to=view.url("queue", queue=target))]
        if one.code == "unserved":
            found.append(Step(label="Nodes", to=view.url("nodes")))
        if one.code in ("held", "oldest"):
            query = str(Query((Text("queue", target), Text("status", "active"))))
            found.append(Step(label="Show what runs", to=view.url("jobs", query={"q": query})))
        return found
    if one.code.startswith("schedule"):
        return [Step(label="Schedules", to=view.url("schedules"))]
    if one.code.startswith(("node", "loop", "mixed")):
        return [Step(label="Nodes", to=view.url("nodes"))]
    if one.code.startswith("session"):
        return [Step(label="Sessions", to=view.url("sessions"))]
    return [Step(label="Redis", to=view.url("redis"))]


async def ask_silence(view: View) -> Response:
    """For how long, and why."""
    return view.render("overview/silence.html", code=view.query("code"), target=view.query("target"))


async def silence(view: View) -> Response:
    """It is shown no more for a while."""
    lasts = {"1h": 3_600.0, "1d": 86_400.0}.get(view.field("for", "1h", most=10), 3_600.0)
    code, target = view.field("code"), view.field("target")
    done = await view.admin.silence(code, lasts, reason=view.reason, target=target)
    whom = f" of {done.target}" if done.target else ""
    return view.done(f"{done.code}{whom} is silent for {seconds(lasts)}", view.url("overview"))


# --- figures and charts ----------------------------------------------------------------------


def figures(rows: Sequence[QueueRow], series: Series, sessions: int, nodes: int, lately: str) -> list[Figure]:
    """The six on top."""
    live = Figure(
        label="Live sessions",
        page="sessions",
        value=number(sessions),
        said="1 node" if nodes == 1 else f"{nodes:,} nodes",
    )
    return [*_ended(rows, series, lately), *_standing(rows, series), _waits(series), live]


def _ended(rows: Sequence[QueueRow], series: Series, lately: str) -> list[Figure]:
    """What has completed, and what has failed."""
    samples, before = series.samples, series.earlier
    failing = [sample.failed + sample.timeout for sample in samples]
    completed, failed = sum(sample.completed for sample in samples), sum(failing)
    then, _ = BEFORE[series.span]
    return [
        Figure(
            label="Completed",
            page="events",
            value=number(sum(row.rate for row in rows)),
            unit="/s",
            said=f"{completed:,} in {lately}",
            mood="good" if completed else "",
            spark=sparkline([sample.completed / sample.seconds for sample in samples], "done"),
            was="" if before is None else changed(completed, before.completed, then),
        ),
        Figure(
            label="Failed",
            page="dead",
            value=number(failed),
            said=f"{percent(_share(failed, completed))} in {lately}",
            mood="bad" if failed else "",
            spark=sparkline(failing, "failed"),
            was="" if before is None else f"{percent(_share(before.failed, before.completed))} in {then}",
        ),
    ]


def changed(now: int, before: int, then: str) -> str:
    """How many more there are than in the span before."""
    if not before:
        return f"none in {then}"
    more = round(100 * (now - before) / before)
    return f"{f'{more:+,}' if more else '±0'} % against {then}".replace("-", "\N{MINUS SIGN}")


def _share(failed: int, completed: int) -> float:
    return failed / (completed + failed) if completed + failed else 0.0


def _standing(rows: Sequence[QueueRow], series: Series) -> list[Figure]:
    """What waits, and what runs."""
    oldest = max(rows, key=lambda row: row.oldest, default=QueueRow(queue=""))
    slots, held = sum(row.capacity for row in rows), [row.queue for row in rows if row.held]
    before, (_, then) = series.earlier, BEFORE[series.span]
    return [
        Figure(
            label="Waiting",
            page="queues",
            value=number(sum(row.waiting for row in rows)),
            said=f"oldest {seconds(oldest.oldest)}, in {oldest.queue}" if oldest.oldest else "none is late",
            mood="warn" if oldest.oldest > LATE else "",
            spark=sparkline([sample.waiting for sample in series.samples], "accent"),
            was="" if before is None else f"{number(before.waiting)} {then}",
        ),
        Figure(
            label="Running",
            page="tree",
            value=number(sum(row.active for row in rows)),
            unit=f"of {slots:,} slots" if slots else "",
            said=f"held: {', '.join(held[:2])}" if held else "nothing is held",
            mood="warn" if held else "",
            spark=sparkline([sample.active for sample in series.samples], "active"),
            was="" if before is None else f"{number(before.active)} {then}",
        ),
    ]


def _waits(series: Series) -> Figure:
    """How long jobs wait."""
    waits = [0] * BUCKETS
    for sample in series.samples:
        waits = merged(waits, sample.waits)
    value, unit = _parted(seconds(quantile(waits, 0.95)))
    before, (then, _) = series.earlier, BEFORE[series.span]
    earlier = None if before is None else quantile(before.waits, 0.95)
    return Figure(
        label="Wait p95",
        page="queues",
        value=value,
        unit=unit,
        said=f"p50 {seconds(quantile(waits, 0.5))}",
        spark=sparkline([quantile(sample.waits, 0.95) for sample in series.samples], "warn"),
        was="" if earlier is None else f"{seconds(earlier)} in {then}",
    )


def _parted(text: str) -> tuple[str, str]:
    value, _, unit = text.partition(" ")
    return value, unit


def throughput(series: Series) -> Markup:
    """Jobs per second by what became of them, upon each other."""
    samples = series.samples
    failed = [(one.failed + one.timeout) / one.seconds for one in samples]
    given = [
        Line(name="completed", kind="done", values=[one.completed / one.seconds for one in samples]),
        Line(name="retried", kind="later", values=[one.retried / one.seconds for one in samples]),
        Line(name="failed", kind="failed", values=failed),
    ]
    return layers("Jobs per second", [one.at for one in samples], given)


def quantiles(title: str, series: Series, of: Callable[[Sample], Sequence[int]], width: float) -> Markup:
    """How long it takes: half of them, 95 and 99 of a hundred."""
    samples = series.samples
    given = [
        Line(name=name, kind=kind, values=[quantile(of(one), share) for one in samples])
        for name, kind, share in (("p50", "done", 0.5), ("p95", "active", 0.95), ("p99", "warn", 0.99))
    ]
    return lines(title, [one.at for one in samples], given, say=seconds, width=width)


def glyph_of(event: Event) -> str:
    """As what an event is shown."""
    return GLYPHS.get(event.name.partition(":")[2], "info")


ROUTES: list[Route] = [
    Page("overview", show, live=["findings", "figures", "charts", "rows", "feed"], every=2.0),
    Page("overview.silence", ask_silence),
    Action("overview.silence", silence),
]
