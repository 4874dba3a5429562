"""arq's worker."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from arq.connections import RedisSettings

from benchmarks.contenders import tally
from benchmarks.contenders.contender import CONCURRENCY, NAP, URL


async def noop(_context: Any, payload: Any) -> Any:
    tally.began()
    tally.ended()
    return payload


async def nap(_context: Any, payload: Any) -> Any:
    tally.began()
    await asyncio.sleep(NAP)
    tally.ended()
    return payload


class WorkerSettings:
    """What arq's command reads."""

    functions = (noop, nap)
    redis_settings = RedisSettings.from_dsn(os.environ[URL])
    max_jobs = CONCURRENCY
