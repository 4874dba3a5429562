"""Sockets that are connected before they become a stream, where a host's own way will not do."""

from __future__ import annotations

import socket
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple

import anyio

from am2z_trio.concurrency import Host, Nursery, Spot
from am2z_trio.concurrency.groups import unwrapped

BACKLOG_PAUSE: Final = 0.01
"""Seconds until a Unix socket whose line of callers was full is tried again."""

NEXT_AFTER: Final = 0.25
"""Seconds until the next address of a name is tried beside one that has not answered, as RFC 8305 has it."""


async def connect_unix(host: Host, path: str) -> socket.socket:
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


async def connect_tcp(host: Host, name: str, port: int) -> socket.socket:
    """On asyncio: connect to the first of a name's addresses that answers.

    Raises the `OSError` of the first one that failed, if all do. Cancelled, it leaves no socket.
    """
    race = _Race([], [])
    try:
        with unwrapped():
            async with host.open_nursery() as nursery:
                for address in await _addresses(name, port):
                    over = host.spot()
                    nursery.start_soon(_try, address, race, over, nursery, name="redis connect")
                    with host.cancel_scope(deadline=host.now() + NEXT_AFTER):
                        await over.park()
        if race.won:
            return race.won.pop()
    finally:
        for connection in race.won:
            connection.close()
    raise race.errors[0]


class _Race(NamedTuple):
    won: list[socket.socket]
    """At most one."""
    errors: list[OSError]


class _Address(NamedTuple):
    family: int
    where: Any
    """As `connect` takes it."""


async def _addresses(name: str, port: int) -> list[_Address]:
    """Those of a name in the system's order, but that two families take turns."""
    found: Any
    try:
        # Numbers need no thread that asks for them.
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await anyio.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    addresses = [_Address(family, where) for family, _, _, _, where in found]
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    return [address for address in chain(*zip_longest(first, others)) if address is not None]


async def _try(address: _Address, race: _Race, over: Spot, nursery: Nursery) -> None:
    """Connect, and end all other tries; or tell of the failure."""
    import asyncio

    connection = None
    try:
        connection = socket.socket(address.family, socket.SOCK_STREAM)
        connection.setblocking(False)
        # asyncio says so itself of a socket alone whose protocol is named; else the last piece of a long call
        # would wait until what went before is acknowledged, which may take the kernel 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, address.where)
        if not race.won:
            race.won.append(connection)
            connection = None
            nursery.cancel_scope.cancel()
    except OSError as error:
        race.errors.append(error)
        over.wake()
    finally:
        if connection is not None:
            connection.close()
