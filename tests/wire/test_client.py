"""The client against a real server: calls, scripts, channels, and what a server does to them."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest
import redis
import trio

from am2z_trio.concurrency import current_host
from am2z_trio.model.errors import NetworkError, ResourceError, ServerReplyError
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.wire.scripts import Script
from tests.support.servers import RedisProcess, SpawnRedis

from .peer import Recorder, new_client, open_client, start

ECHO = Script("echo", "return {KEYS[1], ARGV[1]}")


@pytest.mark.anyio
async def test_calls_of_many_tasks_share_the_connection(redis_url: str) -> None:
    async with open_client(redis_url) as client, anyio.create_task_group() as tasks:
        assert client.state == "ready"
        assert client.version
        calls = [start(tasks, client.call, "ECHO", i) for i in range(200)]
        assert [await call.ended() for call in calls] == [str(i).encode() for i in range(200)]
        assert (await client.call("CLIENT", "LIST")).count(b"name=am2z ") == 1
        assert client.reconnects == 0
    assert client.state == "disconnected"


@pytest.mark.anyio
async def test_sent_commands_take_effect_in_order_and_their_errors_bother_nobody(redis_url: str) -> None:
    async with open_client(redis_url) as client:
        client.send("SET", "k", "text")
        client.send("LPUSH", "k", "error")
        client.send("APPEND", "k", "!")
        assert await client.call("GET", "k") == b"text!"


@pytest.mark.anyio
async def test_an_error_reply_is_raised_to_its_caller(redis_url: str) -> None:
    async with open_client(redis_url) as client:
        with pytest.raises(ServerReplyError) as caught:
            await client.call("GET")
        assert caught.value.context["reply"].startswith("ERR")
        assert await client.call("PING") == b"PONG"


@pytest.mark.anyio
async def test_an_argument_that_cannot_be_packed_costs_nothing(redis_url: str) -> None:
    async with open_client(redis_url) as client:
        bad: Any = None
        with pytest.raises(TypeError):
            await client.call("SET", "k", bad)
        assert await client.call("GET", "k") is None


@pytest.mark.anyio
@pytest.mark.parametrize("passes", range(12))
async def test_a_call_cancelled_at_any_pass_leaves_the_line_in_step(redis_url: str, passes: int) -> None:
    host = current_host()
    async with open_client(redis_url) as client, anyio.create_task_group() as tasks:
        for i in range(20):
            others = [start(tasks, client.call, "ECHO", f"{i}-{n}") for n in range(3)]
            doomed = [start(tasks, client.call, "ECHO", "doomed"), start(tasks, client.eval, ECHO, "k", "a")]
            for _ in range(passes):
                await host.checkpoint()
            for call in doomed:
                call.scope.cancel()
            assert await client.call("ECHO", i) == str(i).encode()
            assert [await call.ended() for call in others] == [f"{i}-{n}".encode() for n in range(3)]
            for call in doomed:
                assert await call.ended() in (None, b"doomed", [b"k", b"a"])


class CancelBeforeStep(trio.abc.Instrument):
    """Cancels a scope when its task is about to take its k-th step."""

    def __init__(self, scope: trio.CancelScope, k: int) -> None:
        self.scope, self.k, self.task = scope, k, trio.lowlevel.current_task()
        self.hit = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.k -= 1
            if self.k == 0:
                self.hit = True
                self.scope.cancel()


@pytest.mark.trio
async def test_a_call_cancelled_before_its_kth_step_leaves_the_line_in_step(redis_url: str) -> None:
    script = Script("fresh", "return ARGV[1]")
    async with open_client(redis_url) as client:
        for k in range(1, 50):
            client.send("SCRIPT", "FLUSH")
            with trio.CancelScope() as scope:
                instrument = CancelBeforeStep(scope, k)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await client.call("ECHO", "doomed")
                    await client.eval(script, [], ["doomed"])
                    await client.subscribe("channel")
                    await client.unsubscribe("channel")
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            assert await client.call("ECHO", k) == str(k).encode()
            assert await client.eval(script, [], [k]) == str(k).encode()
            if not instrument.hit:
                break
        else:
            pytest.fail("never got through")
        assert k > 4


@pytest.mark.anyio
async def test_a_script_is_taught_ahead_and_again_after_a_flush(redis_url: str) -> None:
    async with open_client(redis_url) as client, anyio.create_task_group() as tasks:
        assert await client.eval(ECHO, ["k"], [1]) == [b"k", b"1"]
        assert await client.call("SCRIPT", "EXISTS", ECHO.sha1) == [1]
        await client.call("SCRIPT", "FLUSH")
        calls = [start(tasks, client.eval, ECHO, ["k"], [i]) for i in range(20)]
        client.send_eval(ECHO, ["k"], [0])
        assert [await call.ended() for call in calls] == [[b"k", str(i).encode()] for i in range(20)]
        stats = (await client.call("INFO", "errorstats")).decode()
        assert "NOSCRIPT" in stats or "errorstat" not in stats


@pytest.mark.anyio
async def test_a_script_that_does_not_compile_is_an_error_and_no_loop(redis_url: str) -> None:
    async with open_client(redis_url) as client:
        with pytest.raises(ServerReplyError, match="compiling"):
            await client.eval(Script("bad", "return ("), [], [])


@pytest.mark.anyio
async def test_messages_arrive_until_unsubscribed(redis_url: str) -> None:
    recorder = Recorder()
    async with open_client(redis_url, recorder) as client:
        await client.subscribe("c")
        await client.subscribe(b"c")
        assert await client.call("PUBLISH", "c", b"\0one") == 1
        await recorder.heard(1)
        await client.unsubscribe("c")
        assert await client.call("PUBLISH", "c", "two") == 0
        await client.unsubscribe("never subscribed")
    assert recorder.messages == [(b"c", b"\0one")]


@pytest.mark.anyio
async def test_channels_scripts_and_calls_survive_a_killed_connection(
    redis_url: str, redis_server: RedisProcess
) -> None:
    recorder = Recorder()
    async with open_client(redis_url, recorder) as client, anyio.create_task_group() as tasks:
        await client.subscribe("c")
        await client.eval(ECHO, ["k"], ["a"])
        for lost in range(1, 4):
            with redis_server.client() as other:
                other.script_flush()
                calls = [start(tasks, client.eval, ECHO, ["k"], [n]) for n in range(50)]
                other.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            assert [await call.ended() for call in calls] == [[b"k", str(n).encode()] for n in range(50)]
            await recorder.happened("ready", lost + 1)
            assert redis_server.call("PUBLISH", "c", "m") == 1
            await recorder.heard(lost)
            assert redis_server.call("SCRIPT", "EXISTS", ECHO.sha1) == [True]
        assert client.reconnects == 3
    assert recorder.names[:5] == ["connected", "ready", "lost", "reconnecting", "connected"]


@pytest.mark.anyio
async def test_calls_wait_while_the_server_is_away(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis()
    recorder = Recorder()
    async with open_client(server.url, recorder) as client, anyio.create_task_group() as tasks:
        await client.subscribe("c")
        await anyio.to_thread.run_sync(server.kill)
        await recorder.happened("lost")
        waiting = start(tasks, client.call, "ECHO", "late")
        hopeless = start(tasks, client.call, "SET", "hopeless", 1)
        client.send("SET", "sent", 1)
        await recorder.happened("reconnecting", 2)
        assert client.state == "disconnected"
        hopeless.scope.cancel()
        await hopeless.ended()
        await anyio.to_thread.run_sync(server.start)
        assert await waiting.ended() == b"late"
        assert await client.call("MGET", "sent", "hopeless") == [b"1", None]
        await recorder.happened("ready", 2)
        assert server.call("PUBLISH", "c", "m") == 1
        await recorder.heard(1)
    assert "not reachable" in recorder.error("reconnecting", 1)


@pytest.mark.anyio
async def test_a_server_that_hangs_is_given_up_and_found_again(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis()
    recorder = Recorder()
    async with (
        open_client(server.url, recorder, call_timeout=1.0, connect_timeout=1.0) as client,
        anyio.create_task_group() as tasks,
    ):
        server.pause()
        call = start(tasks, client.call, "ECHO", "patience")
        await recorder.happened("lost")
        await recorder.happened("reconnecting", 2)
        server.resume()
        assert await call.ended() == b"patience"
    assert "no answer for 1 s" in recorder.error("lost")


@pytest.mark.anyio
async def test_a_client_that_only_listens_notices_a_server_that_is_silent(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis()
    recorder = Recorder()
    async with open_client(server.url, recorder, call_timeout=1.0, connect_timeout=1.0) as client:
        await client.subscribe("c")
        server.pause()
        await recorder.happened("lost")
        server.resume()
        await recorder.happened("ready", 2)
        assert server.call("PUBLISH", "c", "m") == 1
        await recorder.heard(1)


@pytest.mark.anyio
async def test_a_client_that_is_told_to_connects_anew_once_it_has_its_answers(
    redis_url: str, redis_server: RedisProcess
) -> None:
    recorder = Recorder()
    async with open_client(redis_url, recorder) as client, anyio.create_task_group() as tasks:
        assert client.server == redis_server.call("INFO")["run_id"]
        await client.subscribe("c")
        calls = [start(tasks, client.call, "INCR", "n", replay_safe=False) for _ in range(3)]
        await current_host().checkpoint()
        client.renew("for a reason")
        client.renew("told twice")
        assert sorted([await call.ended() for call in calls]) == [1, 2, 3]
        await recorder.happened("ready", 2)
        assert await client.call("PUBLISH", "c", "m") == 1
    assert recorder.names.count("lost") == 1
    assert recorder.error("lost") == "for a reason"


@pytest.mark.anyio
async def test_a_busy_server_is_waited_for(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis({"lua-time-limit": "5"})
    async with open_client(server.url) as client, anyio.create_task_group() as tasks:
        slow = "while redis.call('EXISTS', 'never') == 0 do end"

        def run_slow() -> None:
            with server.client() as other, pytest.raises(Exception, match="killed"):
                other.execute_command("EVAL", slow, 0)

        tasks.start_soon(anyio.to_thread.run_sync, run_slow)
        while True:
            try:
                await anyio.to_thread.run_sync(server.call, "GET", "k")
            except redis.ResponseError:
                break
        calls = [start(tasks, client.call, "ECHO", n, replay_safe=False) for n in range(5)]
        cancelled = start(tasks, client.call, "SET", "k", "v")
        while len(client._refusals) < 6:
            await current_host().checkpoint()
        cancelled.scope.cancel()
        await cancelled.ended()
        server.call("SCRIPT", "KILL")
        assert [await call.ended() for call in calls] == [str(n).encode() for n in range(5)]
        assert await client.call("GET", "k") is None
        assert client.reconnects == 0


@pytest.mark.anyio
async def test_a_server_that_became_a_replica_is_left_and_tried_again(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis()
    recorder = Recorder()
    async with open_client(server.url, recorder) as client, anyio.create_task_group() as tasks:
        server.call("REPLICAOF", "127.0.0.1", "1")
        calls = [
            start(tasks, client.call, "INCR", "n", replay_safe=False),
            start(tasks, client.eval, Script("incr", "return redis.call('INCR', KEYS[1])"), ["n"], []),
        ]
        await recorder.happened("reconnecting", 3)
        assert client.state == "error"
        server.call("REPLICAOF", "NO", "ONE")
        assert sorted([await call.ended() for call in calls]) == [1, 2]
    assert "READONLY" in recorder.error("lost")
    assert "is a replica" in recorder.error("reconnecting", 1)


@pytest.mark.anyio
async def test_a_full_server_is_a_resource_error(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis({"maxmemory": "1mb"})
    async with open_client(server.url) as client:
        server.call("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(ResourceError, match="maxmemory"):
            await client.call("SET", "k", "v")
        with pytest.raises(ResourceError, match="maxmemory"):
            await client.eval(Script("set", "return redis.call('SET', KEYS[1], 1)"), ["k"], [])


@pytest.mark.anyio
async def test_many_bytes_go_through_a_narrow_door(redis_url: str) -> None:
    async with open_client(redis_url, max_pending_bytes=10_000) as client, anyio.create_task_group() as tasks:
        value = b"x" * 30_000
        calls = [start(tasks, client.call, "SET", n, value) for n in range(50)]
        assert [await call.ended() for call in calls] == [b"OK"] * 50
        reads = [start(tasks, client.call, "GET", n) for n in range(50)]
        assert all([await read.ended() == value for read in reads])


@pytest.mark.anyio
async def test_a_call_after_the_end_was_not_sent(redis_url: str) -> None:
    async with open_client(redis_url) as client:
        pass
    with pytest.raises(NetworkError, match="ECHO was not sent") as caught:
        await client.call("ECHO", 1)
    assert caught.value.code == "NETWORK"
    client.send("ECHO", 2)


@pytest.mark.anyio
async def test_calls_wait_for_the_first_connection(redis_url: str) -> None:
    async with anyio.create_task_group() as tasks:
        client = new_client(RedisOptions.from_url(redis_url))
        early = start(tasks, client.call, "ECHO", "early")
        await current_host().checkpoint()
        await tasks.start(client.run)
        assert await early.ended() == b"early"
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_last_words_reach_the_server(redis_url: str, redis_server: RedisProcess) -> None:
    for n in range(20):
        async with open_client(redis_url) as client:
            client.send("SET", "last", n)
        assert redis_server.call("GET", "last") == str(n).encode()


@pytest.mark.anyio
async def test_numbers_are_sent_as_redis_reads_them(redis_url: str) -> None:
    async with open_client(redis_url) as client:
        assert await client.call("ZADD", "z", 1.5, "a", -math.inf, "b", 2**53, "c") == 3
        assert await client.call("ZRANGE", "z", 0, -1) == [b"b", b"a", b"c"]
        assert await client.call("ZSCORE", "z", "a") == 1.5
