"""Processes to be killed, frozen and replaced: the workers of a chaos run, and their server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from tests.support.servers import RedisProcess

Persistence = Literal["always", "everysec", "rdb", "none"]
"""What a server writes down: each command before it is answered, each second's, snapshots, nothing."""

_ROOT: Final = Path(__file__).parents[2]


def server_with(
    persistence: Persistence, directory: Path, binary: str | None = None, *, tcp: bool = False
) -> RedisProcess:
    """A private server that is not started yet. What it wrote down is read again when it is started anew."""
    config: dict[str, str] = {"save": ""}
    data_dir: Path | None = directory
    match persistence:
        case "always":
            config["appendfsync"] = "always"
        case "everysec":
            config["appendfsync"] = "everysec"
        case "rdb":
            config |= {"appendonly": "no", "save": "1 1"}
        case "none":
            data_dir = None
    return RedisProcess(binary, config=config, data_dir=data_dir, tcp=tcp)


class WorkerProcess:
    """One `tests.chaos.worker`."""

    def __init__(
        self,
        url: str,
        log: Path,
        *,
        crash: str = "",
        options: Mapping[str, Any] | None = None,
        host: str = "trio",
        idle: bool = False,
    ) -> None:
        self.crash, self.log = crash, log
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "CHAOS_REDIS": url,
            "CHAOS_CRASH": crash,
            "CHAOS_HOST": host,
            "CHAOS_OPTIONS": json.dumps(dict(options or {})),
            **({"CHAOS_IDLE": "1"} if idle else {}),
        }
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker"],
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.frozen_until = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def serves(self) -> bool:
        return "serves" in self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """As a crash would (SIGKILL)."""
        if self.alive:
            self._process.kill()
        self._process.wait(20)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, until `thaw` is called after so many seconds."""
        if self.alive:
            self._process.send_signal(signal.SIGSTOP)
            self.frozen_until = time.monotonic() + seconds

    def thaw(self) -> None:
        self.frozen_until = 0.0
        if self.alive:
            self._process.send_signal(signal.SIGCONT)

    def stop(self, patience: float) -> bool:
        """Let it end in good order (SIGTERM); whether it did."""
        self.thaw()
        if self.alive:
            self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return self._process.returncode == 0


def scratch() -> Path:
    """A directory for one run, short enough for sockets."""
    return Path(tempfile.mkdtemp(prefix="am2z-chaos-", dir="/tmp"))
