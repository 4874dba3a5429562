"""How commands are declared: a line, a description and examples each, and the options that many share."""

from __future__ import annotations

import argparse
import os
import platform
import textwrap
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage]
"""Where commands are added."""

OneOf: TypeAlias = "argparse._MutuallyExclusiveGroup"  # pyright: ignore[reportPrivateUsage]
"""Options of which one is given."""

Command = Callable[[argparse.Namespace], Awaitable[int]]
"""What a command does with its arguments; returns the exit status (`exits`)."""


def moment(text: str) -> datetime:
    """Of an argument; in UTC where it names no zone."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


class Layout(argparse.RawDescriptionHelpFormatter):
    """Wraps the description as usual and leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return super()._fill_text(text, width, indent)
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


class Version(argparse.Action):
    """Looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        try:
            own = version("am2z-trio")
        except PackageNotFoundError:
            own = "(not installed)"
        python = platform.python_version()
        print(f"am2z {own} (Python {python}, trio {version('trio')}, anyio {version('anyio')})")
        parser.exit()


class NoColor(argparse.Action):
    """In the environment, where all that draws looks, in other processes, too: Rich, Python's own help."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        os.environ["NO_COLOR"] = "1"


def examples(*lines: str) -> str:
    """The end of a `--help`."""
    return "\n  ".join(["examples:", *lines])


def add_command(
    commands: Commands,
    name: str,
    run: Command,
    line: str,
    *,
    description: str = "",
    example: tuple[str, ...],
    redis: bool = True,
    heeds_signals: bool = False,
) -> argparse.ArgumentParser:
    """Declare a command; `line` is its own in the list of all. `redis`: it asks a Redis, and prints what that
    has answered: then it takes the options for that. `heeds_signals`: it does so itself; others are cancelled
    by Ctrl-C and SIGTERM."""
    parser = commands.add_parser(
        name,
        help=line,
        description=description or f"{line[0].upper()}{line[1:]}.",
        epilog=examples(*example),
        formatter_class=Layout,
    )
    parser.set_defaults(command=run, heeds_signals=heeds_signals)
    add_looks(parser)
    if redis:
        add_store(parser)
        parser.add_argument(
            "--json", action="store_true", help="one JSON object, or one a line where there are many"
        )
    return parser


def add_looks(parser: argparse.ArgumentParser) -> None:
    """How it is said, by every command: before its name, or behind. Without a default of its own, which would
    take back what was said before the name."""
    parser.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="nothing but what was asked for, and errors; of a job that it makes, the id alone",
    )
    parser.add_argument(
        "--no-color",
        action=NoColor,
        nargs=0,
        dest=argparse.SUPPRESS,
        help="no colours, as with NO_COLOR in the environment",
    )


def add_of_one(
    family: Commands, name: str, run: Command, line: str, example: str, *, what: str, help: str | None = None
) -> argparse.ArgumentParser:
    """Declare a command of a family that is about one thing, its first argument: `what` it is."""
    parser = add_command(family, name, run, line, example=(example,))
    parser.add_argument(what, metavar=what.upper(), help=help)
    return parser


def add_group(commands: Commands, name: str, line: str, *, example: tuple[str, ...]) -> Commands:
    """Declare a command that consists of others: `am2z queue ls`."""
    parser = commands.add_parser(name, help=line, epilog=examples(*example), formatter_class=Layout)
    parser.description = f"{line[0].upper()}{line[1:]}."
    add_looks(parser)
    return parser.add_subparsers(required=True, metavar="COMMAND")


def add_store(parser: argparse.ArgumentParser) -> None:
    """Which Redis, and which namespace in it. The environment's is not shown as a default: it may hold a
    password."""
    parser.add_argument(
        "--redis",
        metavar="URL",
        default=os.environ.get("AM2Z_REDIS_URL", "redis://localhost:6379/0"),
        help="default: AM2Z_REDIS_URL, or redis://localhost:6379/0",
    )
    parser.add_argument(
        "--prefix",
        default=os.environ.get("AM2Z_PREFIX", "am2z"),
        help="the runtimes' namespace; default: AM2Z_PREFIX, or am2z",
    )


def add_yes(parser: argparse.ArgumentParser, what: str) -> None:
    """For what cannot be taken back: nothing is done without it."""
    parser.add_argument("--yes", action="store_true", help=f"{what}; without it, only say what would be done")
