"""How often a job waits for the server, one time after the other, in counts.

Each figure is today's, as in `test_hot_path`.
"""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from am2z_trio import Processor, QueueRuntime, chain, parallel, processor
from am2z_trio.wire import client
from am2z_trio.wire.connection import Connection
from am2z_trio.wire.stream import open_stream

JOBS = 20
"""Of which the cheapest counts: the others met a service of the node at its own business."""


class Heard:
    """A stream that notes when something comes. It hands that on when nobody has anything else to do, so how
    fast the server is makes no difference."""

    def __init__(self, stream: Any, trips: Trips) -> None:
        self._stream, self._trips = stream, trips

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def receive_some(self, most: int) -> bytes:
        data: bytes = await self._stream.receive_some(most)
        await wait_all_tasks_blocked()
        self._trips.heard = True
        return data


class Trips:
    """Counts the calls that were made after something had been heard of the server since the one before: so
    often it was waited for, one time after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.heard = True
        send = Connection.send

        def sent(connection: Connection, request: Any) -> None:
            self.count += self.heard
            self.heard = False
            send(connection, request)

        async def opened(*args: Any) -> Any:
            return Heard(await open_stream(*args), self)

        monkeypatch.setattr(Connection, "send", sent)
        monkeypatch.setattr(client, "open_stream", opened)


def noted(name: str) -> Processor[dict[str, int]]:
    @processor(name=name)
    async def part(state: dict[str, int]) -> dict[str, int]:
        return {**state, name: 1}

    return part


D, E, F = noted("d"), noted("e"), noted("f")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("made", "most"),
    [
        (D, 3),
        # What a part comes to and what follows from that go together. Parts of one queue come together, too.
        (chain("one after the other", [D, E, F]), 9),
        (parallel("at once", [D, D, D]), 5),
        (chain("of both", [parallel("two", [D, D]), F]), 9),
    ],
    ids=lambda given: getattr(given, "name", None),
)
async def test_a_composition_waits_for_the_server_seldom(redis_url, monkeypatch, made, most):
    trips = Trips(monkeypatch)
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(made)
        found = list[int]()
        for _ in range(JOBS):
            trips.count = 0
            (await runtime.execute(made, {"n": 1})).unwrap()
            found.append(trips.count)
    assert min(found) <= most, found
