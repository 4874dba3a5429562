"""`am2z audit`: who has done what, and what became of it."""

from __future__ import annotations

import argparse
from datetime import datetime

import msgspec

from am2z_trio.model.moments import time_or_epoch
from am2z_trio.model.views.audit import AuditEntry

from ..display import note, say
from ..exits import DONE
from ..operators import open_admin
from ..output import Output
from ..parsing import Commands, add_command
from ..watch import add_watch

EXAMPLES = (
    "am2z audit                         the newest entries: before an action, and what became of it",
    "am2z audit --since 2h              of the last two hours; or since 11:00, or 2026-11-27, in UTC",
    "am2z audit --limit 500 --json | jq 'select(.action == \"purge\")'",
)


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it is listed."""

    at: datetime
    who: str
    role: str
    face: str
    action: str
    target: str
    """What it was done to, or the query that names it."""
    outcome: str
    """Empty before it was done."""
    reason: str
    told: object
    """What it was said to do, or what came of it."""
    id: str
    of: str
    """The entry before."""


COLUMNS = [(name, name) for name in ("at", "who", "face", "action", "target", "outcome", "reason", "told")]


def row(entry: AuditEntry) -> AuditRow:
    return AuditRow(
        at=time_or_epoch(entry.at),
        who=entry.who,
        role=entry.role,
        face=entry.face,
        action=entry.action,
        target=entry.target or entry.query,
        outcome=entry.outcome,
        reason=entry.reason,
        told=_plain(entry.preview),
        id=entry.id,
        of=entry.of,
    )


def _plain(packed: msgspec.Raw) -> object:
    """What somebody else has written need not be what it should."""
    try:
        told: object = msgspec.msgpack.decode(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return "unreadable"
    return told


def add(commands: Commands) -> None:
    parser = add_command(
        commands, "audit", _audit, "who has done what, and what became of it", example=EXAMPLES
    )
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many entries (50)")
    parser.add_argument("--before", default="", metavar="ID", help="go on where an earlier list has ended")
    since = "none that are older: 2h, 11:00, 2026-11-27 or 2026-11-27T11:00, in UTC"
    add_watch(parser)
    parser.add_argument("--since", metavar="TIME", help=since)


async def _audit(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        page = await admin.audit(before=options.before, since=options.since, limit=options.limit)
    none = f"nobody has done anything {'yet' if options.since is None else 'since then'}"
    Output(options.json).rows(COLUMNS, map(row, page.entries), none=none)
    if page.next and not options.json:
        note(f"there are older ones: --before {page.next}")
    if page.unreadable:
        say(f"{page.unreadable:,} entries in between cannot be read", error=True)
    return DONE
