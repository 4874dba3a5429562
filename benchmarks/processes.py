"""Programs that end with their owner: a contender's workers and clients, and what they use of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

import anyio
import anyio.to_thread

_KEEPER: Final = """\
exec 3<&0
"$@" 3<&- </dev/null &
program=$!
( read -r _ <&3; kill -KILL 0 ) >/dev/null 2>&1 &
exec 3<&-
wait $program
"""
"""Runs a program, and ends its whole process group when the owner lets go of standard input, or is gone
itself, `kill -9` included. (`open_embedded_server` ends the server the same way.)"""
TAIL: Final = 4_500
"""Characters of what a program has written that are shown when it fails."""
TICK: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class ProgramError(Exception):
    """It ended badly, or not in time; with the end of what it wrote."""


class Usage(NamedTuple):
    """What a program and all that it has started use; 0 where the system does not say (`/proc`)."""

    cpu: float
    """Seconds of processor time so far."""
    memory: float
    """MiB that are resident now."""
    peak: float
    """MiB that were at most."""


class Program:
    """One that runs, in a process group of its own. As a context manager: it has ended when that is left."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._written = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the program is
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._command = command
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", *command],
            stdin=subprocess.PIPE,
            stdout=self._written,
            stderr=self._errors,
            env={**os.environ, **env},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End it at once, and all that it has started."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        # Whoever has left the group is not found; a process of it may take a moment to be gone.
        self._written.close()
        self._errors.close()

    def wait(self, patience: float) -> str:
        """Wait for its end; returns what it wrote. `ProgramError` if it fails, or goes on for longer."""
        try:
            status = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            raise ProgramError(f"not done after {patience:g} s{self.says()}") from None
        if status:
            raise ProgramError(f"ended with status {status}{self.says()}")
        return self.written()

    def written(self) -> str:
        """What it has written to standard output so far."""
        return _read(self._written)

    def require_running(self) -> None:
        """`ProgramError` if it has ended by itself."""
        if (status := self._process.poll()) is not None:
            raise ProgramError(f"its worker ended by itself, with status {status}{self.says()}")

    def says(self) -> str:
        """The end of what it wrote, for a message."""
        text = (_read(self._errors).strip() or self.written().strip())[-TAIL:]
        return f":\n{text}" if text else ", without a word"

    def usage(self) -> Usage:
        """What it uses, all processes of its group together."""
        cpu = memory = peak = 0.0
        for path in Path("/proc").glob("[0-9]*"):
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) != self._process.pid:
                    continue
                status = (path / "status").read_text()
            except (OSError, IndexError):
                continue
            # utime, stime, and those of children that have ended: fields 14 to 17 of proc(5).
            cpu += sum(map(int, fields[11:15])) / TICK
            memory += int(fields[21]) * PAGE / 2**20
            peak += (
                next((int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM")), 0)
                / 1024
            )
        return Usage(cpu, memory, peak)


def _read(file: IO[bytes]) -> str:
    # The program has a descriptor of the same open file: its place must not be moved.
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode(errors="replace")


@asynccontextmanager
async def serving(module: str, url: str) -> AsyncIterator[IO[bytes]]:
    """Start `python -m MODULE --serve URL` and wait until it prints a line, when it serves; what it prints
    after that can be read. It ends with the block."""
    # Starting it may block: nothing is measured yet.
    command = [sys.executable, "-m", module, "--serve", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:  # noqa: ASYNC220
        assert worker.stdout is not None
        await anyio.to_thread.run_sync(worker.stdout.readline)
        yield worker.stdout
        worker.terminate()
