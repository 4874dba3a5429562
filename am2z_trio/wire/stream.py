"""A byte stream to Redis on either host: TCP, TLS or a Unix socket.

On Trio these are Trio's own streams: AnyIO's wrappers cost a fifth of the throughput. On asyncio
they are AnyIO's, but for the Unix socket, which is a protocol of our own. Whatever goes wrong while
connecting is one `NetworkError` that says where it looked and what to do; whatever goes wrong later
is an `OSError`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any, Final, Protocol, cast

import anyio
import trio
from anyio.abc import ByteStream as AnyioByteStream

from am2z_trio.concurrency import Host
from am2z_trio.model.errors import ConfigurationError, NetworkError
from am2z_trio.model.redis_options import RedisOptions

UNREAD: Final = 262144
"""Bytes that asyncio may have read ahead of us; the peer's further ones stay with the kernel."""

CLOSED: Final = "connection closed"

BACKLOG_PAUSE: Final = 0.01
"""Seconds until a Unix socket whose line of callers was full is tried again."""


class ByteStream(Protocol):
    """What the wire needs of a connection."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """Some bytes; `b""` at the end. Raises `OSError` when the connection breaks.

        Cancelled, it has taken nothing.
        """
        ...

    async def send_all(self, data: bytes) -> None:
        """Returns when the kernel has all of it. Raises `OSError` when the connection breaks.

        Cancelled, it may have sent any part.
        """
        ...

    async def aclose(self) -> None:
        """Close at once; who reads or writes meanwhile gets an `OSError`."""
        ...


async def open_stream(host: Host, options: RedisOptions) -> ByteStream:
    """Connect within `connect_timeout`, or raise one `NetworkError`."""
    context = _tls_context(options) if options.tls else None
    patience = host.cancel_scope(deadline=host.now() + options.connect_timeout)
    with patience:
        stream = await _open(host, options, context)
    if patience.cancelled_caught:
        # A plain Redis says nothing to a TLS greeting: it waits for the end of the line.
        hint = ". If it speaks no TLS, use redis://" if options.tls else ""
        raise NetworkError(
            f"{options.display} did not answer within {options.connect_timeout:g} s{hint}",
            context={"url": options.display},
        )
    return stream


async def _open(host: Host, options: RedisOptions, context: ssl.SSLContext | None) -> ByteStream:
    try:
        if host.name == "trio":
            return await _open_trio(host, options, context)
        return await _open_asyncio(host, options, context)
    except ssl.SSLCertVerificationError as error:
        raise NetworkError(
            f"the certificate of {options.display} was not accepted: {error.verify_message}. "
            "Name its authority with ca_file=",
            context={"url": options.display},
            cause=error,
            retryable=False,
        ) from error
    except (ssl.SSLError, _TlsBrokenError) as error:
        raise NetworkError(
            f"{options.display} did not agree on TLS ({_reason(error)}). If it speaks no TLS, use redis://",
            context={"url": options.display},
            cause=error,
        ) from error
    # UnicodeError: a host name that cannot be looked up, such as one with a label too long.
    except (OSError, UnicodeError) as error:
        raise NetworkError(
            f"Redis is not reachable at {options.display} ({_reason(error)}). Start one, give another "
            "URL, or use embedded=True (pip install 'am2z-trio[embedded]')",
            context={"url": options.display},
            cause=error,
        ) from error


class _TlsBrokenError(Exception):
    """The peer hung up during the TLS handshake."""


def _reason(error: BaseException) -> str:
    # A connection by name tries every address; the first failure is as good as any.
    cause: Any = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return _reason(cast("BaseExceptionGroup[BaseException]", cause).exceptions[0])
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, OSError):
        if error.strerror:
            # Without "[Errno 111]", and without the address that asyncio adds.
            number = error.errno or 0
            return os.strerror(number).lower() if number > 0 else error.strerror.lower()
        if isinstance(cause, OSError):
            return _reason(cause)
    return str(error).lower() or type(error).__name__


def _tls_context(options: RedisOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
        if not options.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if options.cert_file:
            context.load_cert_chain(options.cert_file, options.key_file or None)
    except OSError as error:
        raise ConfigurationError(
            f"the TLS files of {options.display} cannot be used: {error}", cause=error
        ) from error
    return context


async def _open_trio(host: Host, options: RedisOptions, context: ssl.SSLContext | None) -> ByteStream:
    if options.path:
        connection = trio.socket.from_stdlib_socket(await _connect_unix(host, options.path))
        return _TrioSocketStream(trio.SocketStream(connection))
    stream = await trio.open_tcp_stream(options.host, options.port)
    if context is None:
        return _TrioSocketStream(stream)
    secure = trio.SSLStream(stream, context, server_hostname=options.host, https_compatible=True)
    try:
        await secure.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(secure)
        # Trio hides the reason behind its own exception.
        if isinstance(error.__cause__, ssl.SSLError):
            raise error.__cause__ from None
        raise _TlsBrokenError("connection closed") from error
    except BaseException:
        await trio.aclose_forcefully(secure)
        raise
    return _TrioStream(secure)


async def _open_asyncio(host: Host, options: RedisOptions, context: ssl.SSLContext | None) -> ByteStream:
    if options.path:
        connection = await _connect_unix(host, options.path)
        try:
            loop = asyncio.get_running_loop()
            return (await loop.create_unix_connection(_AsyncioStream, sock=connection))[1]
        except BaseException:
            connection.close()
            raise
    if context is None:
        return _AnyioStream(await anyio.connect_tcp(options.host, options.port))
    try:
        secure = await anyio.connect_tcp(
            options.host, options.port, ssl_context=context, tls=True, tls_standard_compatible=False
        )
    except (anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise _TlsBrokenError("connection closed") from error
    return _AnyioStream(secure)


async def _connect_unix(host: Host, path: str) -> socket.socket:
    """Both hosts' own way takes a Unix socket whose line of callers is full for a connection on its way."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        while True:
            try:
                connection.connect(path)
            except BlockingIOError:
                await host.sleep(BACKLOG_PAUSE)
            else:
                return connection
    except BaseException:
        connection.close()
        raise


class _TrioStream:
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

    async def send_all(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionResetError(_why(error)) from error


class _TrioSocketStream(_TrioStream):
    """The same without TLS. It waits before it reads: who reads in a loop has taken what there was, so that
    Trio's own attempt beforehand fails as a rule, and costs as much as the reading."""

    __slots__ = ("_socket",)

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self._socket = stream.socket

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


class _AnyioStream:
    """AnyIO's stream, with Trio's idea of the end and its exceptions mapped."""

    __slots__ = ("_stream", "aclose")

    def __init__(self, stream: AnyioByteStream) -> None:
        self._stream = stream
        self.aclose = stream.aclose

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


class _AsyncioStream(asyncio.Protocol):
    """asyncio's transport as a stream.

    AnyIO's stream over a Unix socket has asyncio set a future when the socket is ready, also when its
    waiter was cancelled in the same pass of the loop: an `InvalidStateError` in the loop's exception
    handler. Here what arrives is kept, whether or not anybody waits for it.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport
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


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _why(error: Exception) -> str:
    return str(error.__cause__ or error) or "connection lost"
