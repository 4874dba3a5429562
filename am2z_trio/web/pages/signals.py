"""Signals: what a parked job waits for (`ctx.wait_for`), sent to it, or to its session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.responses import Response

from am2z_trio.admin import NotPermittedError
from am2z_trio.model.errors import AM2ZError, JobNotFoundError
from am2z_trio.model.views.actions import Answer

from ..routes import Action, Page, Route
from ..view import View
from .jobs import state_of

MOST_VALUE: Final = 2**20
"""Characters of a value, as JSON."""


async def ask_job(view: View) -> Response:
    """The form for one to a job."""
    row = (await view.admin.show(view.id("job"))).row
    return _form(view, "job", row.id, view.query("name"))


async def ask_session(view: View) -> Response:
    """The form for one to a session."""
    return _form(view, "session", view.id("session"), view.query("name"))


def _form(view: View, what: str, id: str, name: str, value: str = "", wrong: str = "") -> Response:
    return view.render(
        "signal.html", status=400 if wrong else 200, what=what, id=id, name=name, value=value, wrong=wrong
    )


async def send_job(view: View) -> Response:
    """It is there for the job."""
    return await _send(view, "job", view.admin.signal)


async def send_session(view: View) -> Response:
    """It is there for the first of the session's jobs that waits for it."""
    return await _send(view, "session", view.admin.signal_session)


async def _send(view: View, what: str, send: Callable[..., Awaitable[Answer]]) -> Response:
    id, name, value = view.id(what), view.field("name"), view.field("value", most=MOST_VALUE)
    try:
        given: Any = state_of(value) if value.strip() else None
        answer = await send(id, name, given, reason=view.reason)
    except (NotPermittedError, JobNotFoundError):
        raise
    except AM2ZError as error:
        if error.retryable:
            raise
        return _form(view, what, id, name, value, error.message)
    return view.done(answer, view.url(what, query=None, **{what: id}))


ROUTES: list[Route] = [
    Page("job.signal", ask_job),
    Action("job.signal", send_job),
    Page("session.signal", ask_session),
    Action("session.signal", send_session),
]
