"""Actions on all jobs, or sessions, that a filter asks for: counted, begun, watched, stopped, carried on."""

from __future__ import annotations

from typing import Final

from starlette.background import BackgroundTask
from starlette.responses import Response

from am2z_trio.admin import Admin
from am2z_trio.admin.bulk import ASKED_FROM, NEEDS
from am2z_trio.model.errors import AM2ZError, ValidationError
from am2z_trio.model.logs import Log
from am2z_trio.model.views.bulks import BulkAction, BulkRecord

from ..routes import Action, Page, Route
from ..view import View

logger: Final = Log("am2z_trio.web")

SAMPLE: Final = 5
"""Jobs that are named before."""

SAID: Final[dict[BulkAction, tuple[str, str]]] = {
    "cancel": ("Cancel", "cancelled"),
    "retry": ("Run again", "queued again"),
    "drop": ("Drop", "dropped"),
    "stop": ("Stop", "stopped"),
}
"""What it is called before, and after."""


_NOUNS: Final[dict[BulkAction, str]] = {"cancel": "job", "stop": "session"}
"""What it is about; the others are about dead letters."""


def _action(text: str) -> BulkAction:
    for one in SAID:
        if one == text:
            return one
    raise ValidationError(f"action: must be one of {', '.join(SAID)}", context={"field": "action"})


async def show_all(view: View) -> Response:
    """The newest ones."""
    return view.render(
        "bulks/list.html", bulks=await view.admin.bulks(limit=view.number("limit", 50, least=1)), labels=SAID
    )


async def ask(view: View) -> Response:
    """What it would be done to now, and the form for it."""
    return await _ask(view, _action(view.query("action", "cancel")), view.query("q"))


async def _ask(view: View, action: BulkAction, query: str, wrong: str = "") -> Response:
    preview = await view.admin.preview_bulk(action, query)
    sample = preview.sample
    if action != "stop":
        sample = [row.id for row in (await view.admin.search(preview.query, limit=SAMPLE)).rows]
    return view.render(
        "bulks/new.html",
        status=400 if wrong else 200,
        action=action,
        label=SAID[action][0],
        preview=preview,
        sample=sample,
        noun=_NOUNS.get(action, "dead letter"),
        wrong=wrong,
        types_number=preview.matched > ASKED_FROM,
        permission=NEEDS[action],
    )


async def begin(view: View) -> Response:
    """It begins, and goes on behind the answer; whoever looks sees how far it has come."""
    action, query = _action(view.field("action", most=20)), view.field("q", most=500)
    typed = view.field("agreed", most=20).strip().replace(",", "")
    shown = view.field_number("shown", 0)
    if shown > ASKED_FROM and typed != str(shown):
        wrong = f"To go on, type the number of {_NOUNS.get(action, 'job')}s: {shown}. Nothing was done."
        return await _ask(view, action, query, wrong)
    rate = view.field("rate", most=20).strip()
    record = await view.admin.begin_bulk(
        action,
        query,
        agreed=min(shown or ASKED_FROM, 2**53),
        rate=view.field_seconds("rate", 0.0) or None if rate else None,
        probe=action == "retry" and view.field("probe", most=10) != "",
        reason=view.reason,
    )
    return _goes_on(view, record.id, "It has begun.")


def _goes_on(view: View, id: str, said: str) -> Response:
    response = view.done(said, view.url("bulk", bulk=id))
    response.background = BackgroundTask(_carry_on, view.admin, id)
    return response


async def _carry_on(admin: Admin, id: str) -> None:
    """Until it is done. What ends this ends not the action: anybody can carry it on."""
    try:
        await admin.carry_on(id)
    except AM2ZError as error:
        logger.warning("the action %s is left as far as it has come: %s", id, error)


async def show(view: View) -> Response:
    """How far one has come."""
    record = await view.admin.bulk(view.id("bulk"))
    probed = None
    if record.probed:
        (found,) = (await view.admin.explain_some([record.probed])).values()
        probed = found if found.status else None
    return view.render(
        "bulks/bulk.html",
        bulk=record,
        label=SAID[record.action][0],
        became=SAID[record.action][1],
        probed=probed,
        is_left=is_left(record, view.admin.now()),
        permission=NEEDS[record.action],
    )


def is_left(record: BulkRecord, now: int) -> bool:
    """Whether nobody carries it on."""
    return record.state == "runs" and (record.carrier == "" or record.until < now)


async def stop(view: View) -> Response:
    """It goes no further."""
    answer = await view.admin.stop_bulk(view.id("bulk"), reason=view.reason)
    return view.done(answer, view.url("bulk", bulk=view.id("bulk")))


async def carry_on(view: View) -> Response:
    """One whose process has gone goes on here."""
    record = await view.admin.bulk(view.id("bulk"))
    if not view.may(NEEDS[record.action]):
        # Refused, and written down, before anything is said.
        await view.admin.carry_on(record.id)
    return _goes_on(view, record.id, "It goes on.")


ROUTES: list[Route] = [
    Page("bulks", show_all, live=["rows"], every=2.0),
    Page("bulks.new", ask),
    Action("bulks.begin", begin),
    Page("bulk", show, live=["progress"], every=1.0),
    Action("bulk.stop", stop),
    Action("bulk.carry", carry_on),
]
