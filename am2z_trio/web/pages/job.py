"""One job: its life, what happened to it, what it changed, its claim, its calls and payloads; and what can be
done with it."""

from __future__ import annotations

from collections.abc import Awaitable
from pprint import pformat

import anyio
import msgspec
from starlette.responses import Response

from am2z_trio.admin import NotPermittedError
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.errors import AM2ZError, JobNotFoundError, StateIntegrityError
from am2z_trio.model.events import Event
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.model.views.actions import Answer, JobShown, Payload
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.model.views.stack import JobStack
from am2z_trio.model.views.tree import TreeRow

from ..charts.life import life
from ..routes import Action, Page, Route
from ..stories import first_known, happened, spans, told_by
from ..view import View
from .jobs import back, line, state_of

MOST_OF_A_PAYLOAD = 20_000
"""Characters of it that are shown."""

MOST_EVENTS = 200
"""Of its history that are looked at."""


# --- the page -------------------------------------------------------------------------------------


async def show(view: View) -> Response:
    """All that is known of it."""
    return await _page(view, view.id("job"))


async def reveal(view: View) -> Response:
    """The same, with what it was given and has returned, and the lines that it has logged; not kept by the
    browser."""
    return await _page(view, view.id("job"), reveal=True)


async def _page(view: View, id: str, *, reveal: bool = False) -> Response:
    admin = view.admin
    try:
        shown = await admin.show(id, reveal=reveal, reason=view.reason if reveal else "")
    except JobNotFoundError:
        return await _gone(view, id)
    row, now = shown.row, admin.now()
    events = await _events(view, row.id)
    calls = await admin.calls(row.id)
    wrong = ""
    try:
        changed = await admin.changes(row.id, reveal=reveal)
    except StateIntegrityError as error:
        changed, wrong = [], error.message
    try:
        logs = await admin.job_logs(row.id, reveal=reveal)
    except JobNotFoundError:
        logs = []
    live = row.status not in TERMINAL
    stack, scope = await _running(view, row)
    why = await admin.explain(row.id) if live else None
    return view.render(
        "job/job.html",
        shown=shown,
        row=row,
        state=row.shown_as,
        stands=line(row, now, why),
        why=why,
        live=live,
        revealed=reveal,
        life=life(spans(row, events, calls, now), row.at or first_known(row, events), row.ended or now),
        happened=happened(row, events),
        logs=logs,
        changed=changed,
        wrong=wrong,
        calls=calls,
        stack=stack,
        scope=scope,
        refused=[one for one in row.trail if one.what == "refused"],
        total=(row.ended or now) - row.at if row.at else None,
        input=payload_text(shown.input),
        output=payload_text(shown.output),
        dead=row.shown_as == "dead",
    )


async def _running(view: View, row: JobRow) -> tuple[JobStack | None, TreeRow | None]:
    """Where the code of one that runs is now, and its scope there, as its node says; a node that is silent
    says nothing."""
    if row.status != "active":
        return None, None
    found = list[TreeRow]()
    stacks = list[JobStack | None]()

    async def ask_tree() -> None:
        tree = await view.admin.tree(job=row.id, depth=3)
        found.extend(
            one for node in tree.nodes for one in node.rows if one.scope == "job" and one.job == row.id
        )

    async def ask_stack() -> None:
        stacks.append(await view.admin.stack(row.id))

    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_tree)
            tasks.start_soon(ask_stack)
    return stacks[0], next(iter(found), None)


async def _events(view: View, id: str) -> list[Event]:
    """What the history of events still has of it, the oldest first; nothing where no history is kept."""
    try:
        return (await view.admin.events(job=id, limit=MOST_EVENTS)).events
    except JobNotFoundError:
        return []


async def _gone(view: View, id: str) -> Response:
    """Nothing is kept of it but what the history of events has."""
    events = await _events(view, id)
    return view.render("job/gone.html", status=404, id=id, happened=told_by(events))


def payload_text(payload: Payload) -> str:
    """What may be seen of it, as JSON where JSON can say it."""
    if not payload.kept:
        return ""
    try:
        text = msgspec.json.format(msgspec.json.encode(payload.value), indent=2).decode()
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
        text = pformat(payload.value, width=100, sort_dicts=False)
    more = len(text) - MOST_OF_A_PAYLOAD
    return f"{text[:MOST_OF_A_PAYLOAD]}\n… {more:,} characters more" if more > 0 else text


# --- what is done with it ---------------------------------------------------------------------------


async def ask_cancel(view: View) -> Response:
    """What a cancel is going to do, and the form for it."""
    row = (await view.admin.show(view.id("job"))).row
    calls = await view.admin.calls(row.id)
    place = next(n for n, one in enumerate(calls.rows) if one.asked)
    below = [one.row for one in calls.rows[place + 1 :] if one.row is not None]
    open_calls = [one for one in below if one.status not in TERMINAL]
    return view.render("job/cancel.html", row=row, state=row.shown_as, below=open_calls)


async def cancel(view: View) -> Response:
    return await _done(view, view.admin.cancel(view.id("job"), reason=view.reason))


async def retry(view: View) -> Response:
    return await _done(view, view.admin.retry(view.id("job"), reason=view.reason))


async def promote(view: View) -> Response:
    return await _done(view, view.admin.promote(view.id("job"), reason=view.reason))


async def drop(view: View) -> Response:
    return await _done(view, view.admin.drop(view.id("job"), reason=view.reason))


async def _done(view: View, doing: Awaitable[Answer]) -> Response:
    """Back to where it was asked for: a list, or the job itself."""
    to = back(view) if view.field("from", most=10) else view.url("job", job=view.id("job"))
    try:
        return view.done(await doing, to)
    except JobNotFoundError:
        return view.done(Answer(done=False, text="Nothing was done: it is no longer kept"), to)


async def draft(view: View) -> Response:
    """The form with which it is run anew with another input: what it was given stands in it where it may be
    revealed, which is written down."""
    id = view.id("job")
    seen = view.may("reveal") and view.may("edit")
    reason = view.reason or ("to be edited" if seen else "")
    shown = await view.admin.show(id, reveal=seen, reason=reason)
    return _draft(view, shown, payload_text(shown.input) if seen else "")


def _draft(view: View, shown: JobShown, text: str, wrong: str = "") -> Response:
    return view.render(
        "job/edit.html",
        status=400 if wrong else 200,
        shown=shown,
        row=shown.row,
        text=text,
        wrong=wrong,
        is_whole=shown.input.kept and not shown.input.hidden and not shown.input.cut,
    )


async def edit(view: View) -> Response:
    """Run it anew, or say what does not fit."""
    id, text = view.id("job"), view.field("state", most=2**20)
    try:
        answer = await view.admin.edit(id, state_of(text), reason=view.reason)
    except (NotPermittedError, JobNotFoundError):
        raise
    except AM2ZError as error:
        if error.retryable:
            raise
        return _draft(view, await view.admin.show(id), text, error.message)
    return view.done(answer, view.url("job", job=answer.job))


async def as_test(view: View) -> Response:
    """A test that runs what it was given."""
    id = view.id("job")
    try:
        text = await view.admin.as_test(id, reason=view.reason)
    except JobNotFoundError as error:
        return view.done(Answer(done=False, text=error.message), view.url("job", job=id))
    return view.render("job/test.html", id=id, text=text)


ROUTES: list[Route] = [
    Page("job", show, live=["top", "left", "right"], every=2.0),
    Action("job.reveal", reveal),
    Page("job.cancel", ask_cancel),
    Action("job.cancel", cancel),
    Action("job.retry", retry),
    Action("job.next", promote),
    Action("job.drop", drop),
    Action("job.draft", draft),
    Action("job.edit", edit),
    Action("job.test", as_test),
]
