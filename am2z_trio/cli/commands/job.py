"""`am2z job`: jobs searched for, looked at, and acted upon."""

from __future__ import annotations

import argparse
from datetime import datetime
from functools import partial
from math import inf
from typing import Any

import anyio
import msgspec

from am2z_trio.admin import Admin
from am2z_trio.admin.exclusions import told
from am2z_trio.admin.jobs import MOST_WAITED
from am2z_trio.model.checks import require_seconds
from am2z_trio.model.moments import time_of
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records import LogLine
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.model.views.search import Page

from ..display import note, say
from ..exits import DONE, FAILED
from ..given import add_signal, add_state_version, given_json, signal_value
from ..job_words import entry_told, in_words, listed, told_moment
from ..operators import add_reason, answered, open_admin, require_one
from ..output import Output, as_map
from ..parsing import Command, Commands, add_command, add_group, add_of_one, add_yes, moment
from ..watch import add_watch
from .bulk import done_to_all

_add_of_one = partial(add_of_one, what="job", help="its id in full")

EXAMPLES = (
    "am2z job ls 'status:failed queue:charge since:11:00'",
    "am2z job show 01k9x62c0d-9001",
    "am2z job cancel --where 'queue:charge status:waiting age>1h' --yes",
    "am2z job enqueue app.price --state '{\"sku\": 5}' --session alice",
    "am2z job wait 01k9x62c0d-9001 --timeout 30",
    "am2z job test 01k9x62c0d-9001 > test_it.py",
    "am2z job signal 01k9x62c0d-9001 approval '{\"yes\": true}'",
    "am2z job logs 01k9x62c0d-9001 --follow",
)

LINE_COLUMNS = [("at", "at"), ("level", "level"), ("text", "text")]

COLUMNS = [
    ("job", "id"),
    ("status", "status"),
    ("queue", "processor"),
    ("session", "session"),
    ("attempt", "attempt"),
    ("lost", "lost"),
    ("age", "age"),
    ("ran", "ran"),
    ("waits for", "waits"),
    ("error", "error"),
]
"""What they wait for has a column where any is parked."""


def add(commands: Commands) -> None:
    family = add_group(commands, "job", "search for jobs, look at them, act on them", example=EXAMPLES)
    add_search(family, _list, "jobs that a query asks for, or all", EXAMPLES[0])
    add_show(family, "all that is known of one", EXAMPLES[1])
    _add_action(family, "cancel", _cancel, "cancel one that waits or runs, or many", EXAMPLES[2])
    _add_action(family, "retry", _retry, "queue a dead letter again, or many", "am2z job retry J")
    following = _add_of_one(family, "next", _next, "have it begin next", "am2z job next J")
    add_reason(following)
    signal = _add_of_one(family, "signal", _signal, "send it what it waits for", EXAMPLES[6])
    add_signal(signal)
    enqueue = add_command(family, "enqueue", _enqueue, "submit one", example=EXAMPLES[3:4])
    enqueue.add_argument("processor", metavar="PROCESSOR", help="its name")
    enqueue.add_argument("--state", metavar="JSON", help="what it is given: JSON, @FILE, or - for the input")
    add_state_version(enqueue)
    enqueue.add_argument("--session", metavar="S")
    begins = enqueue.add_mutually_exclusive_group()
    begins.add_argument("--delay", type=float, metavar="SECONDS", help="it waits so long first")
    begins.add_argument("--at", type=moment, metavar="TIME", help="it waits until then: 2026-12-01T06:30Z")
    enqueue.add_argument("--expires", type=float, metavar="SECONDS", help="never run if not begun by then")
    enqueue.add_argument("--tag", action="append", metavar="T", help="a word to find it by; may be repeated")
    enqueue.add_argument("--id", metavar="ID", help="an id of its own: asked for again, it is not run twice")
    add_reason(enqueue)
    wait = _add_of_one(family, "wait", _wait, "wait for its end; 1 if it has failed", EXAMPLES[4])
    wait.add_argument("--timeout", type=float, metavar="SECONDS", help="wait no longer than this")
    line = "what it has logged, where its nodes keep that; is audited"
    logs = add_command(family, "logs", _logs, line, example=("am2z job logs J", EXAMPLES[7]))
    logs.add_argument("job", metavar="JOB", help="its id in full")
    logs.add_argument("--follow", action="store_true", help="and what it logs from now on, until it ends")
    add_reason(logs)
    test = _add_of_one(family, "test", _test, "print a test that runs what it was given", EXAMPLES[5])
    add_reason(test)


def add_show(family: Commands, line: str, example: str) -> None:
    """`show`: one job."""
    show = _add_of_one(family, "show", _show, line, example)
    show.add_argument("--reveal", action="store_true", help="with what it was given and returned; is audited")
    add_reason(show)


def add_search(family: Commands, run: Command, line: str, example: str) -> None:
    """`ls`: a list that a query narrows down."""
    parser = add_command(family, "ls", run, line, example=(example,))
    parser.add_argument(
        "query", nargs="*", metavar="QUERY", help="field:value field:prefix* -field:value age>5m ..."
    )
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (50)")
    parser.add_argument("--cursor", default="", metavar="C", help="go on where an earlier list has ended")
    add_watch(parser)


def _add_action(family: Commands, name: str, run: Command, line: str, example: str) -> None:
    add_of_many(add_command(family, name, run, line, example=(example,)))


def add_of_many(parser: argparse.ArgumentParser) -> None:
    """For what is done to one job, or to all that a query asks for."""
    parser.add_argument("job", nargs="?", metavar="JOB", help="its id in full")
    parser.add_argument("--where", metavar="QUERY", help="or all that a query asks for")
    add_yes(parser, "do it to all of them")
    add_reason(parser)


# --- lists --------------------------------------------------------------------------------------


class LoggedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that a job has logged."""

    at: datetime | None
    level: str
    text: str


async def _list(options: argparse.Namespace) -> int:
    return await list_jobs(options, " ".join(options.query))


async def list_jobs(options: argparse.Namespace, query: str) -> int:
    async with open_admin(options) as admin:
        page = await admin.search(query, limit=options.limit, cursor=options.cursor)
        show_page(options, page, admin.now())
    return DONE


def show_page(options: argparse.Namespace, page: Page, now: int) -> None:
    output = Output(options.json)
    if options.json:
        for row in page.rows:
            output.line(_plain(row))
        output.line({name: value for name, value in as_map(page).items() if name != "rows"})
        return
    rows = [listed(row, now) for row in page.rows]
    columns = [column for column in COLUMNS if column[1] != "waits" or any(row.waits for row in rows)]
    output.rows(columns, rows, none="none was found")
    for line in told(page.excluded):
        note(str(line))
    more = f"; go on with --cursor {page.cursor}" if page.cursor else ""
    gone = f", {page.gone:,} of which are no longer kept" if page.gone else ""
    note(f"looked at {page.looked_at:,} of {max(page.of, page.looked_at):,}{gone}{more}")


def _plain(row: JobRow) -> dict[str, Any]:
    """A row as an object, with the word that lists have for its status."""
    return {**as_map(row), "shown_as": row.shown_as}


async def _show(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        shown = await admin.show(options.job, reveal=options.reveal, reason=options.reason)
        now = admin.now()
    output = Output(options.json)
    if options.json:
        output.line({**as_map(shown), "row": _plain(shown.row)})
        return DONE
    output.one(in_words(shown, now))
    for entry in shown.row.trail:
        say(f"  {entry_told(entry, now)}")
    for line in shown.traceback.splitlines():
        say(line)
    return DONE


# --- actions ------------------------------------------------------------------------------------


async def _cancel(options: argparse.Namespace) -> int:
    async def one(admin: Admin) -> Answer:
        return await admin.cancel(options.job, reason=options.reason)

    return await act(options, "cancel", one)


async def _retry(options: argparse.Namespace) -> int:
    async def one(admin: Admin) -> Answer:
        return await admin.retry(options.job, reason=options.reason)

    return await act(options, "retry", one)


async def act(options: argparse.Namespace, action: Any, one: Any, **many: Any) -> int:
    """Do something to one job, or to all that a query asks for."""
    require_one(options, "job")

    async with open_admin(options) as admin:
        if options.where is not None:
            return await done_to_all(options, admin, action, **many)
        return answered(options, options.job, await one(admin))


async def _next(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        answer = await admin.promote(options.job, reason=options.reason)
        return answered(options, options.job, answer)


async def _signal(options: argparse.Namespace) -> int:
    value = await signal_value(options)
    async with open_admin(options) as admin:
        answer = await admin.signal(options.job, options.name, value, reason=options.reason)
        return answered(options, options.job, answer)


async def _enqueue(options: argparse.Namespace) -> int:
    state = None if options.state is None else await given_json(options.state)

    async with open_admin(options) as admin:
        answer = await admin.enqueue(
            options.processor,
            state,
            session=options.session,
            options=JobOptions(
                delay=options.delay if options.at is None else options.at,
                expires=options.expires,
                tags=options.tag,
            ),
            job_id=options.id,
            state_version=options.state_version,
            reason=options.reason,
        )
        return answered(options, options.processor, answer)


async def _wait(options: argparse.Namespace) -> int:
    timeout = None if options.timeout is None else require_seconds("--timeout", options.timeout)
    end = inf if timeout is None else anyio.current_time() + timeout
    async with open_admin(options) as admin:
        while True:
            left = max(0.0, min(MOST_WAITED, end - anyio.current_time()))
            found = await admin.wait(options.job, timeout=left)
            if found.ended or anyio.current_time() >= end:
                break
        output = (await admin.show(found.job, reveal=True)).output if found.success else found.output
    said = Output(options.json)
    if not found.ended:
        said.told(
            f"{options.job}: it has not ended within {options.timeout:g} s",
            {"job": options.job, "ended": False},
        )
        return FAILED
    error = None if found.success else {"code": found.code, "message": found.message}
    told = "it has completed" if found.success else f"{found.code}: {found.message}"
    said.told(
        f"{options.job}: {told}",
        {
            "job": options.job,
            "ended": True,
            "success": found.success,
            "state": output.value,
            "error": error,
        },
    )
    return DONE if found.success else FAILED


async def _logs(options: argparse.Namespace) -> int:
    if options.follow:
        return await _follow(options)
    async with open_admin(options) as admin:
        found = await admin.job_logs(options.job, reveal=True, reason=options.reason)
    lines = [_logged(line) for line in found]
    Output(options.json).rows(LINE_COLUMNS, lines, none="nothing, or its nodes keep no logs (job_logs)")
    return DONE


async def _follow(options: argparse.Namespace) -> int:
    output = Output(options.json)
    async with (
        open_admin(options) as admin,
        admin.follow_logs(options.job, reason=options.reason) as lines,
    ):
        async for line in lines:
            output.told(f"{told_moment(line.at)}  {line.level:8}  {line.text}", _logged(line))
    return DONE


def _logged(line: LogLine) -> LoggedLine:
    return LoggedLine(at=time_of(line.at), level=line.level, text=line.text)


async def _test(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        text = await admin.as_test(options.job, reason=options.reason)
    if options.json:
        Output(True).line({"job": options.job, "test": text})
    else:
        print(text, end="")
    return DONE
