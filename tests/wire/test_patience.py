"""How long a connection waits for its peer, on a clock that jumps."""

from __future__ import annotations

from typing import Any

import pytest

from .peer import push
from .test_connection import open_wire, wait_lost

pytestmark = pytest.mark.trio


async def test_a_peer_that_gives_signs_of_life_is_kept(autojump_clock: Any) -> None:
    async with open_wire(call_timeout=9.0, within=1e6) as wire:
        for _ in range(10):
            before = bytes(wire.stream.written).count(b"PING")
            await wire.host.sleep(4)
            assert bytes(wire.stream.written).count(b"PING") == before + 1
            wire.stream.feed(b"+PONG\r\n")
        # What it says of its own accord will do.
        asked = len(wire.stream.written)
        for _ in range(10):
            await wire.host.sleep(2)
            wire.stream.feed(push("message", "c", "m"))
        assert len(wire.stream.written) == asked
        assert wire.connection.lost is None
        gone = wire.host.now()
        await wait_lost(wire)
    assert 8.5 < wire.host.now() - gone <= 9.5


async def test_a_large_answer_and_a_large_command_may_take_their_time(autojump_clock: Any) -> None:
    async with open_wire(call_timeout=9.0, max_pending_bytes=10**9, within=1e6) as wire:
        large = wire.send("GET", "k")
        wire.stream.feed(b"$20\r\n")
        for _ in range(20):
            await wire.host.sleep(4)
            wire.stream.feed(b"x")
        wire.stream.feed(b"\r\n")
        assert await wire.reply(large) == b"x" * 20

        wire.stream.slow_down(4)
        large = wire.send("SET", "k", b"x" * 5_000_000)
        while len(wire.stream.written) < 5_000_000:
            await wire.host.sleep(1)
        wire.stream.feed(b"+OK\r\n")
        assert await wire.reply(large) == b"OK"
