"""What every command heeds: how much it says, and in which colours."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest
import trio

from am2z_trio import QueueRuntime, processor
from am2z_trio.cli import main
from am2z_trio.cli.main import parser
from am2z_trio.cli.output import encode
from tests.cli.conftest import Command
from tests.cli.terminal import on_terminal
from tests.cli.test_every_command import paths_below
from tests.support.waiting import PATIENCE


@pytest.mark.parametrize(
    "arguments",
    [
        ["queue", "ls"],
        ["node", "ls"],
        ["tree"],
        ["job", "ls"],
        ["session", "ls"],
        ["dead", "groups"],
        ["bulk", "ls"],
        ["cron", "ls"],
        ["audit"],
        ["event", "history", "nothing.of.the.kind"],
    ],
    ids=" ".join,
)
def test_a_quiet_list_says_only_what_it_has_found(command: Command, arguments: list[str]):
    loud = command(*arguments)
    assert loud.err
    for quiet in ([*arguments, "-q"], ["--quiet", *arguments], [arguments[0], "-q", *arguments[1:]]):
        said = command(*quiet)
        assert (said.status, said.out, said.err) == (loud.status, loud.out, ""), quiet


def test_what_is_done_quietly_is_not_said_and_what_is_not_is(command: Command):
    assert "none of its jobs runs" in command("session", "stop", "alice", "--yes").out
    done = command("-q", "session", "stop", "alice", "--yes")
    assert (done.status, done.out, done.err) == (0, "", "")
    # What a program asks for it is told.
    assert command("session", "stop", "alice", "--yes", "-q", "--json").object["done"] is True
    refused = command("session", "stop", "alice", "-q")
    assert refused.status == 4
    assert "Nothing was changed" in refused.err
    missing = command("session", "show", "alice", "-q")
    assert missing.status == 3
    assert "neither a state nor jobs" in missing.err
    # And what a later one says is not quiet.
    assert command("session", "ls").err


@processor(name="shop.price")
async def price(state: Any) -> Any:
    return state


def test_who_makes_a_job_quietly_is_told_its_id_alone(redis_url: str, command: Command):
    async def serve_one() -> None:
        async with QueueRuntime(redis_url) as runtime:
            runtime.register(price)
            (await runtime.execute(price, 1)).unwrap()

    trio.run(serve_one)
    made = command("job", "enqueue", "shop.price", "--state", "1", "-q")
    assert (made.status, made.err) == (0, "")
    (id,) = made.out.splitlines()
    assert command("job", "show", id, "--json").object["row"]["processor"] == "shop.price"
    asked = command("job", "enqueue", "shop.price", "--id", "order-17", "--session", "alice", "-q")
    assert asked.out.splitlines() == [command("job", "ls", "session:alice", "--json").objects[0]["id"]]
    (edited,) = command("-q", "dead", "edit", id, "--state", "2").out.splitlines()
    assert command("job", "show", edited, "--reveal", "--json").object["input"]["value"] == 2
    added = command("cron", "add", "nightly", "shop.price", "every 3600", "--state", "1", "-q")
    assert (added.status, added.out) == (0, "")
    (ran,) = command("cron", "run", "nightly", "-q").out.splitlines()
    assert command("job", "show", ran, "--json").object["row"]["schedule"] == "nightly"
    # What acts on a job that there is makes none.
    assert command("job", "next", id, "-q").out == ""
    assert command("job", "cancel", id, "-q").out == ""
    late = command("job", "cancel", id, "-q")
    assert (late.status, "it was cancelled" in late.out) == (4, True)


def test_every_command_can_be_asked_how_it_says_things(command: Command):
    for path in paths_below(parser()):
        told = command(*path, "--help").out
        assert "--quiet" in told, path
        assert "--no-color" in told, path


def test_no_colours_are_of_one_command(command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert command("--no-color", "queue", "ls").status == 0
    assert command("queue", "ls", "--no-color").status == 0
    assert "NO_COLOR" not in os.environ
    monkeypatch.setenv("NO_COLOR", "yes")
    assert command("queue", "ls", "--no-color").status == 0
    assert os.environ["NO_COLOR"] == "yes"


@pytest.mark.parametrize("arguments", [["top"], ["--no-color", "top"], ["top", "--no-color"]], ids=" ".join)
def test_a_screen_has_colours_unless_it_is_told_not_to(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
):
    monkeypatch.delenv("NO_COLOR", raising=False)
    with on_terminal(*arguments, redis=redis_url) as terminal:
        terminal.until(shows="am2z top")
        terminal.press("q")
        assert terminal.ended() == 0
    is_coloured = any(f"\x1b[{code}m" in terminal.written for code in ("2", "31", "33"))
    assert is_coloured is (arguments == ["top"])


def test_what_a_terminal_has_no_letter_for_is_spelt(
    command: Command, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    @processor(name="naïve-✓")
    async def naive(n: int) -> int:
        return n

    async def submit() -> None:
        async with QueueRuntime(redis_url, workers=False) as runtime:
            runtime.register(naive)
            await runtime.submit(naive, 1, session="é")

    trio.run(submit)
    for arguments in (["queue", "ls"], ["job", "ls"], ["session", "ls"], ["metrics"]):
        written = io.BytesIO()
        with io.TextIOWrapper(written, encoding="ascii", write_through=True) as terminal:
            with monkeypatch.context() as patched:
                patched.setattr(sys, "stdout", terminal)
                assert main(arguments) == 0
            assert b"\\xef" in written.getvalue() or b"\\xe9" in written.getvalue(), arguments
            assert terminal.errors == "strict"


def test_what_is_no_text_is_told_in_json_all_the_same():
    told = encode({"schedules": {"a\udcff": "\udcff", (1, 2): 3.5, "é": None}})
    assert told.isascii()
    assert json.loads(told) == {"schedules": {"a?": "?", "(1, 2)": 3.5, "é": None}}


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_what_is_closed_is_written_to_nowhere(redis_url: str, closed: str):
    for at, arguments, status in ((redis_url, "top", 0), ("redis://127.0.0.1:1/0", "queue ls", 5)):
        command = f'exec "$0" -m am2z_trio.cli {arguments} {closed}'
        done = subprocess.run(
            ["/bin/sh", "-c", command, sys.executable],
            env={**os.environ, "AM2Z_REDIS_URL": at},
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, (arguments, done.stderr)
        assert b"Traceback" not in done.stdout + done.stderr
