"""Sessions: those that have work, and several of them stopped at once."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from am2z_trio.admin.exclusions import told
from am2z_trio.admin.query import Query, Text
from am2z_trio.admin.session_query import sessions_asked_for
from am2z_trio.admin.sessions import MOST_SESSIONS
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.search import SessionPage

from ..routes import Action, Page, Route
from ..view import View
from ..words import count
from .jobs import tokens

PER_PAGE: Final = 50
MOST_GRACE: Final = 3.0
"""Seconds."""


async def show(view: View) -> Response:
    """A page of them: those that a filter leaves, and what is named by all of its id though it rests."""
    typed, added = view.query("q"), view.query("add").strip()
    wrong, asked, page = "", Query(), SessionPage(rows=[], of=0, looked_at=0)
    try:
        asked = sessions_asked_for(f"{typed} {added}".strip()).text
    except ValidationError as error:
        wrong = str(error.context.get("rule") or error.message)
    else:
        page = await view.admin.sessions(
            query=str(asked),
            limit=view.number("limit", PER_PAGE, least=1),
            cursor=view.query("cursor", most=100),
        )
    return view.render(
        "sessions/list.html",
        q=str(asked),
        tokens=tokens(asked),
        added=added if wrong else "",
        wrong=wrong,
        page=page,
        begins=_beginning(asked),
        excluded=told(page.excluded, "session"),
        every=str(asked) if asked.asks_for_something and _is_of_ids(asked) else "",
    )


def _is_of_ids(asked: Query) -> bool:
    return all(isinstance(term, Text) and term.field == "session" for term in asked.terms)


def _beginning(asked: Query) -> str:
    """Of a filter for one id, the one for those that begin so."""
    if len(asked.terms) != 1 or not _is_of_ids(asked):
        return ""
    (one,) = asked.wanted("session") or (None,)
    return "" if one is None or one.prefix else str(Query((Text("session", one.text, prefix=True),)))


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
