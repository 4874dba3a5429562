"""Plain sockets under AnyIO. AnyIO's own streams cannot be reset, nor say that bytes are exactly N.

Closing is immediate and never waits, so nothing here needs a shield.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio

RECEIVE: Final = 65536
"""Bytes per read, as in `am2z_trio.wire.connection`."""

_ABORT: Final = struct.pack("ii", 1, 0)
# Nothing there yet, or no room yet.
_NOT_NOW: Final = (BlockingIOError, InterruptedError)


class Socket:
    """A connected stream socket. One task may receive while another sends."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        if connected.family != socket.AF_UNIX:
            # What is sliced is meant to leave in slices.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected

    async def receive(self) -> bytes:
        """Wait for some bytes; `b""` at the end of the stream. Raises `OSError`. Cancelled: nothing is
        taken off the stream.
        """
        while True:
            # Always: a stream that never runs dry must let other tasks run, and be cancelled.
            await anyio.wait_readable(self._socket)
            with suppress(*_NOT_NOW):
                return self._socket.recv(RECEIVE)

    async def send(self, data: bytes) -> None:
        """Send all. Raises `OSError`. Returns at once while the system takes it; cancelled: a part may
        have left.
        """
        sent = 0
        view = memoryview(data)
        while sent < len(data):
            try:
                sent += self._socket.send(view[sent:])
            except _NOT_NOW:
                await anyio.wait_writable(self._socket)

    def end(self) -> None:
        """End our direction of the stream; the peer reads what was sent, then the end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close. What was sent still arrives."""
        self.end()
        self._socket.close()

    def reset(self) -> None:
        """Close abortively: RST on TCP, a plain close on a Unix socket."""
        if self._socket.family != socket.AF_UNIX:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._socket.close()


class Address:
    """Where a server listens: a path, or host and port."""

    def __init__(self, *, path: str = "", host: str = "", port: int = 0) -> None:
        self.path = path
        self.host = host
        self.port = port

    async def connect(self) -> Socket:
        """Connect; of a name's addresses the first that answers. Raises `OSError`."""
        if self.path:
            return await _connect(socket.AF_UNIX, self.path)
        failure: OSError | None = None
        for family, _, _, _, where in await anyio.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            try:
                return await _connect(family, where)
            except OSError as error:
                failure = failure or error
        raise failure or OSError(f"{self.host} has no address")

    def listen(self) -> socket.socket:
        """Open a listener here; port 0 becomes the port it got."""
        family = socket.AF_UNIX if self.path else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.bind(self.path or (self.host, self.port))
            listener.listen(socket.SOMAXCONN)
        except BaseException:
            listener.close()
            raise
        if not self.path:
            self.port = int(listener.getsockname()[1])
        return listener

    def remove(self) -> None:
        """Remove a listener's file and the directory that was made for it."""
        if self.path:
            with suppress(OSError):
                Path(self.path).unlink()
            with suppress(OSError):
                Path(self.path).parent.rmdir()


async def accept(listener: socket.socket) -> Socket:
    """Wait for the next connection. Cancelled: none is lost."""
    while True:
        await anyio.wait_readable(listener)
        with suppress(*_NOT_NOW, ConnectionAbortedError):
            return Socket(listener.accept()[0])


async def _connect(family: int, where: object) -> Socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        # A Unix socket's backlog that is full answers EAGAIN and tells nobody when there is room.
        if family == socket.AF_UNIX:
            await anyio.lowlevel.checkpoint()
            connecting.connect(str(where))
            return Socket(connecting)
        with suppress(*_NOT_NOW):
            connecting.connect(where)  # type: ignore[arg-type]
        await anyio.wait_writable(connecting)
        number = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        return Socket(connecting)
    except BaseException:
        connecting.close()
        raise
