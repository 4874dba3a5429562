"""A terminal that is drawn upon and whose keys are read, and that is given back as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TextIO

import anyio

from .drawing import Line, Style
from .keys import Decoder

try:
    import termios
except ImportError:  # There are terminals on other systems, but no keys are read there.
    termios = None  # type: ignore[assignment]

ESCAPE_AFTER: Final = 0.1
"""Seconds after which an escape is the key, and no beginning of another one's name."""

MOST_READ: Final = 1024

_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The other screen, without a cursor; lines that are too long do not go on in the next one."""
_LEAVE: Final = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

_PLAIN: Final[dict[Style, str]] = {"bold": "1", "reverse": "7"}
_COLOURED: Final[dict[Style, str]] = {**_PLAIN, "dim": "2", "red": "31", "yellow": "33"}


def is_drawn_upon() -> bool:
    """Whether standard output is a terminal that can be."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class Canvas:
    """The other screen of a terminal."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._codes = _PLAIN if os.environ.get("NO_COLOR") else _COLOURED

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw between; whoever looks at the terminal afterwards finds what stood there."""
        self._write(_ENTER)
        try:
            yield
        finally:
            with suppress(OSError):  # It may be gone.
                self._write(_LEAVE)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            size = os.get_terminal_size(self._file.fileno())
        except OSError:
            return 80, 24
        # One that has not been told its size says 0.
        return size.columns or 80, size.lines or 24

    def draw(self, lines: Sequence[Line]) -> None:
        """Put these in the place of what stands there."""
        drawn = "".join(f"\x1b[{n};1H{self._styled(*line)}\x1b[K" for n, line in enumerate(lines, 1))
        self._write(f"{drawn}\x1b[J")

    def _styled(self, text: str, style: Style) -> str:
        code = self._codes.get(style)
        return text if code is None else f"\x1b[{code}m{text}\x1b[0m"

    def _write(self, text: str) -> None:
        encoding = self._file.encoding or "utf-8"
        self._file.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._file.flush()


class Keyboard:
    """Keys of a terminal as they are pressed."""

    def __init__(self, terminal: int) -> None:
        """`terminal`: a descriptor, within `each_key`."""
        self._terminal = terminal
        self._decoder = Decoder()

    async def read(self) -> list[str] | None:
        """The next ones; `None`: there will be none, the terminal is gone."""
        while True:
            with anyio.move_on_after(ESCAPE_AFTER if self._decoder.is_amid else None) as waiting:
                await anyio.wait_readable(self._terminal)
            if waiting.cancelled_caught:
                return self._decoder.flush()
            try:
                read = os.read(self._terminal, MOST_READ)
            except OSError:
                return None
            if not read:
                return None
            keys = self._decoder.feed(read)
            if keys:
                return keys


@contextmanager
def each_key(file: TextIO) -> Iterator[Keyboard | None]:
    """Have a terminal tell each key at once, and not show it; Ctrl-C interrupts as ever. `None` where `file`
    is no terminal."""
    if termios is None or not file.isatty():
        yield None
        return
    terminal = file.fileno()
    before = termios.tcgetattr(terminal)
    mode = termios.tcgetattr(terminal)
    mode[3] &= ~(termios.ECHO | termios.ICANON)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    # Who stops this would find the shell on the other screen, and this terminal's mode.
    mode[6][termios.VSUSP] = bytes([os.fpathconf(terminal, "PC_VDISABLE")])
    termios.tcsetattr(terminal, termios.TCSANOW, mode)
    try:
        yield Keyboard(terminal)
    finally:
        with suppress(termios.error):  # It may be gone.
            termios.tcsetattr(terminal, termios.TCSANOW, before)
