"""A node and its server that take turns, so that what they do depends on the speed of neither."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from am2z_trio.wire import client
from am2z_trio.wire.stream import open_stream
from tests.support.servers import RedisProcess


class Turns:
    """All connections that are opened while it stands. What the server says on any of them is held back until
    this process has nothing else to do and the server has done all that it was asked, and is handed on at
    once then: no answer comes earlier or later than what else the same call brought about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, server: RedisProcess) -> None:
        self._server = server.client()
        self._heard = 0
        self._over: trio.Event | None = None
        """Set when what was heard in this turn is handed on."""

        async def opened(*args: Any) -> Any:
            return _Held(await open_stream(*args), self)

        monkeypatch.setattr(client, "open_stream", opened)

    def on_over(self) -> None:
        """The server's turn is over."""

    async def receive(self, stream: Any, most: int) -> bytes:
        data: bytes = await stream.receive_some(most)
        self._heard += 1
        async with trio.open_nursery() as nursery:
            if self._over is None:
                self._over = trio.Event()
                nursery.start_soon(self._end, self._over)
            nursery.start_soon(self._read_on_until, self._over, nursery.cancel_scope)
            while True:
                try:
                    more = await stream.receive_some(most)
                except OSError:
                    more = b""
                if not more:
                    # As the next reading will tell.
                    break
                self._heard += 1
                data += more
            await self._over.wait()
        return data

    async def _read_on_until(self, over: trio.Event, reading: trio.CancelScope) -> None:
        await over.wait()
        reading.cancel()

    async def _end(self, over: trio.Event) -> None:
        try:
            heard = -1
            while heard != self._heard:
                heard = self._heard
                await wait_all_tasks_blocked()
                # It may answer the first one before it tells others what came of what it was asked before.
                self._server.ping()
                self._server.ping()
                await wait_all_tasks_blocked()
            self.on_over()
        finally:
            self._over = None
            over.set()


class _Held:
    def __init__(self, stream: Any, turns: Turns) -> None:
        self._stream, self._turns = stream, turns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def receive_some(self, most: int) -> bytes:
        return await self._turns.receive(self._stream, most)
