"""The other end of the wire, played by a test byte for byte."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import hiredis
import msgspec
from anyio.abc import ByteStream, TaskGroup
from anyio.streams.tls import TLSStream

from am2z_trio.concurrency import Host, current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.wire.client import ConnectionEvent, RedisClient


class MemoryStream:
    """A byte stream whose other end is a few methods: `feed`, `end`, `break_off`, `hold`."""

    def __init__(self) -> None:
        self.host: Host = current_host()
        self.written = bytearray()
        self.writes = 0
        self.closed = False
        self.room: int | None = None
        """So many bytes are taken of a write that does not wait."""
        self._incoming: deque[bytes | OSError] = deque()
        self._arrived = self.host.spot()
        self._gate = self.host.event()
        self._gate.set()
        self._seconds = 0.0

    def feed(self, data: bytes) -> None:
        self._incoming.append(data)
        self._arrived.wake()

    def end(self) -> None:
        self.feed(b"")

    def break_off(self) -> None:
        self._incoming.append(ConnectionResetError("reset"))
        self._arrived.wake()

    def hold(self) -> None:
        """Let writes hang until `release`."""
        self._gate = self.host.event()

    def release(self) -> None:
        self._gate.set()

    def slow_down(self, seconds: float) -> None:
        """Let each write take so long from now on."""
        self._seconds = seconds

    async def receive_some(self, max_bytes: int) -> bytes:
        while not self._incoming:
            await self._arrived.park()
        item = self._incoming.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def send_now(self, data: bytes) -> int:
        if not self._gate.is_set() or self._seconds:
            return 0
        done = len(data) if self.room is None else min(self.room, len(data))
        self.writes += done > 0
        self.written += data[:done]
        return done

    async def send_all(self, data: bytes) -> None:
        self.writes += 1
        await self._gate.wait()
        if self._seconds:
            await self.host.sleep(self._seconds)
        self.written += data
        await self.host.checkpoint()

    async def aclose(self) -> None:
        self.closed = True


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: ByteStream, hung_up: anyio.Event) -> None:
        self._stream = stream
        self._parser = hiredis.Reader(notEnoughData=...)
        self._hung_up = hung_up

    async def command(self) -> list[bytes]:
        """Wait for the next command; raises `anyio.EndOfStream` when the client has hung up."""
        while True:
            command = self._parser.gets()
            if command is not ...:
                assert isinstance(command, list)
                return command
            self._parser.feed(await self._stream.receive())

    async def commands(self, *names: str) -> list[list[bytes]]:
        """Wait for as many commands, which must have these names."""
        commands = [await self.command() for _ in names]
        assert [command[0].decode() for command in commands] == list(names)
        return commands

    async def answer(self, data: bytes) -> None:
        await self._stream.send(data)

    async def greet(
        self,
        *,
        version: str = "7.0.15",
        policy: str = "noeviction",
        mode: str = "standalone",
        run_id: str = "",
    ) -> None:
        """Let the client in."""
        await self.commands("HELLO")
        await self.answer(hello(version, mode=mode))
        await self.commands("INFO")
        await self.answer(bulk(f"# Memory\r\nmaxmemory_policy:{policy}\r\nrun_id:{run_id}\r\n"))

    def hang_up(self) -> None:
        self._hung_up.set()

    async def gone(self) -> None:
        """Wait until the client has hung up."""
        try:
            while True:
                await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass


class Peers:
    """A listener; the test accepts and plays each connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._send, self._receive = anyio.create_memory_object_stream[Peer](10)

    async def accept(self) -> Peer:
        return await self._receive.receive()

    async def handle(self, stream: ByteStream) -> None:
        hung_up = anyio.Event()
        async with stream:
            await self._send.send(Peer(stream, hung_up))
            await hung_up.wait()

    def close(self) -> None:
        self._send.close()
        self._receive.close()


@asynccontextmanager
async def open_peers(where: Path | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peers]:
    """Listen on a socket below `where`, or on a TCP port."""
    if where is not None:
        path = where / "peer.sock"
        listener: Any = await anyio.create_unix_listener(path)
        peers = Peers(f"unix://{path}")
    else:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        peers = Peers(f"redis{'s' if tls else ''}://127.0.0.1:{port}")

    async def handle(stream: ByteStream) -> None:
        if tls is not None:
            try:
                stream = await TLSStream.wrap(
                    stream, server_side=True, ssl_context=tls, standard_compatible=False
                )
            except (ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream):
                await stream.aclose()
                return
        await peers.handle(stream)

    async def serve() -> None:
        # Closed by its own task: closed by another, it would raise here.
        async with listener:
            await listener.serve(handle)

    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            try:
                with anyio.fail_after(30):
                    yield peers
            finally:
                tasks.cancel_scope.cancel()
                peers.close()


class Recorder:
    """What a client tells: messages and events, and a way to wait for them."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.events: list[ConnectionEvent] = []
        self._changed = anyio.Event()

    def message(self, channel: bytes, payload: bytes) -> None:
        self.messages.append((channel, payload))
        self._change()

    def event(self, event: ConnectionEvent) -> None:
        self.events.append(event)
        self._change()

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def error(self, name: str, index: int = 0) -> str:
        """The error of an event of this name, the first by default."""
        return [event.error for event in self.events if event.name == name][index]

    async def heard(self, count: int) -> None:
        while len(self.messages) < count:
            await self._changed.wait()

    async def happened(self, name: str, count: int = 1) -> None:
        while self.names.count(name) < count:
            await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def open_client(
    url: str, recorder: Recorder | None = None, **options: Any
) -> AsyncIterator[RedisClient]:
    """A client that runs, within half a minute."""
    where = msgspec.structs.replace(RedisOptions.from_url(url), **options)
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            client = new_client(where, recorder)
            with anyio.fail_after(30):
                await tasks.start(client.run)
                yield client
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def open_played(
    peers: Peers, recorder: Recorder | None = None, **options: Any
) -> AsyncIterator[tuple[RedisClient, Peer]]:
    """A client and its first peer, who has greeted it."""
    where = msgspec.structs.replace(RedisOptions.from_url(peers.url), **options)
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            client = new_client(where, recorder)
            peer = await start_played(tasks, client, peers)
            yield client, peer
            tasks.cancel_scope.cancel()


async def start_played(tasks: TaskGroup, client: RedisClient, peers: Peers) -> Peer:
    async with anyio.create_task_group() as starting:
        starting.start_soon(tasks.start, client.run)
        peer = await peers.accept()
        await peer.greet()
    return peer


def new_client(options: RedisOptions, recorder: Recorder | None = None) -> RedisClient:
    if recorder is None:
        return RedisClient(options)
    return RedisClient(options, on_push=recorder.message, on_event=recorder.event)


class Waiting:
    """A call in a task of its own: what it gave, and a scope to cancel it by."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.reply: Any = None
        self.error: Exception | None = None
        self._ended = anyio.Event()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    async def ended(self) -> Any:
        """Wait for the end; returns the reply, or the error."""
        await self._ended.wait()
        return self.error if self.error is not None else self.reply

    async def _serve(self, function: Any, args: Any, options: Any) -> None:
        try:
            with self.scope:
                self.reply = await function(*args, **options)
        except Exception as error:
            self.error = error
        finally:
            self._ended.set()


def start(tasks: TaskGroup, function: Any, *args: Any, **options: Any) -> Waiting:
    """Start `function` in a task of its own."""
    waiting = Waiting()
    tasks.start_soon(waiting._serve, function, args, options)
    return waiting


def bulk(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return b"$%d\r\n%b\r\n" % (len(data), data)


def hello(version: str, *, mode: str = "standalone", role: str = "master") -> bytes:
    said = {"server": "redis", "version": version, "mode": mode, "role": role}
    return b"%4\r\n" + b"".join(bulk(name) + bulk(value) for name, value in said.items())


def push(*words: str | bytes) -> bytes:
    return b">%d\r\n" % len(words) + b"".join(bulk(word) for word in words)


def confirmation(kind: str, channel: str) -> bytes:
    return b">3\r\n" + bulk(kind) + bulk(channel) + b":1\r\n"
