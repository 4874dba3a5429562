"""Lists that are watched: redrawn on a terminal, one object a look for a program, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import trio

from am2z_trio import QueueRuntime, processor
from am2z_trio.cli.main import parser
from am2z_trio.cli.watch import AWAY
from tests.cli.conftest import HOSTILE, Command, is_harmless
from tests.cli.terminal import on_terminal
from tests.cli.test_every_command import paths_below
from tests.support.servers import SpawnRedis, without_old_servers

WATCHED = {
    ("findings",),
    ("status",),
    ("tree",),
    ("audit",),
    ("node", "ls"),
    ("job", "ls"),
    ("dead", "ls"),
    ("dead", "groups"),
    ("bulk", "ls"),
    ("queue", "ls"),
    ("session", "ls"),
    ("cron", "ls"),
}


@processor(name="shop.price")
async def price(state: dict[str, Any]) -> dict[str, Any]:
    return state


def submit(url: str, *sessions: str) -> None:
    async def run() -> None:
        async with QueueRuntime(url, workers=False) as runtime:
            runtime.register(price)
            for session in sessions:
                await runtime.submit(price, {}, session=session)

    trio.run(run)


@contextmanager
def watching(redis_url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """In a pipe."""
    words = [sys.executable, "-m", "am2z_trio.cli", *arguments, "--watch", "0.1", "--redis", redis_url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watched:
        try:
            yield watched
        finally:
            watched.kill()


def test_what_lists_can_be_watched(command: Command):
    can = {path for path in paths_below(parser()) if "--watch" in command(*path, "--help").out}
    assert can == WATCHED


@pytest.mark.parametrize("path", sorted(WATCHED), ids=" ".join)
def test_a_program_is_told_one_object_a_look(redis_url: str, path: tuple[str, ...]):
    submit(redis_url, "alice")
    with watching(redis_url, *path, "--json") as watched:
        assert watched.stdout is not None
        looks = [json.loads(watched.stdout.readline()) for _ in range(3)]
        watched.send_signal(signal.SIGINT)
        assert watched.wait(30) == 130
    assert looks[0]["at"] < looks[1]["at"] < looks[2]["at"]
    assert all(isinstance(row, dict) for look in looks for row in look["rows"])


def test_what_changes_is_seen_by_the_next_look(redis_url: str):
    submit(redis_url, "alice")
    with watching(redis_url, "session", "ls", "--json") as watched:
        assert watched.stdout is not None
        first = json.loads(watched.stdout.readline())["rows"]
        submit(redis_url, "bob")
        found = next(rows for line in watched.stdout if len(rows := json.loads(line)["rows"]) > 1)
    assert [row["session"] for row in first] == ["alice"]
    assert [row["session"] for row in found] == ["alice", "bob"]


def test_in_a_pipe_looks_stand_below_each_other(redis_url: str):
    submit(redis_url, "alice")
    with watching(redis_url, "session", "ls") as watched:
        assert watched.stdout is not None
        lines = [watched.stdout.readline() for _ in range(8)]
    assert [line.split()[:1] for line in lines] == [["session"], ["-------"], ["alice"], []] * 2


@pytest.mark.parametrize("name", HOSTILE)
def test_on_a_terminal_a_look_takes_the_place_of_the_one_before(redis_url: str, name: str):
    submit(redis_url, "alice")
    with on_terminal("session", "ls", "--watch", "0.1", redis=redis_url, columns=1_000, lines=5) as terminal:
        screen = terminal.until(shows="alice")
        assert screen.splitlines()[0].startswith("am2z session ls  every 0.1 s  ")
        submit(redis_url, name, "zoe", "zoe 2")
        screen = terminal.until(shows="and 3 lines more")
        assert is_harmless(screen)
        terminal.interrupt()
        assert terminal.ended() == 130
    # Whoever looks at the terminal afterwards finds what stood there.
    assert terminal.written.endswith("\x1b[?1049l")


def test_that_there_is_nothing_is_seen_on_a_terminal(redis_url: str):
    with on_terminal("session", "ls", "eve", "--watch", redis=redis_url) as terminal:
        terminal.until(shows="no such session has jobs")


def test_while_redis_is_away_that_is_said_in_one_line_and_it_goes_on_by_itself(
    spawn_redis: SpawnRedis, tmp_path: Path
):
    server = spawn_redis(data_dir=tmp_path)
    submit(server.url, "alice")
    with ExitStack() as stack:
        # All at once: each takes its time to begin, and to end while Redis is away.
        all_watched = {
            path: stack.enter_context(watching(server.url, *path, "--json", "-q")) for path in WATCHED
        }
        looks = {path: [read(one.stdout)] for path, one in all_watched.items()}
        server.kill()
        for path, one in all_watched.items():
            assert read(one.stderr) == f"am2z: {AWAY}\n", path
        server.start()
        for path, one in all_watched.items():
            assert read(one.stderr) == "am2z: Redis answers again\n", path
            looks[path] += [read(one.stdout) for _ in range(3)]
        server.kill()
        for path, one in all_watched.items():
            assert read(one.stderr) == f"am2z: {AWAY}\n", path
            one.send_signal(signal.SIGINT)
        for path, one in all_watched.items():
            assert one.wait(30) == 130, path
            assert read(one.stderr) == "", path
    for path in (("job", "ls"), ("queue", "ls"), ("session", "ls")):
        # A look that was not taken is not one in which there is nothing.
        assert all(json.loads(look)["rows"] for look in looks[path]), path


def read(stream: IO[str] | None) -> str:
    assert stream is not None
    return next(without_old_servers(iter(stream.readline, "")), "")


def test_on_a_terminal_the_last_look_stays_while_redis_is_away(spawn_redis: SpawnRedis, tmp_path: Path):
    server = spawn_redis(data_dir=tmp_path)
    submit(server.url, "alice")
    with on_terminal("session", "ls", "--watch", "0.2", redis=server.url) as terminal:
        terminal.until(shows="alice")
        server.kill()
        screen = terminal.until(shows="✕ as of ")
        assert "Redis does not answer" in screen
        assert "alice" in screen
        server.start()
        terminal.until(is_so=lambda text: "as of" not in text and "alice" in text)
        terminal.interrupt()
        assert terminal.ended() == 130


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon", "inf"])
def test_a_pace_that_is_none_is_a_usage_error(command: Command, seconds: str):
    said = command("queue", "ls", f"--watch={seconds}")
    assert (said.status, said.out) == (2, "")
    assert "--watch" in said.err


def test_what_is_silenced_is_not_silenced_again_and_again(command: Command):
    assert command("findings", "--silence", "held", "--watch").status == 2
