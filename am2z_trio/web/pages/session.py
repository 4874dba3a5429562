"""One session: its state in versions, what runs in it, its jobs; stopped, and its state restored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import msgspec
from markupsafe import Markup
from starlette.responses import Response

from am2z_trio.admin.query import Query, Text
from am2z_trio.model.as_json import encoded
from am2z_trio.model.errors import StateIntegrityError
from am2z_trio.model.views.sessions import SessionShown, StateShown, StoredBytes, VersionRow
from am2z_trio.model.views.tree import NodeTree

from ..charts import bar
from ..routes import Action, Page, Route
from ..view import MOST_QUERY, View
from .sessions import grace_of

TABS: Final = ("state", "tree", "jobs")
SHOWN: Final = ("changes", "whole", "raw")
MOST_JOBS: Final = 50
BYTES_PER_LINE: Final = 16


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """The session's jobs of one processor, as a bar."""

    queue: str
    bar: Markup
    said: str


async def show(view: View) -> Response:
    """One of its tabs."""
    return await _show(view, reveal=False)


async def reveal(view: View) -> Response:
    """The state in full, but for what rules hide: it takes the permission, and is audited."""
    return await _show(view, reveal=True)


async def show_bytes(view: View) -> Response:
    """What is stored, as bytes: it takes the permission to reveal, and is audited."""
    stored = await view.admin.stored_bytes(view.id("session"), reason=view.reason)
    return await _show(view, reveal=False, stored=stored)


async def _show(view: View, *, reveal: bool, stored: StoredBytes | None = None) -> Response:
    name, tab = view.id("session"), view.choice("tab", TABS, "state")
    shown = await view.admin.session(name)
    version = view.number("v", 0, most=2**53) or None
    against = view.number("against", 0, most=2**53) or None
    state, bad, spoilt = None, shown.bad, ""
    # The newest one is no state while its bytes are not what was written; those that are kept are.
    asked = version or (shown.versions[0].version if shown.versions else None)
    if tab == "state" and not (bad and (version is None or version == shown.row.version)):
        try:
            state = await view.admin.state(name, asked, against=against, reveal=reveal, reason=view.reason)
        except StateIntegrityError as error:
            spoilt = error.message
    jobs = str(Query((Text("session", name),)))
    # An id may be longer than a filter: then its jobs are found by no other way than from their queues.
    can_be_asked = len(jobs) <= MOST_QUERY
    tree = await view.admin.tree(session=name, depth=4) if tab == "tree" else None
    page = await view.admin.search(jobs, limit=MOST_JOBS) if tab == "jobs" and can_be_asked else None
    seen = list(reversed(shown.versions))
    places = [one.version for one in seen]
    here = places.index(asked) if asked in places else -1
    return view.render(
        "sessions/session.html",
        name=name,
        tab=tab,
        shown=shown,
        sees_all=view.principal.sees_all,
        row=shown.row,
        bad=bad,
        spoilt=spoilt,
        whole_ones=sum(not one.spoilt for one in shown.versions),
        chosen=asked,
        state=state,
        as_=view.choice("as", SHOWN, "changes"),
        versions=seen,
        earlier=places[here - 1] if here > 0 else None,
        later=places[here + 1] if 0 <= here < len(places) - 1 else None,
        revealed=reveal,
        whole=_whole(state),
        stored=stored,
        lines=list(_hex(stored.data)) if stored else [],
        lanes=[_lane(shown, queue.queue) for queue in shown.lanes],
        tree=[] if tree is None else [one for one in tree.nodes if _has_rows(one)],
        silent=[] if tree is None else [one.node for one in tree.nodes if one.silent or one.refusal],
        jobs=[] if page is None else page.rows,
        query=jobs if can_be_asked else "",
        restorable=_restorable(shown, state),
    )


def _has_rows(one: NodeTree) -> bool:
    return any(row.scope != "node" for row in one.rows)


def _restorable(shown: SessionShown, state: StateShown | None) -> VersionRow | None:
    """The version that is looked at, where writing it anew changes something."""
    if state is None or (state.version.newest and not shown.bad):
        return None
    return state.version


def _whole(state: StateShown | None) -> str:
    if state is None or not state.value.kept:
        return ""
    try:
        return json.dumps(state.value.value, ensure_ascii=False, indent=2, default=str)
    except TypeError:
        # A state may have keys for which JSON has no word.
        return msgspec.json.format(encoded(state.value.value), indent=2).decode()


def _lane(shown: SessionShown, queue: str) -> Lane:
    (lane,) = (one for one in shown.lanes if one.queue == queue)
    whole = max(one.active + one.waiting + one.delayed for one in shown.lanes) or 1
    parts = [
        f"{n:,} {word}"
        for n, word in ((lane.active, "running"), (lane.waiting, "waiting"), (lane.delayed, "delayed"))
        if n
    ]
    said = ", ".join(parts) or "all have ended"
    given = (("ok", lane.active), ("wait", lane.waiting), ("later", lane.delayed))
    return Lane(queue=queue, bar=bar(*given, whole=whole, label=said), said=said)


def _hex(data: bytes) -> Iterator[tuple[str, str, str]]:
    """Where it is, the bytes, and those that are plain letters."""
    for at in range(0, len(data), BYTES_PER_LINE):
        part = data[at : at + BYTES_PER_LINE]
        plain = "".join(chr(one) if 32 <= one < 127 else "." for one in part)
        yield f"{at:06x}", part.hex(" "), plain


# --- actions ---------------------------------------------------------------------------------


async def ask_stop(view: View) -> Response:
    """What stopping it does."""
    name = view.id("session")
    preview = await view.admin.preview_stop_session(name)
    return view.render("sessions/stop_one.html", name=name, preview=preview)


async def stop(view: View) -> Response:
    """It is stopped on every node."""
    name = view.id("session")
    answer = await view.admin.stop_session(name, grace=grace_of(view), reason=view.reason)
    return view.done(answer, view.url("session", session=name))


async def ask_restore(view: View) -> Response:
    """Which version becomes the newest."""
    name = view.id("session")
    shown = await view.admin.session(name)
    version = view.number("v", 1, least=1, most=2**53)
    return view.render("sessions/restore.html", name=name, version=version, row=shown.row)


async def restore(view: View) -> Response:
    """An earlier version is written anew."""
    name, version = view.id("session"), view.field_number("v", 1, least=1)
    answer = await view.admin.restore_state(name, version, reason=view.reason)
    return view.done(answer, view.url("session", session=name))


async def verify(view: View) -> Response:
    """Whether the state is what was written."""
    name = view.id("session")
    return view.done(await view.admin.verify_state(name), view.url("session", session=name))


ROUTES: list[Route] = [
    Page("session", show, live=["facts", "tree", "rows"], every=2.0),
    Action("session.reveal", reveal),
    Action("session.bytes", show_bytes),
    Page("session.stop", ask_stop),
    Action("session.stop", stop),
    Page("session.restore", ask_restore),
    Action("session.restore", restore),
    Action("session.verify", verify),
]
