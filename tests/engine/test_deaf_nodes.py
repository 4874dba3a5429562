"""A node that can ask and does not hear: the connection that subscribes is away, the other one is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from am2z_trio import QueueOptions, QueueRuntime, processor
from am2z_trio.wire import client
from tests.support.servers import RedisProcess
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

LONG = 1000.0


@asynccontextmanager
async def deafened(
    runtime: QueueRuntime, server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Take the node's subscription away, and let it try again only at the end of the block."""
    with monkeypatch.context() as patch:
        patch.setattr(client, "FIRST_PAUSE", LONG)
        patch.setattr(client, "LONGEST_PAUSE", LONG)
        with server.client() as admin:
            (its,) = [one for one in admin.client_list() if one["name"] == f"am2z:{runtime.node_id}:pushes"]
            admin.client_kill_filter(_id=its["id"])
        await until(lambda: runtime.get_stats().connections["pushes"] != "ready")
        assert not (await runtime.connection.check_health()).healthy
        yield
        assert runtime.get_stats().connections == {"commands": "ready", "pushes": "disconnected"}
    store: Any = runtime.node.store
    store.link.pushes.hurry()
    await until(lambda: runtime.get_stats().connections["pushes"] == "ready")


async def test_a_deaf_node_still_finds_its_work(redis_url, redis_server, monkeypatch):
    @processor(queue=QueueOptions(concurrency=2))
    async def plus_one(n: int) -> int:
        return n + 1

    with anyio.fail_after(30):
        async with (
            QueueRuntime(redis_url, disconnect_grace=0.15) as worker,
            QueueRuntime(redis_url, workers=False) as other,
        ):
            worker.register(plus_one)
            assert (await worker.execute(plus_one, 0)).unwrap() == 1
            async with deafened(worker, redis_server, monkeypatch):
                for n in range(3):
                    assert (await other.execute("plus_one", n)).unwrap() == n + 1
            assert (await other.execute("plus_one", 3)).unwrap() == 4
            assert (await worker.connection.check_health()).healthy


async def test_a_deaf_node_is_not_taken_for_dead(redis_url, redis_server, monkeypatch):
    go_on = anyio.Event()
    ran: list[str] = []

    @processor
    async def wait(n: int) -> int:
        await go_on.wait()
        return n

    options: dict[str, Any] = {"disconnect_grace": 0.3}
    with anyio.fail_after(30):
        async with QueueRuntime(redis_url, **options) as deaf, QueueRuntime(redis_url, **options) as other:
            deaf.register(wait)
            job = await deaf.submit(wait, 7)
            while await job.status() != "active":
                await anyio.sleep(0.001)
            # Whoever it is given to would run it, too.
            other.register(wait)
            renew = other.node.store.renew

            async def count(**options: Any) -> Any:
                answer = await renew(**options)
                if answer.found is not None:
                    ran.append("look")
                return answer

            monkeypatch.setattr(other.node.store, "renew", count)
            async with deafened(deaf, redis_server, monkeypatch):
                await until(lambda: len(ran) >= 4)
            go_on.set()
            result = await job.result()
            assert result.unwrap() == 7
            assert result.metadata.node == deaf.node_id
            (view,) = await deaf.node.store.view([job.id])
            assert view is not None
            assert (view.deliveries, view.stalls) == (1, 0)
