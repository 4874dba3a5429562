"""`am2z event`: what happens, as it does, and what has happened, where that is kept."""

from __future__ import annotations

import argparse
from datetime import datetime

import msgspec

from am2z_trio.model.events import Event
from am2z_trio.model.moments import time_or_epoch

from ..display import note, say
from ..exits import DONE
from ..operators import open_admin
from ..output import Output, encode
from ..parsing import Commands, add_command, add_group

EXAMPLES = (
    "am2z event tail                    all that happens, until Ctrl-C",
    "am2z event tail 'job:*' --session alice --json",
    "am2z event tail --from 1795752102261-0:0        from there on, with what was missed",
    "am2z event history 'job:failed' --limit 20",
)

NOT_KEPT = "no history is kept: give event_history=100_000, say, to a runtime of this namespace"


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is listed."""

    at: datetime
    event: str
    processor: str
    job: str
    session: str
    node: str
    data: object
    id: str


COLUMNS = [(name, name) for name in EventRow.__struct_fields__]


def row(event: Event) -> EventRow:
    return EventRow(
        at=time_or_epoch(event.at),
        event=event.name,
        processor=event.processor,
        job=event.job,
        session=event.session,
        node=event.node,
        data=event.data,
        id=event.id,
    )


def add(commands: Commands) -> None:
    family = add_group(commands, "event", "what happens, and what has happened", example=EXAMPLES)
    tail = add_command(family, "tail", _tail, "print events as they come, until Ctrl-C", example=EXAMPLES[:3])
    _add_filters(tail)
    tail.add_argument("--from", dest="since", metavar="ID", help="begin behind this event of the history")
    history = add_command(
        family, "history", _history, "the newest events that are kept", example=EXAMPLES[3:]
    )
    _add_filters(history)
    where = history.add_mutually_exclusive_group()
    where.add_argument("--since", metavar="ID", help="those behind this one; '' for the oldest")
    where.add_argument("--before", metavar="ID", help="those before this one")
    history.add_argument("--queue", metavar="Q", help="those of this queue")
    history.add_argument("--node", metavar="NODE", help="those of jobs that run on this node")
    history.add_argument("--oldest", metavar="TIME", help="no older ones: 2h, 11:00, 2026-11-27 (UTC)")
    history.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (50)")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="such as 'job:*' (all)")
    parser.add_argument("--session", metavar="S")
    parser.add_argument("--job", metavar="ID", help="in full")


async def _tail(options: argparse.Namespace) -> int:
    output = Output(options.json)

    async with (
        open_admin(options) as admin,
        admin.listen(
            options.pattern, session=options.session, job=options.job, since=options.since
        ) as events,
    ):
        note("listening; Ctrl-C ends it")
        async for event in events:
            if options.json:
                output.line(row(event))
            else:
                say(_line(event))
    return DONE


def _line(event: Event) -> str:
    at = time_or_epoch(event.at).strftime("%H:%M:%S.%f")[:-3]
    about = [event.processor, event.job, event.session and f"session {event.session}"]
    data = "" if event.data is None else encode(event.data)
    return "  ".join(part for part in (at, event.name.ljust(14), *about, data) if part)


async def _history(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        page = await admin.events(
            options.pattern,
            session=options.session,
            job=options.job,
            queue=options.queue,
            node=options.node,
            since=options.since,
            before=options.before,
            oldest=options.oldest,
            limit=options.limit,
        )
    none = "no event fits" if page.kept else NOT_KEPT
    Output(options.json).rows(COLUMNS, map(row, page.events), none=none)
    if page.more and not options.json:
        way = "--before" if options.since is None else "--since"
        note(f"there are more: {way} {page.last}")
    return DONE
