"""All contenders, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from . import am2z, arq, bullmq, celery, docket, dramatiq, rq, saq, streaq, taskiq
from .contender import Contender

OURS: Final = am2z.TRIO
BASE: Final = bullmq.CONTENDER
"""What our ratios are to, beside the fastest of Python."""
FIELD: Final[dict[str, Contender]] = {
    one.name: one
    for one in (
        am2z.TRIO,
        am2z.ASYNCIO,
        am2z.MEMORY,
        am2z.FLOOR,
        bullmq.CONTENDER,
        streaq.CONTENDER,
        saq.CONTENDER,
        arq.CONTENDER,
        taskiq.CONTENDER,
        dramatiq.CONTENDER,
        docket.CONTENDER,
        celery.CONTENDER,
        rq.CONTENDER,
    )
}
