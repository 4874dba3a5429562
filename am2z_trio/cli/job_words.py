"""A job in words: a row of a list, and all that is known of one."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from am2z_trio.model.moments import time_of
from am2z_trio.model.records import WaitFacts
from am2z_trio.model.views.actions import JobShown
from am2z_trio.model.views.jobs import JobRow, TrailEntry
from am2z_trio.policy.gates import waits_told

from .display import many
from .output import as_map

TIMES: Final = ("at", "since", "ended", "due", "deadline")
"""Fields of a job's record that are times."""


class ListedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is listed."""

    id: str
    status: str
    processor: str
    session: str
    attempt: int
    lost: int
    """How often it was lost with its node; beyond twenty entries in its record, no more are known."""
    age: str
    ran: str
    waits: str
    """What it is parked for, since when, and for how long at the most."""
    error: str


def listed(row: JobRow, now: int) -> ListedJob:
    return ListedJob(
        id=row.id,
        status=row.shown_as,
        processor=row.processor,
        session=row.session,
        attempt=row.attempt,
        lost=row.lost,
        age=lasted(now - row.at) if row.at else "",
        ran="" if row.ran is None else lasted(row.ran),
        waits="; ".join(waits_told(wait, now) for wait in row.waits),
        error=": ".join(part for part in (row.code, row.error or row.reason) if part),
    )


def lasted(ms: int) -> str:
    """A time in two units at most: `41 m`, `2 h 5 m`, `0.3 s`."""
    seconds = max(0, ms) / 1000
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (int(seconds), "s")]
    told = [f"{amount} {unit}" for amount, unit in parts if amount]
    return " ".join(told[:2])


def in_words(shown: JobShown, now: int) -> dict[str, object]:
    """All that is known of one, in the order in which it is read."""
    row = shown.row
    told = as_map(listed(row, now))
    # Until when a parked job waits is told with what it waits for; a queue bears its processor's name.
    is_told = {*told, "trail", "due" if row.waits else "", "queue" if row.queue == row.processor else ""}
    for name, value in as_map(row).items():
        if value and name not in is_told:
            told[name] = told_moment(value) if name in TIMES else value
            if isinstance(value, tuple):
                told[name] = ", ".join(cast("tuple[str, ...]", value))
    if row.waits:
        told["parked"] = "; ".join(_parked(wait, now) for wait in row.waits)
    for name, payload in (("input", shown.input), ("output", shown.output)):
        if payload.kept:
            hidden = f"{many(payload.hidden, 'value')} hidden: --reveal" if payload.hidden else ""
            is_seen = payload.value is not None or not hidden
            told[name] = f"{payload.value!r}{hidden and f' ({hidden})'}" if is_seen else f"({hidden})"
    if shown.calls:
        told["called"] = ", ".join(shown.calls)
    return told


def _parked(wait: WaitFacts, now: int) -> str:
    till = "" if wait.until is None else f", until {told_moment(wait.until)}"
    return f"{waits_told(wait, now)}{till}"


def told_moment(at: int) -> str:
    """A stored time, for people."""
    moment = time_of(at)
    return str(at) if moment is None else moment.isoformat(timespec="seconds")


def entry_told(entry: TrailEntry, now: int) -> str:
    """A line of what happened to a job."""
    on = f" on {entry.node}" if entry.node else ""
    said = ": ".join(part for part in (entry.code, entry.text) if part)
    return f"{lasted(now - entry.at)} ago: {entry.what}, attempt {entry.attempt}{on}{said and f': {said}'}"
