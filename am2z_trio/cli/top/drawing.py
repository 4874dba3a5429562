"""A look as the lines of a terminal, cut to its size; and as plain text, of which nothing is cut."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Literal

from am2z_trio.model.views.findings import Finding, Severity

from ..display import many, shown, table
from . import nodes, rows
from .columns import cropped, fitted, padded
from .looking import Look
from .nodes import NodeRow
from .rows import QueueRow
from .screen import KEYS, Screen

Style = Literal["", "bold", "dim", "red", "yellow", "reverse"]

Line = tuple[str, Style]

MARKS: Final[dict[Severity, str]] = {"critical": "✕", "warning": "!", "info": "·"}

_FINDINGS: Final[dict[Severity, Style]] = {"critical": "red", "warning": "yellow", "info": ""}

_STATES: Final[dict[str, Style]] = {
    **dict.fromkeys(("unserved", "circuit open", "silent", "lost"), "red"),
    **dict.fromkeys(("held", "paused", "draining", "unheard", "not ready"), "yellow"),
    "idle": "dim",
}

HINTS: Final = "↑↓ select  e explain  t tree  p pause  r redrive  s sort: {sort}  / filter  ? keys  q quit"
SCOPE_HINTS: Final = "↑↓ select  e explain  c cancel  escape back  q quit"

MOST_NAME: Final = 30
"""Cells of a name in a question, so that what is asked is seen."""


def headline(look: Look, place: str) -> str:
    there = f"{many(look.live_nodes, 'node')}  {many(look.sessions, 'session')}"
    return (
        f"am2z top  {shown(place)}   {rows.rate(look.rate)}/s done  {rows.rate(look.failed)}/s failed  "
        f"{look.waiting:,} wait  {look.active:,} run   {there}"
    )


def finding_text(finding: Finding) -> str:
    """What is found; what to do says `am2z findings`."""
    return f"{MARKS[finding.severity]} {shown(finding.text)}"


# --- plain ----------------------------------------------------------------------------------


def plain(look: Look, queues: Sequence[QueueRow], place: str) -> str:
    """The headline, findings, and two tables."""
    parts = [headline(look, place), *map(finding_text, look.findings)]
    parts.append(table([one.heading for one in rows.COLUMNS], [rows.cells(row) for row in queues]))
    if look.nodes:
        drawn = [nodes.cells(row, whole=True) for row in look.nodes]
        parts.append(table([one.heading for one in nodes.COLUMNS], drawn))
    return "\n".join(parts)


# --- on a terminal --------------------------------------------------------------------------


def frame(look: Look, screen: Screen, place: str, width: int, height: int, trouble: str = "") -> list[Line]:
    """No more lines than `height`, and none wider than `width`. `trouble`: why the look is an old one."""
    at = time.strftime("%H:%M:%S", time.localtime(look.at / 1000))
    lines = list[Line]()
    lines.append((f"{at}  {headline(look, place)}", "bold"))
    if trouble:
        lines.append((f"✕ as of {at}: {shown(trouble)}", "red"))
    for finding in look.findings:
        lines.append((finding_text(finding), _FINDINGS[finding.severity]))
    if screen.mode == "keys":
        for key, told in KEYS:
            lines.append((f"  {padded(key, 6)}{told}", ""))
    elif screen.mode == "why":
        for one in screen.why:
            lines.append((shown(one), ""))
    elif screen.shows_scopes:
        lines += _scope_lines(screen, width, height - 1 - len(lines))
    else:
        lines += _tables(look, screen, width, height - 1 - len(lines))
    lines = lines[: height - 1]
    while len(lines) < height - 1:
        lines.append(("", ""))
    lines.append(_last_line(look, screen))
    return [(cropped(text, width), style) for text, style in lines]


def _tables(look: Look, screen: Screen, width: int, room: int) -> list[Line]:
    queues = screen.shown(look.queues)
    # Of nodes a third of the room is shown at least, and more where queues are few.
    headings = 2 if look.nodes else 1
    left = max(0, room - headings)
    few = min(len(look.nodes), max(left // 3, left - len(queues)))
    return _queue_lines(queues, screen.selected, width, left - few) + _node_lines(look.nodes[:few], width)


def _queue_lines(queues: Sequence[QueueRow], selected: str | None, width: int, room: int) -> list[Line]:
    """A heading, and so many rows that the selected one is among them."""
    at = next((i for i, row in enumerate(queues) if row.queue == selected), 0)
    first = max(0, at - room + 1)
    queues = queues[first : first + room]
    heading, *texts = fitted(rows.COLUMNS, [rows.cells(row) for row in queues], width)
    lines = list[Line]()
    lines.append((heading, "bold"))
    for text, row in zip(texts, queues, strict=True):
        if row.queue == selected:
            lines.append((padded(text, width), "reverse"))
        else:
            lines.append((text, _STATES.get(row.state, "")))
    return lines


def _scope_lines(screen: Screen, width: int, room: int) -> list[Line]:
    """What runs, and as much of it that the selected job is among it."""
    of = f" of {shown(screen.scope_queue)}" if screen.scope_queue else ""
    lines = list[Line]()
    lines.append((f"what runs{of}", "bold"))
    room -= 1
    at = next((i for i, line in enumerate(screen.scopes) if line.job and line.job == screen.job), 0)
    first = max(0, at - room + 1)
    for line in screen.scopes[first : first + room]:
        is_selected = bool(line.job) and line.job == screen.job
        text = shown(line.text)
        if is_selected:
            lines.append((padded(text, width), "reverse"))
        else:
            lines.append((text, ""))
    return lines


def _node_lines(some: Sequence[NodeRow], width: int) -> list[Line]:
    if not some:
        return []
    heading, *texts = fitted(nodes.COLUMNS, [nodes.cells(row, whole=False) for row in some], width)
    return [
        (heading, "bold"),
        *((text, _STATES.get(row.state, "")) for text, row in zip(texts, some, strict=True)),
    ]


def _last_line(look: Look, screen: Screen) -> Line:
    if screen.mode == "ask" and screen.asked is not None:
        does, name, behind = screen.asked.question
        return f"{' '.join(filter(None, (does, cropped(shown(name), MOST_NAME), behind)))}? y/n", "reverse"
    if screen.mode == "filter":
        return f"/{shown(screen.filter)}_   enter keeps it, escape shows all", "reverse"
    if screen.mode in ("keys", "why"):
        return "any key goes back", "dim"
    if screen.notice:
        return shown(screen.notice), "bold"
    if screen.mode == "tree":
        return SCOPE_HINTS, "dim"
    hints = HINTS.format(sort=screen.sort)
    if screen.filter:
        found = len(screen.shown(look.queues))
        hints = f"{found:,} of {len(look.queues):,} with {cropped(shown(screen.filter), 12)!r}  {hints}"
    return hints, "dim"
