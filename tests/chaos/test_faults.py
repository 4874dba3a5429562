"""The fault proxy: each fault has its effect, as seen from outside, and is counted."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Literal

import anyio
import hiredis
import msgspec
import pytest
import redis
from anyio.abc import ByteStream
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from am2z_trio.model.errors import ConfigurationError, NetworkError, UnknownOutcomeError
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.wire.resp import pack
from am2z_trio.wire.scripts import Script
from tests.chaos.faults import (
    Blackhole,
    CutAfter,
    CutAfterReply,
    Delay,
    DropReply,
    DropRequest,
    Fault,
    FaultProxy,
    FrameScanner,
    HoldRequest,
    Refuse,
    Slice,
    open_fault_proxy,
)
from tests.chaos.faults.plan import Schedule
from tests.support.servers import RedisProcess, SpawnRedis
from tests.wire.peer import Recorder, bulk, confirmation, open_client, push, start

pytestmark = pytest.mark.anyio

Listen = Literal["unix", "tcp"]
FOR_EVER = 3600.0
PONG = b"+PONG\r\n"


@pytest.fixture(params=["unix", "tcp"])
def listen(request: pytest.FixtureRequest) -> Listen:
    """Run a test through both kinds of socket."""
    kind: Listen = request.param
    return kind


class Raw:
    """A client that hides nothing: it sends bytes, and reads bytes until they end."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._reader = hiredis.Reader(notEnoughData=...)

    async def send(self, *commands: str | bytes) -> None:
        """All in one write; a command is its words with spaces between them."""
        await self.stream.send(packed(*commands))

    async def ask(self, command: str | bytes) -> Any:
        await self.send(command)
        while (reply := self._reader.gets()) is ...:
            self._reader.feed(await self.stream.receive())
        return reply

    async def exactly(self, expected: bytes) -> None:
        """Read so many bytes, which must be these."""
        got = b""
        while len(got) < len(expected):
            got += await self.stream.receive(len(expected) - len(got))
        assert got == expected

    async def rest(self) -> tuple[bytes, str]:
        """Read until the end; what came, and how it ended."""
        got = b""
        try:
            while True:
                got += await self.stream.receive()
        except anyio.EndOfStream:
            return got, "close"
        except anyio.BrokenResourceError:
            return got, "reset"


def packed(*commands: str | bytes) -> bytes:
    return b"".join(pack(tuple(c.split())) for c in commands)


@asynccontextmanager
async def open_raw(proxy: FaultProxy) -> AsyncIterator[Raw]:
    where = RedisOptions.from_url(proxy.url)
    stream: ByteStream
    if where.path:
        stream = await anyio.connect_unix(where.path)
    else:
        stream = await anyio.connect_tcp(where.host, where.port)
    with anyio.fail_after(30):
        async with stream:
            yield Raw(stream)


@asynccontextmanager
async def open_proxy(url: str, listen: Listen | None = None, **options: Any) -> AsyncIterator[FaultProxy]:
    with anyio.fail_after(30):
        async with open_fault_proxy(url, listen=listen, **options) as proxy:
            yield proxy


async def popped(server: RedisProcess, key: str) -> bytes:
    """Wait, beside the proxy, until the server has been given an element of a list."""

    def wait() -> bytes:
        with server.client() as client:
            answer: Any = client.blpop([key], timeout=8)
            assert answer is not None, f"the server never got {key}"
            return bytes(answer[1])

    return await anyio.to_thread.run_sync(wait)


def open_files() -> list[Path]:
    return sorted(Path("/dev/fd").iterdir())


def reset_on(listen: Listen) -> tuple[str, ...]:
    """How a reset looks: a Unix socket may show it as an end."""
    return ("reset",) if listen == "tcp" else ("reset", "close")


class Sink:
    """A server that takes bytes and answers nothing, or the same."""

    def __init__(self, *, echo: bool = False) -> None:
        self.pieces: list[bytes] = []
        self.ended = anyio.Event()
        self._echo = echo

    async def handle(self, stream: ByteStream) -> None:
        async with stream:
            try:
                async for piece in stream:
                    self.pieces.append(piece)
                    if self._echo:
                        await stream.send(piece)
            except anyio.BrokenResourceError:
                pass
        self.ended.set()


@asynccontextmanager
async def open_sink(*, echo: bool = False) -> AsyncIterator[tuple[Sink, str]]:
    sink = Sink(echo=echo)
    listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def serve() -> None:
        async with listener:
            await listener.serve(sink.handle)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield sink, f"redis://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


# --- passing --------------------------------------------------------------------------------------


async def test_without_faults_a_client_notices_nothing(redis_url: str, listen: Listen) -> None:
    recorder = Recorder()
    async with open_proxy(redis_url, listen) as proxy, open_client(proxy.url, recorder) as client:
        await client.subscribe("news")
        async with anyio.create_task_group() as tasks:
            calls = [start(tasks, client.call, "INCR", "n") for _ in range(100)]
        assert sorted([await call.ended() for call in calls]) == list(range(1, 101))
        assert await client.eval(Script("it", "return {KEYS[1], ARGV[1]}"), ["k"], ["\r\n$5\r\n"]) == [
            b"k",
            b"\r\n$5\r\n",
        ]
        await client.call("PUBLISH", "news", "\r\n+OK\r\n")
        await recorder.heard(1)
        assert recorder.messages == [(b"news", b"\r\n+OK\r\n")]
        big = os.urandom(3_000_000)
        await client.call("SET", "big", big)
        assert await client.call("GET", "big") == big
        assert client.reconnects == 0
        assert not proxy.hits
        # SCRIPT LOAD is one too.
        assert proxy.requests == 107 - 1


async def test_a_blocking_client_in_another_process_works_through_it(redis_url: str) -> None:
    program = (
        "import sys, redis\n"
        "from redis.retry import Retry\n"
        "from redis.backoff import NoBackoff\n"
        "with redis.Redis.from_url(sys.argv[1], retry=Retry(NoBackoff(), 0)) as client:\n"
        "    print(client.incr('n'))\n"
        "    try:\n"
        "        client.incr('n')\n"
        "    except redis.ConnectionError:\n"
        "        print('lost')\n"
        "    print(client.incr('n'))\n"
    )
    async with open_proxy(redis_url) as proxy:
        proxy.next(DropReply(match=b"INCR", skip=1))
        ended = await anyio.run_process([sys.executable, "-c", program, proxy.url])
        assert ended.stdout.split() == [b"1", b"lost", b"3"]
        assert proxy.hits["drop reply"] == 1


async def test_redis_py_subscribes_in_resp2(redis_server: RedisProcess, redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy:

        def listen() -> list[Any]:
            with (
                redis.Redis.from_url(proxy.url, protocol=2, retry=Retry(NoBackoff(), 0)) as client,
                client.pubsub() as pubsub,
            ):
                pubsub.subscribe("a", "b")
                heard = [pubsub.get_message(timeout=5) for _ in range(2)]
                redis_server.call("PUBLISH", "b", "hello")
                heard.append(pubsub.get_message(timeout=5))
                pubsub.ping()
                heard.append(pubsub.get_message(timeout=5))
                pubsub.unsubscribe()
                heard += [pubsub.get_message(timeout=5) for _ in range(2)]
                return [message and message["type"] for message in heard]

        assert await anyio.to_thread.run_sync(listen) == [
            "subscribe",
            "subscribe",
            "message",
            "pong",
            "unsubscribe",
            "unsubscribe",
        ]


async def test_user_database_and_password_stay_in_the_url(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis({"requirepass": "p@ss/word"}, tcp=True)
    for url, listen in ((server.tcp_url + "/1", "unix"), (server.url + "?db=1", "tcp")):
        async with open_proxy(url, listen) as proxy, open_client(proxy.url) as client:  # type: ignore[arg-type]
            await client.call("SET", listen, 1)
    with redis.Redis(port=server.port, password="p@ss/word", db=1) as client:
        assert client.dbsize() == 2


async def test_a_path_is_a_server_too(redis_server: RedisProcess, redis_url: str) -> None:
    for server in (redis_server.socket, str(redis_server.socket)):
        async with open_fault_proxy(server) as proxy, open_raw(proxy) as raw:
            assert await raw.ask("PING") == b"PONG"


async def test_bytes_that_are_not_resp_pass_and_can_be_sliced() -> None:
    greeting = b"\x16\x03\x01\x02\x00\x01\x00\r\n*1\r\n" * 20
    async with open_sink(echo=True) as (sink, url), open_proxy(url) as proxy, open_raw(proxy) as raw:
        proxy.set(Slice(size=7))
        proxy.next(DropRequest())
        await raw.stream.send(greeting)
        await raw.exactly(greeting)
        assert b"".join(sink.pieces) == greeting
        assert proxy.hits["slice"] >= 2
        assert proxy.requests == 0


async def test_a_server_that_is_away_is_a_reset(tmp_path: Path) -> None:
    async with open_proxy(f"unix://{tmp_path}/nobody.sock", "tcp") as proxy, open_raw(proxy) as raw:
        assert await raw.rest() == (b"", "reset")
        await proxy.wait_connections(0)


async def test_the_end_of_either_side_is_passed_on(redis_server: RedisProcess, redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy:
        async with open_raw(proxy) as raw:
            assert await raw.ask("PING") == b"PONG"
            assert proxy.connections == 1
        await proxy.wait_connections(0)
        async with open_raw(proxy) as raw:
            await raw.send("PING", "QUIT", "PING")
            assert await raw.rest() == (PONG + b"+OK\r\n", "close")
        await proxy.wait_connections(0)
        assert proxy.accepted == 2


# --- faults of bytes ------------------------------------------------------------------------------


async def test_delay_of_requests_keeps_them_from_the_server_until_healed(
    redis_server: RedisProcess, redis_url: str, listen: Listen
) -> None:
    async with (
        open_proxy(redis_url, listen) as proxy,
        open_client(proxy.url) as client,
        anyio.create_task_group() as tasks,
    ):
        began = anyio.current_time()
        proxy.set(Delay(seconds=0.05, direction="requests"))
        await client.call("PING")
        assert anyio.current_time() - began >= 0.05
        assert proxy.hits["delay"] == 1
        proxy.set(Delay(seconds=FOR_EVER, direction="requests"))
        call = start(tasks, client.call, "INCR", "n")
        await proxy.wait_until(lambda: proxy.requests == 2)
        assert redis_server.call("EXISTS", "n") == 0
        proxy.heal()
        assert await call.ended() == 1
        assert proxy.hits["delay"] == 2


async def test_delay_of_replies_comes_after_the_effect(redis_server: RedisProcess, redis_url: str) -> None:
    async with (
        open_proxy(redis_url) as proxy,
        open_client(proxy.url) as client,
        anyio.create_task_group() as tasks,
    ):
        proxy.next(Delay(seconds=FOR_EVER, direction="replies", match=b"LPUSH"))
        call = start(tasks, client.call, "LPUSH", "list", "it")
        assert await popped(redis_server, "list") == b"it"
        assert call.reply is None
        assert proxy.hits["delay"] == 0
        proxy.heal()
        assert await call.ended() == 1
        assert proxy.hits["delay"] == 1


async def test_blackhole_keeps_bytes_until_healed(
    redis_server: RedisProcess, redis_url: str, listen: Listen
) -> None:
    async with (
        open_proxy(redis_url, listen) as proxy,
        open_client(proxy.url) as client,
        anyio.create_task_group() as tasks,
    ):
        proxy.set(Blackhole())
        call = start(tasks, client.call, "INCR", "n")
        await proxy.wait_hits("blackhole")
        assert redis_server.call("EXISTS", "n") == 0
        proxy.heal()
        assert await call.ended() == 1
        assert proxy.hits["blackhole"] == 1
        assert client.reconnects == 0


async def test_blackhole_of_replies_lets_the_effect_happen(
    redis_server: RedisProcess, redis_url: str
) -> None:
    async with (
        open_proxy(redis_url) as proxy,
        open_client(proxy.url) as client,
        anyio.create_task_group() as tasks,
    ):
        for arm in (proxy.set, proxy.next):
            arm(Blackhole(direction="replies"))
            hits = proxy.hits["blackhole"]
            call = start(tasks, client.call, "INCR", "n")
            await proxy.wait_hits("blackhole", hits + 1)
            assert call.reply is None
            before = int(redis_server.call("GET", "n"))
            proxy.heal()
            assert await call.ended() == before
        assert before == 2


async def test_blackhole_that_loses_bytes_resets_when_healed(
    redis_server: RedisProcess, redis_url: str, listen: Listen
) -> None:
    async with open_proxy(redis_url, listen) as proxy, open_raw(proxy) as raw:
        proxy.set(Blackhole(then="cut"))
        await raw.send("INCR n")
        await proxy.wait_hits("blackhole")
        # More than any buffer takes: it is accepted, and lost.
        await raw.stream.send(packed(b"SET big " + b"x" * 20_000_000))
        proxy.heal()
        got, how = await raw.rest()
        assert got == b""
        assert how in reset_on(listen)
        assert redis_server.call("DBSIZE") == 0


async def test_a_client_that_hung_up_in_the_dark_is_heard_late(
    redis_server: RedisProcess, redis_url: str, listen: Listen
) -> None:
    async with open_proxy(redis_url, listen) as proxy:
        proxy.next(Blackhole(match=b"LPUSH"))
        async with open_raw(proxy) as raw:
            await raw.send("LPUSH list it")
            await proxy.wait_hits("blackhole")
        assert proxy.connections == 1
        assert redis_server.call("EXISTS", "list") == 0
        proxy.heal()
        assert await popped(redis_server, "list") == b"it"
        await proxy.wait_connections(0)


async def test_slices_add_up(redis_url: str, listen: Listen) -> None:
    async with open_proxy(redis_url, listen) as proxy, open_client(proxy.url) as client:
        proxy.set(Slice(size=1))
        value = os.urandom(2000)
        await client.call("SET", "k", value)
        assert await client.call("GET", "k") == value
        assert proxy.hits["slice"] >= 3


async def test_slices_arrive_as_slices() -> None:
    async with open_sink() as (sink, url), open_proxy(url) as proxy:
        async with open_raw(proxy) as raw:
            proxy.next(Slice(size=4, pause=0.002, direction="requests", match=b"SET"))
            await raw.send("PING", "SET k " + "v" * 40)
            await proxy.wait_hits("slice")
        await sink.ended.wait()
        assert b"".join(sink.pieces) == packed("PING", "SET k " + "v" * 40)
        assert len(sink.pieces) > 3
        assert proxy.hits["slice"] == 1


@pytest.mark.parametrize("size", [0, 1, 7, 13])
async def test_cut_after_bytes_of_the_replies(redis_url: str, listen: Listen, size: int) -> None:
    async with open_proxy(redis_url, listen) as proxy:
        proxy.set(CutAfter(size=size))
        # Of each connection.
        for _ in range(2):
            async with open_raw(proxy) as raw:
                await raw.send("PING", "PING", "PING")
                got, _ = await raw.rest()
                assert got == (PONG * 3)[:size]
        assert proxy.hits["cut after"] == 2


@pytest.mark.parametrize("size", [0, 9, 10_000])
async def test_cut_after_bytes_of_one_reply(redis_url: str, listen: Listen, size: int) -> None:
    value = "v" * 100
    async with open_proxy(redis_url, listen) as proxy, open_raw(proxy) as raw:
        assert await raw.ask(f"SET k {value}") == b"OK"
        proxy.next(CutAfter(size=size, match=b"GET"))
        await raw.send("PING", "GET k", "SET k other")
        assert await raw.rest() == (PONG + bulk(value)[:size], "close")
        assert proxy.hits["cut after"] == 1
        async with open_raw(proxy) as again:
            assert await again.ask("GET k") == value.encode()


async def test_cut_after_bytes_of_the_requests() -> None:
    data = packed("PING", "SET k v")
    for fault, delivered in (
        (CutAfter(size=20, direction="requests"), data[:20]),
        (CutAfter(size=5, direction="requests", match=b"SET"), packed("PING") + packed("SET k v")[:5]),
    ):
        async with open_sink() as (sink, url), open_proxy(url) as proxy, open_raw(proxy) as raw:
            (proxy.next if fault.match else proxy.set)(fault)
            await raw.stream.send(data)
            await proxy.wait_hits("cut after")
            await sink.ended.wait()
            assert b"".join(sink.pieces) == delivered
            assert (await raw.rest())[0] == b""


async def test_standing_bytes_are_counted_since_they_were_set(redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy, open_raw(proxy) as raw:
        assert await raw.ask("PING") == b"PONG"
        proxy.set(CutAfter(size=10))
        assert await raw.ask("PING") == b"PONG"
        proxy.set(CutAfter(size=10))
        assert await raw.ask("PING") == b"PONG"
        await raw.send("PING")
        assert await raw.rest() == (PONG[:3], "close")


# --- faults of connections ------------------------------------------------------------------------


async def test_reset_all_resets_what_stands(redis_url: str, listen: Listen) -> None:
    recorder = Recorder()
    async with (
        open_proxy(redis_url, listen) as proxy,
        open_raw(proxy) as raw,
        open_client(proxy.url, recorder) as client,
    ):
        assert await raw.ask("PING") == b"PONG"
        await proxy.reset_all()
        got, how = await raw.rest()
        assert got == b""
        assert how in reset_on(listen)
        assert proxy.hits["reset"] == 2
        await recorder.happened("ready", 2)
        assert await client.call("PING") == b"PONG"
        assert client.reconnects == 1


async def test_close_all_ends_in_good_order(redis_url: str, listen: Listen) -> None:
    async with open_proxy(redis_url, listen) as proxy, open_raw(proxy) as raw:
        assert await raw.ask("PING") == b"PONG"
        await proxy.close_all()
        assert proxy.connections == 0
        assert await raw.rest() == (b"", "close")
        assert proxy.hits["close"] == 1


async def test_refuse_keeps_new_connections_out(redis_url: str, listen: Listen) -> None:
    async with open_proxy(redis_url, listen) as proxy, open_raw(proxy) as raw:
        assert await raw.ask("PING") == b"PONG"
        proxy.set(Refuse())
        with pytest.raises(NetworkError):
            async with open_client(proxy.url):
                pass
        assert proxy.hits["refuse"] == 1
        # One that stands is left alone.
        assert await raw.ask("PING") == b"PONG"
        proxy.heal()
        async with open_client(proxy.url) as client:
            assert await client.call("PING") == b"PONG"
        assert proxy.hits["refuse"] == 1


# --- faults of requests ---------------------------------------------------------------------------


async def test_drop_reply_of_a_pipeline_is_exact(
    redis_server: RedisProcess, redis_url: str, listen: Listen
) -> None:
    async with open_proxy(redis_url, listen) as proxy, open_raw(proxy) as raw:
        proxy.next(DropReply(match=b"INCR", ending="close"))
        await raw.send("SET before 1", "INCR n", "SET after 1")
        assert await raw.rest() == (b"+OK\r\n", "close")
        assert redis_server.call("MGET", "before", "n", "after") == [b"1", b"1", None]
        assert proxy.hits == {"drop reply": 1}
        assert proxy.log[0].command == "INCR"


async def test_drop_reply_makes_a_client_send_again_what_is_safe(redis_url: str, listen: Listen) -> None:
    async with open_proxy(redis_url, listen) as proxy, open_client(proxy.url) as client:
        proxy.next(DropReply(match=b"INCR"))
        assert await client.call("INCR", "n") == 2
        proxy.next(DropReply(match=b"INCR"))
        with pytest.raises(UnknownOutcomeError):
            await client.call("INCR", "n", replay_safe=False)
        assert await client.call("GET", "n") == b"3"
        proxy.next(DropReply(match=b"EVALSHA"))
        assert await client.eval(Script("it", "return redis.call('INCR', KEYS[1])"), ["n"], []) == 5
        assert proxy.hits["drop reply"] == 3
        assert client.reconnects == 3


async def test_a_silent_end_is_found_by_the_clients_patience(redis_url: str) -> None:
    async with (
        open_proxy(redis_url) as proxy,
        open_client(proxy.url, call_timeout=1.0) as client,
    ):
        proxy.next(DropReply(match=b"INCR", ending="silence"))
        assert await client.call("INCR", "n") == 2
        assert proxy.hits["drop reply"] == 1
        # The silent one is gone with the client that gave it up.
        await proxy.wait_connections(1)


@pytest.mark.parametrize(
    "fault",
    [
        DropReply(ending="silence"),
        DropRequest(ending="silence"),
        CutAfter(size=0, ending="silence"),
        CutAfter(size=0, direction="requests", ending="silence"),
    ],
    ids=str,
)
async def test_a_silent_end_is_a_reset_when_healed(redis_url: str, fault: Fault) -> None:
    async with open_proxy(redis_url, "tcp") as proxy, open_raw(proxy) as raw:
        proxy.next(fault)
        await raw.send("PING", "PING")
        await proxy.wait_hits(fault.name)
        assert proxy.connections == 1
        proxy.heal()
        assert await raw.rest() == (b"", "reset")


async def test_cut_after_reply_delivers_it(
    redis_server: RedisProcess, redis_url: str, listen: Listen
) -> None:
    async with open_proxy(redis_url, listen) as proxy, open_raw(proxy) as raw:
        proxy.next(CutAfterReply(match=b"INCR"))
        await raw.send("PING", "INCR n", "INCR n")
        assert await raw.rest() == (PONG + b":1\r\n", "close")
        assert redis_server.call("GET", "n") == b"1"
        assert proxy.hits["cut after reply"] == 1


async def test_drop_request_keeps_it_from_the_server(
    redis_server: RedisProcess, redis_url: str, listen: Listen
) -> None:
    async with open_proxy(redis_url, listen) as proxy:
        proxy.next(DropRequest(match=b"INCR", ending="close"))
        async with open_raw(proxy) as raw:
            await raw.send("PING", "INCR n", "PING")
            assert await raw.rest() == (PONG, "close")
        assert redis_server.call("EXISTS", "n") == 0
        assert proxy.hits["drop request"] == 1
        async with open_client(proxy.url) as client:
            proxy.next(DropRequest(match=b"INCR"))
            assert await client.call("INCR", "n") == 1
            assert proxy.hits["drop request"] == 2


async def test_a_held_request_comes_as_a_late_duplicate(redis_url: str, listen: Listen) -> None:
    async with open_proxy(redis_url, listen) as proxy, open_client(proxy.url) as client:
        proxy.next(HoldRequest(match=b"first"))
        await client.call("SET", "k", "first")
        await client.call("SET", "k", "second")
        assert proxy.hits["hold request"] == 1
        assert proxy.held == [pack(("SET", "k", "first"))]
        assert await client.call("GET", "k") == b"second"
        assert await proxy.deliver_held() == [b"+OK\r\n"]
        assert await client.call("GET", "k") == b"first"
        assert proxy.hits["deliver late"] == 1
        assert proxy.held == []


async def test_a_held_request_comes_as_a_late_first_arrival(redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy, open_client(proxy.url) as client:
        proxy.next(HoldRequest(match=b"INCR"))
        with pytest.raises(UnknownOutcomeError):
            await client.call("INCR", "n", replay_safe=False)
        await proxy.wait_hits("hold request")
        assert await client.call("GET", "n") is None
        assert await proxy.deliver_held() == [b":1\r\n"]
        assert await client.call("GET", "n") == b"1"


async def test_a_held_request_logs_in_as_its_client_did(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis({"requirepass": "secret"})
    async with open_proxy(f"{server.url}?db=3") as proxy, open_client(proxy.url) as client:
        proxy.next(HoldRequest(match=b"LPUSH"))
        with pytest.raises(UnknownOutcomeError):
            await client.call("LPUSH", "list", "it", replay_safe=False)
        assert await proxy.deliver_held() == [b":1\r\n"]
        assert await client.call("LRANGE", "list", 0, -1) == [b"it"]
        assert server.call("DBSIZE") == 0


async def test_a_held_request_comes_after_so_many_answers(redis_server: RedisProcess, redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy:
        async with open_raw(proxy) as raw:
            proxy.next(HoldRequest(match=b"LPUSH", after=2))
            await raw.send("PING", "LPUSH list it")
            await raw.exactly(PONG)
            assert (await raw.rest())[0] == b""
        await proxy.wait_hits("hold request")
        assert proxy.held == []
        async with open_client(proxy.url) as client:
            await client.call("PING")
            assert proxy.hits["deliver late"] == 0
            assert redis_server.call("EXISTS", "list") == 0
            await client.call("PING")
            await proxy.wait_hits("deliver late")
            assert redis_server.call("LLEN", "list") == 1


async def test_a_held_request_is_lost_with_its_server(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis()
    async with open_proxy(server.url) as proxy, open_raw(proxy) as raw:
        proxy.next(HoldRequest())
        await raw.send("INCR n")
        await proxy.wait_hits("hold request")
        server.kill()
        with pytest.raises(NetworkError):
            await proxy.deliver_held()
        assert proxy.hits["deliver late"] == 0


# --- which request --------------------------------------------------------------------------------


async def test_greetings_are_spared_if_not_asked_otherwise(redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy:
        proxy.next(DropRequest())
        async with open_client(proxy.url) as client:
            assert proxy.requests == 0
            await client.call("PING")
            assert proxy.log[0].command == "PING"
    async with open_proxy(redis_url, greeting=frozenset()) as proxy:
        proxy.next(DropRequest())
        with pytest.raises(NetworkError):
            async with open_client(proxy.url):
                pass
        assert proxy.log[0].command == "HELLO"


async def test_pushes_of_resp3_answer_nobody(redis_server: RedisProcess, redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy, open_raw(proxy) as raw:
        await raw.ask("HELLO 3")
        proxy.next(DropReply(match=b"GET", ending="close"))
        await raw.send("SUBSCRIBE a b", "PUBLISH a 1", "UNSUBSCRIBE", "PUBLISH a 2", "PING", "GET n", "PING")
        got, how = await raw.rest()
        second = got.replace(b":1\r\n", b":N\r\n").replace(b":2\r\n", b":N\r\n").replace(b":0\r\n", b":N\r\n")
        assert how == "close"
        # Redis pushes a message to the publisher itself before or after its reply.
        assert second.count(b">3\r\n") == 5
        assert second.endswith(b":N\r\n" + PONG)
        assert proxy.hits["drop reply"] == 1
        assert proxy.log[0].command == "GET"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_all_confirmations_of_a_subscription_are_its_answer(redis_url: str, protocol: int) -> None:
    async with open_proxy(redis_url) as proxy, open_raw(proxy) as raw:
        await raw.ask(f"HELLO {protocol}")
        proxy.next(DropReply(match=b"PSUBSCRIBE", ending="close"))
        await raw.send("SUBSCRIBE a", "PSUBSCRIBE b* c* d*", "PING")
        first = confirmation("subscribe", "a")
        assert await raw.rest() == (first if protocol == 3 else b"*" + first[1:], "close")
        assert proxy.hits["drop reply"] == 1


@pytest.mark.parametrize("protocol", [2, 3])
async def test_the_last_confirmation_completes_the_answer(redis_url: str, protocol: int) -> None:
    kind = b">" if protocol == 3 else b"*"
    subscribed = [
        kind + b"3\r\n" + bulk("subscribe") + bulk(c) + b":%d\r\n" % n for n, c in ((1, "a"), (2, "b"))
    ]
    async with open_proxy(redis_url) as proxy:
        async with open_raw(proxy) as raw:
            await raw.ask(f"HELLO {protocol}")
            proxy.next(CutAfterReply(match=b"SUBSCRIBE"))
            await raw.send("SUBSCRIBE a b", "PING")
            assert await raw.rest() == (b"".join(subscribed), "close")
        async with open_raw(proxy) as raw:
            await raw.ask(f"HELLO {protocol}")
            # Without a channel it is about all there are.
            proxy.next(CutAfterReply(match=b"UNSUBSCRIBE"))
            await raw.send("SUBSCRIBE a b", "UNSUBSCRIBE", "PING")
            got, how = await raw.rest()
            assert how == "close"
            assert got.count(b"\r\nunsubscribe\r\n") == 2


async def test_messages_of_resp2_answer_nobody(redis_server: RedisProcess, redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy, open_raw(proxy) as raw:
        await raw.send("SUBSCRIBE a")
        await raw.exactly(b"*" + confirmation("subscribe", "a")[1:])
        proxy.set(Blackhole(direction="requests"))
        proxy.next(DropReply(match=b"PING", skip=1, ending="close"))
        await raw.send("PING one", "PING two")
        await proxy.wait_hits("blackhole")
        # It comes while a PING is in line, and is not its answer.
        redis_server.call("PUBLISH", "a", "hello")
        await raw.exactly(b"*" + push("message", "a", "hello")[1:])
        proxy.heal()
        await raw.exactly(b"*" + push("pong", "one")[1:])


async def test_a_message_does_not_pass_for_the_reply_that_is_dropped(
    redis_server: RedisProcess, redis_url: str
) -> None:
    async with open_proxy(redis_url) as proxy, open_raw(proxy) as raw:
        await raw.send("SUBSCRIBE a")
        await raw.exactly(b"*" + confirmation("subscribe", "a")[1:])
        proxy.set(Blackhole(direction="requests"))
        proxy.next(DropReply(match=b"PING", ending="close"))
        await raw.send("PING it")
        await proxy.wait_hits("blackhole")
        redis_server.call("PUBLISH", "a", "hello")
        await raw.exactly(b"*" + push("message", "a", "hello")[1:])
        proxy.heal()
        assert await raw.rest() == (b"", "close")
        assert proxy.hits["drop reply"] == 1


async def test_a_fault_of_a_reply_that_was_healed_before_it_came_is_none(
    redis_server: RedisProcess, redis_url: str
) -> None:
    async with open_proxy(redis_url) as proxy, open_raw(proxy) as raw:
        proxy.next(Blackhole(direction="replies", match=b"BLPOP"))
        await raw.send("BLPOP list 0")
        await proxy.wait_until(lambda: proxy.requests == 1)
        proxy.heal()
        redis_server.call("LPUSH", "list", "it")
        await raw.exactly(b"*2\r\n" + bulk("list") + bulk("it"))
        assert not proxy.hits


async def test_a_refused_subscription_has_one_answer(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis({"user": "default on nopass ~* +@all resetchannels"})
    async with open_proxy(server.url) as proxy, open_raw(proxy) as raw:
        await raw.ask("HELLO 3")
        proxy.next(DropReply(match=b"ECHO", ending="close"))
        await raw.send("SUBSCRIBE a b", "PING", "ECHO 1")
        got, _ = await raw.rest()
        assert got.startswith(b"-NOPERM")
        assert got.endswith(PONG)


async def test_after_monitor_bytes_pass_as_they_come(redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy, open_raw(proxy) as raw:
        proxy.next(DropReply(match=b"PING"))
        await raw.send("MONITOR", "PING")
        await raw.exactly(b"+OK\r\n")
        got = b""
        while PONG not in got:
            got += await raw.stream.receive()
        assert proxy.armed == [DropReply(match=b"PING")]


async def test_typed_lines_are_requests(redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy, open_raw(proxy) as raw:
        proxy.next(DropReply(match=b"ECHO", ending="close"))
        await raw.stream.send(b"\r\nPING\r\n\nPING\nECHO it\r\nPING\r\n")
        assert await raw.rest() == (PONG * 2, "close")


async def test_plans_run_side_by_side_and_each_in_order(redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy, open_client(proxy.url) as client:
        proxy.next(DropRequest(match=b"a"), DropReply(match=b"b"))
        proxy.next(CutAfterReply(match=b"c", skip=1))
        for key in ("b", "c", "a", "c", "b", "b"):
            await client.call("INCR", key)
        await proxy.wait_hits("drop reply")
        assert [(hit.name, hit.command) for hit in proxy.log] == [
            ("drop request", "INCR"),
            ("cut after reply", "INCR"),
            ("drop reply", "INCR"),
        ]
        assert await client.call("MGET", "a", "b", "c") == [b"1", b"4", b"2"]
        assert proxy.armed == []


async def test_a_standing_fault_meets_every_request_it_matches(redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy:
        proxy.set(DropReply(match=b"INCR", ending="close"))
        for _ in range(3):
            async with open_raw(proxy) as raw:
                assert await raw.ask("PING") == b"PONG"
                await raw.send("INCR n")
                assert await raw.rest() == (b"", "close")
        proxy.heal()
        async with open_raw(proxy) as raw:
            assert await raw.ask("INCR n") == 4
        assert proxy.hits == {"drop reply": 3}


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [None, Blackhole(), Delay(seconds=FOR_EVER), DropReply(ending="silence")], ids=str
)
async def test_the_end_of_the_block_leaves_nothing_open(
    redis_url: str, listen: Listen, fault: Fault | None
) -> None:
    # Whatever the host opens for itself is open from here on.
    async with open_proxy(redis_url, listen):
        pass
    before = open_files()
    async with open_proxy(redis_url, listen) as proxy, open_raw(proxy) as raw, open_raw(proxy) as other:
        assert await raw.ask("PING") == b"PONG"
        if fault is not None:
            proxy.next(fault)
        await raw.send("BLPOP never 0" if fault is None else "PING")
        await proxy.wait_until(lambda: proxy.requests == 2)
        await other.send("PING")
        where = RedisOptions.from_url(proxy.url)
    assert open_files() == before
    assert not where.path or not Path(where.path).parent.exists()


async def test_cancelled_amid_connections_it_leaves_nothing_open(redis_url: str, listen: Listen) -> None:
    async with open_proxy(redis_url, listen):
        pass
    before = open_files()
    for steps in range(12):
        with anyio.CancelScope() as scope:
            async with open_proxy(redis_url, listen) as proxy, open_raw(proxy) as raw:
                await raw.send("INCR n")
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert open_files() == before


async def test_an_error_in_the_block_is_raised_as_itself(redis_url: str) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_proxy(redis_url):
            raise KeyError("mine")


async def test_waiting_may_be_cancelled_and_held_requests_stay(redis_url: str) -> None:
    async with open_proxy(redis_url) as proxy, open_raw(proxy) as raw:
        with anyio.move_on_after(0) as scope:
            await proxy.wait_hits("delay")
        assert scope.cancelled_caught
        proxy.next(HoldRequest())
        await raw.send("INCR n")
        await proxy.wait_hits("hold request")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await proxy.deliver_held()
        # It was in question, so it is held no more.
        assert proxy.held == []


# --- soaks and plans ------------------------------------------------------------------------------

ENDINGS = st.sampled_from(["reset", "close"])
MATCHES = st.sampled_from([b"", b"INCR", b"GET"])
SKIPS = st.integers(0, 3)
FAULTS: st.SearchStrategy[Fault] = st.one_of(
    st.builds(DropReply, match=MATCHES, skip=SKIPS, ending=ENDINGS),
    st.builds(DropRequest, match=MATCHES, skip=SKIPS, ending=ENDINGS),
    st.builds(CutAfterReply, match=MATCHES, skip=SKIPS, ending=ENDINGS),
    st.builds(HoldRequest, match=MATCHES, skip=SKIPS, after=st.integers(0, 3), ending=ENDINGS),
    st.builds(CutAfter, match=MATCHES, skip=SKIPS, size=st.integers(0, 40), ending=ENDINGS),
    st.builds(Slice, match=MATCHES, skip=SKIPS, size=st.integers(1, 9)),
    st.builds(Delay, match=MATCHES, skip=SKIPS, seconds=st.just(0.001)),
)


class Tally:
    """Counts what callers of INCR were told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.unknown = 0

    async def increment(self, client: Any, times: int) -> None:
        for _ in range(times):
            try:
                self.told.append(await client.call("INCR", "n", replay_safe=False))
            except UnknownOutcomeError:
                self.unknown += 1

    def check(self, value: int) -> None:
        assert len(set(self.told)) == len(self.told)
        assert len(self.told) <= value <= len(self.told) + self.unknown


@pytest.mark.parametrize("anyio_backend", ["trio"])
@given(plan=st.lists(FAULTS, max_size=6))
@example(plan=[HoldRequest(match=b"INCR", after=0), DropReply(match=b"INCR")])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_under_any_plan_an_increment_counts_once_or_is_unknown(
    anyio_backend: str, redis_url: str, redis_server: RedisProcess, plan: list[Fault]
) -> None:
    redis_server.call("FLUSHALL")
    tally = Tally()

    async def play() -> None:
        async with open_proxy(redis_url) as proxy, open_client(proxy.url) as client:
            proxy.next(*plan)
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(tally.increment, client, 4)
            met = len(plan) - len(proxy.armed)
            names = [fault.name for fault in plan[:met]]
            proxy.heal()
            late = names.count("hold request")
            while proxy.hits["deliver late"] < late:
                await client.call("PING")
            # Each fault that has met its request has had its effect; a slice needs something to cut.
            for fault in plan[:met]:
                if not isinstance(fault, Slice | Delay):
                    await proxy.wait_hits(fault.name, names.count(fault.name))

    anyio.run(play, backend=anyio_backend)
    tally.check(int(redis_server.call("GET", "n") or 0))


async def test_a_soak_by_chance_hits_and_loses_nothing(redis_server: RedisProcess, redis_url: str) -> None:
    tally = Tally()
    faults: list[Fault] = [DropReply(), DropRequest(ending="close"), HoldRequest(after=5), CutAfter(size=2)]
    async with (
        open_proxy(redis_url) as proxy,
        open_client(proxy.url) as one,
        open_client(proxy.url) as two,
    ):
        proxy.chance(0.1, faults, Random(7))
        async with anyio.create_task_group() as tasks:
            for client in (one, two):
                for _ in range(5):
                    tasks.start_soon(tally.increment, client, 20)
        proxy.heal()
        while proxy.hits["deliver late"] < proxy.hits["hold request"]:
            await one.call("PING")
        assert tally.unknown > 0
        for fault in faults:
            assert proxy.hits[fault.name] > 0
    tally.check(int(redis_server.call("GET", "n")))


def test_chance_repeats_with_its_seed() -> None:
    def draw(seed: int) -> list[Fault | None]:
        schedule = Schedule()
        schedule.chance(0.5, [DropReply(), DropRequest(match=b"G"), Slice()], Random(seed))
        return [schedule.meet(request) for request in (b"GET", b"SET") * 20]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert {type(fault) for fault in draw(1)} == {DropReply, DropRequest, Slice, type(None)}


@given(st.lists(FAULTS))
def test_a_plan_can_be_written_down_and_read_back(plan: list[Fault]) -> None:
    assert msgspec.json.decode(msgspec.json.encode(plan), type=list[Fault]) == plan


def test_a_plan_reads_well() -> None:
    assert repr([DropReply(match=b"GET", skip=2), HoldRequest(after=1)]) == (
        "[DropReply(match=b'GET', skip=2), HoldRequest(after=1)]"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Delay(seconds=-1),
        lambda: Slice(size=0),
        lambda: CutAfter(size=-1),
        lambda: CutAfter(size=1, direction="both"),  # type: ignore[arg-type]
        lambda: DropReply(ending="bang"),  # type: ignore[arg-type]
        lambda: DropReply(match="GET"),  # type: ignore[arg-type]
        lambda: DropReply(skip=-1),
        lambda: HoldRequest(after=-1),
        lambda: Refuse(match=b"GET"),
        lambda: Schedule().next(Refuse()),
        lambda: Schedule().chance(1.5, [DropReply()], Random()),
        lambda: Schedule().chance(0.5, [], Random()),
        lambda: Schedule().chance(0.5, [DropReply(skip=1)], Random()),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        wrong()


# --- boundaries -----------------------------------------------------------------------------------


def message(value: Any) -> bytes:
    """Write a value in RESP3."""
    if value is None:
        return b"_\r\n"
    if isinstance(value, bool):
        return b"#t\r\n" if value else b"#f\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, float):
        return b",%r\r\n" % value
    if isinstance(value, bytes):
        return bulk(value)
    if isinstance(value, str):
        return b"+%b\r\n" % value.encode()
    kind, items = value
    count = len(items) // 2 if kind in "%|" else len(items)
    if kind in "%|":
        items = items[: count * 2]
    written = b"%b%d\r\n" % (kind.encode(), count) + b"".join(map(message, items))
    return written + (message("described") if kind == "|" else b"")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False),
    st.binary(max_size=40) | st.sampled_from([b"\r\n", b"*3\r\n", b"$-1\r\n", b"\r", b"\n"]),
    st.text("abc -", max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.tuples(st.sampled_from("*~>%|"), st.lists(inner, max_size=5)),
    max_leaves=20,
)
NULLS = st.sampled_from(
    [b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"!5\r\nERR x\r\n", b"=7\r\ntxt:abc\r\n", b"(123\r\n"]
)
MESSAGES = st.lists(VALUES.map(message) | NULLS, max_size=8)
REQUESTS = st.lists(
    st.lists(st.binary(max_size=30), max_size=4).map(lambda words: message(("*", words)))
    | st.sampled_from([b"PING\r\n", b"\r\n", b"\n", b"SET a b\n", b"PI\rNG\r\n"]),
    max_size=8,
)


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(MESSAGES, st.lists(st.integers(0, 2**16)))
def test_replies_are_cut_the_same_whatever_pieces_they_come_in(frames: list[bytes], cuts: list[int]) -> None:
    scanner = FrameScanner()
    assert [f for piece in pieces(b"".join(frames), cuts) for f in scanner.feed(piece)] == frames
    assert not scanner.broken
    assert scanner.take_rest() == b""


@given(REQUESTS, st.lists(st.integers(0, 2**16)))
def test_requests_are_cut_the_same_whatever_pieces_they_come_in(frames: list[bytes], cuts: list[int]) -> None:
    scanner = FrameScanner(typed=True)
    assert [f for piece in pieces(b"".join(frames), cuts) for f in scanner.feed(piece)] == frames
    assert not scanner.broken
    assert scanner.take_rest() == b""


@given(MESSAGES, MESSAGES)
def test_messages_come_one_byte_at_a_time(first: list[bytes], second: list[bytes]) -> None:
    scanner = FrameScanner()
    data = b"".join(first + second)
    assert [f for n in range(len(data)) for f in scanner.feed(data[n : n + 1])] == first + second


@given(st.binary(), st.booleans())
def test_no_bytes_are_lost_or_invented(data: bytes, typed: bool) -> None:
    scanner = FrameScanner(typed=typed)
    assert b"".join(scanner.feed(data)) + scanner.take_rest() == data


# hiredis makes dicts and sets, takes an attribute for a value, and reads 64 bits.
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40),
    lambda inner: st.tuples(st.sampled_from("*>"), st.lists(inner, max_size=5)),
    max_leaves=20,
)


@given(PLAIN)
def test_boundaries_are_those_of_hiredis(value: Any) -> None:
    data = message(value)
    reader = hiredis.Reader(notEnoughData=...)
    scanner = FrameScanner()
    for n in range(len(data)):
        reader.feed(data[n : n + 1])
        complete = scanner.feed(data[n : n + 1]) == [data]
        assert complete == (reader.gets() is not ...)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00",
        b"\x16\x03\x01\r\n",
        b"*x\r\n",
        b"$1_0\r\n",
        b"*1\r\n?\r\n",
        b"*" + b"9" * 30 + b"\r\n",
    ],
)
def test_what_is_not_resp_is_told(data: bytes) -> None:
    scanner = FrameScanner()
    assert scanner.feed(b"+OK\r\n" + data) == [b"+OK\r\n"]
    assert scanner.broken
    assert scanner.take_rest() == data


def test_a_large_value_in_small_pieces_is_looked_at_once() -> None:
    # Quadratic, this would take minutes.
    scanner = FrameScanner()
    data = bulk(b"x\r\n" * 300_000)
    frames = [f for n in range(0, len(data), 10) for f in scanner.feed(data[n : n + 10])]
    assert frames == [data]
