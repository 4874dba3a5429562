"""taskiq's client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.contenders import driver
from benchmarks.contenders.contender import POLL
from benchmarks.contenders.taskiq.worker import JOBS, broker


class Client(driver.Client):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        await broker.startup()
        yield
        await broker.shutdown()

    async def submit(self, job: str, payload: Any) -> None:
        await JOBS[job].kiq(payload)

    async def call(self, job: str, payload: Any) -> Any:
        task = await JOBS[job].kiq(payload)
        return (await task.wait_result(check_interval=POLL, timeout=30)).return_value


if __name__ == "__main__":
    driver.run(Client(driver.url()))
