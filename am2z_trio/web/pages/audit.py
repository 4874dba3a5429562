"""Who has done what: the audit, newest first, each action with what came of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import msgspec
from starlette.responses import Response

from am2z_trio.model.as_json import encoded
from am2z_trio.model.views.audit import AuditEntry

from ..api.table import audit_line, told
from ..exports import Export
from ..routes import Endpoint, Page, Route
from ..view import View
from ..words import said_plainly

BEGUN = "begun"
"""Of what has no outcome yet, or has it on a page of newer ones."""


class Deed(msgspec.Struct, frozen=True):
    """One line of the page: an action, and what came of it."""

    at: int
    who: str
    by: str
    action: str
    target: str
    reason: str
    outcome: str
    came: str
    """In a few words."""


async def show(view: View) -> Response:
    """A page of them."""
    q, since = view.query("q"), view.query("since", most=100).strip()
    page = await view.admin.audit(
        before=view.query("before", most=100),
        since=since or None,
        limit=view.number("limit", 100, least=1),
        containing=q,
    )
    return view.render(
        "audit/list.html",
        deeds=deeds_of(page.entries),
        more=page.next,
        unreadable=page.unreadable,
        q=q,
        since=since,
        paged=view.query("before", most=100) != "",
        export=view.url("audit.export", query={"q": q, "since": since}),
    )


def deeds_of(entries: Sequence[AuditEntry]) -> list[Deed]:
    """Entries as actions, the newest first. The one that was written before is told with its outcome, where
    both are here."""
    began = {entry.id: entry for entry in entries if not entry.of}
    ended = {entry.of for entry in entries if entry.of}
    return [deed_of(entry, began.get(entry.of)) for entry in entries if entry.id not in ended]


def deed_of(entry: AuditEntry, began: AuditEntry | None) -> Deed:
    """One action, by its last entry."""
    first = began or entry
    failed = entry.outcome in ("failed", "refused", "cancelled")
    came = entry.reason if failed else came_of(entry)
    return Deed(
        at=entry.at,
        who=entry.who,
        by=f"{entry.role}, {entry.face}",
        action=entry.action,
        target=entry.target or entry.query,
        reason="" if failed and began is None else first.reason,
        outcome=entry.outcome or BEGUN,
        came=came,
    )


def came_of(entry: AuditEntry) -> str:
    """What an action was said to do, or what has come of it, in a few words."""
    found = told(entry.preview)
    if not isinstance(found, dict):
        return "" if found is None else said_plainly(found)
    said = cast("dict[str, object]", found)
    if isinstance(said.get("text"), str):
        return f"{'' if said.get('done', True) else 'not done: '}{said['text']}"
    shown = {name: value for name, value in said.items() if value not in (None, "", [], {})}
    return ", ".join(f"{name.replace('_', ' ')} {said_plainly(value)}" for name, value in shown.items())


async def export(view: View) -> Response:
    """All entries that fit, one a line, as JSON."""
    asked: dict[str, Any] = {"containing": view.query("q"), "limit": 1_000}
    asked["since"] = view.query("since", most=100).strip() or None
    first = await view.admin.audit(**asked)

    async def lines() -> AsyncGenerator[bytes, None]:
        page = first
        while True:
            for entry in page.entries:
                yield encoded(audit_line(entry)) + b"\n"
            if not page.next:
                return
            page = await view.admin.audit(before=page.next, **asked)

    return Export(lines(), "audit")


ROUTES: list[Route] = [Page("audit", show, live=["rows"], every=2.0), Endpoint("/audit/export", export)]
