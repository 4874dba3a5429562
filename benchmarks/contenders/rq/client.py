"""RQ's client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis import Redis
from rq import Queue

from benchmarks.contenders import driver
from benchmarks.contenders.rq.worker import JOBS


class Client(driver.BlockingClient):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        with Redis.from_url(self.url) as connection:
            self._queue = Queue(connection=connection)
            yield

    async def submit(self, job: str, payload: Any) -> None:
        self._queue.enqueue(JOBS[job], payload)

    async def submit_many(self, job: str, payloads: list[Any]) -> None:
        self._queue.enqueue_many([Queue.prepare_data(JOBS[job], (payload,)) for payload in payloads])

    async def call(self, job: str, payload: Any) -> Any:
        result = self._queue.enqueue(JOBS[job], payload).latest_result(timeout=30)
        assert result is not None
        return result.return_value


if __name__ == "__main__":
    driver.run(Client(driver.url()))
