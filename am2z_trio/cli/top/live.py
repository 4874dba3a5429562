"""`am2z top` on a terminal: it looks again and again, and heeds keys meanwhile."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from am2z_trio.admin import Admin
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.telling import attempt

from .acting import done, explained
from .drawing import frame
from .looking import Look, Looker
from .scopes import looked_at
from .screen import Screen
from .terminal import Canvas, Keyboard, each_key
from .wishes import Explaining, Looking, Wish

PATIENCE: Final = 4.0
"""Seconds that a look may take before the one on the screen is said to be old."""


class _Told(logging.Handler):
    def __init__(self, tell: Callable[[str], None], level: int) -> None:
        super().__init__(level)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        # What a call of the log was given may not fit its text: that is no error of who has called.
        self._tell(f"{record.levelname}: {attempt(record.getMessage, record.msg)}")


@contextmanager
def told_to(tell: Callable[[str], None]) -> Iterator[None]:
    """What the log would write across the picture, where nobody else shows it, is told instead."""
    before = logging.lastResort
    logging.lastResort = _Told(tell, logging.WARNING if before is None else before.level)
    try:
        yield
    finally:
        logging.lastResort = before


class Live:
    """A terminal on which a namespace is shown until somebody quits."""

    def __init__(self, admin: Admin, screen: Screen, *, place: str, every: float) -> None:
        self._admin = admin
        self._looker = Looker(admin, around=True)
        self._screen = screen
        self._place = place
        self._every = every
        self._canvas = Canvas(sys.stdout)
        self._look: Look
        """The newest one, from the first on."""
        self._trouble = ""
        self._soon = anyio.Event()
        """Set when it is to be looked again at once."""

    async def run(self) -> None:
        """Returns when somebody quits. Raises what the first look raises; where a later one fails, as Redis
        is away, that is shown above the last look, and tried again."""
        self._look = await self._looker.look()
        with each_key(sys.stdin) as keyboard, self._canvas.shown(), told_to(self._hear), unwrapped():
            async with anyio.create_task_group() as tasks:
                self._draw()
                tasks.start_soon(self._look_on)
                if keyboard is None:
                    await anyio.sleep_forever()
                else:
                    await self._heed(keyboard, tasks)
                tasks.cancel_scope.cancel()

    def _hear(self, line: str) -> None:
        """What the log says, by whichever thread: it is in the next picture."""
        self._screen.notice = line

    async def _look_on(self) -> None:
        while True:
            with anyio.move_on_after(self._every):
                await self._soon.wait()
            self._soon = anyio.Event()
            try:
                with anyio.fail_after(PATIENCE):
                    self._look = await self._looker.look()
                    if self._screen.shows_scopes:
                        await self._look_at_scopes()
                self._trouble = ""
            except AM2ZError as error:
                self._trouble = error.message
            except TimeoutError:
                self._trouble = "Redis does not answer"
            self._draw()

    async def _heed(self, keyboard: Keyboard, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            keys = await keyboard.read()
            if keys is None:
                return
            for key in keys:
                wish = self._screen.press(key, self._look.queues)
                if wish == "quit":
                    return
                if wish is not None:
                    tasks.start_soon(self._fulfil, wish)
            self._draw()

    async def _look_at_scopes(self) -> None:
        queue = self._screen.scope_queue
        found = await looked_at(self._admin, queue)
        # Somebody may have asked for another one meanwhile.
        if queue == self._screen.scope_queue:
            self._screen.scopes = found

    async def _fulfil(self, wish: Wish) -> None:
        screen = self._screen
        try:
            if isinstance(wish, Looking):
                await self._look_at_scopes()
            elif isinstance(wish, Explaining):
                lines = await explained(self._admin, wish)
                if lines:
                    screen.explain(lines)
                else:
                    screen.notice = f"{wish.queue}: none of its jobs waits or runs"
            else:
                screen.notice = await done(self._admin, wish)
                self._soon.set()
        except AM2ZError as error:
            screen.notice = error.message
        self._draw()

    def _draw(self) -> None:
        self._canvas.draw(frame(self._look, self._screen, self._place, *self._canvas.size, self._trouble))
