"""Sessions: those that have work, and several of them stopped at once."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from am2z_trio.admin.query import MAX_CHARACTERS, Query, Text
from am2z_trio.admin.sessions import MOST_SESSIONS
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.sessions import SessionRow

from ..routes import Action, Page, Route
from ..view import View
from ..words import count

PER_PAGE: Final = 50
MOST_GRACE: Final = 3.0
"""Seconds."""


async def show(view: View) -> Response:
    """A page of them; of a filter, those whose ids begin so, and the one of just this id though it rests."""
    admin, prefix = view.admin, view.query("q").strip().removesuffix("*")
    page = await admin.sessions(
        prefix, limit=view.number("limit", PER_PAGE, least=1), cursor=view.query("cursor", most=100)
    )
    rows = page.rows
    if prefix and all(row.session != prefix for row in rows):
        rows = [*(row for row in await admin.session_rows([prefix]) if _is_there(row)), *rows]
    every = str(Query((Text("session", prefix, prefix=True),))) if prefix else ""
    return view.render(
        "sessions/list.html",
        q=view.query("q"),
        page=page,
        rows=rows,
        every=every if len(every) <= MAX_CHARACTERS else "",
    )


def _is_there(row: SessionRow) -> bool:
    return bool(row.jobs or row.version)


async def ask_stop(view: View) -> Response:
    """Which ones, what runs in each, and what stopping them does."""
    ticked = view.fields("session")[:MOST_SESSIONS]
    if not ticked:
        raise ValidationError("session must be ticked: none was", context={"field": "session"})
    rows = await view.admin.session_rows(ticked)
    return view.render("sessions/stop.html", rows=rows)


async def stop(view: View) -> Response:
    """They are stopped, one after the other; the next page says of how many that is so."""
    grace = grace_of(view)
    answers = await view.admin.stop_sessions(view.fields("session"), grace=grace, reason=view.reason)
    done = sum(answer.done for answer in answers)
    left = next((answer.text for answer in answers if not answer.done), "")
    told = f"{done:,} of {count(len(answers), 'session')} stopped: {left}"
    answer = Answer(done=not left, text=told if left else f"{count(done, 'session')} stopped")
    return view.done(answer, view.url("sessions"))


def grace_of(view: View) -> float:
    """The grace of a form: no longer than a page is waited for."""
    grace = view.field_seconds("grace", 0.0)
    if grace > MOST_GRACE:
        rule = f"must be at most {MOST_GRACE:g} seconds here: `am2z session stop` waits longer"
        raise ValidationError(f"grace {rule}", context={"field": "grace", "rule": rule})
    return grace


ROUTES: list[Route] = [
    Page("sessions", show, live=["rows"], every=2.0),
    Action("sessions.ask", ask_stop),
    Action("sessions.stop", stop),
]
