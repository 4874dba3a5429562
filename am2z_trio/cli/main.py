"""From the arguments to a command, and from what it ends with to an exit status and one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial

import trio

from am2z_trio.model.errors import AM2ZError

from .commands import ALL
from .display import colours_as_before, quietly, say, somewhere_to_write, spelt_where_unfit
from .exits import FAILED, INTERRUPTED, LEGEND, exit_status
from .log import shown_if_nobody_logs
from .parsing import Command, Layout, Version, add_looks, examples
from .signals import until_signal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Arguments that are none, and `--help`, raise
    `SystemExit`."""
    with somewhere_to_write(), colours_as_before(), spelt_where_unfit():
        whole = parser()
        options = whole.parse_args(arguments, argparse.Namespace(parser=whole))
        with quietly(options.quiet):
            return _ended(options)


def _ended(options: argparse.Namespace) -> int:
    """The exit status of a command, which is run to its end."""
    try:
        with shown_if_nobody_logs(format=options.log_format, level=options.log_level):
            status: int = trio.run(_run, options)
    except AM2ZError as error:
        say(f"am2z: {error.message}", error=True)
        return exit_status(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read this has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


async def _run(options: argparse.Namespace) -> int:
    run: Command = options.command
    return await (run(options) if options.heeds_signals else until_signal(partial(run, options)))


def parser() -> argparse.ArgumentParser:
    """The whole of the command line."""
    parser = argparse.ArgumentParser(
        prog="am2z",
        description="Session-scoped processors, locally or over Redis: run them, look at them, act on them.",
        epilog=f"{examples(*(line for one in ALL for line in one.EXAMPLES[:1]))}\n\n{LEGEND}",
        formatter_class=Layout,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="show versions and exit")
    add_looks(parser)
    parser.set_defaults(log_format=None, log_level=None, quiet=False, admin=None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for one in ALL:
        one.add(commands)
    return parser
