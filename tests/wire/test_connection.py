"""One connection over a stream that the test holds in its hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import ref

import anyio
import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.wire.connection import Connection
from am2z_trio.wire.request import Request, ToldRequest
from am2z_trio.wire.resp import pack
from am2z_trio.wire.scripts import Script

from .peer import MemoryStream, bulk, confirmation, push, start
from .test_resp import EXPECTED, REPLIES, STREAM, readable

pytestmark = pytest.mark.anyio


class Wire:
    """A connection, its stream and what it told."""

    def __init__(self, *, call_timeout: float = 1000.0, max_pending_bytes: int = 1000) -> None:
        self.stream = MemoryStream()
        self.messages: list[tuple[bytes, bytes]] = []
        self.host = current_host()
        self.connection = Connection(
            self.host,
            self.stream,
            on_message=lambda channel, payload: self.messages.append((channel, payload)),
            on_refusal=lambda request, error: False,
            call_timeout=call_timeout,
            max_pending_bytes=max_pending_bytes,
        )

    def send(self, *args: Any, by_push: bool = False, replay_safe: bool = True) -> Request:
        request = Request(pack(args), self.host.spot(), replay_safe, by_push=by_push)
        self.connection.send(request)
        return request

    async def reply(self, request: Request) -> Any:
        assert request.spot is not None
        return readable(await request.spot.park())


@asynccontextmanager
async def open_wire(*, within: float = 20, **options: Any) -> AsyncIterator[Wire]:
    """A connection in use; it may break before the block ends."""
    wire = Wire(**options)
    with anyio.fail_after(within):
        async with wire.host.open_nursery() as nursery:
            wire.connection.start(nursery)
            try:
                yield wire
            finally:
                await wire.connection.finish(0.01)
            nursery.cancel_scope.cancel()


async def test_what_finds_nothing_on_its_way_leaves_at_once() -> None:
    async with open_wire() as wire:
        for i in range(3):
            request = wire.send("ECHO", i)
            assert (wire.stream.written.count(b"ECHO"), wire.stream.writes) == (i + 1, i + 1)
            wire.stream.feed(bulk(str(i)))
            assert await wire.reply(request) == str(i).encode()


@pytest.mark.parametrize("taken", [0, 1, 5])
async def test_what_the_stream_does_not_take_at_once_leaves_in_order(taken: int) -> None:
    async with open_wire() as wire:
        wire.stream.room = taken
        requests = [wire.send("ECHO", i) for i in range(3)]
        wire.stream.feed(b"".join(bulk(str(i)) for i in range(3)))
        assert [await wire.reply(request) for request in requests] == [str(i).encode() for i in range(3)]
        await wire.connection.finish(10)
        assert wire.stream.written == b"".join(pack(("ECHO", i)) for i in range(3))


async def test_what_is_sent_in_one_pass_leaves_in_one_write() -> None:
    async with open_wire() as wire:
        # It keeps the others from leaving at once.
        first = wire.send("ECHO", "first")
        writes = wire.stream.writes
        requests = [wire.send("ECHO", i) for i in range(50)]
        wire.stream.feed(bulk("first"))
        assert await wire.reply(first) == b"first"
        wire.stream.feed(b"".join(bulk(str(i)) for i in range(50)))
        assert [await wire.reply(request) for request in requests] == [str(i).encode() for i in range(50)]
        assert wire.stream.writes == writes + 1


@pytest.mark.parametrize("pieces", ["every cut", "bytes"])
async def test_replies_find_their_requests_at_every_chunk_boundary(pieces: str) -> None:
    in_line = [expected for data, expected in REPLIES if not data.startswith(b">")]
    cuts = range(1, len(STREAM)) if pieces == "every cut" else [0]
    async with open_wire(max_pending_bytes=10**9) as wire:
        for cut in cuts:
            requests = [wire.send("X") for _ in in_line]
            for _ in range(3):
                await wire.host.checkpoint()
            if cut:
                wire.stream.feed(STREAM[:cut])
                wire.stream.feed(STREAM[cut:])
            else:
                for i in range(len(STREAM)):
                    wire.stream.feed(STREAM[i : i + 1])
            assert [await wire.reply(request) for request in requests] == in_line
        assert wire.messages == [(b"ch", b"pay\r\nload")] * len(cuts)
        assert len(in_line) == len(EXPECTED) - 1


async def test_a_push_between_replies_takes_no_slot() -> None:
    async with open_wire() as wire:
        first, second = wire.send("A"), wire.send("B")
        wire.stream.feed(bulk("a") + push("message", "c", "m") + push("unheard-of", "x") + bulk("b"))
        assert (await wire.reply(first), await wire.reply(second)) == (b"a", b"b")
        assert wire.messages == [(b"c", b"m")]


async def test_a_subscription_is_confirmed_in_its_place_in_line() -> None:
    async with open_wire() as wire:
        before, subscribe, after = wire.send("A"), wire.send("SUBSCRIBE", "c", by_push=True), wire.send("B")
        wire.stream.feed(bulk("a") + confirmation("subscribe", "c") + bulk("b"))
        assert (await wire.reply(before), await wire.reply(subscribe), await wire.reply(after)) == (
            b"a",
            None,
            b"b",
        )


async def test_a_refused_subscription_takes_its_own_reply_and_no_other() -> None:
    async with open_wire() as wire:
        subscribe, after = wire.send("SUBSCRIBE", "c", by_push=True), wire.send("B")
        wire.stream.feed(b"-NOPERM no such channel for you\r\n" + bulk("b"))
        assert await wire.reply(subscribe) == "NOPERM no such channel for you"
        assert await wire.reply(after) == b"b"


async def test_the_reply_of_a_dropped_call_is_thrown_away() -> None:
    async with open_wire() as wire:
        gone, stays = wire.send("A"), wire.send("B")
        gone.drop()
        wire.stream.feed(bulk("a") + bulk("b"))
        assert await wire.reply(stays) == b"b"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "closed by the server"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not a Redis answer"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "it speaks TLS"),
        (bulk("a") * 2, "nobody had asked"),
        (bulk("a") + b"-ERR max number of clients reached\r\n", "max number of clients"),
    ],
)
async def test_what_must_not_come_ends_the_connection(data: bytes, why: str) -> None:
    async with open_wire() as wire:
        request = wire.send("A")
        while not wire.stream.written:
            await wire.host.checkpoint()
        wire.stream.feed(data)
        await wait_lost(wire)
    assert why in str(wire.connection.lost)
    assert request in wire.connection.take_unanswered() or data.startswith(b"$")


async def test_a_break_of_both_directions_is_one_loss_and_no_group() -> None:
    wire = Wire()

    async def broken(data: bytes) -> None:
        await wire.host.checkpoint()
        raise BrokenPipeError("pipe")

    wire.stream.send_all = broken  # type: ignore[method-assign]
    async with wire.host.open_nursery() as nursery:
        wire.connection.start(nursery)
        wire.send("A")
        wire.stream.break_off()
        try:
            await wire.host.sleep(20)
        finally:
            await wire.connection.finish(0.01)
    assert wire.connection.lost in ("pipe", "reset")


async def test_an_unanswered_call_ends_the_connection() -> None:
    async with open_wire(call_timeout=0.01) as wire:
        wire.send("A")
        await wait_lost(wire)
    assert wire.connection.lost == "no answer for 0.01 s"


async def test_a_quiet_peer_is_asked_for_a_sign_of_life() -> None:
    # A third of it is longer than a busy machine keeps the task that writes from writing.
    async with open_wire(call_timeout=1.5) as wire:
        while b"PING" not in wire.stream.written:
            await wire.host.sleep(0.005)
        await wait_lost(wire)
    assert wire.connection.lost == "no answer for 1.5 s"
    assert bytes(wire.stream.written).count(b"PING") == 1


async def test_callers_wait_for_room_and_senders_do_not() -> None:
    async with open_wire(max_pending_bytes=100) as wire, anyio.create_task_group() as tasks:
        wire.stream.hold()
        requests = [wire.send("SET", "k", "v" * 200) for _ in range(3)]
        assert wire.connection.crowded
        waiting = start(tasks, wire.connection.wait_room)
        for _ in range(10):
            await wire.host.checkpoint()
        assert wire.connection.crowded
        wire.stream.release()
        assert await waiting.ended() is None
        assert not wire.connection.crowded
        wire.stream.feed(b"+OK\r\n" * 3)
        assert [await wire.reply(request) for request in requests] == [b"OK"] * 3


async def test_waiting_for_room_ends_with_the_connection() -> None:
    async with open_wire(max_pending_bytes=1) as wire, anyio.create_task_group() as tasks:
        wire.stream.hold()
        wire.send("SET", "k", "v")
        waiting = start(tasks, wire.connection.wait_room)
        await wire.host.checkpoint()
        await wire.host.checkpoint()
        requests = wire.connection.take_unanswered()
        assert len(requests) == 1
        assert await waiting.ended() is None
        wire.stream.release()


async def test_more_than_a_write_holds_leaves_in_several() -> None:
    async with open_wire(max_pending_bytes=10**6) as wire:
        requests = [wire.send("SET", i, "v" * 1000) for i in range(200)]
        while len(wire.stream.written) < sum(len(request.packed) for request in requests):
            await wire.host.checkpoint()
        assert bytes(wire.stream.written) == b"".join(request.packed for request in requests)
        assert 1 < wire.stream.writes < 10
        wire.stream.feed(b"+OK\r\n" * 200)
        assert [await wire.reply(request) for request in requests] == [b"OK"] * 200


async def test_last_words_leave_before_the_end() -> None:
    wire = Wire()
    async with wire.host.open_nursery() as nursery:
        wire.connection.start(nursery)
        nursery.cancel_scope.cancel()
        try:
            await wire.host.checkpoint()
        finally:
            wire.send("PUBLISH", "c", "bye")
            await wire.connection.finish(5)
    assert bytes(wire.stream.written) == pack(("PUBLISH", "c", "bye"))


async def test_the_end_does_not_wait_for_a_peer_that_takes_nothing() -> None:
    async with open_wire() as wire:
        wire.stream.hold()
        wire.send("A")
    assert bytes(wire.stream.written) == b""


async def wait_lost(wire: Wire) -> None:
    """Wait until the connection has broken, which cancels the block; look at it after that."""
    await wire.host.sleep(1000)


class _Asker:
    """Is told of an answer, and holds the request."""

    def __init__(self) -> None:
        self.request = ToldRequest(b"", Script("some", "return 1"), self._told)
        self.answer = b""

    def _told(self, answer: bytes) -> None:
        self.answer = answer


def test_who_was_told_of_an_answer_is_not_left_to_the_garbage_collector() -> None:
    asker = _Asker()
    asker.request.wake(b"yes")
    assert asker.answer == b"yes"
    gone = ref(asker)
    del asker
    assert gone() is None
