"""What records of ended jobs will take, at the rate at which jobs end now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.policy.forecast import Forecast, forecast

LOOK_BACK: Final = 600.0
"""Seconds over which the rate is taken."""

MOST_QUEUES: Final = 50
"""Queues whose ended jobs are counted: some twenty looks into a list each."""


async def expected(runtime: Runtime, queues: Sequence[str], at: int) -> Forecast | None:
    """By the newest ended jobs of these queues, at this time (ms, by the store's clock); `None` where none
    has ended lately, or none is listed (`recent=0`). Records are taken to be kept as this runtime's options
    say."""
    inspection, options = runtime.node.store.inspection, runtime.options
    some = queues[:MOST_QUEUES]
    ended = 0
    for queue in some:
        ended += await inspection.place(queue, at - round(LOOK_BACK * 1000))
    if not ended:
        return None
    most = options.recent * len(some) if options.recent else None
    return forecast(ended / LOOK_BACK, options.result_ttl, most=most)
