"""docket's client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from docket import Docket

from benchmarks.contenders import driver
from benchmarks.contenders.docket.worker import nap, noop

JOBS: dict[str, Any] = {"noop": noop, "nap": nap}


class Client(driver.Client):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with Docket(url=self.url) as self._docket:
            yield

    async def submit(self, job: str, payload: Any) -> None:
        await self._docket.add(JOBS[job])(payload)

    async def submit_many(self, job: str, payloads: list[Any]) -> None:
        await self._docket.add_many([self._docket.call(JOBS[job])(payload) for payload in payloads])

    async def call(self, job: str, payload: Any) -> Any:
        execution = await self._docket.add(JOBS[job])(payload)
        return await execution.get_result(timeout=timedelta(seconds=30))


if __name__ == "__main__":
    driver.run(Client(driver.url()))
