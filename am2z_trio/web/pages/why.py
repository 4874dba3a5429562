"""Why a job does not run: the verdict, each gate on its way with what is so, and what would free it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import Response

from am2z_trio.admin.query import Query, Text
from am2z_trio.model.errors import JobNotFoundError
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.diagnosis import Diagnosis, Gate, Remedy
from am2z_trio.model.views.jobs import JobRow, told_status

from ..routes import Action, Page, Route
from ..view import View

MOST_HOLDERS: Final = 10
"""Jobs that hold the place it waits for."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A gate as it is told."""

    gate: Gate
    title: str
    mark: str
    """`open`, `stop` or `na`."""
    remedies: list[Remedy]
    """What can be done about it by a button."""


_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "record": ("It is known and not ended", "Its record is spoilt"),
    "due": ("It is due", "It is not due yet"),
    "deadline": ("Its deadline has not passed", "Its deadline has passed"),
    "paused": ("Its queue is not paused", "Its queue is paused"),
    "served": ("Somebody serves its queue", "Nobody serves its queue"),
    "stopping": ("Its session is not being stopped", "Its session is being stopped"),
    "rate": ("The rate limit leaves room", "The rate limit leaves no room"),
    "session": ("Its session has room", "Its session has no room"),
    "active": ("The queue has room", "The queue has no room"),
    "turn": ("Its session's state is free", "Its session's state is taken"),
    "line": ("It is its turn", "It is not its turn"),
    "slot": ("A slot is free", "No slot is free"),
    "circuit": ("The circuit is closed", "The circuit is open"),
    "parent": ("Its caller waits for it", "Its caller has ended"),
}
"""By gate: what is so where it is open, and where it is shut."""

_HELD: Final = frozenset({"active", "session", "turn", "slot", "line"})
"""Gates that are shut by jobs that run."""

_BY_BUTTON: Final = frozenset({"cancel", "resume", "retry"})


async def show(view: View) -> Response:
    """Asked for anew each time: what is so now."""
    id = view.id("job")
    why = await view.admin.explain(id)
    if not why.status:
        # Nothing is known of it; its page says what the history has.
        raise JobNotFoundError(f"job {id}: {why.verdict}", context={"job": id})
    row = (await view.admin.show(id)).row
    return view.render(
        "job/why.html",
        why=why,
        row=row,
        state=told_status(why.status, parked=why.parked),
        gates=gates(why),
        others=[one for one in why.remedies if one.action not in _BY_BUTTON],
        by_button=[one for one in why.remedies if one.action in _BY_BUTTON],
        verdict=sentence(why),
        kind=kind(why),
        holders=await _holders(view, why),
        holders_query=str(_held_by(why)),
    )


def kind(why: Diagnosis) -> str:
    """Which glyph the verdict has."""
    if why.blocked_by:
        return "warning" if why.starts_in is not None else "failed"
    return {"waiting": "ok", "later": "later"}.get(why.status, why.status)


def sentence(why: Diagnosis) -> str:
    """The verdict, as one: `It waits 6 m 02 s: 20 jobs of charge are active ...`."""
    text = why.verdict
    return f"It {text}{'' if text.endswith('.') else '.'}"


def gates(why: Diagnosis) -> list[Told]:
    """In the order in which a claim checks them; the remedies stand at the first that is shut."""
    found, stopped = list[Told](), False
    for gate in why.gates:
        opened, shut = _TITLES.get(gate.name, (gate.name, gate.name))
        is_shut = gate.state == "shut"
        mark = "stop" if is_shut else "na" if gate.state == "unknown" or stopped else "open"
        first = is_shut and not stopped
        stopped = stopped or is_shut
        found.append(
            Told(
                gate=gate,
                title=shut if is_shut else opened,
                mark=mark,
                remedies=[one for one in why.remedies if one.action in _BY_BUTTON] if first else [],
            )
        )
    return found


def _held_by(why: Diagnosis) -> Query:
    """The jobs that hold what it waits for."""
    terms = [Text("status", "active")]
    if why.blocked_by in ("session", "turn") and why.session:
        terms.append(Text("session", why.session))
    else:
        terms.append(Text("queue", why.processor))
    return Query(tuple(terms))


async def _holders(view: View, why: Diagnosis) -> list[JobRow]:
    if why.blocked_by not in _HELD:
        return []
    page = await view.admin.search(str(_held_by(why)), limit=200)
    return sorted(page.rows, key=lambda row: row.since or row.at)[:MOST_HOLDERS]


# --- remedies -------------------------------------------------------------------------------------


async def resume(view: View) -> Response:
    """Its queue is started again."""
    answer = await view.admin.resume(view.field("target", most=512), reason=view.reason)
    return view.done(answer, view.url("why", job=view.id("job")))


async def cancel(view: View) -> Response:
    """A job that is in its way, or it itself, is cancelled."""
    to = view.url("why", job=view.id("job"))
    try:
        answer = await view.admin.cancel(view.field("target"), reason=view.reason)
    except JobNotFoundError:
        answer = Answer(done=False, text="Nothing was done: that job is no longer kept")
    return view.done(answer, to)


async def retry(view: View) -> Response:
    """It is queued again."""
    to = view.url("why", job=view.id("job"))
    return view.done(await view.admin.retry(view.id("job"), reason=view.reason), to)


ROUTES: list[Route] = [
    Page("why", show, live=["why"], every=1.0),
    Action("why.resume", resume),
    Action("why.cancel", cancel),
    Action("why.retry", retry),
]
