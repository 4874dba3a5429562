"""arq's client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.contenders import driver
from benchmarks.contenders.contender import POLL


class Client(driver.Client):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self._redis = await create_pool(RedisSettings.from_dsn(self.url))
        yield
        await self._redis.aclose()

    async def submit(self, job: str, payload: Any) -> None:
        await self._redis.enqueue_job(job, payload)

    async def call(self, job: str, payload: Any) -> Any:
        asked = await self._redis.enqueue_job(job, payload)
        assert asked is not None
        return await asked.result(timeout=30, poll_delay=POLL)


if __name__ == "__main__":
    driver.run(Client(driver.url()))
