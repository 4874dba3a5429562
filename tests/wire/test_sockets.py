"""How asyncio connects by name: to the first address that answers, and no other socket is left open."""

from __future__ import annotations

import errno
import gc
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.model.errors import NetworkError
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.wire import sockets
from am2z_trio.wire.sockets import connect_tcp
from am2z_trio.wire.stream import open_stream

from .peer import start

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend",
        [
            pytest.param(("asyncio", {"use_uvloop": use_uvloop}), id=name)
            for name, use_uvloop in (("asyncio", False), ("uvloop", True))
        ],
    ),
]

Where = tuple[str, int]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(opened: ExitStack, address: str = "127.0.0.1", port: int = 0) -> socket.socket:
    listener = opened.enter_context(socket.socket())
    listener.bind((address, port))
    listener.listen(100)
    return listener


def refusing(opened: ExitStack) -> Where:
    """Where nobody listens, and nobody else can."""
    taken = opened.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    name: Where = taken.getsockname()
    return name


def silent(opened: ExitStack) -> Where:
    """Where a call is not answered: the line of callers is full."""
    listener = opened.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    for _ in range(4):
        caller = opened.enter_context(socket.socket())
        caller.setblocking(False)
        caller.connect_ex(listener.getsockname())
    name: Where = listener.getsockname()
    return name


def named(monkeypatch: pytest.MonkeyPatch, *where: Where) -> None:
    """`somewhere` stands for these addresses."""

    async def looked_up(name: str, port: int, **_: Any) -> list[Any]:
        assert (name, port) == ("somewhere", 6379)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in where]

    def numbers(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "not a number")

    monkeypatch.setattr(anyio, "getaddrinfo", looked_up)
    monkeypatch.setattr(socket, "getaddrinfo", numbers)


async def connected() -> socket.socket:
    with anyio.fail_after(30):
        return await connect_tcp(current_host(), "somewhere", 6379)


async def test_numbers_are_called_without_asking_for_a_name(opened, monkeypatch):
    async def looked_up(*_: Any, **__: Any) -> None:
        raise AssertionError("asked for")

    monkeypatch.setattr(anyio, "getaddrinfo", looked_up)
    listener = listening(opened)
    with await connect_tcp(current_host(), *listener.getsockname()) as connection:
        assert connection.getpeername() == listener.getsockname()


async def test_the_last_piece_of_a_long_call_waits_for_nothing(opened):
    with await connect_tcp(current_host(), *listening(opened).getsockname()) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_an_address_that_refuses_is_followed_by_the_next_at_once(opened, monkeypatch):
    monkeypatch.setattr(sockets, "NEXT_AFTER", 1000.0)
    listener = listening(opened)
    named(monkeypatch, refusing(opened), listener.getsockname(), refusing(opened))
    with await connected() as connection:
        assert connection.getpeername() == listener.getsockname()


async def test_beside_an_address_that_is_silent_the_next_is_tried(opened, monkeypatch):
    listener = listening(opened)
    named(monkeypatch, silent(opened), listener.getsockname())
    with await connected() as connection:
        assert connection.getpeername() == listener.getsockname()
    gc.collect()


async def test_where_all_refuse_the_first_one_is_told(opened, monkeypatch):
    named(monkeypatch, refusing(opened), refusing(opened))
    with pytest.raises(ConnectionRefusedError) as raised:
        await connected()
    assert raised.value.errno == errno.ECONNREFUSED
    with pytest.raises(NetworkError, match=r"somewhere:6379/0 \(connection refused\)"):
        await open_stream(current_host(), RedisOptions(host="somewhere"))
    gc.collect()


async def test_of_two_that_answer_in_the_same_pass_one_is_left(opened, monkeypatch):
    monkeypatch.setattr(sockets, "NEXT_AFTER", 0.0)
    first, second = listening(opened), listening(opened, "127.0.0.2")
    named(monkeypatch, first.getsockname(), second.getsockname())
    for _ in range(20):
        with await connected() as connection:
            assert connection.getpeername() in (first.getsockname(), second.getsockname())
    gc.collect()


@pytest.mark.parametrize("passes", range(6))
async def test_cancelled_it_leaves_no_socket(opened, monkeypatch, passes):
    """A socket that nobody closes is a warning, and warnings are errors."""
    host = current_host()
    listener = listening(opened)
    named(monkeypatch, silent(opened), listener.getsockname())
    for after in (0.0, 1000.0):
        monkeypatch.setattr(sockets, "NEXT_AFTER", after)
        async with anyio.create_task_group() as tasks:
            opening = start(tasks, connected)
            for _ in range(passes):
                await host.checkpoint()
            opening.scope.cancel()
            connection = await opening.ended()
            if connection is not None:
                connection.close()
    gc.collect()


async def test_two_families_take_turns(monkeypatch):
    numbers, others = [f"127.0.0.{n}" for n in range(1, 4)], ["::1", "::2"]

    async def looked_up(*_: Any, **__: Any) -> list[Any]:
        found: list[Any] = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (name, 1, 0, 0)) for name in others]
        found += [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, 1)) for name in numbers]
        return found

    monkeypatch.setattr(anyio, "getaddrinfo", looked_up)
    found = await sockets._addresses("no.such.name.invalid", 1)
    assert [address.where[0] for address in found] == ["::1", "127.0.0.1", "::2", "127.0.0.2", "127.0.0.3"]
