"""Worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until

HERE = Path(__file__).parent


class WorkerProcess:
    """`am2z worker served:runtime`, in a process of its own."""

    def __init__(self, environment: dict[str, str], log: Path, target: str) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "am2z_trio.cli", "worker", target],
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


@pytest.fixture
def start_worker(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start a worker process and wait until it serves; all are killed after the test."""
    workers: list[WorkerProcess] = []
    environment = {**os.environ, "E2E_REDIS": redis_url, "E2E_MARKS": str(tmp_path)}

    def start(target: str = "served:runtime", *, serving: bool = True) -> WorkerProcess:
        worker = WorkerProcess(environment, tmp_path / f"worker-{len(workers)}.log", target)
        workers.append(worker)
        if serving:
            wait_until(lambda: worker.said("serves") or worker.ended(), "the worker to serve")
            assert worker.said("serves"), worker.log.read_text(encoding="utf-8")
        return worker

    yield start
    for worker in workers:
        if not worker.ended():
            worker.process.kill()
        worker.process.wait(20)
