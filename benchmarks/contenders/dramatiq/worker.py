"""dramatiq's worker."""

from __future__ import annotations

import os
import time
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.contenders import tally
from benchmarks.contenders.contender import NAP, URL

broker = RedisBroker(url=os.environ[URL])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ[URL]), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(payload: Any) -> Any:
    tally.began()
    tally.ended()
    return payload


@dramatiq.actor
def nap(payload: Any) -> Any:
    tally.began()
    time.sleep(NAP)
    tally.ended()
    return payload


JOBS: dict[str, Any] = {"noop": noop, "nap": nap}
