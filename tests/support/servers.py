"""Private Redis servers, to be killed, paused, restarted or configured.

They are started as `am2z_trio.embedded` starts them, so they end with the test run, however that ends.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import redis

from .waiting import PATIENCE, wait_until


class RedisProcess:
    """One private Redis server, whose URL stays the same over restarts."""

    def __init__(
        self,
        binary: str | None = None,
        *,
        config: Mapping[str, str] | None = None,
        data_dir: Path | None = None,
        tcp: bool = False,
    ) -> None:
        # Not at the top: a test of a lower room must be able to run while a higher one is broken.
        from am2z_trio.embedded.find import find_server, version_of

        self.binary = find_server(binary)
        text = subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True).stdout
        self.version = version_of(self.binary, text)
        """Such as `7.0.15`."""
        self.config = dict(config or {})
        if data_dir is not None:
            data_dir.mkdir(parents=True, exist_ok=True)
            self.config = {"dir": f'"{data_dir}"', "appendonly": "yes", **self.config}
        self.port = _free_port() if tcp else 0
        """TCP port on 127.0.0.1, or 0."""
        if tcp:
            self.config |= {"port": str(self.port), "bind": "127.0.0.1"}
        # A path that no restart changes. `/tmp`, as pytest's own directories are too long for a socket.
        self._directory = Path(tempfile.mkdtemp(prefix="am2z-test-", dir="/tmp"))
        self.socket = self._directory / "redis.sock"
        user = f":{quote(self.config['requirepass'], safe='')}@" if "requirepass" in self.config else ""
        self.url = f"unix://{user}{self.socket}"
        self.tcp_url = f"redis://{user}127.0.0.1:{self.port}" if tcp else ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        from am2z_trio.embedded.prepared import PreparedServer

        assert self._process is None, "it is running already"
        self._prepared = PreparedServer.create(self.binary, self.version, self.config)
        self._prepared.socket = self.socket
        self._process = subprocess.Popen(
            self._prepared.command(),
            stdin=self._prepared.stdin,
            stdout=self._prepared.log,
            stderr=self._prepared.log,
            cwd="/",
            start_new_session=True,
        )
        self._prepared.started()
        wait_until(self._answers, "the server to answer")
        self.pid = self._prepared.server_pid()

    def stop(self) -> None:
        """Stop it in good order; its append-only file is complete. Nothing if it does not run."""
        if self._process is not None:
            self._prepared.hang_up()
            self._ended()

    def kill(self) -> None:
        """Kill it as a crash would (SIGKILL) and wait until it is gone."""
        assert self._process is not None, "it does not run"
        os.kill(self.pid, signal.SIGKILL)
        self._ended()

    def restart(self) -> None:
        """Kill it, then start it at the same URL; with a `data_dir` it remembers what it had written."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let it hang (SIGSTOP): connections stand, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def call(self, *command: str | bytes | int | float) -> Any:
        """Send one command over a connection of its own and return redis-py's reading of the reply."""
        with self.client() as client:
            return client.execute_command(*command)

    def client(self) -> redis.Redis:
        """Return a blocking client, for a look at the server from outside. To be closed."""
        password = self.config.get("requirepass")
        return redis.Redis(unix_socket_path=str(self.socket), password=password, socket_timeout=10)

    def close(self) -> None:
        """Stop it and leave nothing behind."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._prepared.log_tail()
        try:
            return bool(self.call("PING"))
        except (redis.ConnectionError, redis.TimeoutError):
            # BusyLoadingError is one of these: it has yet to read its data.
            return False

    def _ended(self) -> None:
        assert self._process is not None
        self._process.wait(PATIENCE)
        self._prepared.remove()
        self._process = None


class SpawnRedis(Protocol):
    """What the fixture `spawn_redis` is: starts a server that ends with the test."""

    def __call__(
        self,
        config: Mapping[str, str] | None = None,
        *,
        binary: str | None = None,
        data_dir: Path | None = None,
        tcp: bool = False,
    ) -> RedisProcess:
        """Start one; `binary` as for `RedisProcess`, by default the session's."""
        ...


KNOWN_HOLES: Final = "has known holes"
"""What the engine says of some releases of the server: the suite has old ones on purpose."""


def said_of_old_servers(record: logging.LogRecord) -> bool:
    """Drop it of what is logged here."""
    return KNOWN_HOLES not in record.getMessage()


def without_old_servers(lines: Iterable[str]) -> Iterator[str]:
    """Drop it of what a program writes."""
    return (line for line in lines if KNOWN_HOLES not in line)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port
