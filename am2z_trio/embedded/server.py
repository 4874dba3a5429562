"""Starts a private server, waits until it answers, and stops it when its block is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Final

import anyio
import msgspec
from anyio.abc import Process

from am2z_trio.model.checks import require_seconds
from am2z_trio.model.errors import ConfigurationError, NetworkError

from .find import check_package, find_server, version_of
from .prepared import NO_CONFIG, STOP_GRACE, PreparedServer

START_TIMEOUT: Final = 30.0
"""Seconds until the server must answer. Reading a large append-only file is what takes long."""


class EmbeddedServer(msgspec.Struct, frozen=True, kw_only=True):
    """A running private server."""

    url: str
    """`unix:///…`, with the password if `config` sets one; what a runtime takes as its URL."""
    binary: str
    """Absolute path of the program that runs."""
    version: str
    """What the program says its version is, such as `7.0.15`."""
    pid: int
    """Process id of the server itself, not of its watchdog."""
    death: Callable[[], Awaitable[NetworkError]]
    """Wait until the server has ended by itself; returns the error that says how. What it held is gone."""

    def __repr__(self) -> str:
        """Leave the URL out: it may hold a password."""
        return f"EmbeddedServer(pid={self.pid}, binary={self.binary!r}, version={self.version!r})"


@contextlib.asynccontextmanager
async def open_embedded_server(
    binary: str | None = None,
    config: Mapping[str, str] | None = None,
    *,
    start_timeout: float = START_TIMEOUT,
) -> AsyncGenerator[EmbeddedServer]:
    """Start a private Redis server on a Unix socket, and stop it when the block is left.

    `binary` is a path or a name on PATH; `find_server` says what is taken without it. `config` holds
    directives and their values as redis.conf has them, `{"maxmemory": "1gb"}`; those that
    would take the server away from its owner are refused. Unless `config` says where, nothing is kept.

    Leaving asks the server to stop, waits `STOP_GRACE` seconds, then kills it; this is shielded from
    cancellation, because nobody else would do it. Cancellation while starting leaves nothing
    behind. If the owner is killed, the server stops and the private directory goes all the same.

    Raises `ConfigurationError`: no binary, not a Redis server, a refused directive. Raises `NetworkError`
    with the end of the server's log if it does not answer within `start_timeout` seconds, or, on leaving,
    if it did not end in good order; if the block raised, that exception gets a note saying so instead.
    """
    require_seconds("start_timeout", start_timeout, zero=False)
    path = find_server(binary)
    text = await _version_text(path)
    version = version_of(path, text)
    check_package(path, text, version)
    # File-system calls without a thread: a handful of them, on a local directory.
    child = await _Child.start(PreparedServer.create(path, version, config or NO_CONFIG))
    try:
        try:
            await child.wait_until_it_answers(start_timeout)
            yield child.described()
        finally:
            await child.end()
    except _NotStartedError as failure:
        raise child.error(f"{path} {failure}", retryable=False) from None
    except Exception as error:
        if child.has_failed:
            error.add_note(f"The embedded Redis server did not end in good order{child.epitaph}")
        raise
    if child.has_failed:
        raise child.error("did not end in good order", retryable=True)


class _NotStartedError(Exception):
    """The server ended before it answered, or did not answer in time."""


class _Child:
    """Watchdog and server as processes of the owner."""

    def __init__(self, process: Process, prepared: PreparedServer) -> None:
        self.epitaph = ""
        """Once it has ended: how, and its last words, as the end of a sentence."""
        self._process = process
        self._prepared = prepared

    @classmethod
    async def start(cls, prepared: PreparedServer) -> _Child:
        try:
            process = await _spawn(prepared)
        except BaseException:
            prepared.remove()
            raise
        prepared.started()
        return cls(process, prepared)

    @property
    def has_failed(self) -> bool:
        """Whether it has ended, and not in good order."""
        return bool(self._process.returncode)

    def described(self) -> EmbeddedServer:
        """What its user is told; from when it answers."""
        prepared = self._prepared
        return EmbeddedServer(
            url=prepared.url,
            binary=prepared.binary,
            version=prepared.version,
            pid=prepared.server_pid(),
            death=self._death,
        )

    async def wait_until_it_answers(self, timeout: float) -> None:
        pause = 0.002
        with anyio.move_on_after(timeout):
            while self._process.returncode is None:
                if await answers(self._prepared):
                    return
                await anyio.sleep(pause)
                pause = min(2 * pause, 0.1)
            raise _NotStartedError("does not start")
        raise _NotStartedError(f"did not answer within {timeout:g} s")

    async def end(self) -> None:
        """Stop it, hear its last words, and give back what it held."""
        try:
            with anyio.CancelScope(shield=True):
                await self._stop()
            self.epitaph = _epitaph(self._process.returncode, self._prepared)
        finally:
            # asyncio's own `Task.cancel` passes shields; the watchdog does the rest on its own.
            self._prepared.remove()

    def error(self, what: str, *, retryable: bool) -> NetworkError:
        """What is said of it when it has ended."""
        return NetworkError(
            f"the embedded Redis server {what}{self.epitaph}",
            context={"binary": self._prepared.binary, "version": self._prepared.version},
            retryable=retryable,
        )

    async def _death(self) -> NetworkError:
        await self._process.wait()
        self.epitaph = _epitaph(self._process.returncode, self._prepared)
        return self.error("has died", retryable=False)

    async def _stop(self) -> None:
        """Stop and reap watchdog and server. Call it shielded; bounded by twice the grace."""
        process = self._process
        self._prepared.hang_up()
        # The watchdog kills the server after the grace; the rest is for itself to end.
        with anyio.move_on_after(STOP_GRACE + 2):
            await process.wait()
        if process.returncode is not None and process.returncode >= 0:
            return
        # The watchdog hangs, or was killed itself. Then whoever is left of its group is ours to end.
        group = process.pid
        # PermissionError: what macOS says of a group in which everybody has ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGTERM)
            with anyio.move_on_after(STOP_GRACE):
                while True:
                    os.killpg(group, 0)
                    await anyio.sleep(0.02)
            os.killpg(group, signal.SIGKILL)
        await process.wait()


async def _version_text(binary: str) -> str:
    try:
        finished = await anyio.run_process([binary, "--version"], check=False, stderr=subprocess.STDOUT)
    except OSError as error:
        raise ConfigurationError(
            f"binary={binary!r}: cannot be run: {error.strerror}",
            context={"field": "binary", "value": binary},
            cause=error,
        ) from error
    return finished.stdout.decode("utf-8", "replace")


async def _spawn(prepared: PreparedServer) -> Process:
    # Shielded, so that there is never a process of which nobody has the handle. It is one fork.
    with anyio.CancelScope(shield=True):
        return await anyio.open_process(
            prepared.command(),
            stdin=prepared.stdin,
            stdout=prepared.log,
            stderr=prepared.log,
            cwd="/",
            start_new_session=True,
        )
    raise AssertionError("nobody else can cancel this scope")


async def answers(prepared: PreparedServer) -> bool:
    """Whether the server is there."""
    request, lines = prepared.ping
    received = b""
    # A plain socket: who asks is alone with the server, and a few bytes fit wherever they go.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        try:
            connection.connect(str(prepared.socket))
            connection.send(request)
            while received.count(b"\r\n") < lines:
                await anyio.wait_readable(connection)
                data = connection.recv(65536)
                if not data:
                    return False
                received += data
        except OSError:
            return False
    return prepared.is_answered(received)


def _epitaph(status: int | None, prepared: PreparedServer) -> str:
    """How the server ended, and its last words, as the end of a sentence."""
    number = status or 0
    # A shell reports death by signal n as 128 + n; a dead shell is reported as -n.
    killer = number - 128 if number > 128 else -number
    end = ""
    if killer > 0:
        name = signal.Signals(killer).name if killer in set(signal.Signals) else f"signal {killer}"
        end = f" ({name})"
    elif number:
        end = f" (exit status {number})"
    tail = prepared.log_tail()
    return f"{end}. Its log ends:\n{tail}" if tail else f"{end}. Its log is empty"
