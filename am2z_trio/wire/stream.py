"""A byte stream to Redis on either host: TCP, TLS or a Unix socket.

Whatever goes wrong while connecting is one `NetworkError` that says where it looked and what to do; whatever
goes wrong later is an `OSError`.
"""

from __future__ import annotations

import os
import ssl
from typing import Any, Protocol, cast

import anyio
import trio

from am2z_trio.concurrency import Host
from am2z_trio.model.errors import ConfigurationError, NetworkError
from am2z_trio.model.redis_options import RedisOptions

from .host_streams import AnyioStream, TrioSocketStream, TrioStream
from .sockets import connect_tcp, connect_unix


class ByteStream(Protocol):
    """What the wire needs of a connection."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """Some bytes; `b""` at the end. Raises `OSError` when the connection breaks.

        Cancelled, it has taken nothing.
        """
        ...

    def send_now(self, data: bytes) -> int:
        """Give the kernel what it takes without waiting, and return how many bytes that is: none, perhaps,
        and none of a connection that is broken, as the next `send_all` says. Not while one is under way."""
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
        connection = trio.socket.from_stdlib_socket(await connect_unix(host, options.path))
        return TrioSocketStream(trio.SocketStream(connection))
    stream = await trio.open_tcp_stream(options.host, options.port)
    if context is None:
        return TrioSocketStream(stream)
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
    return TrioStream(secure)


async def _open_asyncio(host: Host, options: RedisOptions, context: ssl.SSLContext | None) -> ByteStream:
    if context is None:
        return await _open_plain(host, options)
    try:
        secure = await anyio.connect_tcp(
            options.host, options.port, ssl_context=context, tls=True, tls_standard_compatible=False
        )
    except (anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise _TlsBrokenError("connection closed") from error
    return AnyioStream(secure)


async def _open_plain(host: Host, options: RedisOptions) -> ByteStream:
    # Here: on Trio asyncio is not loaded.
    import asyncio

    from .asyncio_stream import AsyncioStream

    loop = asyncio.get_running_loop()
    path = options.path
    connection = await (connect_unix(host, path) if path else connect_tcp(host, options.host, options.port))
    try:
        if path:
            return (await loop.create_unix_connection(AsyncioStream, sock=connection))[1]
        return (await loop.create_connection(AsyncioStream, sock=connection))[1]
    except BaseException:
        connection.close()
        raise
