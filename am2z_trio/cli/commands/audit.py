"""`am2z audit`: who has done what, and what became of it."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

import msgspec

from am2z_trio.model.views.audit import AuditEntry

from ..display import say
from ..exits import DONE
from ..operators import open_admin
from ..output import Output
from ..parsing import Commands, add_command

EXAMPLES = (
    "am2z audit                         the newest entries: before an action, and what became of it",
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
        at=datetime.fromtimestamp(entry.at / 1000, UTC),
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


async def _audit(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        page = await admin.audit(before=options.before, limit=options.limit)
    Output(options.json).rows(COLUMNS, map(row, page.entries), none="nobody has done anything yet")
    if page.next and not options.json:
        say(f"there are older ones: --before {page.next}", error=True)
    if page.unreadable:
        say(f"{page.unreadable:,} entries in between cannot be read", error=True)
    return DONE
