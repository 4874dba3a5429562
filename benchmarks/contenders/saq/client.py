"""SAQ's client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from saq import Queue

from benchmarks.contenders import driver

LOOK = 0.1
"""Seconds after which a caller that has heard nothing looks for itself."""
RETRIES = 3
"""By default a job that was lost with its worker is not run again."""


class Client(driver.Client):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self._queue = Queue.from_url(self.url)
        await self._queue.connect()
        yield
        await self._queue.disconnect()

    async def submit(self, job: str, payload: Any) -> None:
        await self._queue.enqueue(job, payload=payload, retries=RETRIES)

    async def call(self, job: str, payload: Any) -> Any:
        asked = await self._queue.enqueue(job, payload=payload, retries=RETRIES)
        # It listens for the job's messages (`Queue.apply` looks at intervals), and may miss the last one.
        while not asked.completed:
            with suppress(TimeoutError):
                await asked.refresh(until_complete=LOOK)
        if asked.error:
            raise RuntimeError(asked.error)
        return asked.result


if __name__ == "__main__":
    driver.run(Client(driver.url()))
