"""SAQ's worker."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from saq import Queue

from benchmarks.contenders import tally
from benchmarks.contenders.contender import CONCURRENCY, NAP, URL

queue = Queue.from_url(os.environ[URL])


async def noop(_context: Any, *, payload: Any) -> Any:
    tally.began()
    tally.ended()
    return payload


async def nap(_context: Any, *, payload: Any) -> Any:
    tally.began()
    await asyncio.sleep(NAP)
    tally.ended()
    return payload


settings = {"queue": queue, "functions": [noop, nap], "concurrency": CONCURRENCY}
