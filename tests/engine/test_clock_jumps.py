"""The server's clock is set by an hour while nodes are at work, and none of them is any the worse."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from am2z_trio import JobOptions, QueueOptions, QueueRuntime, processor
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.ports import Store
from am2z_trio.store.redis import keys
from am2z_trio.store.redis.store import RedisStore
from tests.support.servers import RedisProcess
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

HOUR = 3_600_000


class ServerClock:
    """What the server's clock shows."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return int(time.time() * 1000) + self.ahead


class OnThatClock(QueueRuntime):
    clock: ServerClock

    @asynccontextmanager
    async def _open_store(self, node: str) -> AsyncIterator[Store]:
        yield RedisStore(node, self._redis, settings=self._settings, clock=self.clock, elapsed=time.monotonic)


def _offset(server: RedisProcess) -> int:
    return int(server.call("GET", keys.spell("am2z", "clock")).split()[0])


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_jobs_of_living_nodes_go_on_and_what_is_due_later_stays_so(redis_url, redis_server, step: int):
    clock = ServerClock()
    began: list[int] = []
    running, go_on = anyio.Event(), anyio.Event()

    @processor(queue=QueueOptions(concurrency=4))
    async def wait(n: int) -> int:
        began.append(n)
        if n == 1:
            running.set()
            await go_on.wait()
        return n

    def make(**options: Any) -> OnThatClock:
        runtime = OnThatClock(RedisOptions.from_url(redis_url), **options)
        runtime.clock = clock
        runtime.register(wait)
        return runtime

    with anyio.fail_after(30):
        async with make() as one, make() as _other:
            held = await one.submit(wait, 1)
            await running.wait()
            later = await one.submit(wait, 2, options=JobOptions(delay=600))
            soon = await one.submit(wait, 3, options=JobOptions(delay=1.5))
            due = await one.submit(wait, 4, options=JobOptions(delay=0.2), timeout=20)
            clock.ahead += step
            await until(lambda: abs(_offset(redis_server) + step) <= 1000)
            assert (await due.result()).unwrap() == 4
            assert (await soon.result()).unwrap() == 3
            assert (await one.execute(wait, 5)).unwrap() == 5
            assert (await one.connection.check_health()).healthy
            assert (await one.get_queue_stats())["wait"].delayed == 1
            go_on.set()
            assert (await held.result()).unwrap() == 1
            assert await later.cancel()
    assert sorted(began) == [1, 3, 4, 5]
