"""`--watch`: a list again and again, in the place of what it was, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from typing import Final, NoReturn

import anyio

from am2z_trio.model.checks import require_seconds
from am2z_trio.model.errors import NetworkError

from .display import say, shown
from .operators import open_admin
from .output import encode
from .parsing import Command, OneOf
from .top.drawing import Line
from .top.terminal import Canvas, is_drawn_upon

Show = Callable[[Sequence[str]], None]
"""What is done with the lines of a look."""

LEAST: Final = 0.1
"""Seconds between looks."""


def add_watch(parser: argparse.ArgumentParser, among: OneOf | None = None) -> None:
    """For a command that lists what is there, once it is declared. `among`: what it does not go with."""
    (among or parser).add_argument(
        "--watch",
        type=float,
        nargs="?",
        const=1.0,
        metavar="SECONDS",
        help="again, so many seconds after each look (1), until Ctrl-C; with --json one object a look",
    )
    run: Command = parser.get_default("command")
    parser.set_defaults(command=partial(_watched, parser.prog, run))


async def _watched(name: str, run: Command, options: argparse.Namespace) -> int:
    if options.watch is None:
        return await run(options)
    every = max(LEAST, require_seconds("--watch", options.watch, zero=False))
    async with open_admin(options) as options.admin:
        if options.json:
            return await _again(run, options, every, _print_object)
        elif not is_drawn_upon():
            return await _again(run, options, every, _print)
        else:
            canvas = Canvas(sys.stdout)
            with canvas.shown():
                draw = partial(_draw, canvas, f"{name}  every {every:g} s")
                return await _again(run, options, every, draw, draws=True)


async def _again(
    run: Command, options: argparse.Namespace, every: float, show: Show, *, draws: bool = False
) -> NoReturn:
    """`draws`: what is said beside a list is part of the look, and would be drawn over elsewhere."""
    while True:
        look = StringIO()
        with redirect_stdout(look), redirect_stderr(look if draws else sys.stderr):
            try:
                await run(options)
            except NetworkError as error:
                # It may be there again at the next look.
                say(f"am2z: {error.message}", error=True)
        show(look.getvalue().split("\n")[:-1])
        await anyio.sleep(every)


def _print(lines: Sequence[str]) -> None:
    print(*lines, "", sep="\n", flush=True)


def _print_object(lines: Sequence[str]) -> None:
    """Each line is an object already."""
    at = encode(datetime.now(UTC))
    print(f'{{"at":{at},"rows":[{",".join(lines)}]}}', flush=True)


def _draw(canvas: Canvas, title: str, lines: Sequence[str]) -> None:
    _, height = canvas.size
    room = max(0, height - 1)
    fit = lines if len(lines) <= room else lines[: max(0, room - 1)]
    body: list[Line] = [(shown(line), "") for line in fit]
    if len(fit) < len(lines):
        body.append((f"and {len(lines) - len(fit):,} lines more, for which there is no room here", "dim"))
    canvas.draw([(f"{title}  {datetime.now().astimezone():%H:%M:%S}", "bold"), *body])
