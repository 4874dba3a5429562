"""What has happened: the history of events, newest first."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, cast

from starlette.responses import Response

from am2z_trio.model.events import Event

from ..api.shown import Shown
from ..exports import Export
from ..routes import Endpoint, Page, Route
from ..view import View
from ..words import said_plainly, utc

MOST_EXPORTED: Final = 100_000
"""Events of one export; `before` goes on."""

KINDS: Final = (
    ("All", "*"),
    ("Jobs", "job:*"),
    ("Failed", "job:failed"),
    ("Dead", "job:dead"),
    ("Lost", "job:stalled"),
    ("Sessions", "session:*"),
    ("Queues", "queue:*"),
    ("Schedules", "schedule:*"),
    ("Nodes", "runtime:*"),
)

NARROWED: Final = ("queue", "session", "job", "node", "oldest")
"""By what else they are asked for."""

GLYPHS: Final[Mapping[str, str]] = {
    "job:enqueued": "waiting",
    "job:started": "active",
    "job:progress": "active",
    "job:retrying": "later",
    "job:parked": "later",
    "job:completed": "completed",
    "job:cancelled": "cancelled",
    "job:failed": "failed",
    "job:dead": "dead",
    "job:stalled": "warn",
    "session:stopped": "cancelled",
    "queue:paused": "warn",
    "schedule:missed": "warn",
    "schedule:skipped": "warn",
    "connection:lost": "failed",
}
"""By the event, what stands before it."""


async def show(view: View) -> Response:
    """A page of them."""
    asked = _asked(view)
    page = await view.admin.events(
        asked["event"] or "*",
        **_narrowed(asked),
        before=view.query("before", most=100) or None,
        limit=view.number("limit", 100, least=1),
    )
    kinds = [
        (
            label,
            view.here(event=None if pattern == "*" else pattern, before=None),
            pattern == asked["event"],
            None,
        )
        for label, pattern in KINDS
    ]
    return view.render(
        "events/list.html",
        events=page.events[::-1],
        page_of=page,
        more=page.last if page.more else "",
        asked=asked,
        kinds=kinds,
        glyphs=GLYPHS,
        said_of=said_of,
        paged=view.query("before", most=100) != "",
        export=view.url(
            "events.export", query={name: value for name, value in asked.items() if value != "*"}
        ),
    )


def _asked(view: View) -> dict[str, str]:
    asked = {name: view.query(name).strip() for name in ("event", *NARROWED)}
    return asked | {"event": asked["event"] or "*"}


def _narrowed(asked: Mapping[str, str]) -> dict[str, Any]:
    return {name: asked[name] or None for name in NARROWED}


def said_of(event: Event) -> str:
    """What it says beside its names, in a few words."""
    data: Any = event.data
    if not isinstance(data, dict):
        return "" if data is None else said_plainly(data)
    said = cast("dict[object, Any]", data)
    if "code" in said:
        return f"{said['code']}: {said.get('message', '')}, attempt {said.get('attempt', 1)}"
    if set(said) == {"attempt"}:
        return "" if said["attempt"] == 1 else f"attempt {said['attempt']}"
    if event.name.startswith("schedule:") and isinstance(said.get("at"), int):
        said = {**said, "at": f"{utc(said['at'])} UTC"}
    return ", ".join(f"{name} {said_plainly(value)}" for name, value in said.items())


async def export(view: View) -> Response:
    """All that fit, newest first, one a line, as JSON."""
    asked, place = _asked(view), view.query("before", most=100) or None

    async def read(before: str | None) -> tuple[list[Event], str]:
        page = await view.admin.events(
            asked["event"],
            **_narrowed(asked),
            before=before,
            limit=1_000,
        )
        return page.events[::-1], page.last if page.more else ""

    first = await read(place)

    async def lines() -> AsyncGenerator[bytes, None]:
        (events, more), sent = first, 0
        while True:
            for event in events:
                yield _SHOWN.encoded(event) + b"\n"
            sent += len(events)
            if not more or sent >= MOST_EXPORTED:
                return
            events, more = await read(more)

    return Export(lines(), "events")


_SHOWN: Final = Shown(Event)

ROUTES: list[Route] = [Page("events", show, live=["rows"], every=1.0), Endpoint("/events/export", export)]
