"""A plain connection on asyncio: a protocol of our own. Loaded where that is the host."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from .host_streams import CLOSED, Socket, why_lost, write_some

UNREAD: Final = 262144
"""Bytes that asyncio may have read ahead of us; the peer's further ones stay with the kernel."""


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
        return 0 if self._lost is not None else write_some(self._socket.fileno(), data)

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
            self._lost = CLOSED if exc is None else why_lost(exc)
            self._broken = exc
        _wake(self._reader)
        _wake(self._writer)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
