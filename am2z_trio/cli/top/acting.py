"""Does what a person wishes, through the service for operators: it asks for permission, and writes down."""

from __future__ import annotations

import textwrap
from typing import Final

from am2z_trio.admin import Admin
from am2z_trio.admin.query import Query, Term, Text
from am2z_trio.model.views.diagnosis import Diagnosis

from .wishes import Asked, Cancelling, Explaining, Pausing

WIDTH: Final = 100
"""Characters of a line that is wrapped."""

SIGNS: Final = {"open": "✓", "shut": "✕", "unknown": "?"}


async def done(admin: Admin, wish: Asked) -> str:
    """What has become of it, in a sentence. Raises what the service raises."""
    if isinstance(wish, Pausing):
        act = admin.pause if wish.on else admin.resume
        return f"{wish.queue}: {(await act(wish.queue)).text}"
    if isinstance(wish, Cancelling):
        return f"{wish.job}: {(await admin.cancel(wish.job)).text}"
    begun = await admin.begin_bulk("retry", _asked(wish.queue, "dead"), agreed=wish.dead)
    ended = await admin.carry_on(begun.id)
    counts = f"{ended.done:,} run again, {ended.skipped:,} had moved on, {ended.failed:,} failed"
    return f"{wish.queue}: {counts} (bulk {ended.id} {ended.state})"


async def explained(admin: Admin, wish: Explaining) -> list[str]:
    """Why a job is as it is, in lines; of a queue the first that waits, else one that is delayed or runs.
    None: there is no such job."""
    if wish.job:
        return told_why(await admin.explain(wish.job))
    for status in ("waiting", "delayed", "active"):
        rows = (await admin.search(_asked(wish.queue, status), limit=1)).rows
        if rows:
            return told_why(await admin.explain(rows[0].id))
    return []


def told_why(found: Diagnosis) -> list[str]:
    """The verdict, the gates, and what may be done."""
    lines = [f"{found.job}  {found.processor}", *textwrap.wrap(found.verdict, WIDTH), ""]
    lines += [f"  {SIGNS[gate.state]} {gate.evidence}" for gate in found.gates]
    return [*lines, *(f"  next: {remedy.text}" for remedy in found.remedies)]


def _asked(queue: str, status: str) -> str:
    terms: tuple[Term, ...] = Text("queue", queue), Text("status", status)
    return str(Query(terms))
