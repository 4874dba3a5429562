"""A command on a terminal of its own: keys are pressed, and the screen is read."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE: Final = 30.0
"""Seconds within which something is to be seen."""

_LINE: Final = re.compile(r"\x1b\[(\d+);1H(.*?)\x1b\[K", re.DOTALL)
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """What a person has before them."""

    def __init__(self, leader: int, process: subprocess.Popen[bytes]) -> None:
        self._leader = leader
        self._process = process
        self._lines = dict[int, str]()
        self._unread = ""
        self.written = ""
        """All that has come."""

    @property
    def screen(self) -> str:
        return "\n".join(self._lines[n] for n in sorted(self._lines))

    def press(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def until(self, *, shows: str = "", is_so: Callable[[str], bool] | None = None) -> str:
        """The screen, once it shows this."""
        end = time.monotonic() + PATIENCE
        while not (is_so(self.screen) if is_so else shows in self.screen):
            assert time.monotonic() < end, f"{shows!r} was never seen on:\n{self.screen}"
            assert self._read(), f"the command ended before {shows!r} was seen:\n{self.written}"
        return self.screen

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    @property
    def said(self) -> str:
        """What it has written beside the picture, once it has ended."""
        assert self._process.stderr is not None
        return self._process.stderr.read().decode(errors="replace")

    def ended(self) -> int:
        """The exit status, once the command has ended."""
        while self._process.poll() is None and self._read():
            pass
        return self._process.wait(PATIENCE)

    @property
    def mode(self) -> object:
        """How the terminal treats keys."""
        return termios.tcgetattr(self._leader)

    def _read(self) -> bool:
        if not select.select([self._leader], [], [], 0.05)[0]:
            return self._process.poll() is None
        try:
            text = os.read(self._leader, 65536).decode(errors="replace")
        except OSError:
            return False
        self.written += text
        self._unread += text
        for found in _LINE.finditer(self._unread):
            self._lines[int(found[1])] = _STYLE.sub("", found[2]).rstrip()
            text = self._unread[found.end() :]
        self._unread = text
        return True


@contextmanager
def on_terminal(*arguments: str, redis: str, columns: int = 110, lines: int = 24) -> Iterator[Terminal]:
    """`am2z` with these arguments, on a terminal of this size."""
    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "am2z_trio.cli", *arguments],
            env={**os.environ, "AM2Z_REDIS_URL": redis, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
            stdin=follower,
            stdout=follower,
            stderr=subprocess.PIPE,
        )
        try:
            yield Terminal(leader, process)
        finally:
            process.kill()
            process.communicate()
    finally:
        os.close(follower)
        os.close(leader)
