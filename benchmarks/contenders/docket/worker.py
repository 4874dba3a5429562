"""docket's tasks, which its command serves."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.contenders import tally
from benchmarks.contenders.contender import NAP


async def noop(payload: Any) -> Any:
    tally.began()
    tally.ended()
    return payload


async def nap(payload: Any) -> Any:
    tally.began()
    await asyncio.sleep(NAP)
    tally.ended()
    return payload


tasks = [noop, nap]
