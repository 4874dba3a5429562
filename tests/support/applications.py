"""An example application, served by the program that its page names."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest

from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
MOST_SECONDS_TO_STOP: Final = 60
"""A runtime gives its jobs 30 to end."""


class Served(NamedTuple):
    """One that runs: where, and in which process."""

    base: str
    pid: int


@contextmanager
def served(
    command: Callable[[int], Sequence[str]],
    log: Path,
    *,
    status: int = 200,
    env: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """`command`: the arguments of Python, by the port. It is there when it answers its root with `status`;
    what it says is in `log`, also when it has ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, *command(port)],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", **(env or {})},
        )
    base = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(base, status) or server.poll() is not None, "the application to begin")
        assert server.poll() is None, log.read_text()
        yield Served(base, server.pid)
    finally:
        _stop(server, log)


def _stop(server: subprocess.Popen[bytes], log: Path) -> None:
    """As its supervisor would; one that does not end says where it stands."""
    server.terminate()
    try:
        server.wait(MOST_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGABRT)
        server.wait()
        pytest.fail(f"the application did not stop; it said, and stood at:\n{log.read_text()}")


def _answers(base: str, status: int) -> bool:
    try:
        return httpx.get(base, timeout=5).status_code == status
    except httpx.TransportError:
        return False
