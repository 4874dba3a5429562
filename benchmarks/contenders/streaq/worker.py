"""streaQ's worker."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from streaq import Worker

from benchmarks.contenders import tally
from benchmarks.contenders.contender import CONCURRENCY, NAP, URL

worker = Worker(
    redis_url=os.environ[URL],
    concurrency=CONCURRENCY,
    # Each caller that waits takes one; of the 64 that there are by default, 100 callers keep each other's.
    redis_kwargs={"max_connections": 4 * CONCURRENCY},
)


@worker.task()
async def noop(payload: Any) -> Any:
    tally.began()
    tally.ended()
    return payload


@worker.task()
async def nap(payload: Any) -> Any:
    tally.began()
    await asyncio.sleep(NAP)
    tally.ended()
    return payload


JOBS: dict[str, Any] = {"noop": noop, "nap": nap}
