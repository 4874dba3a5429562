"""`am2z bulk`: actions on many jobs, which go on whoever has begun them."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from am2z_trio.admin import Admin
from am2z_trio.model.views.bulks import BulkAction, BulkRecord

from ..display import many, note, say
from ..exits import DONE, FAILED, REFUSED
from ..operators import add_reason, answered, open_admin
from ..output import Output
from ..parsing import Commands, add_command, add_group
from ..watch import add_watch

EXAMPLES = (
    "am2z bulk ls                    actions on many jobs, and how far they have come",
    "am2z bulk carry-on 19ac0d-1f2e  go on with one whose terminal was closed",
    "am2z bulk stop 19ac0d-1f2e",
)

COLUMNS = [
    ("bulk", "id"),
    ("action", "action"),
    ("state", "state"),
    ("done", "done"),
    ("skipped", "skipped"),
    ("failed", "failed"),
    ("of", "most"),
    ("who", "who"),
    ("query", "query"),
]


def add(commands: Commands) -> None:
    family = add_group(commands, "bulk", "actions on many jobs: look, carry on, stop", example=EXAMPLES)
    parser = add_command(family, "ls", _list, "the newest ones", example=EXAMPLES[:1])
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (50)")
    add_watch(parser)
    for name, run, line, example in (
        ("show", _show, "how far one has come, and what has failed", "am2z bulk show 19ac0d-1f2e"),
        ("carry-on", _carry_on, "go on with one, until it is done", EXAMPLES[1]),
        ("stop", _stop, "let one go no further", EXAMPLES[2]),
    ):
        one = add_command(family, name, run, line, example=(example,))
        one.add_argument("bulk", metavar="BULK", help="its id")
        if name == "stop":
            add_reason(one)


async def done_to_all(options: argparse.Namespace, admin: Admin, action: BulkAction, **chosen: Any) -> int:
    """Do something to all that `--where` asks for; without `--yes` only say how many those are."""
    begin = partial(admin.begin_bulk, action, options.where, **chosen)
    return await carried_out(options, admin, action, options.where, begin)


async def carried_out(
    options: argparse.Namespace,
    admin: Admin,
    action: BulkAction,
    query: str,
    begin: Callable[..., Awaitable[BulkRecord]],
) -> int:
    """As `done_to_all`, by whatever begins it with `agreed` and `reason`."""
    preview = await admin.preview_bulk(action, query)
    if not options.yes or not preview.matched:
        hint = "" if not preview.matched else " (--yes does it; `am2z bulk stop` ends it)"
        Output(options.json).told(f"{preview.text}{hint}", preview)
        return REFUSED if preview.matched else DONE
    begun = await begin(agreed=preview.matched, reason=options.reason)
    what = many(preview.matched, "session" if action == "stop" else "job")
    note(f"bulk {begun.id}: {action} of {what} has begun")
    return _ended(options, await admin.carry_on(begun.id))


def _ended(options: argparse.Namespace, record: BulkRecord) -> int:
    output, is_done = Output(options.json), record.state == "done" and not record.failed
    (output.done if is_done else output.told)(_said(record), record)
    if not options.json:
        for failure in record.failures:
            say(f"{failure.job}: {failure.why}", error=True)
    return DONE if is_done else FAILED


def _said(record: BulkRecord) -> str:
    note = f": {record.note}" if record.note else ""
    counts = f"{record.done:,} done, {record.skipped:,} had moved on, {record.failed:,} failed"
    return f"bulk {record.id} ({record.action}) {record.state}: {counts}{note}"


async def _list(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        records = await admin.bulks(limit=options.limit)
    Output(options.json).rows(COLUMNS, records, none="there are none")
    return DONE


async def _show(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        record = await admin.bulk(options.bulk)
    Output(options.json).one(record)
    return DONE


async def _carry_on(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        return _ended(options, await admin.carry_on(options.bulk))


async def _stop(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        answer = await admin.stop_bulk(options.bulk, reason=options.reason)
        return answered(options, options.bulk, answer)
