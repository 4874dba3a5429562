"""The byte stream under the wire, its peer a socket in the test's hand."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from am2z_trio.concurrency import Host, current_host
from am2z_trio.model.errors import NetworkError
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.wire.asyncio_stream import UNREAD, AsyncioStream
from am2z_trio.wire.stream import ByteStream, open_stream
from tests.support.servers import SpawnRedis

from .peer import open_client, start

pytestmark = pytest.mark.anyio

LARGE = 40_000_000
"""More bytes than the kernel takes at once."""


@pytest.fixture(
    params=["trio", "asyncio", pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")],
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["unix", "tcp"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    if request.param == "unix":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "peer.sock"))
    else:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
    with listening:
        listening.listen(1)
        yield listening


def options_of(listener: socket.socket, **options: Any) -> RedisOptions:
    name = listener.getsockname()
    if isinstance(name, str):
        return RedisOptions(path=name, **options)
    return RedisOptions(host=name[0], port=name[1], **options)


@asynccontextmanager
async def open_pair(listener: socket.socket) -> AsyncIterator[tuple[ByteStream, socket.socket]]:
    """A stream and its peer, within half a minute; on asyncio the loop has nothing to complain of."""
    host, complaints = current_host(), []
    if host.name == "asyncio":
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    with anyio.fail_after(30):
        stream = await open_stream(host, options_of(listener))
        peer, _ = listener.accept()
        peer.setblocking(False)
        with peer:
            try:
                yield stream, peer
            finally:
                await stream.aclose()
    assert complaints == []


async def passes(host: Host, count: int) -> None:
    for _ in range(count):
        await host.checkpoint()


async def take(peer: socket.socket, size: int) -> bytes:
    """What the peer reads, until it is as much."""
    taken = bytearray()
    while len(taken) < size:
        try:
            data = peer.recv(size - len(taken))
        except BlockingIOError:
            await anyio.wait_readable(peer)
        else:
            assert data, "the stream has ended"
            taken += data
    return bytes(taken)


@pytest.mark.parametrize("late", [0, 1, 2, 3])
async def test_a_read_cancelled_as_bytes_arrive_loses_none_and_says_nothing(
    listener: socket.socket, late: int
) -> None:
    host = current_host()
    async with open_pair(listener) as (stream, peer), anyio.create_task_group() as tasks:
        came = b""
        for i in range(50):
            reading = start(tasks, stream.receive_some, 100)
            await passes(host, 3)
            peer.send(b"%d," % i)
            await passes(host, late)
            reading.scope.cancel()
            came += await reading.ended() or b""
        sent = b"".join(b"%d," % i for i in range(50))
        while len(came) < len(sent):
            came += await stream.receive_some(100)
        assert came == sent


@pytest.mark.parametrize("late", [0, 1, 2, 3])
async def test_a_write_cancelled_as_the_peer_reads_says_nothing(listener: socket.socket, late: int) -> None:
    host = current_host()
    for _ in range(10):
        async with open_pair(listener) as (stream, peer), anyio.create_task_group() as tasks:
            writing = start(tasks, stream.send_all, bytes(LARGE))
            await passes(host, 3)
            peer.recv(LARGE)
            await passes(host, late)
            writing.scope.cancel()
            await writing.ended()


async def test_what_the_kernel_takes_at_once_goes_before_what_is_waited_for(
    listener: socket.socket,
) -> None:
    data = bytes(range(250)) * (LARGE // 250)
    async with open_pair(listener) as (stream, peer), anyio.create_task_group() as tasks:
        assert stream.send_now(b"first") == 5
        done = stream.send_now(data)
        assert done
        writing = start(tasks, stream.send_all, data[done:])
        assert await take(peer, 5 + len(data)) == b"first" + data
        await writing.ended()
        assert stream.send_now(b"last") == 4
        assert await take(peer, 4) == b"last"


async def test_a_stream_that_is_over_takes_nothing_at_once_and_says_so_when_waited_for(
    listener: socket.socket,
) -> None:
    async with open_pair(listener) as (stream, peer):
        peer.close()
        with pytest.raises(ConnectionResetError):
            while True:
                done = stream.send_now(b"more")
                await stream.send_all(b"and more"[done:])
    assert stream.send_now(b"more") == 0


async def test_a_write_returns_when_the_peer_has_room_for_all_of_it(listener: socket.socket) -> None:
    data = bytes(range(250)) * (LARGE // 250)
    async with open_pair(listener) as (stream, peer), anyio.create_task_group() as tasks:
        writing = start(tasks, stream.send_all, data)
        first = await take(peer, 1000)
        assert not writing.has_ended
        assert first + await take(peer, LARGE - 1000) == data
        assert await writing.ended() is None
        await stream.send_all(b"more")
        assert await take(peer, 4) == b"more"


async def test_a_peer_that_is_not_read_from_cannot_send_on(listener: socket.socket) -> None:
    host = current_host()
    data = bytes(range(250)) * 4
    async with open_pair(listener) as (stream, peer):
        sent = refused = 0
        while refused < 10:
            try:
                sent += peer.send(data[sent % 1000 :])
                refused = 0
            except BlockingIOError:
                refused += 1
                await passes(host, 3)
            assert sent < 100_000_000
        if isinstance(stream, AsyncioStream):
            # A read of the loop's brings as much at most.
            assert UNREAD <= stream._unread < 2 * UNREAD
        peer.shutdown(socket.SHUT_WR)
        came = bytearray()
        while piece := await stream.receive_some(777):
            assert len(piece) <= 777
            came += piece
        assert came == (data * (sent // 1000 + 1))[:sent]


async def test_after_the_last_bytes_of_the_peer_comes_the_end_and_it_may_still_be_told(
    listener: socket.socket,
) -> None:
    async with open_pair(listener) as (stream, peer):
        peer.send(b"last words")
        peer.shutdown(socket.SHUT_WR)
        assert await stream.receive_some(4) == b"last"
        assert await stream.receive_some(100) == b" words"
        assert await stream.receive_some(100) == b""
        assert await stream.receive_some(100) == b""
        await stream.send_all(b"farewell")
        assert await take(peer, 8) == b"farewell"


async def test_a_peer_that_breaks_off_is_an_error_to_reader_and_writer(listener: socket.socket) -> None:
    async with open_pair(listener) as (stream, peer), anyio.create_task_group() as tasks:
        reading = start(tasks, stream.receive_some, 100)
        writing = start(tasks, stream.send_all, bytes(LARGE))
        await take(peer, 1000)
        # With unread bytes: a reset, where the reader learns of it first.
        peer.close()
        assert isinstance(await writing.ended(), ConnectionError)
        assert await reading.ended() == b"" or isinstance(reading.error, ConnectionError)
        with pytest.raises(ConnectionError):
            await stream.send_all(b"more")


async def test_a_stream_closed_by_another_task_is_an_error_to_reader_and_writer(
    listener: socket.socket,
) -> None:
    async with open_pair(listener) as (stream, peer), anyio.create_task_group() as tasks:
        reading = start(tasks, stream.receive_some, 100)
        writing = start(tasks, stream.send_all, bytes(LARGE))
        await take(peer, 1000)
        await stream.aclose()
        assert isinstance(await reading.ended(), ConnectionError)
        assert isinstance(await writing.ended(), ConnectionError)
        for call in (stream.receive_some(100), stream.send_all(b"more")):
            with pytest.raises(ConnectionError):
                await call


async def test_a_stream_closed_in_a_cancelled_scope_has_closed_its_socket(listener: socket.socket) -> None:
    async with open_pair(listener) as (stream, peer):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await stream.aclose()
        await anyio.wait_readable(peer)
        assert peer.recv(1) == b""
        del stream
        gc.collect()


async def test_a_socket_with_a_full_line_of_callers_is_connected_to_when_there_is_room(
    tmp_path: Path,
) -> None:
    host = current_host()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "peer.sock"))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(listener.getsockname())
            with pytest.raises(NetworkError, match="did not answer"):
                await open_stream(host, options_of(listener, connect_timeout=0.05))
            async with anyio.create_task_group() as tasks:
                opening = start(tasks, open_stream, host, options_of(listener))
                await passes(host, 10)
                listener.accept()[0].close()
                stream = await opening.ended()
                peer, _ = listener.accept()
                with peer:
                    await stream.send_all(b"hello")
                    assert peer.recv(5) == b"hello"
                    await stream.aclose()


@pytest.mark.parametrize("over", ["unix", "tcp"])
async def test_huge_commands_and_replies_come_whole(spawn_redis: SpawnRedis, over: str) -> None:
    server = spawn_redis(tcp=over == "tcp")
    huge = bytes(range(250)) * 40_000
    async with open_client(server.tcp_url or server.url) as client, anyio.create_task_group() as tasks:
        await client.call("SET", "huge", huge)
        asked = [start(tasks, client.call, "GET", "huge") for _ in range(3)]
        given_up = start(tasks, client.call, "GET", "huge")
        small = [start(tasks, client.call, "ECHO", i) for i in range(100)]
        while not asked[0].has_ended:
            await current_host().checkpoint()
        given_up.scope.cancel()
        assert [await one.ended() for one in small] == [str(i).encode() for i in range(100)]
        for one in asked:
            assert await one.ended() == huge
        assert client.reconnects == 0
