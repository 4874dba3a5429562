"""taskiq's worker."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.contenders import tally
from benchmarks.contenders.contender import NAP, URL

broker = RedisStreamBroker(
    os.environ[URL],
    # By default a worker leaves alone what was enqueued before the first one came.
    consumer_id="0",
).with_result_backend(RedisAsyncResultBackend(os.environ[URL], result_ex_time=3600))


@broker.task(task_name="noop")
async def noop(payload: Any) -> Any:
    tally.began()
    tally.ended()
    return payload


@broker.task(task_name="nap")
async def nap(payload: Any) -> Any:
    tally.began()
    await asyncio.sleep(NAP)
    tally.ended()
    return payload


JOBS: dict[str, Any] = {"noop": noop, "nap": nap}
