"""The hosts' streams as the wire has them: whatever breaks one is an `OSError`.

On Trio these are Trio's own: AnyIO's wrappers cost a fifth of the throughput. On asyncio it is a protocol of
our own, and AnyIO's for TLS.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final, Protocol, cast

import anyio
import trio
from anyio.abc import ByteStream

UNREAD: Final = 262144
"""Bytes that asyncio may have read ahead of us; the peer's further ones stay with the kernel."""

CLOSED: Final = "connection closed"


class TrioStream:
    """Trio's stream, with its exceptions mapped."""

    __slots__ = ("_stream", "aclose")

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self.aclose = stream.aclose

    async def receive_some(self, max_bytes: int) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionResetError(_why(error)) from error

    def send_now(self, data: bytes) -> int:
        # What is encrypted is not to be written past its stream.
        return 0

    async def send_all(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionResetError(_why(error)) from error


class TrioSocketStream(TrioStream):
    """The same without TLS. It waits before it reads: who reads in a loop has taken what there was, so that
    Trio's own attempt beforehand fails as a rule, and costs as much as the reading."""

    __slots__ = ("_socket",)

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self._socket = stream.socket

    def send_now(self, data: bytes) -> int:
        return _write_some(self._socket.fileno(), data)

    async def receive_some(self, max_bytes: int) -> bytes:
        while True:
            # Asked for each time: the number of a socket that was closed may be another one's by now.
            number = self._socket.fileno()
            if number < 0:
                raise ConnectionResetError(CLOSED)
            try:
                await trio.lowlevel.wait_readable(number)
                return os.read(number, max_bytes)
            except trio.ClosedResourceError as error:
                raise ConnectionResetError(_why(error)) from error
            except BlockingIOError:
                # Nothing there after all.
                continue


class AnyioStream:
    """AnyIO's stream, with Trio's idea of the end and its exceptions mapped."""

    __slots__ = ("_stream", "aclose")

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.aclose = stream.aclose

    def send_now(self, data: bytes) -> int:
        # What is encrypted is not to be written past its stream.
        return 0

    async def receive_some(self, max_bytes: int) -> bytes:
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise ConnectionResetError(_why(error)) from error

    async def send_all(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise ConnectionResetError(_why(error)) from error


class AsyncioStream(asyncio.Protocol):
    """asyncio's transport as a stream.

    AnyIO's stream over TCP stops and resumes reading for every read, which costs two system calls; over a
    Unix socket it has asyncio set a future when the socket is ready, also when its waiter was cancelled in
    the same pass of the loop: an `InvalidStateError` in the loop's exception handler. Here what arrives is
    kept, up to a limit, whether or not anybody waits for it.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._socket: Socket
        self._chunks: list[bytes] = []
        self._unread = 0
        self._held_up = False
        """asyncio was told to read no further."""
        self._ended = False
        """The peer will send no more."""
        self._lost: str | None = None
        """Why the connection is over."""
        self._broken: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._full = False
        """The kernel has not yet taken all that was sent."""
        self._writer: asyncio.Future[None] | None = None

    # --- for the wire -----------------------------------------------------------------------

    async def receive_some(self, max_bytes: int) -> bytes:
        chunks = self._chunks
        while not chunks:
            if self._lost is not None:
                raise ConnectionResetError(self._lost) from self._broken
            if self._ended:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if len(data) > max_bytes:
            chunks.append(data[max_bytes:])
            data = data[:max_bytes]
        self._unread -= len(data)
        if self._held_up and self._unread < UNREAD:
            self._held_up = False
            self._transport.resume_reading()
        return data

    def send_now(self, data: bytes) -> int:
        # asyncio has nothing in hand, as `send_all` waits until it has not.
        return 0 if self._lost is not None else _write_some(self._socket.fileno(), data)

    async def send_all(self, data: bytes) -> None:
        if self._lost is None:
            self._transport.write(data)
            # At least once, as everywhere: others have something to send, too.
            await asyncio.sleep(0)
        while self._full and self._lost is None:
            self._writer = asyncio.get_running_loop().create_future()
            try:
                await self._writer
            finally:
                self._writer = None
        if self._lost is not None:
            raise ConnectionResetError(self._lost) from self._broken

    async def aclose(self) -> None:
        if self._lost is None:
            self._lost = CLOSED
        self._transport.abort()
        # The socket is closed in the loop's next pass.
        await asyncio.sleep(0)

    # --- for asyncio ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._socket = cast(Socket, transport.get_extra_info("socket"))
        self._transport.set_write_buffer_limits(0)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._unread += len(data)
        if self._unread >= UNREAD and not self._held_up:
            self._held_up = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self._ended = True
        _wake(self._reader)
        # The peer may still read.
        return True

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        _wake(self._writer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost is None:
            self._lost = CLOSED if exc is None else _why(exc)
            self._broken = exc
        _wake(self._reader)
        _wake(self._writer)


class Socket(Protocol):
    """What all hosts' sockets can say."""

    def fileno(self) -> int:
        """The kernel's number of it; negative when it is closed."""
        ...


def _write_some(number: int, data: bytes) -> int:
    if number < 0:
        return 0
    try:
        return os.write(number, data)
    except OSError:
        return 0


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _why(error: Exception) -> str:
    return str(error.__cause__ or error) or "connection lost"
