"""The network swallows everything and tells nobody: who only listens notices it, too."""

from __future__ import annotations

import anyio
import pytest

from am2z_trio import Event, QueueRuntime
from tests.chaos.faults import Blackhole, open_fault_proxy

pytestmark = pytest.mark.anyio

PATIENCE = "call_timeout=0.3&connect_timeout=0.3"


async def test_a_client_that_only_listens_comes_back_from_the_dark(redis_url: str) -> None:
    told: list[tuple[str, str]] = []

    def tell(event: Event) -> None:
        told.append((event.name, event.data["connection"]))

    async def happened(*names: str) -> None:
        while not {(name, which) for name in names for which in ("commands", "pushes")} <= {*told}:
            await anyio.sleep(0.005)

    with anyio.fail_after(30):
        async with (
            open_fault_proxy(redis_url) as proxy,
            QueueRuntime(redis_url, workers=False) as other,
            QueueRuntime(f"{proxy.url}?{PATIENCE}", workers=False) as listener,
            listener.events("word") as heard,
        ):
            listener.on("connection:*", tell)
            other.emit("word", 1)
            assert (await heard.next()).data == 1
            asked = proxy.requests
            proxy.set(Blackhole(then="cut"))
            # Nobody here asks for anything; of the dark, nothing comes.
            await happened("connection:lost")
            assert proxy.requests - asked < 10
            told.clear()
            proxy.heal()
            await happened("connection:ready")
            assert (await listener.connection.check_health()).healthy
            other.emit("word", 2)
            assert (await heard.next()).data == 2
            assert proxy.hits["blackhole"] > 0
