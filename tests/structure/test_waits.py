"""How often a job waits for the server, one time after the other, in counts.

Each figure is today's, as in `test_hot_path`.
"""

from __future__ import annotations

from typing import Any

import pytest

from am2z_trio import Processor, QueueRuntime, chain, parallel, processor
from am2z_trio.wire.connection import Connection
from tests.structure.turns import Turns
from tests.support.servers import RedisProcess

JOBS = 40
"""Of which the cheapest counts: the others met a service of the node at its own business."""


class Trips(Turns):
    """Counts the turns of the server's that something was asked before: so often it was waited for, one time
    after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, server: RedisProcess) -> None:
        super().__init__(monkeypatch, server)
        self.count = 0
        self._is_over = True
        send = Connection.send

        def sent(connection: Connection, request: Any) -> None:
            self.count += self._is_over
            self._is_over = False
            send(connection, request)

        monkeypatch.setattr(Connection, "send", sent)

    def on_over(self) -> None:
        self._is_over = True


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
        (D, 2),
        # What a part comes to and what follows from that go together. Parts of one queue come together, too.
        (chain("one after the other", [D, E, F]), 5),
        (parallel("at once", [D, D, D]), 3),
        (chain("of both", [parallel("two", [D, D]), F]), 5),
    ],
    ids=lambda given: getattr(given, "name", None),
)
async def test_a_composition_waits_for_the_server_seldom(redis_url, redis_server, monkeypatch, made, most):
    trips = Trips(monkeypatch, redis_server)
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(made)
        found = list[int]()
        for _ in range(JOBS):
            trips.count = 0
            (await runtime.execute(made, {"n": 1})).unwrap()
            found.append(trips.count)
    assert min(found) <= most, found
