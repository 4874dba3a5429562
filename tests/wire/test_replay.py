"""What becomes of a call when its connection breaks, at every point where it can break."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.model.errors import NetworkError, ServerReplyError, UnknownOutcomeError
from am2z_trio.wire import client as client_module
from am2z_trio.wire.resp import pack
from am2z_trio.wire.scripts import Script

from .peer import Recorder, bulk, confirmation, open_peers, open_played, start

pytestmark = pytest.mark.anyio


async def test_unanswered_replay_safe_calls_are_sent_again_in_order(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        calls = []
        for n in range(3):
            calls.append(start(tasks, client.call, "ECHO", n))
            assert await peer.command() == [b"ECHO", b"%d" % n]
        client.send("SENT", "3")
        assert await peer.command() == [b"SENT", b"3"]
        # The first is answered, the second half answered, the others not at all.
        await peer.answer(bulk("zero") + bulk("first")[:-1])
        assert await calls[0].ended() == b"zero"
        peer.hang_up()
        second = await peers.accept()
        await second.greet()
        assert await second.commands("ECHO", "ECHO", "SENT") == [
            [b"ECHO", b"1"],
            [b"ECHO", b"2"],
            [b"SENT", b"3"],
        ]
        await second.answer(bulk("one") + bulk("two") + b"+OK\r\n")
        assert [await call.ended() for call in calls] == [b"zero", b"one", b"two"]


async def test_a_written_call_that_must_not_be_repeated_is_of_unknown_outcome(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        call = start(tasks, client.call, "INCR", "n", replay_safe=False)
        await peer.commands("INCR")
        peer.hang_up()
        error = await call.ended()
        assert type(error) is UnknownOutcomeError
        assert "INCR" in str(error)
        assert not error.retryable
        second = await peers.accept()
        await second.greet()
        client.send("PING")
        assert await second.command() == [b"PING"]


async def test_a_call_that_was_never_written_is_sent_later_whatever_it_is(tmp_path: Path) -> None:
    recorder = Recorder()
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers, recorder) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        peer.hang_up()
        await recorder.happened("lost")
        calls = [start(tasks, client.call, "INCR", n, replay_safe=False) for n in range(3)]
        await current_host().checkpoint()
        second = await peers.accept()
        await second.greet()
        for _ in calls:
            (command,) = await second.commands("INCR")
            await second.answer(b":%d\r\n" % (10 + int(command[1])))
        assert [await call.ended() for call in calls] == [10, 11, 12]


async def test_a_cancelled_call_is_not_sent_again(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        doomed, stays = (
            start(tasks, client.call, "ECHO", "doomed"),
            start(tasks, client.call, "ECHO", "stays"),
        )
        await peer.commands("ECHO", "ECHO")
        doomed.scope.cancel()
        await doomed.ended()
        peer.hang_up()
        second = await peers.accept()
        await second.greet()
        assert await second.command() == [b"ECHO", b"stays"]
        await second.answer(bulk("ok"))
        assert await stays.ended() == b"ok"


async def test_channels_then_scripts_then_calls_are_made_good(tmp_path: Path) -> None:
    script = Script("s", "return 1")
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        subscribed = start(tasks, client.subscribe, "c")
        await peer.commands("SUBSCRIBE")
        call = start(tasks, client.eval, script, ["k"], [1])
        load, evalsha = await peer.commands("SCRIPT", "EVALSHA")
        assert load == [b"SCRIPT", b"LOAD", b"return 1"]
        peer.hang_up()
        second = await peers.accept()
        await second.greet()
        # The channel is wanted, and its subscriber still waits: one command each.
        commands = await second.commands("SUBSCRIBE", "SCRIPT", "SUBSCRIBE", "EVALSHA")
        assert commands[1:] == [load, [b"SUBSCRIBE", b"c"], evalsha]
        await second.answer(
            confirmation("subscribe", "c") + bulk(script.sha1) + confirmation("subscribe", "c") + b":1\r\n"
        )
        assert await subscribed.ended() is None
        assert await call.ended() == 1


@pytest.mark.parametrize("cut", range(0, 60, 3))
async def test_a_reply_cut_anywhere_is_asked_for_again(tmp_path: Path, cut: int) -> None:
    replies = bulk("a" * 10) + b"*2\r\n:1\r\n" + bulk("b\r\n") + b"+OK\r\n" + b",1.5\r\n"
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        calls = []
        for n in range(4):
            calls.append(start(tasks, client.call, "ECHO", n))
            await peer.commands("ECHO")
        await peer.answer(replies[:cut])
        peer.hang_up()
        if cut < len(replies):
            second = await peers.accept()
            await second.greet()
            expected = [b"a" * 10, [1, b"b\r\n"], b"OK", 1.5]
            missing = [b"$10\r\naaaaaaaaaa\r\n", b"*2\r\n:1\r\n$3\r\nb\r\n\r\n", b"+OK\r\n", b",1.5\r\n"]
            done = sum(len(b"".join(missing[: n + 1])) <= cut for n in range(4))
            for n in range(done, 4):
                assert await second.command() == [b"ECHO", b"%d" % n]
                await second.answer(missing[n])
            assert [await call.ended() for call in calls] == expected


async def test_an_answer_nobody_asked_for_breaks_the_connection(tmp_path: Path) -> None:
    recorder = Recorder()
    async with open_peers(tmp_path) as peers, open_played(peers, recorder) as (client, peer):
        await peer.answer(b"+OK\r\n")
        await recorder.happened("lost")
        assert "nobody had asked" in recorder.error("lost")
        second = await peers.accept()
        await second.greet()
        await recorder.happened("ready", 2)
        assert client.state == "ready"


async def test_the_end_says_which_calls_were_sent(tmp_path: Path) -> None:
    recorder = Recorder()
    async with open_peers(tmp_path) as peers, anyio.create_task_group() as tasks:
        async with open_played(peers, recorder) as (client, peer):
            written = start(tasks, client.call, "ECHO", "written")
            await peer.commands("ECHO")
            peer.hang_up()
            await recorder.happened("lost")
            waiting = start(tasks, client.call, "ECHO", "waiting")
            await current_host().checkpoint()
        assert type(await written.ended()) is UnknownOutcomeError
        assert type(await waiting.ended()) is NetworkError
        assert "not sent" in str(waiting.error)


async def test_a_refused_comeback_is_tried_again_and_shown(tmp_path: Path) -> None:
    recorder = Recorder()
    async with open_peers(tmp_path) as peers, open_played(peers, recorder) as (client, peer):
        peer.hang_up()
        second = await peers.accept()
        await second.commands("HELLO")
        await second.answer(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
        await recorder.happened("reconnecting", 2)
        assert client.state == "error"
        assert "refused the username or password" in recorder.error("reconnecting", 1)
        second.hang_up()
        third = await peers.accept()
        await third.greet()
        await recorder.happened("ready", 2)
        assert client.reconnects == 1


async def test_who_is_told_that_the_server_is_back_does_not_wait_out_its_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    async with open_peers(tmp_path) as peers, open_played(peers, recorder) as (client, peer):
        monkeypatch.setattr(client_module, "FIRST_PAUSE", 1000.0)
        monkeypatch.setattr(client_module, "LONGEST_PAUSE", 1000.0)
        # Nothing, while it stands.
        client.hurry()
        peer.hang_up()
        await recorder.happened("reconnecting")
        client.hurry()
        second = await peers.accept()
        await second.greet()
        await recorder.happened("ready", 2)


async def test_putting_off_grows_and_ends_with_the_caller(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        call = start(tasks, client.call, "SET", "k", "v", replay_safe=False)
        for code in ("LOADING", "BUSY", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN"):
            await peer.commands("SET")
            await peer.answer(f"-{code} not now\r\n".encode())
        await peer.commands("SET")
        call.scope.cancel()
        await call.ended()
        await peer.answer(b"-LOADING not now\r\n")
        other = start(tasks, client.call, "PING")
        assert await peer.command() == [b"PING"]
        await peer.answer(b"+PONG\r\n")
        assert await other.ended() == b"PONG"


async def test_keys_that_are_elsewhere_for_a_moment_are_waited_for_and_no_longer(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers, call_timeout=1.0) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        call = start(tasks, client.call, "SET", "k", "v", replay_safe=False)
        for code in ("MOVED 7 127.0.0.1:1", "ASK 7 127.0.0.1:1"):
            await peer.commands("SET")
            await peer.answer(f"-{code}\r\n".encode())
        await peer.commands("SET")
        await peer.answer(b"+OK\r\n")
        assert await call.ended() == b"OK"

        call = start(tasks, client.call, "SET", "k", "v")
        asked = 0
        while call.error is None:
            with anyio.move_on_after(1.5):
                command = await peer.command()
                await peer.answer(b"-MOVED 7 127.0.0.1:1\r\n" if command[0] == b"SET" else b"+PONG\r\n")
                asked += 1
        assert asked > 2
        assert type(call.error) is ServerReplyError
        assert "127.0.0.1:1" in str(call.error)


async def test_the_same_bytes_are_sent_again(tmp_path: Path) -> None:
    args = ("SET", "k\r\n", b"\0\xff", 7, 2.5)
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        call = start(tasks, client.call, *args)
        first = await peer.command()
        peer.hang_up()
        second = await peers.accept()
        await second.greet()
        assert await second.command() == first
        assert pack(args) == pack(tuple(first))
        await second.answer(b"+OK\r\n")
        assert await call.ended() == b"OK"


async def test_a_call_queued_behind_a_stuck_write_was_never_sent(tmp_path: Path) -> None:
    big = b"x" * 5_000_000
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers, max_pending_bytes=10 * len(big)) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        # More than the socket takes, and the peer does not read: the write stays half done.
        stuck = start(tasks, client.call, "SET", "k", big)
        connection = client._connection
        assert connection is not None
        while not connection._in_flight:
            await current_host().checkpoint()
        queued = start(tasks, client.call, "INCR", "n", replay_safe=False)
        for _ in range(10):
            await current_host().checkpoint()
        assert len(connection._in_flight) == 1
        peer.hang_up()
        second = await peers.accept()
        await second.greet()
        assert await second.command() == [b"SET", b"k", big]
        assert await second.command() == [b"INCR", b"n"]
        await second.answer(b"+OK\r\n:1\r\n")
        assert (await stuck.ended(), await queued.ended()) == (b"OK", 1)


async def test_leaving_a_replica_waits_for_the_answers_it_still_owes(tmp_path: Path) -> None:
    async with (
        open_peers(tmp_path) as peers,
        open_played(peers) as (client, peer),
        anyio.create_task_group() as tasks,
    ):
        refused = start(tasks, client.call, "INCR", "n", replay_safe=False)
        await peer.commands("INCR")
        read = start(tasks, client.call, "INCRBY", "n", 0, replay_safe=False)
        await peer.commands("INCRBY")
        await peer.answer(b"-READONLY You can't write against a read only replica.\r\n")
        while client._connection is not None:
            await current_host().checkpoint()
        late = start(tasks, client.call, "ECHO", "late", replay_safe=False)
        for _ in range(20):
            await current_host().checkpoint()
        await peer.answer(b":5\r\n")
        assert await read.ended() == 5
        peer.hang_up()
        second = await peers.accept()
        await second.greet()
        assert await second.command() == [b"INCR", b"n"]
        assert await second.command() == [b"ECHO", b"late"]
        await second.answer(b":6\r\n" + bulk("late"))
        assert (await refused.ended(), await late.ended()) == (6, b"late")
