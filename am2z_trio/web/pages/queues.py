"""Queues: all of them, and one with what limits it, how it goes, and whose turn is next."""

from __future__ import annotations

from typing import Final

import msgspec
from markupsafe import Markup
from starlette.background import BackgroundTask
from starlette.responses import Response

from am2z_trio.admin import Admin
from am2z_trio.admin.query import Query, Text
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.views.queues import QueueShown, Series
from am2z_trio.policy.buckets import BOUNDS, BUCKETS, merged, quantile

from ..charts import Line, bar, lines, sparkline
from ..routes import Action, Page, Route
from ..view import View
from ..words import count, number, seconds
from .overview import SPANS, span_of

logger: Final = Log("am2z_trio.web")

STEPS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
"""Bounds of the histogram of running times: those of `policy.buckets` taken together."""


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """A limit, and how near to it a queue is."""

    label: str
    bar: Markup
    said: str


async def show_all(view: View) -> Response:
    """Every queue."""
    span = span_of(view)
    rows = await view.admin.queues()
    series = await view.admin.series(span)
    return view.render(
        "queues/list.html",
        rows=rows,
        span=span,
        spans=SPANS,
        sparks={name: sparkline(ended, "active") for name, ended in series.ended.items()},
        left_out=series.left_out,
        running=[row.queue for row in rows if not row.paused],
    )


async def show(view: View) -> Response:
    """One queue."""
    name, span = view.id("queue"), span_of(view)
    shown = await view.admin.queue(name)
    series = await view.admin.series(span, queue=name)
    row = shown.row
    return view.render(
        "queues/queue.html",
        shown=shown,
        row=row,
        span=span,
        spans=SPANS,
        standing=standing(shown),
        gauges=gauges(shown),
        times=times(series),
        histogram=histogram(series),
        ran=sum(sum(sample.runs) for sample in series.samples),
        purge=row.waiting + row.delayed,
        jobs=str(Query((Text("queue", name),))),
        next=shown.next,
    )


# --- one queue, said -------------------------------------------------------------------------


def standing(shown: QueueShown) -> tuple[str, str]:
    """Why it stands as it does, in a sentence, and how bad that is; nothing of one that flows."""
    row = shown.row
    waiting = f"{count(row.waiting, 'job')} {'waits' if row.waiting == 1 else 'wait'}"
    if row.state == "paused":
        return f"It is paused: {waiting}, and {count(row.active, 'job')} still run.", "warn"
    if row.state == "unserved":
        return f"Nobody serves it, and {waiting}, the first of them for {seconds(row.oldest)}.", "bad"
    if row.state == "open":
        return "Its circuit is open: so many of its jobs have failed that none is started for now.", "bad"
    if row.state == "held" and shown.limits.most_active:
        most = shown.limits.most_active
        run = f"{min(row.active, most):,} of {most:,} run on all nodes together{_beyond(row.active, most)}"
        return f"It is full: {run}, and {waiting}.", "warn"
    if row.state == "held":
        return f"{waiting[:1].upper()}{waiting[1:]} since as many run as may.", "warn"
    return "", ""


def _beyond(active: int, most: int) -> str:
    """Those that have begun and take no place: each has called another job, and waits to go on."""
    return f", {active - most:,} more have called others and wait to go on" if active > most else ""


def gauges(shown: QueueShown) -> list[Gauge]:
    """What limits it: each limit that it has, and how near to it is what there is."""
    row, limits = shown.row, shown.limits
    found = list[Gauge]()
    if limits.most_active:
        apart = max(0, row.active - limits.most_active)
        unit = f", {apart:,} wait to go on" if apart else ""
        found.append(_gauge("All nodes", row.active - apart, limits.most_active, unit))
    else:
        found.append(Gauge(label="All nodes", bar=_empty("no limit"), said="no limit"))
    found.append(_gauge("Slots that serve it", min(row.active, row.slots), row.slots, full="warn"))
    if limits.per_session:
        at_limit = f"{limits.per_session:,} each, {count(shown.blocked, 'session')} at it"
        lanes = max(1, shown.lanes + shown.blocked)
        share = bar(("warn", shown.blocked), whole=lanes, label=at_limit)
        found.append(Gauge(label="Per session", bar=share, said=at_limit))
    if limits.starts:
        per = f"{limits.starts:,} in {seconds(limits.per)}"
        if shown.starts is None:
            found.append(Gauge(label="Rate", bar=_empty(per), said=per))
        else:
            found.append(_gauge("Rate", shown.starts, limits.starts, f" in {seconds(limits.per)}"))
    if shown.most_waiting:
        found.append(_gauge("Size", row.waiting, shown.most_waiting))
    circuit = shown.circuit
    colour = "bad" if circuit == "open" else "warn"
    parts = () if circuit == "closed" else ((colour, 1.0),)
    found.append(Gauge(label="Circuit", bar=bar(*parts, whole=1, label=circuit), said=circuit))
    return found


def _gauge(label: str, part: int, whole: int, unit: str = "", *, full: str = "bad") -> Gauge:
    said = f"{part:,} of {whole:,}{unit}"
    kind = full if whole and part >= whole else "warn" if whole and part >= 0.9 * whole else ""
    return Gauge(label=label, bar=bar((kind, part), whole=whole, label=said), said=said)


def _empty(label: str) -> Markup:
    return bar(whole=1, label=label)


def times(series: Series) -> Markup:
    """How long jobs wait and run: of a hundred, five take longer."""
    given = [
        Line(
            name="time to start, p95",
            kind="later",
            values=[quantile(one.waits, 0.95) for one in series.samples],
        ),
        Line(
            name="run time, p95", kind="active", values=[quantile(one.runs, 0.95) for one in series.samples]
        ),
    ]
    at = [one.at for one in series.samples]
    return lines("Waits and runs", at, given, say=seconds, height=150.0)


def histogram(series: Series) -> list[Gauge]:
    """How long its jobs ran, in a few steps."""
    runs = [0] * BUCKETS
    for sample in series.samples:
        runs = merged(runs, sample.runs)
    sums = [0] * (len(STEPS) + 1)
    for place, jobs in enumerate(runs):
        bound = BOUNDS[place] if place < len(BOUNDS) else float("inf")
        sums[next((n for n, step in enumerate(STEPS) if bound <= step), len(STEPS))] += jobs
    labels = [*(f"≤ {seconds(step)}" for step in STEPS), f"> {seconds(STEPS[-1])}"]
    most = max(sums)
    return [
        Gauge(label=label, bar=bar(("", jobs), whole=most or 1, label=count(jobs, "job")), said=number(jobs))
        for label, jobs in zip(labels, sums, strict=True)
    ]


# --- actions ---------------------------------------------------------------------------------


async def ask_pause(view: View) -> Response:
    """Why it is paused."""
    return await _ask(view, "pause")


async def ask_resume(view: View) -> Response:
    """Why it goes on."""
    return await _ask(view, "resume")


async def ask_drain(view: View) -> Response:
    """Why it is drained."""
    return await _ask(view, "drain")


async def ask_all(view: View) -> Response:
    """Which queues are paused together, or go on."""
    do = view.choice("do", ("pause", "resume"), "pause")
    found = await view.admin.preview_pause_all(resume=do == "resume")
    waiting = sum(row.waiting for row in found.queues)
    active = sum(row.active for row in found.queues)
    return view.render("queues/all.html", do=do, found=found, waiting=waiting, active=active)


async def pause_all(view: View) -> Response:
    """No job of any queue is started any more."""
    return view.done(await view.admin.pause_all(reason=view.reason), view.url("queues"))


async def resume_all(view: View) -> Response:
    """Jobs of all queues are started again."""
    return view.done(await view.admin.resume_all(reason=view.reason), view.url("queues"))


async def _ask(view: View, action: str) -> Response:
    shown = await view.admin.queue(view.id("queue"))
    return view.render("queues/ask.html", action=action, row=shown.row)


async def pause(view: View) -> Response:
    """None of its jobs is started any more."""
    name = view.id("queue")
    return view.done(await view.admin.pause(name, reason=view.reason), view.url("queue", queue=name))


async def resume(view: View) -> Response:
    """Its jobs are started again."""
    name = view.id("queue")
    return view.done(await view.admin.resume(name, reason=view.reason), view.url("queue", queue=name))


async def drain(view: View) -> Response:
    """The same as a pause, and what runs is waited for."""
    name = view.id("queue")
    return view.done(await view.admin.drain_queue(name, reason=view.reason), view.url("queue", queue=name))


async def ask_purge(view: View) -> Response:
    """How many there are, and that the number is typed."""
    return await _ask_purge(view, "")


async def _ask_purge(view: View, wrong: str) -> Response:
    shown = await view.admin.queue(view.id("queue"))
    row = shown.row
    return view.render("queues/purge.html", row=row, purge=row.waiting + row.delayed, wrong=wrong)


async def purge(view: View) -> Response:
    """What waits is cancelled, in steps; at most as many as were seen."""
    name, shown = view.id("queue"), view.field_number("shown", 0)
    typed = view.field("agreed", most=20).strip().replace(",", "")
    if view.may("purge") and typed != str(shown):
        return await _ask_purge(view, f"To go on, type the number of jobs: {shown}. Nothing was done.")
    record = await view.admin.purge(name, agreed=max(1, shown), reason=view.reason)
    response = view.done("It has begun.", view.url("bulk", bulk=record.id))
    response.background = BackgroundTask(_carry_on, view.admin, record.id)
    return response


async def _carry_on(admin: Admin, id: str) -> None:
    try:
        await admin.carry_on(id)
    except AM2ZError as error:
        logger.warning("the purge %s is left as far as it has come: %s", id, error)


ROUTES: list[Route] = [
    Page("queues", show_all, live=["rows"], every=2.0),
    Page("queue", show, live=["now", "limits", "charts", "next", "runs"], every=2.0),
    Page("all-queues", ask_all),
    Action("all-queues.pause", pause_all),
    Action("all-queues.resume", resume_all),
    Page("queue.pause", ask_pause),
    Action("queue.pause", pause),
    Page("queue.resume", ask_resume),
    Action("queue.resume", resume),
    Page("queue.drain", ask_drain),
    Action("queue.drain", drain),
    Page("queue.purge", ask_purge),
    Action("queue.purge", purge),
]
