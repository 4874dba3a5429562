"""`am2z queue`: the processors' queues, in counts; held up, let go on, and emptied."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Final

import anyio
import msgspec

from am2z_trio.admin.queues import purged
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.records import QueueStats
from am2z_trio.model.views.actions import Answer

from ..display import say
from ..exits import DONE, MISSING
from ..operators import add_reason, answered, open_admin
from ..output import Output, as_map
from ..parsing import Command, Commands, add_command, add_group, add_of_one, add_yes
from ..watch import add_watch
from .bulk import carried_out

_add_of_one = partial(add_of_one, what="queue", help="the processor's name")

EXAMPLES = (
    "am2z queue ls                      every queue and what is in it",
    "am2z queue show app.price --json",
    "am2z queue pause app.price --reason 'the bank is away'",
    "am2z queue drain app.price --wait  start none any more, and wait for those that run",
    "am2z queue resume app.price",
    "am2z queue resume --all            whatever is paused, whoever has paused it",
    "am2z queue purge app.price --yes   cancel all that wait",
    "am2z queue ls --watch 5            again every five seconds, until Ctrl-C",
)


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """A queue as it is listed."""

    queue: str
    """Its processor's name."""
    waiting: int
    active: int
    delayed: int
    paused: int
    completed: int
    failed: int
    cancelled: int
    dead: int
    workers: int
    retried: int
    stalled: int
    fenced: int
    conflicts: int
    expired: int


LOOK_EVERY: Final = 0.2
"""Seconds between looks at what still runs."""

COLUMNS = [(name, name) for name in QueueRow.__struct_fields__[:10]]
"""What has gone wrong is told of one queue: a list of many has no room for it."""


def row(name: str, stats: QueueStats) -> QueueRow:
    return QueueRow(queue=name, **as_map(stats))


def add(commands: Commands) -> None:
    family = add_group(commands, "queue", "look at queues, hold them up, empty them", example=EXAMPLES)
    line = "every queue, with its jobs by status"
    add_watch(add_command(family, "ls", _list, line, example=(EXAMPLES[0], EXAMPLES[7])))
    _add_of_one(family, "show", _show, "one queue in counts", EXAMPLES[1])
    _add_of_one_or_all(family, "pause", _pause, "start none of its jobs, on any node", EXAMPLES[2])
    drain = _add_of_one(family, "drain", _drain, "pause it, and see those that run to their end", EXAMPLES[3])
    drain.add_argument("--wait", action="store_true", help="return when none of its jobs runs any more")
    add_reason(drain)
    _add_of_one_or_all(family, "resume", _resume, "start its jobs again", *EXAMPLES[4:6])
    purge = _add_of_one(family, "purge", _purge, "cancel all of its jobs that wait", EXAMPLES[6])
    add_yes(purge, "cancel them")
    add_reason(purge)


def _add_of_one_or_all(family: Commands, name: str, run: Command, line: str, *example: str) -> None:
    parser = add_command(family, name, run, line, example=example)
    parser.add_argument("queue", nargs="?", metavar="QUEUE", help="the processor's name")
    parser.add_argument("--all", action="store_true", help="every queue that there is; 1,000 at a time")
    add_reason(parser)


def _require_one_or_all(options: argparse.Namespace) -> None:
    if (options.queue is None) is not options.all:
        raise ConfigurationError("give either QUEUE or --all")


async def _list(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        stats = await admin.queue_stats()
    rows = [row(name, stats[name]) for name in sorted(stats)]
    Output(options.json).rows(COLUMNS, rows, none="there are no queues: nobody has served or used any")
    return DONE


async def _show(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        stats = (await admin.queue_stats()).get(options.queue)
    if stats is None:
        say(f"am2z: there is no queue {options.queue!r}; `am2z queue ls` lists them", error=True)
        return MISSING
    Output(options.json).one(row(options.queue, stats))
    return DONE


async def _pause(options: argparse.Namespace) -> int:
    _require_one_or_all(options)
    async with open_admin(options) as admin:
        if options.all:
            return answered(options, "all", await admin.pause_all(reason=options.reason))
        return answered(options, options.queue, await admin.pause(options.queue, reason=options.reason))


async def _resume(options: argparse.Namespace) -> int:
    _require_one_or_all(options)
    async with open_admin(options) as admin:
        if options.all:
            return answered(options, "all", await admin.resume_all(reason=options.reason))
        return answered(options, options.queue, await admin.resume(options.queue, reason=options.reason))


async def _drain(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        answer = await admin.drain_queue(options.queue, reason=options.reason)
        if answer.done and options.wait:
            while True:
                stats = (await admin.queue_stats()).get(options.queue)
                if stats is None or not stats.active:
                    break
                await anyio.sleep(LOOK_EVERY)
            answer = Answer(done=True, text="none of its jobs is started any more, and none runs")
        return answered(options, options.queue, answer)


async def _purge(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        begin = partial(admin.purge, options.queue)
        return await carried_out(options, admin, "cancel", purged(options.queue), begin)
