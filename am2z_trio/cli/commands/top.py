"""`am2z top`: queues, nodes and findings as they go, again and again; in a pipe as plain tables."""

from __future__ import annotations

import argparse

import anyio
import msgspec

from am2z_trio.admin import Admin
from am2z_trio.model.checks import require_seconds

from ..display import say
from ..exits import DONE
from ..operators import open_admin
from ..output import Output
from ..parsing import Commands, add_command
from ..top.drawing import plain
from ..top.live import Live
from ..top.looking import Looker
from ..top.rows import SORTS
from ..top.screen import Screen
from ..top.terminal import is_drawn_upon

EXAMPLES = (
    "am2z top --sort age                the queues whose jobs wait longest, first",
    "am2z top --json | jq -r 'select(.state == \"unserved\").queue'",
    "am2z top --json --whole --every 10 one object a look, with nodes and findings",
)

DESCRIPTION = """\
What needs a person most; every queue with what waits and runs in it, its rates and durations of the last
minute; and every node: how full it is, how late its event loop, and what runs longest there. On a terminal
again and again, in a pipe once, unless --every says how often. On a terminal keys select a queue, pause or
resume it, run its dead letters again, say why its jobs wait, and show what runs, of which a job can be
explained and cancelled; they sort and filter: ? shows them."""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "top",
        _top,
        "queues and nodes as they go, until q or Ctrl-C",
        description=DESCRIPTION,
        example=EXAMPLES,
    )
    parser.add_argument(
        "--every", type=float, metavar="SECONDS", help="default: 1 on a terminal, once in a pipe"
    )
    parser.add_argument("--sort", choices=SORTS, default="wait", help="what comes first; default: wait")
    parser.add_argument("--once", action="store_true", help="show it once")
    whole = "with --json: one object a look, nodes and findings in it; without it, one a queue"
    parser.add_argument("--whole", action="store_true", help=whole)


async def _top(options: argparse.Namespace) -> int:
    every: float | None = options.every
    if every is not None:
        every = max(0.1, require_seconds("--every", every, zero=False))
    elif is_drawn_upon() and not options.json:
        every = 1.0
    if options.once:
        every = None

    async with open_admin(options) as admin:
        if every is not None and is_drawn_upon() and not options.json:
            await Live(admin, Screen(options.sort), place=options.prefix, every=every).run()
        else:
            await _print(options, admin, every)
    return DONE


async def _print(options: argparse.Namespace, admin: Admin, every: float | None) -> None:
    """One look, or one after the other: no more is asked for than is printed."""
    looker, screen = Looker(admin, around=options.whole or not options.json), Screen(options.sort)
    while True:
        look = await looker.look()
        queues = screen.shown(look.queues)
        if not options.json:
            for line in plain(look, queues, options.prefix).split("\n"):
                say(line)
        elif options.whole:
            Output(True).line(msgspec.structs.replace(look, queues=queues))
        else:
            Output(True).rows([], queues, none="")
        if every is None:
            return
        await anyio.sleep(every)
