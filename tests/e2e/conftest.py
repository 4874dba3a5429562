"""Worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

HERE = Path(__file__).parent

ON_ASYNCIO = (
    "import anyio, served\n"
    "async def main():\n"
    "    async with served.runtime:\n"
    "        open(served.MARKS / 'asyncio-serves', 'w').close()\n"
    "        await anyio.sleep_forever()\n"
    "anyio.run(main, backend='asyncio')\n"
)


class Process:
    """A process of these tests, whose standard error is in a file."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=HERE,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def said(self, words: str) -> bool:
        return words in self.log.read_text(encoding="utf-8")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> bool:
        return self.process.poll() is not None


class Processes:
    """Starts processes; all are killed after the test."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self._environment = {**os.environ, "E2E_MARKS": str(directory)}
        self._all: list[Process] = []
        self.url = url

    def start(self, *command: str) -> Process:
        log = self.directory / f"process-{len(self._all)}.log"
        process = Process(command, {**self._environment, "E2E_REDIS": self.url}, log)
        self._all.append(process)
        return process

    def worker(self, *arguments: str, target: str = "served:runtime", serving: bool = True) -> Process:
        """Start `am2z worker` and, if `serving`, wait until it does."""
        worker = self.start("-m", "am2z_trio.cli", "worker", target, *arguments)
        if serving:
            self._wait_serving(worker, lambda: worker.said("serves"))
        return worker

    def asyncio_worker(self) -> Process:
        """Start a worker on AnyIO's other host and wait until it serves."""
        worker = self.start("-c", ON_ASYNCIO)
        self._wait_serving(worker, (self.directory / "asyncio-serves").exists)
        return worker

    def _wait_serving(self, worker: Process, serves: Callable[[], bool]) -> None:
        # A Python process with all its imports, beside as many others as there are tests at a time.
        wait_until(lambda: serves() or worker.ended(), "the worker to serve", patience=100)
        assert serves(), worker.log.read_text(encoding="utf-8")

    def kill_all(self) -> None:
        for process in self._all:
            if not process.ended():
                process.process.kill()
            process.process.wait(20)


@pytest.fixture
def processes(redis_url: str, tmp_path: Path) -> Iterator[Processes]:
    """Processes that use the suite's server, or another where the test sets `url`."""
    started = Processes(tmp_path, redis_url)
    yield started
    started.kill_all()
