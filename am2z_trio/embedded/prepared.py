"""What a server holds before and while it runs: a private directory, its configuration, file descriptors."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import quote

from am2z_trio.model.checks import require
from am2z_trio.model.errors import ConfigurationError

STOP_GRACE: Final = 5
"""Whole seconds (POSIX `sleep`) between TERM and KILL. TERM writes an append-only file out first."""

NO_CONFIG: Final[Mapping[str, str]] = MappingProxyType({})

_WATCHDOG: Final = (files("am2z_trio.embedded") / "watchdog.sh").read_text(encoding="utf-8")

_PREFIX: Final = "am2z-"

# sockaddr_un holds 104 bytes on BSD and macOS and 108 on Linux, the closing NUL included.
_LONGEST_SOCKET_PATH: Final = 103

# Of the server's log, how much of its end goes into an error.
_LOG_TAIL: Final = 2000

# Directives by which the server would slip out of its owner's hands.
_OURS: Final = frozenset(
    {"daemonize", "include", "logfile", "pidfile", "supervised", "unixsocket", "unixsocketperm"}
)


class PreparedServer:
    """What a server holds before and while it runs: a private directory and file descriptors.

    Run `command()` in a session of its own with `stdin` as its input and `log` as its output and errors, then
    call `started()`. `hang_up()` makes the watchdog stop the server. `remove()` gives back whatever
    is still held; it may be called at any time and more than once. Nothing here waits.
    """

    def __init__(self, binary: str, version: str, directory: Path, config: Mapping[str, str]) -> None:
        self.binary = binary
        self.version = version
        self.directory = directory
        self.config = dict(config)
        self.socket = directory / "redis.sock"
        self.password = config.get("requirepass", "").strip("\"'")
        self._log = -1
        self._hears = self._speaks = -1

    @classmethod
    def create(cls, binary: str, version: str, config: Mapping[str, str] = NO_CONFIG) -> Self:
        """Make the private directory, the log and the pipe."""
        _check(config)
        try:
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_short_temporary_directory()))
        except OSError as error:
            raise ConfigurationError(
                f"no private directory for the embedded Redis server: {error}", cause=error
            ) from error
        prepared = cls(binary, version, directory, config)
        try:
            # Open here, so that it can still be read when the watchdog has removed the directory.
            prepared._log = os.open(directory / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            # Both ends close on exec; the child gets its end as standard input.
            prepared._hears, prepared._speaks = os.pipe()
        except BaseException:
            prepared.remove()
            raise
        return prepared

    def command(self) -> list[str]:
        """Write the configuration and return the command line of watchdog and server."""
        settings = {
            "port": "0",
            "save": '""',
            "appendonly": "no",
            "dir": _quoted(self.directory),
            # Errors only: the log is a file nobody rotates, for a server that may run for months.
            "loglevel": "warning",
            **{name.lower(): value or '""' for name, value in self.config.items()},
            "daemonize": "no",
            "pidfile": _quoted(self.directory / "pid"),
            "unixsocket": _quoted(self.socket),
            "unixsocketperm": "700",
        }
        # A file and not arguments: a password would be there for everyone to see in the process list.
        path = self.directory / "redis.conf"
        path.touch(mode=0o600)
        path.write_bytes(b"".join(os.fsencode(f"{name} {value}\n") for name, value in settings.items()))
        watchdog = ["/bin/sh", "-c", _WATCHDOG, "am2z-watchdog", str(self.directory), str(STOP_GRACE)]
        return [*watchdog, self.binary, str(path)]

    @property
    def url(self) -> str:
        """Where the server listens, with its password."""
        user = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"unix://{user}{quote(os.fsencode(self.socket))}"

    @property
    def ping(self) -> tuple[bytes, int]:
        """What asks the server whether it is there, and in how many lines it says so: `is_answered` by these.
        Not before its data is read: until then it says that it is loading."""
        if not self.password:
            return _PING, 1
        password = self.password.encode()
        return b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n%b" % (len(password), password, _PING), 2

    @staticmethod
    def is_answered(lines: bytes) -> bool:
        return lines.endswith(b"+PONG\r\n")

    @property
    def stdin(self) -> int:
        """What the watchdog reads from: the owner's line, or its end."""
        return self._hears

    @property
    def log(self) -> int:
        """Where watchdog and server write to."""
        return self._log

    def started(self) -> None:
        """Close what is the child's now."""
        self._hears = _closed(self._hears)

    def server_pid(self) -> int:
        """Process id that the server has written; it does so before it answers anyone."""
        return int((self.directory / "pid").read_text())

    def log_tail(self) -> str:
        """The end of what the server and the watchdog have said, without the password."""
        if self._log == -1:
            return ""
        size = os.fstat(self._log).st_size
        text = os.pread(self._log, _LOG_TAIL, max(0, size - _LOG_TAIL)).decode("utf-8", "replace").strip()
        # A configuration that Redis does not accept is quoted in its log.
        return text.replace(self.password, "***") if self.password else text

    def hang_up(self) -> None:
        """Tell the watchdog to stop the server."""
        if self._speaks == -1:
            return
        # The line as well as the end: a forked process of the owner's may hold the pipe open.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._speaks, b"\n")
        self._speaks = _closed(self._speaks)

    def remove(self) -> None:
        """Close every descriptor and remove the private directory, if the watchdog has not."""
        self.hang_up()
        self._hears = _closed(self._hears)
        self._log = _closed(self._log)
        shutil.rmtree(self.directory, ignore_errors=True)


_PING = b"*1\r\n$4\r\nPING\r\n"


def _check(config: Mapping[str, str]) -> None:
    for name, value in config.items():
        require(
            name.lower() not in _OURS, "config", name, "is a directive that an embedded server sets itself"
        )
        require(
            not re.search(r"[\r\n\0]", name + value) and name.strip() != "",
            "config",
            name,
            "must be one directive on one line",
        )


def _short_temporary_directory() -> str:
    """The directory for temporary files, or `/tmp` if a socket's path would not fit below it."""
    usual = tempfile.gettempdir()
    longest = Path(usual, _PREFIX + 8 * "x", "redis.sock")
    return usual if len(os.fsencode(longest)) <= _LONGEST_SOCKET_PATH else "/tmp"


def _quoted(path: Path) -> str:
    """Spell a path for redis.conf."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _closed(descriptor: int) -> int:
    if descriptor != -1:
        os.close(descriptor)
    return -1
