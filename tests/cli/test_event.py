"""Events and the audit from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio

from am2z_trio import QueueRuntime, processor
from am2z_trio.cli.operators import operator
from am2z_trio.store.redis import keys
from tests.cli.conftest import HOSTILE, Command, is_harmless
from tests.support.servers import RedisProcess


@processor(name="shop.price")
async def price(state: dict[str, Any]) -> dict[str, Any]:
    return state


def emitted(url: str, *names: str, history: int = 1_000) -> None:
    async def emit() -> None:
        async with QueueRuntime(url, workers=False, event_history=history) as runtime:
            for name in names:
                runtime.emit(name, {"about": name})

    trio.run(emit)


def test_what_has_happened_is_listed(command: Command, redis_url: str):
    empty = command("event", "history")
    assert (empty.status, empty.out) == (0, "")
    assert "event_history=" in empty.err
    emitted(redis_url, "a.one", "a.two", "b.three")
    every = command("event", "history", "[ab].*", "--json").objects
    assert [row["event"] for row in every] == ["a.one", "a.two", "b.three"]
    assert every[0]["data"] == {"about": "a.one"}
    first, *others = [row["id"] for row in every]
    since = command("event", "history", "[ab].*", "--since", first, "--json").objects
    assert [row["id"] for row in since] == others
    assert [row["event"] for row in command("event", "history", "a.*", "--json").objects] == [
        "a.one",
        "a.two",
    ]
    newest = command("event", "history", "[ab].*", "--limit", 1)
    assert "b.three" in newest.out
    assert "there are more" in newest.err


def test_what_happens_is_printed_as_it_does(redis_url: str):
    arguments = [
        sys.executable,
        "-m",
        "am2z_trio.cli",
        "event",
        "tail",
        "a.*",
        "--json",
        "--redis",
        redis_url,
    ]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        # An old server is warned about first.
        assert any("listening" in line for line in tail.stderr)
        emitted(redis_url, "a.one", "b.two", "a.three")
        seen = [json.loads(tail.stdout.readline())["event"] for _ in range(2)]
        tail.send_signal(signal.SIGINT)
        assert tail.wait(30) == 130
    assert seen == ["a.one", "a.three"]


@pytest.mark.parametrize("arguments", [["--since", "x"], ["--before", "x"], ["--limit", "0"]])
def test_a_place_that_is_none_is_a_usage_error(command: Command, redis_url: str, arguments: list[str]):
    emitted(redis_url, "one")
    said = command("event", "history", *arguments)
    assert (said.status, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("name", [name for name in HOSTILE if name])
def test_an_events_name_moves_no_cursor(command: Command, redis_url: str, name: str):
    emitted(redis_url, name)
    said = command("event", "history")
    assert is_harmless(said.out)
    # With those that say that a runtime has come, and gone.
    assert len(said.out.splitlines()) == 5
    assert [row["event"] for row in command("event", "history", "--json").objects].count(name) == 1


def test_who_has_done_what_is_listed(command: Command):
    assert "nobody" in command("audit").err
    assert command("session", "stop", "alice", "--yes", "--reason", "she is done").status == 0
    end, begin = command("audit", "--json").objects
    assert (begin["action"], begin["target"], begin["outcome"]) == ("stop_session", "alice", "")
    assert (begin["who"], begin["face"], begin["reason"]) == (operator(), "cli", "she is done")
    assert begin["told"] == {"active": 0, "waiting": 0, "delayed": 0}
    assert (end["outcome"], end["of"]) == ("done", begin["id"])
    newest = command("audit", "--limit", 1)
    assert "stop_session" in newest.out
    assert "there are older ones" in newest.err


def test_the_audit_is_read_from_a_moment_on(command: Command):
    for session in ("alice", "bob"):
        command("session", "stop", session, "--yes")
    *newest, oldest = command("audit", "--json").objects
    for since in ("1h", "1.5 d", "2026-01-01", "2026-01-01T11:00+02:00"):
        assert command("audit", "--since", since, "--json").objects == [*newest, oldest], since
    # Entries of one millisecond are not told apart.
    moment = oldest["at"].replace("Z", "+00:00")
    behind = [row for row in newest if row["at"] > oldest["at"]]
    later = (datetime.fromisoformat(moment) + timedelta(milliseconds=1)).isoformat(timespec="milliseconds")
    assert command("audit", "--since", later, "--json").objects == behind
    page = command("audit", "--since", "1h", "--limit", 1)
    assert "there are older ones" in page.err
    none = command("audit", "--since", "2100-01-01")
    assert (none.status, none.out) == (0, "")
    assert none.err == "nobody has done anything since then\n"


@pytest.mark.parametrize("text", ["", "yesterday", "11:00 queue:a", "2h*", "-1h", "2026-13-01", *HOSTILE])
def test_a_moment_that_is_none_is_a_usage_error(command: Command, text: str):
    said = command("audit", f"--since={text}")
    assert (said.status, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert is_harmless(said.err)
    assert "since" in said.err
    assert "must be a length of time" in said.err or text in ("", "x" * 500)


def test_an_entry_that_something_else_has_written_is_passed_over(
    command: Command, redis_server: RedisProcess
):
    command("session", "stop", "alice", "--yes")
    redis_server.call("XADD", keys.spell("am2z", "audit"), "*", "e", "not an entry")
    said = command("audit", "--json")
    assert len(said.objects) == 2
    assert "1 entries in between cannot be read" in said.err
