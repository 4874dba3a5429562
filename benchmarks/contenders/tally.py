"""A worker's count of the jobs it has run, in a file that the harness reads while it works.

Three 64-bit numbers a process: jobs ended, and by the machine's monotonic clock, which all processes share,
the nanosecond at which the first one began and the last one ended. Every job writes them (about half a
microsecond), so that no look of the harness's disturbs a worker, and no library is asked how far it is.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from .contender import TALLY, WORKERS

FORMAT: Final = struct.Struct("=QQQ")
GATE: Final = 5.0
"""Seconds that a worker's first job waits for the other workers at most: less than any lease."""


class Tally:
    """This process's; a program that forks has another one in each."""

    def __init__(self) -> None:
        # Some contenders run jobs in threads.
        self._lock = threading.Lock()
        self._pid = self._count = self._first = 0
        self._file: Any = None

    def began(self) -> None:
        """A job has begun."""
        if self._pid != os.getpid():
            self._begin()

    def ended(self) -> None:
        """A job has ended."""
        with self._lock:
            self._count += 1
            FORMAT.pack_into(self._file, 0, self._count, self._first, time.monotonic_ns())

    def _begin(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            if TALLY in os.environ:
                self._open(Path(os.environ[TALLY]))
            else:
                # A worker that somebody has started by hand: nobody reads it.
                self._file = bytearray(FORMAT.size)
            self._count, self._first, self._pid = 0, time.monotonic_ns(), os.getpid()

    def _open(self, directory: Path) -> None:
        path = directory / str(os.getpid())
        path.write_bytes(bytes(FORMAT.size))
        with path.open("r+b") as file:
            self._file = mmap.mmap(file.fileno(), FORMAT.size)
        # Several workers begin together, however long each took to start: this stops the whole process.
        until = time.monotonic() + GATE
        while len(list(directory.iterdir())) < int(os.environ[WORKERS]) and time.monotonic() < until:
            time.sleep(0.001)


_mine: Final = Tally()
began: Final = _mine.began
ended: Final = _mine.ended


class Count(NamedTuple):
    """All processes together."""

    jobs: int
    processes: int
    seconds: float
    """From the first job's beginning to the last one's end."""


def read(directory: Path) -> Count:
    """Read how far the workers are that keep their tallies there."""
    found = [
        FORMAT.unpack(data) for path in directory.iterdir() if len(data := path.read_bytes()) == FORMAT.size
    ]
    counts = [row for row in found if row[0]]
    if not counts:
        return Count(0, 0, 0.0)
    seconds = (max(last for _, _, last in counts) - min(first for _, first, _ in counts)) / 1e9
    return Count(sum(jobs for jobs, _, _ in counts), len(counts), seconds)
