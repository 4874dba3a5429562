"""Celery's client."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import driver
from benchmarks.contenders.celery.worker import JOBS


class Client(driver.BlockingClient):
    async def submit(self, job: str, payload: Any) -> None:
        JOBS[job].delay(payload)

    async def call(self, job: str, payload: Any) -> Any:
        return JOBS[job].delay(payload).get(timeout=30)


if __name__ == "__main__":
    driver.run(Client(driver.url()))
