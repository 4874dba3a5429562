"""dramatiq's client."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import driver
from benchmarks.contenders.dramatiq.worker import JOBS


class Client(driver.BlockingClient):
    async def submit(self, job: str, payload: Any) -> None:
        JOBS[job].send(payload)

    async def call(self, job: str, payload: Any) -> Any:
        return JOBS[job].send(payload).get_result(block=True, timeout=30_000)


if __name__ == "__main__":
    driver.run(Client(driver.url()))
