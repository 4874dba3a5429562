"""A call that breaks every connection it is sent on fails alone; its neighbours do not suffer."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from am2z_trio.model.errors import (
    AccessDeniedError,
    AuthenticationError,
    PayloadTooLargeError,
    ResourceError,
    UnknownOutcomeError,
)
from am2z_trio.wire import client as wire_client
from am2z_trio.wire.backlog import DEADLY
from tests.support.servers import SpawnRedis

from .peer import Peer, Peers, bulk, open_client, open_peers, open_played, start

pytestmark = pytest.mark.anyio

FULL = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"


async def comeback(peers: Peers) -> Peer:
    peer = await peers.accept()
    await peer.greet()
    return peer


async def test_the_call_that_breaks_three_connections_fails_and_no_other(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        before, bad, after = (start(tasks, client.call, "ECHO", n) for n in ("before", "bad", "after"))
        names = {(await first.command())[1] for _ in range(3)}
        assert names == {b"before", b"bad", b"after"}
        first.hang_up()
        second = await comeback(peers)
        order = [(await second.command())[1] for _ in range(3)]
        late = start(tasks, client.call, "ECHO", "late")
        assert await second.command() == [b"ECHO", b"late"]
        second.hang_up()

        # From now on one at a time, each when the one before it is answered.
        broken = 0
        peer = await comeback(peers)
        for name in order:
            assert await peer.command() == [b"ECHO", name]
            if name == b"bad":
                peer.hang_up()
                broken += 1
                peer = await comeback(peers)
            else:
                await peer.answer(bulk(name))
        assert await peer.command() == [b"ECHO", b"late"]
        await peer.answer(bulk("late"))
        assert [await call.ended() for call in (before, after, late)] == [b"before", b"after", b"late"]
        error = await bad.ended()
        assert type(error) is UnknownOutcomeError
        assert not error.retryable
        assert error.context["breaks"] == 3
        assert broken == 1


async def test_a_suspect_that_is_answered_is_none_any_more(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        peer = first
        call = start(tasks, client.call, "ECHO", 1)
        for _ in range(2):
            await peer.commands("ECHO")
            peer.hang_up()
            peer = await comeback(peers)
        await peer.commands("ECHO")
        # Put off by a server that speaks: it has broken nothing.
        await peer.answer(b"-LOADING not now\r\n")
        await peer.commands("ECHO")
        peer.hang_up()
        peer = await comeback(peers)
        await peer.commands("ECHO")
        await peer.answer(bulk("1"))
        assert await call.ended() == b"1"


async def test_a_suspect_whose_caller_goes_away_is_not_sent_again(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        peer = first
        doomed, other = (
            start(tasks, client.call, "ECHO", "doomed"),
            start(tasks, client.call, "ECHO", "other"),
        )
        for _ in range(2):
            await peer.commands("ECHO", "ECHO")
            peer.hang_up()
            peer = await peers.accept()
            if _ == 0:
                await peer.greet()
        doomed.scope.cancel()
        await doomed.ended()
        await peer.greet()
        assert await peer.command() == [b"ECHO", b"other"]
        await peer.answer(bulk("other"))
        assert await other.ended() == b"other"


async def test_while_a_suspect_is_alone_the_others_wait_and_are_not_charged(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        peer = first
        bad = start(tasks, client.call, "BAD")
        for _ in range(2):
            await peer.commands("BAD")
            peer.hang_up()
            peer = await comeback(peers)
        await peer.commands("BAD")
        waiting = [start(tasks, client.call, "INCR", n, replay_safe=False) for n in range(3)]
        await anyio.wait_all_tasks_blocked()
        peer.hang_up()
        peer = await comeback(peers)
        assert type(await bad.ended()) is UnknownOutcomeError
        await peer.commands("INCR", "INCR", "INCR")
        await peer.answer(b":1\r\n:2\r\n:3\r\n")
        assert sorted([await call.ended() for call in waiting]) == [1, 2, 3]


async def die(peers: Peers, peer: Peer, life: int) -> Peer:
    """The server goes down, and comes back as another one."""
    peer.hang_up()
    peer = await peers.accept()
    await peer.greet(run_id=str(life))
    return peer


async def test_a_call_in_flight_whenever_the_server_goes_down_is_not_what_breaks_it(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        peer = await die(peers, first, 0)
        call = start(tasks, client.call, "ECHO", "here")
        for life in range(1, 6):
            await peer.commands("ECHO")
            peer = await die(peers, peer, life)
        await peer.commands("ECHO")
        await peer.answer(bulk("here"))
        assert await call.ended() == b"here"


async def test_a_call_that_kills_the_server_again_and_again_fails(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        peer = await die(peers, first, 0)
        deadly = start(tasks, client.call, "DEBUG", "SEGFAULT")
        for life in range(1, DEADLY + 1):
            await peer.commands("DEBUG")
            peer = await die(peers, peer, life)
        assert type(await deadly.ended()) is UnknownOutcomeError
        after = start(tasks, client.call, "ECHO", "on")
        await peer.commands("ECHO")
        await peer.answer(bulk("on"))
        assert await after.ended() == b"on"


@pytest.mark.parametrize(
    ("config", "bad"),
    [
        ({"proto-max-bulk-len": "1mb"}, ("SET", "k", b"x" * 3_000_000)),
        ({"client-query-buffer-limit": "1mb"}, ("SET", "k", b"x" * 3_000_000)),
        ({"client-output-buffer-limit": "normal 1mb 1mb 1"}, ("EVAL", "return string.rep('x', 9000000)", 0)),
    ],
)
async def test_what_the_server_refuses_by_closing_is_one_error(
    spawn_redis: SpawnRedis, config: dict[str, str], bad: tuple[str | bytes | int, ...]
) -> None:
    server = spawn_redis(config)
    async with open_client(server.url) as client, anyio.create_task_group() as tasks:
        calls = [start(tasks, client.call, "ECHO", n) for n in range(20)]
        refused = start(tasks, client.call, *bad)
        calls += [start(tasks, client.call, "ECHO", n) for n in range(20, 40)]
        assert [await call.ended() for call in calls] == [str(n).encode() for n in range(40)]
        assert type(await refused.ended()) in (UnknownOutcomeError, PayloadTooLargeError)
        assert await client.call("ECHO", "on") == b"on"


async def test_a_full_memory_is_no_verdict_on_what_was_sent_before_a_break(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        call = start(tasks, client.call, "ECHO", "in doubt")
        await first.commands("ECHO")
        first.hang_up()
        second = await comeback(peers)
        await second.commands("ECHO")
        other = start(tasks, client.call, "ECHO", "sent once")
        await second.commands("ECHO")
        # What was on the first line may be applied yet: nobody may be told that it was refused.
        await second.answer(FULL)
        await second.answer(FULL)
        assert type(await other.ended()) is ResourceError
        assert await second.command() == [b"ECHO", b"in doubt"]
        await second.answer(bulk("in doubt"))
        assert await call.ended() == b"in doubt"


async def test_a_memory_that_stays_full_leaves_an_unknown_outcome(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers, call_timeout=0.2) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        call = start(tasks, client.call, "ECHO", "in doubt")
        await first.commands("ECHO")
        first.hang_up()
        peer = await comeback(peers)

        async def refuse() -> None:
            while True:
                is_echo = (await peer.command())[0] == b"ECHO"
                await peer.answer(FULL if is_echo else b"+PONG\r\n")

        refusals = start(tasks, refuse)
        error = await call.ended()
        assert type(error) is UnknownOutcomeError
        assert "memory is full" in error.message
        refusals.scope.cancel()


async def test_who_is_let_in_no_more_hears_that_what_was_sent_before_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_client, "REFUSED_PATIENCE", 0.0)
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        sent = start(tasks, client.call, "ECHO", "sent")
        await first.commands("ECHO")
        first.hang_up()
        second = await peers.accept()
        unsent = start(tasks, client.call, "ECHO", "not sent")
        await second.commands("HELLO")
        await second.answer(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
        errors = [await call.ended() for call in (sent, unsent)]
        assert [type(error) for error in errors] == [AuthenticationError] * 2
        assert [error.context.get("in_doubt", False) for error in errors] == [True, False]
        assert errors[0].message == errors[1].message


async def test_an_answer_that_refuses_what_was_sent_before_a_break_says_that_it_is_in_doubt(
    tmp_path: Path,
) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, first),
        anyio.create_task_group() as tasks,
    ):
        names = ("denied", "too large")
        calls = [start(tasks, client.call, "ECHO", name) for name in names]
        order = [(await first.command())[1].decode() for _ in names]
        first.hang_up()
        second = await comeback(peers)
        replies = {
            "denied": b"-NOPERM this user has no permissions to run the 'echo' command\r\n",
            "too large": b"-ERR Protocol error: invalid bulk length\r\n",
        }
        for name in order:
            await second.command()
            await second.answer(replies[name])
        denied, large = [await call.ended() for call in calls]
        assert type(denied) is AccessDeniedError
        assert denied.context["in_doubt"] is True
        # What is too large now was so before.
        assert type(large) is PayloadTooLargeError
        assert "in_doubt" not in large.context
