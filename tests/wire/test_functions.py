"""Scripts as functions of a library: taught when they are used, again when they are lost, never needed."""

from __future__ import annotations

import anyio
import pytest

from am2z_trio.model.errors import ResourceError
from am2z_trio.wire import programs
from am2z_trio.wire.scripts import Library, Script
from tests.support.servers import RedisProcess, SpawnRedis

from .peer import open_client, start

pytestmark = pytest.mark.anyio


def make() -> Script:
    """A script that says how it was called, and writes only after it was told to take something away."""
    body = (
        "redis.call('DEL', 'gone') if {0}[1] == 'write' then redis.call('SET', {1}[1], 'x') end return {0}[1]"
    )
    script = Script("echo", body.format("ARGV", "KEYS"))
    source = "\n".join(
        (
            "#!lua name=lib_one",
            "redis.register_function('lib_one_echo', function(keys, args)",
            body.format("args", "keys"),
            "end)",
        )
    )
    Library("lib_one", source, [script])
    return script


@pytest.fixture
def server(spawn_redis: SpawnRedis) -> RedisProcess:
    server = spawn_redis()
    if server.version < "7":
        pytest.skip("the server has no functions")
    return server


def calls(server: RedisProcess, command: str) -> int:
    with server.client() as admin:
        return int(admin.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_a_server_that_has_functions_runs_no_script(server: RedisProcess) -> None:
    async with open_client(server.url) as client:
        assert await client.eval(make(), ["k"], [1]) == b"1"
        client.send_eval(make(), ["k"], [2])
        assert await client.eval(make(), ["k"], [3]) == b"3"
    assert (calls(server, "fcall"), calls(server, "evalsha"), calls(server, "eval")) == (3, 0, 0)


async def test_two_who_use_one_library_teach_it_once(server: RedisProcess) -> None:
    async with open_client(server.url) as one, open_client(server.url) as other:
        assert await one.eval(make(), ["k"], [1]) == b"1"
        assert await other.eval(make(), ["k"], [2]) == b"2"
        assert await other.eval(make(), ["k"], [3]) == b"3"
    assert (calls(server, "fcall"), calls(server, "evalsha")) == (3, 0)


async def test_a_library_that_is_lost_is_taught_again_and_no_call_fails(server: RedisProcess) -> None:
    script = make()
    async with open_client(server.url) as client, anyio.create_task_group() as tasks:
        await client.eval(script, ["k"], [0])
        server.call("FUNCTION", "FLUSH")
        started = [start(tasks, client.eval, script, ["k"], [n]) for n in range(20)]
        assert [await call.ended() for call in started] == [str(n).encode() for n in range(20)]
        assert await client.eval(script, ["k"], ["after"]) == b"after"
        scripts_run = calls(server, "evalsha")
        assert await client.eval(script, ["k"], ["later"]) == b"later"
        assert calls(server, "evalsha") == scripts_run
        assert calls(server, "function|load") == 2


async def test_who_may_not_have_functions_runs_scripts(server: RedisProcess) -> None:
    script = make()
    for denied in ("-function", "-function|load", "-fcall"):
        server.call("FUNCTION", "FLUSH")
        server.call("CONFIG", "RESETSTAT")
        server.call("ACL", "SETUSER", "less", "reset", "on", ">pw", "~*", "&*", "+@all", denied)
        async with open_client(server.url.replace("unix://", "unix://less:pw@")) as client:
            assert [await client.eval(script, ["k"], [n]) for n in range(3)] == [b"0", b"1", b"2"]
            assert not client.programs.has_functions
        assert calls(server, "evalsha") >= 3


async def test_a_right_to_functions_that_goes_is_not_missed(server: RedisProcess) -> None:
    script = make()
    async with open_client(server.url) as client:
        assert await client.eval(script, ["k"], [1]) == b"1"
        server.call("ACL", "SETUSER", "default", "-fcall")
        assert await client.eval(script, ["k"], [2]) == b"2"
        assert await client.eval(script, ["k"], [3]) == b"3"


async def test_a_full_memory_refuses_what_the_script_would_be_refused_and_nothing_else(
    server: RedisProcess,
) -> None:
    script = make()
    async with open_client(server.url) as client:
        await client.eval(script, ["k"], ["write"])
        server.call("CONFIG", "SET", "maxmemory", "1")
        assert await client.eval(script, ["k"], ["read"]) == b"read"
        # It takes something away first.
        assert await client.eval(script, ["k"], ["write"]) == b"write"
        only_writes = Script("set", "return redis.call('SET', KEYS[1], 1)")
        Library("lib_one", "", [only_writes])
        only_writes.function = "lib_one_echo"
        with pytest.raises(ResourceError):
            await client.eval(only_writes, ["k"], ["x"])
        server.call("CONFIG", "SET", "maxmemory", "0")


async def test_a_server_that_has_no_memory_for_functions_is_asked_again(
    server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "ASK_AGAIN", 0.0)
    script = make()
    async with open_client(server.url) as client:
        server.call("CONFIG", "SET", "maxmemory", "1")
        for n in range(3):
            assert await client.eval(script, ["k"], [n]) == str(n).encode()
        server.call("CONFIG", "SET", "maxmemory", "0")
        assert await client.eval(script, ["k"], ["once"]) == b"once"
        scripts_run = calls(server, "evalsha")
        assert await client.eval(script, ["k"], ["more"]) == b"more"
        assert calls(server, "evalsha") == scripts_run
        assert client.programs.has_functions


async def test_functions_outlive_a_connection_and_a_server_that_comes_back_empty(
    server: RedisProcess,
) -> None:
    script = make()
    async with open_client(server.url) as client:
        await client.eval(script, ["k"], [1])
        for emptied in (False, True):
            if emptied:
                server.call("FUNCTION", "FLUSH")
            with server.client() as other:
                other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert await client.eval(script, ["k"], [2]) == b"2"
        assert client.programs.has_functions
    assert calls(server, "evalsha") == 0
