"""Queues and sessions from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

from am2z_trio import QueueRuntime, processor
from am2z_trio.cli.commands import verifying
from am2z_trio.cli.main import parser
from am2z_trio.store.redis import keys
from tests.cli.conftest import HOSTILE, Command, is_harmless
from tests.support.servers import RedisProcess

Work = Callable[[QueueRuntime], Awaitable[None]]
Do = Callable[[Work], None]


@processor(name="shop.price")
async def price(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "n": state["n"] + 1}


@pytest.fixture
def do(redis_url: str) -> Do:
    """Do something in the server before a command looks at it, or after."""

    def done(work: Work) -> None:
        async def run() -> None:
            async with QueueRuntime(redis_url, workers=False, state_history=5) as runtime:
                await work(runtime)

        trio.run(run)

    return done


def jobs_in(*sessions: str) -> Work:
    async def submit(runtime: QueueRuntime) -> None:
        runtime.register(price)
        for session in sessions:
            await runtime.submit(price, {"n": 1}, session=session)

    return submit


def states_of(session: str, *states: object) -> Work:
    async def write(runtime: QueueRuntime) -> None:
        for state in states:
            await runtime.state.set(session, state)

    return write


def test_sessions_are_listed_as_a_query_asks(command: Command, do: Do):
    do(jobs_in("alice", "bob", "team-a", "team-b", "team-boss"))

    def listed(*query: str) -> list[str]:
        return [row["session"] for row in command("session", "ls", "--json", "--", *query).objects]

    assert listed("team-*") == listed("session:team-*") == ["team-a", "team-b", "team-boss"]
    assert listed("team-*", "-session:team-bo*") == ["team-a", "team-b"]
    assert listed("alice", "session:bob") == ["alice", "bob"]
    assert listed("-session:team-*") == listed("-team-*") == ["alice", "bob"]
    assert listed() == listed("") == ["alice", "bob", "team-a", "team-b", "team-boss"]
    none = command("session", "ls", "eve")
    assert (none.status, none.out, none.err) == (0, "", "no such session has jobs\n")
    for wrong in ("status:waiting", "colour:red", '"', "alice age>5m"):
        said = command("session", "ls", wrong)
        assert (said.status, said.out) == (2, ""), wrong
        assert len(said.err.splitlines()) == 1


def test_queues_are_listed_with_their_jobs(command: Command, do: Do):
    assert "no queues" in command("queue", "ls").err
    do(jobs_in("alice", "bob"))
    (row,) = command("queue", "ls", "--json").objects
    assert (row["queue"], row["waiting"], row["active"], row["workers"]) == ("shop.price", 2, 0, 0)
    shown = command("queue", "ls")
    assert shown.status == 0
    assert shown.out.split()[0] == "queue"
    assert "shop.price" in shown.out
    assert command("queue", "show", "shop.price", "--json").object == row
    assert "shop.price" in command("queue", "show", "shop.price").out


def test_a_queue_that_is_not_there_is_said_so(command: Command):
    missing = command("queue", "show", "shop.cost")
    assert missing.status == 3
    assert "'shop.cost'" in missing.err
    assert missing.out == ""


def test_sessions_are_listed_shown_and_stopped(command: Command, do: Do):
    do(jobs_in("alice", "bob"))
    assert [row["session"] for row in command("session", "ls", "--json").objects] == ["alice", "bob"]
    found = command("session", "show", "alice", "--json").object
    assert (found["session"], found["waiting"], found["version"]) == ("alice", 1, 0)
    asked = ("session", "stop", "--where", "session:ali*")
    counted = command(*asked)
    assert (counted.status, "1 session matches now" in counted.out) == (4, True)
    assert command(*asked, "--grace", 1, "--yes").status == command("session", "stop").status == 2
    refused = command("session", "stop", "alice")
    assert (refused.status, refused.out) == (4, "")
    assert "1 waiting" in refused.err
    assert "--yes" in refused.err
    assert [row["session"] for row in command("session", "ls", "--json").objects] == ["alice", "bob"]
    assert command("session", "stop", "alice", "--yes", "--json").object["done"]
    assert [row["session"] for row in command("session", "ls", "--json").objects] == ["bob"]


def test_a_session_that_nobody_has_used_is_said_so(command: Command):
    for what in ("show", "state", "diff", "verify"):
        missing = command("session", what, "nobody")
        assert missing.status == 3, what
        assert "'nobody'" in missing.err
        assert missing.out == ""


def test_a_state_is_shown_in_each_version_that_is_kept(command: Command, do: Do):
    do(states_of("alice", {"n": 1}, {"n": 2}, {"n": 2, "paid": True}))
    assert command("session", "state", "alice", "--json").object["state"] == {"n": 2, "paid": True}
    first = command("session", "state", "alice", "--version", 1, "--json").object
    assert (first["version"], first["state"]) == (1, {"n": 1})
    missing = command("session", "state", "alice", "--version", 9)
    assert missing.status == 3
    assert "kept: 3, 2, 1" in missing.err
    # Whoever sees a state is written down.
    assert {(row["action"], row["target"]) for row in command("audit", "--json").objects} == {
        ("reveal_state", "alice")
    }


def test_a_state_of_one_version_has_nothing_to_be_compared_with(command: Command, do: Do):
    do(states_of("bob", {"n": 1}))
    missing = command("session", "diff", "bob")
    assert (missing.status, missing.out) == (3, "")
    assert missing.err == "am2z: an earlier version of session 'bob' is not kept; kept: 1\n"


def test_what_a_version_has_changed(command: Command, do: Do):
    do(states_of("alice", {"n": 1}, {"n": 2}, {"n": 2, "paid": True}))
    newest = command("session", "diff", "alice", "--json").object
    assert (newest["old"], newest["new"]) == (2, 3)
    assert '+  "paid": true' in newest["diff"]
    shown = command("session", "diff", "alice", 1, 2).out.splitlines()
    assert '-  "n": 1' in shown
    assert '+  "n": 2' in shown
    assert command("session", "diff", "alice", 2, 2).out == "the same\n"


def test_what_has_changed_of_a_state_whose_keys_are_no_texts(command: Command, do: Do):
    do(states_of("alice", {1: "a", (1, 2): "b"}, {1: "a", (1, 2): "c"}))
    shown = command("session", "diff", "alice")
    assert (shown.status, shown.err) == (0, "")
    assert '+  "(1, 2)": "c",' in shown.out.splitlines()


def test_an_earlier_state_is_made_the_newest(command: Command, do: Do):
    do(states_of("alice", {"n": 1}, {"n": 2}))
    restored = command("session", "restore", "alice", 1, "--reason", "it was right", "--json").object
    assert (restored["done"], restored["text"]) == (True, "version 3 is what 1 was")
    assert command("session", "state", "alice", "--json").object["state"] == {"n": 1}
    assert command("session", "restore", "alice", 3).status == 4
    assert command("session", "restore", "alice", 9).status == 4


def test_a_queue_is_held_up_and_let_go_on(command: Command, do: Do):
    do(jobs_in("alice"))
    assert command("queue", "pause", "shop.price", "--reason", "the bank is away").status == 0
    assert command("queue", "show", "shop.price", "--json").object["paused"] == 1
    assert command("queue", "resume", "shop.price", "--json").object["done"]
    assert command("queue", "show", "shop.price", "--json").object["waiting"] == 1
    drained = command("queue", "drain", "shop.price", "--wait")
    assert (drained.status, drained.out) == (
        0,
        "shop.price: none of its jobs is started any more, and none runs\n",
    )
    assert command("audit", "--json").objects[0]["action"] == "drain_queue"
    assert command("queue", "drain", "shop.price").out.endswith("is started any more; none runs\n")
    assert command("queue", "show", "shop.price", "--json").object["paused"] == 1
    assert command("queue", "pause", "shop.cost").status == 4


def test_all_queues_are_held_up_and_let_go_on(command: Command, do: Do):
    do(jobs_in("alice"))
    assert command("queue", "pause", "--all", "--reason", "upgrade").out.strip() == "all: 1 queue paused"
    assert command("queue", "show", "shop.price", "--json").object["paused"] == 1
    assert command("queue", "pause", "--all", "--json").object["text"] == "all 1 are paused already"
    assert command("queue", "resume", "--all", "--json").object["text"] == "1 queue resumed"
    for asked in ((), ("shop.price", "--all")):
        refused = command("queue", "resume", *asked)
        assert refused.status == 2
        assert "either QUEUE or --all" in refused.err


def test_a_queue_is_emptied_of_what_waits(command: Command, do: Do):
    do(jobs_in("alice", "bob"))
    asked = command("queue", "purge", "shop.price")
    assert asked.status == 4
    assert asked.out.startswith("2 ")
    assert command("queue", "show", "shop.price", "--json").object["waiting"] == 2
    purged = command("queue", "purge", "shop.price", "--yes", "--json")
    assert (purged.status, purged.object["done"]) == (0, 2)
    deeds = {(one["action"], one["target"]) for one in command("audit", "--json").objects}
    assert ("purge", "shop.price") in deeds
    # Nothing is left of it that anybody serves or waits for.
    assert command("queue", "show", "shop.price").status == 3
    assert command("session", "ls", "--json").objects == []


def test_a_state_that_something_else_has_changed_fails_its_check(
    command: Command, do: Do, redis_server: RedisProcess
):
    do(states_of("alice", {"n": 1}))
    assert command("session", "verify", "alice").status == 0
    redis_server.call("HSET", keys.spell("am2z", "session", "alice"), "blob", "other")
    spoilt = command("session", "verify", "alice", "--json")
    assert spoilt.status == 1
    assert spoilt.object["sound"] is False


def test_the_states_of_all_sessions_are_looked_at(
    command: Command, do: Do, redis_server: RedisProcess, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verifying, "PAGE", 3)
    names = [f"s{n}" for n in range(8)]
    assert command("session", "verify", "--all", "--json").object == {
        "looked_at": 0,
        "of": 0,
        "spoilt": 0,
        "cursor": "",
    }
    do(jobs_in(*names, *HOSTILE))
    do(states_of("s2", {"n": 1}))
    do(states_of("s5", {"n": 1}, {"n": 2}))
    sound = command("session", "verify", "--all")
    many = len(names) + len(HOSTILE)
    told = f"looked at {many} of {many} sessions with jobs: all states are what was written\n"
    assert (sound.status, sound.out, sound.err) == (0, told, "")
    redis_server.call("HSET", keys.spell("am2z", "session", "s5"), "blob", "other")
    redis_server.call("HSET", keys.spell("am2z", "session", "s7"), "blob", "other", "version", "x")
    *spoilt, end = command("session", "verify", "--all", "--json").objects
    assert {(row["session"], row["sound"]) for row in spoilt} == {("s5", False), ("s7", False)}
    assert all(row["text"] for row in spoilt)
    assert end == {"looked_at": many, "of": many, "spoilt": 2, "cursor": ""}
    said = command("session", "verify", "--all")
    assert said.status == 1
    assert "2 are not what was written" in said.out
    assert is_harmless(said.out + said.err)


def test_looking_at_all_states_goes_on_where_it_has_ended(command: Command, do: Do):
    # So many that the store does not tell all of them at once.
    do(jobs_in(*(f"s{n}" for n in range(1_000))))
    looked_at, cursor, runs = 0, "", 0
    while cursor or not runs:
        end = command("session", "verify", "--all", "--limit", 300, "--cursor", cursor, "--json").object
        looked_at, cursor, runs = looked_at + end["looked_at"], end["cursor"], runs + 1
    assert runs > 1
    assert looked_at >= 1_000
    assert "there are more: --cursor" in command("session", "verify", "--all", "--limit", 300).err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["alice", "--all"],
        ["--all", "--limit", "0"],
        ["--all", "--cursor", "x"],
        ["--all", "--limit", "x"],
    ],
    ids=" ".join,
)
def test_which_states_are_looked_at_is_said_once(command: Command, arguments: list[str]):
    said = command("session", "verify", *arguments)
    assert (said.status, said.out) == (2, "")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_do_no_harm(command: Command, do: Do, name: str):
    do(jobs_in(name))
    do(states_of(name, {name: name}))
    assert [row["session"] for row in command("session", "ls", "--json").objects] == [name]
    assert command("session", "state", "--json", "--", name).object["state"] == {name: name}
    for what in ("show", "state", "verify", "stop"):
        said = command("session", what, "--", name)
        assert said.status in (0, 4)
        assert is_harmless(said.out + said.err), what
        assert len((said.out + said.err).splitlines()) <= 8, what


@pytest.mark.parametrize(
    "arguments",
    [
        *(["session", what, ""] for what in ("show", "state", "diff", "verify", "stop")),
        ["session", "stop", "x", "--grace", "-1", "--yes"],
        ["queue", "ls", "--prefix", "a b"],
        ["queue", "ls", "--redis", "http://localhost"],
        ["session", "show", "x" * 100_000],
    ],
)
def test_what_is_wrong_is_one_line_and_a_usage_error(command: Command, arguments: list[str]):
    said = command(*arguments)
    assert (said.status, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith("am2z: ")
    assert len(line) < 1_000


def test_a_redis_that_is_away_is_one_line_without_its_password(command: Command):
    for what in (["queue", "ls"], ["session", "show", "alice"]):
        said = command(*what, "--redis", "redis://:secret@127.0.0.1:1/0")
        assert (said.status, said.out) == (5, "")
        assert len(said.err.splitlines()) == 1
        assert "secret" not in said.err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_every_command(command: Command, shell: str):
    script = command("completion", shell).out
    for word in ("queue", "session", "verify", "--prefix"):
        assert word in script


def test_every_command_teaches_by_example(command: Command):
    def each(parser: argparse.ArgumentParser, *path: str) -> Iterator[tuple[str, ...]]:
        groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
        for group in groups:
            for name, child in group.choices.items():
                yield from each(child, *path, name)
        if path:
            yield path

    paths = list(each(parser()))
    assert len(paths) > 10
    for path in paths:
        said = command(*path, "--help")
        assert said.status == 0
        _, found, examples = said.out.partition("examples:\n")
        assert found, path
        assert all(f"am2z {path[0]}" in line for line in examples.splitlines()), path
