"""What has happened to a job, told as lines and as lanes: from its record, and the history of events."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from am2z_trio.model.events import Event
from am2z_trio.model.moments import time_of
from am2z_trio.model.retry import Retry
from am2z_trio.model.telling import cut
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.model.views.jobs import JobRow, TrailEntry
from am2z_trio.model.views.lives import Calls

from .charts.life import Span


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what happened to a job."""

    at: int
    kind: str
    """Which glyph."""
    title: str
    text: str = ""


_TOLD: Final = {
    "retry": ("failed", "Failed"),
    "failed": ("failed", "Failed for good"),
    "released": ("waiting", "Given back"),
    "conflicted": ("warn", "Ran anew"),
    "left": ("waiting", "Its node left"),
    "lost": ("warn", "Lost with its node"),
    "refused": ("warn", "Late result refused"),
    "conflict": ("warn", "Commit refused"),
}

ASKED_AGAIN: Final = ("waiting", "Asked to be run again")

_EVENTS: Final = {
    "job:enqueued": ("waiting", "Accepted"),
    "job:started": ("active", "Claimed"),
    "job:retrying": ("failed", "Failed"),
    "job:parked": ("later", "Parked"),
    "job:completed": ("completed", "Completed"),
    "job:cancelled": ("cancelled", "Cancelled"),
    "job:failed": ("failed", "Failed for good"),
    "job:stalled": ("warn", "Lost with its node"),
    "job:dead": ("failed", "Dead letter"),
}


def happened(row: JobRow, events: list[Event]) -> list[Happened]:
    """What its record says, and what the history of events has besides, in the order of time."""
    found = [
        Happened(at=event.at, kind=kind, title=title, text=_by(event))
        for event in events
        for kind, title in [_EVENTS.get(event.name, ("", ""))]
        if event.name in ("job:enqueued", "job:started", "job:parked")
    ]
    names = {event.name for event in events}
    if row.at and "job:enqueued" not in names:
        origins = f"by {', '.join(row.origins[:3])}, which waits for it" if row.origins else ""
        found.append(Happened(at=row.at, kind="waiting", title="Accepted", text=origins))
    for entry in row.trail:
        kind, title = _TOLD.get(entry.what, ("info", entry.what))
        if entry.code == Retry.code:
            kind, title = ASKED_AGAIN
        found.append(Happened(at=entry.at, kind=kind, title=title, text=_trail_text(entry)))
    if row.since and not any(one.title == "Claimed" and abs(one.at - row.since) < 2 for one in found):
        by = f"by {row.node}, token {row.token}, " if row.node else ""
        found.append(
            Happened(at=row.since, kind="active", title="Claimed", text=f"{by}attempt {row.attempt:,}")
        )
    if row.cancel:
        found.append(Happened(at=2**62, kind="warn", title="To be cancelled", text=row.cancel))
    if row.ended and row.status in ("completed", "cancelled"):
        title = row.status.capitalize()
        found.append(Happened(at=row.ended, kind=row.status, title=title, text=row.reason))
    elif row.ended and not any(entry.what == "failed" for entry in row.trail):
        found.append(Happened(at=row.ended, kind="failed", title="Failed for good", text=row.reason))
    return sorted(found, key=lambda one: one.at)


def _trail_text(entry: TrailEntry) -> str:
    node = f"on {entry.node}" if entry.node else ""
    if entry.what == "refused":
        node = f"of {entry.node}" if entry.node else ""
        parts = [node, f"token {entry.code} is not the newest: nothing was written" if entry.code else ""]
        return ", ".join(part for part in (*parts, entry.text) if part)
    said = ": ".join(part for part in (entry.code, entry.text) if part)
    return ", ".join(part for part in (f"attempt {entry.attempt:,} {node}".strip(), said) if part)


def _by(event: Event) -> str:
    data = _data(event)
    attempt, until = data.get("attempt"), data.get("until")
    moment = time_of(until) if isinstance(until, int) else None
    parts = (
        f"by {event.node}" if event.node else "",
        f"attempt {attempt}" if attempt else "",
        f"until {moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "",
    )
    return ", ".join(part for part in parts if part)


def _data(event: Event) -> dict[str, object]:
    data: object = event.data
    return cast("dict[str, object]", data) if isinstance(data, dict) else {}


def told_by(events: list[Event]) -> list[Happened]:
    """What the history of events alone has of a job."""
    found = list[Happened]()
    for event in events:
        kind, title = _EVENTS.get(event.name, ("info", event.name))
        data = _data(event)
        if data.get("code") == Retry.code:
            kind, title = ASKED_AGAIN
        said = ": ".join(str(data[key]) for key in ("code", "message") if data.get(key))
        text = ", ".join(part for part in (_by(event), cut(said, 500)) if part)
        found.append(Happened(at=event.at, kind=kind, title=title, text=text))
    return found


def first_known(row: JobRow, events: list[Event]) -> int:
    """The earliest moment that anything says of it; 0 where nothing does."""
    known = [event.at for event in events] + [entry.at for entry in row.trail] + [row.since, row.ended]
    return min((at for at in known if at), default=0)


_ENDS: Final = {"retry", "failed", "released", "conflicted", "left", "lost", "parked"}
"""What ends an attempt's run."""


def spans(row: JobRow, events: list[Event], calls: Calls, now: int) -> list[Span]:
    """A job's life as spans of lanes. Where an attempt began is known of the last one, and of those whose
    beginning the history of events has, which alone knows when it was parked; of others no more than when
    they ended."""
    begun = sorted({event.at for event in events if event.name == "job:started"} | {row.since} - {0})
    at, found = row.at or first_known(row, events), list[Span]()
    before = ""
    for entry in sorted([*row.trail, *_parked(events)], key=lambda one: one.at):
        if entry.what not in _ENDS:
            continue
        start = next((one for one in begun if at <= one <= entry.at), None)
        lane = f"Attempt {entry.attempt:,}"
        if start is not None:
            found.append(_waits(at, start, before))
        kind, said = _ended(entry.what, entry.code)
        found.append(Span(lane, at if start is None else start, entry.at, kind, said, start is None))
        at, before = entry.at, entry.what
    last = f"Attempt {row.attempt:,}"
    if row.since and row.since >= at:
        found.append(_waits(at, row.since, before))
        end = row.ended or now
        kind, said = _end(row)
        found.append(Span(last, row.since, end, kind, said))
    elif row.status not in TERMINAL:
        lane = _LANES.get(before, "Waits") if row.status == "later" else "Waits"
        found.append(Span(lane, at, max(at, now), "later" if row.status == "later" else "wait"))
    elif row.ended and row.ended > at:
        found.append(Span("Waits", at, row.ended, "wait"))
    for call in calls.rows:
        one = call.row
        if one is None or one.parent != row.id or not one.at:
            continue
        kind, _ = _end(one)
        found.append(Span("Calls", one.since or one.at, one.ended or now, kind, one.processor))
    return found


def _parked(events: list[Event]) -> list[TrailEntry]:
    """When it was parked, as entries of a trail, which has none of it: there all goes well."""
    found, attempt = list[TrailEntry](), 1
    for event in sorted(events, key=lambda one: one.at):
        if event.name == "job:started":
            said = _data(event).get("attempt")
            attempt = said if isinstance(said, int) else attempt
        elif event.name == "job:parked":
            found.append(TrailEntry(event.at, "parked", event.node, attempt))
    return found


_LANES: Final = {"retry": "Backs off", "parked": "Parked"}
"""What a job does that has not begun again: it waits, as it does before it begins, unless it failed and waits
so much longer, or waits for what it has asked for."""


def _waits(at: int, start: int, before: str) -> Span:
    lane = _LANES.get(before, "Waits")
    return Span(lane, at, start, "wait" if lane == "Waits" else "later")


def _ended(what: str, code: str) -> tuple[str, str]:
    if code == Retry.code:
        return "off", "asked to be run again"
    if what in ("retry", "failed"):
        return "bad", code
    return "off", {"lost": "its node was lost", "left": "its node left"}.get(what, what)


def _end(row: JobRow) -> tuple[str, str]:
    if row.status == "completed":
        return "ok", "completed"
    if row.status == "failed":
        return "bad", row.code or "failed"
    if row.status == "cancelled":
        return "off", "cancelled"
    return ("", f"runs on {row.node}") if row.status == "active" else ("wait", "waits")
