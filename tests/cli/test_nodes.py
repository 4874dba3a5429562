"""The live tree, nodes and their health from the command line."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
import trio

from am2z_trio import Context, QueueOptions, QueueRuntime, processor
from tests.cli.conftest import HOSTILE, Command, is_harmless
from tests.support.waiting import wait_until


class Node:
    """A node in a thread of its own, whose jobs run until it ends."""

    def __init__(self, url: str, sessions: tuple[str, ...]) -> None:
        self.id = ""
        self.running = 0
        self._url = url
        self._sessions = sessions
        self._over: trio.Event | None = None
        self._token: Any = None
        self._thread = threading.Thread(target=lambda: trio.run(self._run), daemon=True)

    async def _run(self) -> None:
        self._over, self._token = trio.Event(), trio.lowlevel.current_trio_token()

        async def beside() -> None:
            await anyio.sleep_forever()

        @processor(name="shop.price", timeout=3600, queue=QueueOptions(concurrency=50))
        async def price(n: int, ctx: Context) -> int:
            ctx.nursery.start_soon(beside, name="watch\x1b[2J the price")
            self.running += 1
            await trio.sleep_forever()
            return n

        async with QueueRuntime(self._url, node="worker") as runtime:
            self.id = runtime.node_id
            runtime.register(price)
            jobs = [await runtime.submit(price, 1, session=session) for session in self._sessions]
            await self._over.wait()
            for job in jobs:
                await job.cancel("the test is over")

    @contextmanager
    def serving(self) -> Iterator[Node]:
        self._thread.start()
        wait_until(lambda: self.running == len(self._sessions), "the jobs to run")
        try:
            yield self
        finally:
            assert self._over is not None
            self._token.run_sync_soon(self._over.set)
            self._thread.join(60)


@pytest.fixture
def node(redis_url: str) -> Iterator[Node]:
    with Node(redis_url, ("alice", "bob")).serving() as one:
        yield one


def test_the_tree_is_shown_and_printed_as_json(command: Command, node: Node):
    shown = command("tree")
    assert shown.status == 0
    lines = shown.out.splitlines()
    assert lines[0].startswith(f"node {node.id}")
    scopes = ["session", "worker", "job", "task"]
    assert [line.strip().split(" ")[0] for line in lines] == ["node", *scopes * 2]
    assert "3,600" not in shown.out
    assert is_harmless(shown.out)
    rows = command("tree", "--json").objects
    assert {row["node"] for row in rows} == {node.id}
    assert [row["level"] for row in rows] == [0, 1, 2, 3, 4, 1, 2, 3, 4]
    (job,) = (row for row in rows if row["scope"] == "job" and row["session"] == "alice")
    assert job["timeout"] == 3600
    assert command("tree", "--depth", 1, "--session", "bob", "--json").objects[1]["name"] == "bob"
    assert len(command("tree", "--job", job["job"], "--json").objects) == 5
    assert command("tree", "--depth", 9).status == 2


def test_a_tree_with_stacks_names_the_lines(command: Command, node: Node):
    shown = command("tree", "--session", "alice", "--stacks")
    assert "await trio.sleep_forever()" in shown.out
    assert "await anyio.sleep_forever()" in shown.out
    assert is_harmless(shown.out)
    # A task is told once, by the line where it is.
    assert shown.out.count(" task ") == 2
    jobs = [row for row in command("tree", "--stacks", "--json").objects if row["scope"] == "job"]
    assert all(job["stack"]["tasks"][0]["frames"][-1]["function"].endswith("price") for job in jobs)
    shown = command("node", "stacks", node.id)
    assert shown.out.count("await trio.sleep_forever()") == 2
    assert len(command("node", "stacks", node.id, "--json").objects) == 2


def test_nodes_are_listed_and_shown(command: Command, node: Node):
    (row,) = command("node", "ls", "--json").objects
    assert (row["id"], row["claims"], row["status"]) == (node.id, 2, "serving")
    assert node.id in command("node", "ls").out
    shown = command("node", "show", node.id)
    assert shown.status == 0
    words = dict(re.split("  +", line, maxsplit=1) for line in shown.out.splitlines())
    assert (words["live"], words["concurrency"]) == ("yes", "shop.price (50 at a time)")
    assert words["uptime"].endswith((" ms", " s"))
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT[\d:]{8}\+00:00", words["started"])
    told = command("node", "show", node.id, "--json").object
    assert told["health"]["live"] is True
    assert told["concurrency"] == {"shop.price": 50}


def test_a_node_is_drained_only_with_yes_and_undrained(command: Command, node: Node):
    asked = command("node", "drain", node.id)
    assert (asked.status, asked.out) == (4, "")
    assert "holds 2 jobs" in asked.err
    assert "Nothing was changed" in asked.err
    # Not while its loop is late, as on a busy machine.
    wait_until(lambda: command("status", "--ready", "--node", node.id).status == 0, "the node to be ready")
    assert command("node", "drain", node.id, "--yes", "--json").object == {
        "node": node.id,
        "drained": True,
        "changed": True,
        "claims": 2,
    }
    probe = command("status", "--ready", "--node", node.id)
    assert probe.status == 1
    assert "drained" in probe.out
    assert command("status", "--live", "--node", node.id).status == 0
    (found,) = (one for one in command("findings", "--json").objects if one["code"] == "node_drained")
    assert (found["target"], found["severity"]) == (node.id, "info")
    assert command("node", "undrain", node.id, "--json").object["changed"] is True
    assert command("node", "undrain", node.id, "--json").object["changed"] is False
    wait_until(lambda: command("status", "--ready").status == 0, "the node to be ready again")


def test_a_drain_with_grace_waits_until_nothing_runs_there(command: Command, node: Node):
    done = command("node", "drain", node.id, "--grace", 0.01, "--wait", "--yes", "--json").object
    assert (done["changed"], done["claims"]) == (True, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("node", "show", "nobody"),
        ("node", "drain", "nobody", "--yes"),
        ("node", "undrain", "nobody"),
        ("node", "stacks", "nobody"),
        ("tree", "--node", "nobody"),
        ("status", "--ready", "--node", "nobody"),
        *(("node", "show", name) for name in HOSTILE if name[0] != "-"),
    ],
)
def test_a_node_that_is_not_there_is_said_so(command: Command, arguments: tuple[str, ...]):
    answer = command(*arguments)
    assert answer.status == 3
    assert "there is no node" in answer.err
    assert is_harmless(answer.err)
    assert len(answer.err.splitlines()) == 1


def test_without_nodes_there_is_nothing_to_show(command: Command):
    assert command("tree").status == 0
    assert "no nodes" in command("tree").err
    assert "no nodes" in command("node", "ls").err
    assert command("status").status == 0
    assert command("status", "--ready").status == 3


def test_hostile_names_are_shown_and_move_no_terminal(command: Command, redis_url: str):
    with Node(redis_url, HOSTILE).serving() as node:
        for arguments in (("tree",), ("tree", "--stacks"), ("node", "stacks", node.id), ("status",)):
            shown = command(*arguments)
            assert shown.status == 0
            assert is_harmless(shown.out)
        rows = command("tree", "--json").objects
        assert {row["name"] for row in rows if row["scope"] == "session"} == set(HOSTILE)


def test_a_redis_that_is_not_there_is_out_of_reach(command: Command):
    for arguments in (("tree",), ("node", "ls"), ("status", "--live")):
        assert command(*arguments, "--redis", "redis://127.0.0.1:1").status == 5
