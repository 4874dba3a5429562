"""`--watch`: a list again and again, in the place of what it was, until Ctrl-C. While Redis is away that is
said, once, and what was seen last stays; it goes on by itself."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from typing import Final, NoReturn, Protocol

import anyio

from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.checks import require_seconds
from am2z_trio.model.errors import NetworkError
from am2z_trio.model.logs import quieter

from .connection import client
from .display import say, shown
from .operators import admin_over
from .output import encode
from .parsing import Command, OneOf
from .top.drawing import Line
from .top.terminal import Canvas, is_drawn_upon

AWAY: Final = "Redis does not answer; the next look is taken as soon as it does"

ASKED_EVERY: Final = 1.0
"""Seconds between questions whether Redis is there, each of which waits for a second at most."""

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
    async with client(options) as runtime:
        options.admin = admin_over(runtime)
        # What the log says of each connection is said here of Redis: once, and on the screen if there is one.
        with quieter("am2z_trio.store.connections", logging.ERROR):
            if options.json:
                return await _watch(run, options, every, runtime, _Objects())
            if not is_drawn_upon():
                return await _watch(run, options, every, runtime, _Piped())
            canvas = Canvas(sys.stdout)
            with canvas.shown():
                drawn = _Drawn(canvas, f"{name}  every {every:g} s")
                return await _watch(run, options, every, runtime, drawn)


class _Place(Protocol):
    """Where looks are shown."""

    draws: bool
    """What is said beside a list is part of the look, and would be drawn over elsewhere."""

    def show(self, lines: Sequence[str]) -> None:
        """A look."""

    def tell(self, trouble: str) -> None:
        """Why there is no look, or nothing: Redis is back."""


async def _watch(
    run: Command, options: argparse.Namespace, every: float, runtime: Runtime, place: _Place
) -> NoReturn:
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tell_if_away, runtime, place)
            await _again(run, options, every, place)
    raise AssertionError("a watch ends by what ends it")


async def _tell_if_away(runtime: Runtime, place: _Place) -> NoReturn:
    """A look waits while Redis is away: so this is asked beside it."""
    was_away = False
    while True:
        await anyio.sleep(ASKED_EVERY)
        away = (await runtime.health()).figures.round_trip is None
        if away is not was_away:
            place.tell(AWAY if away else "")
            was_away = away


async def _again(run: Command, options: argparse.Namespace, every: float, place: _Place) -> NoReturn:
    while True:
        look, trouble = StringIO(), ""
        with redirect_stdout(look), redirect_stderr(look if place.draws else sys.stderr):
            try:
                await run(options)
            except NetworkError as error:
                # It was lost amid the look, which is none then: it may be there again at the next one.
                trouble = error.message
        if trouble:
            place.tell(trouble)
        else:
            place.show(look.getvalue().split("\n")[:-1])
        await anyio.sleep(every)


class _Piped:
    """Looks stand below each other."""

    draws = False

    def show(self, lines: Sequence[str]) -> None:
        print(*lines, "", sep="\n", flush=True)

    def tell(self, trouble: str) -> None:
        say(f"am2z: {trouble or 'Redis answers again'}", error=True)


class _Objects(_Piped):
    """For a program: each line of a look is an object already, and a look is one of them."""

    def show(self, lines: Sequence[str]) -> None:
        at = encode(datetime.now(UTC))
        print(f'{{"at":{at},"rows":[{",".join(lines)}]}}', flush=True)


class _Drawn:
    """On a terminal a look takes the place of the one before."""

    draws = True

    def __init__(self, canvas: Canvas, title: str) -> None:
        self._canvas = canvas
        self._title = title
        self._lines: Sequence[str] = ()
        self._at = ""
        self._trouble = ""

    def show(self, lines: Sequence[str]) -> None:
        self._lines, self._at, self._trouble = lines, f"{datetime.now().astimezone():%H:%M:%S}", ""
        self._draw()

    def tell(self, trouble: str) -> None:
        self._trouble = trouble
        self._draw()

    def _draw(self) -> None:
        head: list[Line] = [(f"{self._title}  {self._at}", "bold")]
        if self._trouble:
            told = shown(self._trouble)
            head.append((f"✕ as of {self._at}: {told}" if self._at else f"✕ {told}", "red"))
        _, height = self._canvas.size
        room, lines = max(0, height - len(head)), self._lines
        fit = lines if len(lines) <= room else lines[: max(0, room - 1)]
        body: list[Line] = [(shown(line), "") for line in fit]
        if len(fit) < len(lines):
            body.append((f"and {len(lines) - len(fit):,} lines more, for which there is no room here", "dim"))
        self._canvas.draw([*head, *body])
