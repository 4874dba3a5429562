"""The hosts' streams as the wire has them: whatever breaks one is an `OSError`.

On Trio these are Trio's own: AnyIO's wrappers cost a fifth of the throughput. On asyncio it is a protocol of
our own (`asyncio_stream`), and AnyIO's for TLS.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

import anyio
import trio
from anyio.abc import ByteStream

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
            raise ConnectionResetError(why_lost(error)) from error

    def send_now(self, data: bytes) -> int:
        # What is encrypted is not to be written past its stream.
        return 0

    async def send_all(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionResetError(why_lost(error)) from error


class TrioSocketStream(TrioStream):
    """The same without TLS. It waits before it reads: who reads in a loop has taken what there was, so that
    Trio's own attempt beforehand fails as a rule, and costs as much as the reading."""

    __slots__ = ("_socket",)

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self._socket = stream.socket

    def send_now(self, data: bytes) -> int:
        return write_some(self._socket.fileno(), data)

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
                raise ConnectionResetError(why_lost(error)) from error
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
            raise ConnectionResetError(why_lost(error)) from error

    async def send_all(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise ConnectionResetError(why_lost(error)) from error


class Socket(Protocol):
    """What all hosts' sockets can say."""

    def fileno(self) -> int:
        """The kernel's number of it; negative when it is closed."""
        ...


def write_some(number: int, data: bytes) -> int:
    """What the kernel takes of it now, in bytes."""
    if number < 0:
        return 0
    try:
        return os.write(number, data)
    except OSError:
        return 0


def why_lost(error: Exception) -> str:
    """Why a connection is over, for a person."""
    return str(error.__cause__ or error) or "connection lost"
