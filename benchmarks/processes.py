"""A worker in a process of its own: `python -m MODULE --serve URL`, which prints a line when it serves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

import anyio
import anyio.to_thread


@asynccontextmanager
async def serving(module: str, url: str) -> AsyncIterator[IO[bytes]]:
    """Start one and wait until it serves; what it prints after that can be read. It ends with the block."""
    # Starting it may block: nothing is measured yet.
    command = [sys.executable, "-m", module, "--serve", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:  # noqa: ASYNC220
        assert worker.stdout is not None
        await anyio.to_thread.run_sync(worker.stdout.readline)
        yield worker.stdout
        worker.terminate()
