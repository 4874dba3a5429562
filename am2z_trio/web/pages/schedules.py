"""Schedules: which there are, one of them with its editor and what if, and what is done with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import Response

from am2z_trio.admin import Permission
from am2z_trio.model.errors import AM2ZError, ConfigurationError, ScheduleNotFoundError, ValidationError
from am2z_trio.model.schedules import Backfill, ScheduleRun, ScheduleView
from am2z_trio.model.views.calendars import WhatIf

from ..routes import Action, Page, Route
from ..view import View
from ..years import year_of
from .schedule_form import (
    MISSED,
    OVERLAPS,
    OWN,
    TEXTS,
    Texts,
    moment,
    plan_of,
    terms_of,
    texts_of,
    timing_of,
    typed,
    wrong_of,
)

MANAGES: Final[Permission] = "schedule"
PAGE: Final = 50
LAST: Final = 8
"""Runs of each in the list."""
SHOWN_TIMES: Final = 100
"""Of a backfill."""

RAN: Final = {"completed", "failed", "cancelled"}


def ms(at: datetime | None) -> int:
    """As the words of templates take it."""
    return 0 if at is None else round(at.timestamp() * 1000)


def kind_of(run: ScheduleRun) -> str:
    """The glyph of a run."""
    if run.outcome != "queued":
        return "skipped" if run.outcome == "skipped" else "missed"
    if run.why and run.status in ("completed", ""):
        return "late"
    return run.status or "unknown"


def label_of(run: ScheduleRun) -> str:
    """What is said of it."""
    kind = kind_of(run)
    if kind == "late":
        return "caught up"
    if kind == "missed":
        return "not accepted"
    return {"unknown": "no longer kept", "active": "runs"}.get(kind, kind)


def standing_of(view: ScheduleView) -> tuple[str, str]:
    """The status of a schedule, and what is said of it."""
    if view.paused is not None:
        return "paused", "paused by failure" if "has failed" in view.paused else "paused"
    if not view.processor:
        return "unknown", "of another version"
    if view.next is None:
        return "stopped", "over"
    return ("held", "waits for its last run") if view.waits else ("ok", "on")


def utc_of(at: datetime) -> str:
    """The minute in UTC, of a time whose day stands beside it."""
    return f"{at.astimezone(UTC):%H:%M}Z"


HELPERS: Final[dict[str, Any]] = {
    "ms": ms,
    "utc_of": utc_of,
    "kind_of": kind_of,
    "label_of": label_of,
    "standing_of": standing_of,
}


async def show_all(view: View) -> Response:
    """The list."""
    offset = view.number("offset", 0, most=2**31)
    found = await view.admin.schedules(offset=offset, limit=PAGE + 1)
    rows, more = found[:PAGE], len(found) > PAGE
    runs = await view.admin.last_runs([row.id for row in rows], LAST)
    return view.render(
        "schedules/list.html",
        rows=rows,
        runs=runs,
        offset=offset,
        next=view.here(offset=offset + PAGE) if more else "",
        **HELPERS,
    )


async def show(view: View) -> Response:
    """One of them, with what somebody types into its editor."""
    row = await view.admin.schedule(view.id("schedule"))
    return await _shown(view, row, typed(view.query, texts_of(row), sent=False))


async def _shown(view: View, row: ScheduleView, texts: Texts, error: AM2ZError | None = None) -> Response:
    told, wrong = await _what_if(view, texts, error)
    asked = view.choice("show", ("next", "year"), "next")
    offset = view.number("offset", 0, most=10_000)
    runs = await view.admin.schedule_runs(row.id, offset=offset, limit=PAGE + 1)
    return view.render(
        "schedules/one.html",
        status=200 if error is None else 400,
        row=row,
        texts=texts,
        changed=texts != texts_of(row),
        told=told,
        wrong=wrong,
        year=None if told is None else year_of(told),
        asked=asked,
        week=await view.admin.week_ahead(_zone(row, told), first=row.id),
        runs=runs[:PAGE],
        more=view.here(offset=offset + PAGE) if len(runs) > PAGE else "",
        offset=offset,
        save=view.url("schedule.edit", schedule=row.id),
        overlaps=OVERLAPS,
        misses=MISSED,
        **HELPERS,
    )


async def _what_if(
    view: View, texts: Texts, error: AM2ZError | None
) -> tuple[WhatIf | None, tuple[str, str] | None]:
    """What is typed, told; or which field is wrong, and by which rule."""
    bounds: dict[str, datetime | None] = {}
    if error is None:
        try:
            terms = terms_of(texts)
            bounds = {"start": terms.get("start"), "end": terms.get("end")}
        except (ConfigurationError, ValidationError) as found:
            error = found
    wrong = None if error is None else wrong_of(error)
    try:
        return await view.admin.what_if(timing_of(texts), n=10, **bounds), wrong
    except (ConfigurationError, ValidationError) as found:
        return None, wrong or wrong_of(found)


def _zone(row: ScheduleView, told: WhatIf | None) -> str:
    return told.zone if told is not None else "UTC"


async def edit(view: View) -> Response:
    """Write other terms down; what is wrong is said beside its field."""
    id = view.id("schedule")
    row = await view.admin.schedule(id)
    texts = typed(view.field, texts_of(row), sent=True)
    try:
        terms = terms_of(texts)
        rev = view.field_number("rev", row.rev, least=1)
        answer = await view.admin.amend_schedule(id, rev=rev, reason=view.reason, **terms)
    except (ConfigurationError, ValidationError) as error:
        if isinstance(error, ScheduleNotFoundError):
            raise
        return await _shown(view, row, texts, error)
    return view.done(answer, view.url("schedule", schedule=id))


# --- a new one ------------------------------------------------------------------------------


async def new(view: View) -> Response:
    """The form of one that is not there yet."""
    return await _form(view, typed(view.query, {**OWN, **TEXTS}, sent=False))


async def _form(view: View, texts: Texts, error: AM2ZError | None = None) -> Response:
    told = wrong = None
    if texts["when"] or error is not None:
        told, wrong = await _what_if(view, texts, error)
    stats = await view.admin.queue_stats()
    return view.render(
        "schedules/new.html",
        status=200 if error is None else 400,
        texts=texts,
        told=told,
        wrong=wrong,
        year=None if told is None else year_of(told),
        asked="next",
        processors=sorted(stats)[:200],
        overlaps=OVERLAPS,
        misses=MISSED,
        **HELPERS,
    )


async def add(view: View) -> Response:
    """Write it down."""
    texts = typed(view.field, {**OWN, **TEXTS}, sent=True)
    try:
        answer = await view.admin.add_schedule(plan_of(texts), reason=view.reason)
    except (ConfigurationError, ValidationError) as error:
        return await _form(view, texts, error)
    return view.done(answer, view.url("schedule", schedule=texts["id"]))


# --- done with one --------------------------------------------------------------------------


async def ask_run(view: View) -> Response:
    return await _ask(view, "run", "Run it now?", "It runs once, beside its times, also while it is paused.")


async def ask_pause(view: View) -> Response:
    text = "It comes no more until it is resumed. What has begun goes on, and nothing counts as missed."
    return await _ask(view, "pause", "Pause it?", text)


async def ask_remove(view: View) -> Response:
    return await _ask(
        view, "remove", "Remove it?", "It comes no more. Its jobs go on, and their records stay."
    )


async def _ask(view: View, what: str, title: str, text: str) -> Response:
    row = await view.admin.schedule(view.id("schedule"))
    return view.render(
        "schedules/ask.html",
        row=row,
        what=what,
        title=title,
        text=text,
        to=view.url(f"schedule.{what}", schedule=row.id),
        back=view.query("back", most=10),
        **HELPERS,
    )


async def run(view: View) -> Response:
    id = view.id("schedule")
    return view.done(await view.admin.run_schedule(id, reason=view.reason), _back(view))


async def pause(view: View) -> Response:
    return view.done(await view.admin.pause_schedule(view.id("schedule"), reason=view.reason), _back(view))


async def resume(view: View) -> Response:
    return view.done(await view.admin.resume_schedule(view.id("schedule"), reason=view.reason), _back(view))


async def remove(view: View) -> Response:
    answer = await view.admin.remove_schedule(view.id("schedule"), reason=view.reason)
    return view.done(answer, view.url("schedules"))


def _back(view: View) -> str:
    """To where one was: the list, or the schedule's own page."""
    if view.field("back") == "list":
        return view.url("schedules")
    return view.url("schedule", schedule=view.id("schedule"))


# --- earlier times --------------------------------------------------------------------------


async def ask_backfill(view: View) -> Response:
    """Earlier times that had no job: told before any of them runs."""
    row = await view.admin.schedule(view.id("schedule"))
    start, end = view.query("start", most=40), view.query("end", most=40)
    told, wrong = None, ""
    if start or end:
        try:
            told = await view.admin.backfill_schedule(row.id, moment("start", start), moment("end", end))
        except (ConfigurationError, ValidationError) as error:
            wrong = error.message
    return _backfill_page(view, row, start, end, told, wrong)


def _backfill_page(
    view: View, row: ScheduleView, start: str, end: str, told: Backfill | None, wrong: str
) -> Response:
    return view.render(
        "schedules/backfill.html",
        status=400 if wrong else 200,
        row=row,
        start=start,
        end=end,
        told=told,
        wrong=wrong,
        shown=[] if told is None else told.times[:SHOWN_TIMES],
        **HELPERS,
    )


async def backfill(view: View) -> Response:
    """Run them; they are counted again first, and what was seen must still be so many."""
    id = view.id("schedule")
    start, end = view.field("start", most=40), view.field("end", most=40)
    seen = view.field_number("times", -1)
    told = await view.admin.backfill_schedule(id, moment("start", start), moment("end", end))
    if len(told.times) != seen:
        row = await view.admin.schedule(id)
        moved = f"there are {len(told.times):,} of these times now: look at them, and run them then"
        return _backfill_page(view, row, start, end, told, moved)
    done = await view.admin.backfill_schedule(
        id, moment("start", start), moment("end", end), dry_run=False, reason=view.reason
    )
    refused = "".join(f", {n:,} were not accepted ({why})" for why, n in done.refused.items())
    return view.done(f"{done.queued:,} jobs were made{refused}", _back(view))


ROUTES: list[Route] = [
    Page("schedules", show_all, live=["rows"], every=2.0),
    Page("schedule-new", new),
    Action("schedule-new", add),
    Page("schedule", show, live=["runs"], every=2.0),
    Action("schedule.edit", edit),
    Page("schedule.run", ask_run),
    Action("schedule.run", run),
    Page("schedule.pause", ask_pause),
    Action("schedule.pause", pause),
    Action("schedule.resume", resume),
    Page("schedule.remove", ask_remove),
    Action("schedule.remove", remove),
    Page("schedule.backfill", ask_backfill),
    Action("schedule.backfill", backfill),
]
