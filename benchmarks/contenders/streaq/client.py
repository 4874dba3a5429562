"""streaQ's client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.contenders import driver
from benchmarks.contenders.streaq.worker import JOBS, worker


class Client(driver.Client):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with worker:
            yield

    async def submit(self, job: str, payload: Any) -> None:
        await JOBS[job].enqueue(payload)

    async def submit_many(self, job: str, payloads: list[Any]) -> None:
        await worker.enqueue_many([JOBS[job].enqueue(payload) for payload in payloads])

    async def call(self, job: str, payload: Any) -> Any:
        task = await JOBS[job].enqueue(payload)
        return (await task.result(30)).result


if __name__ == "__main__":
    driver.run(Client(driver.url()))
