"""Celery's worker."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery

from benchmarks.contenders import tally
from benchmarks.contenders.contender import NAP, URL

app = Celery("benchmark", broker=os.environ[URL], backend=os.environ[URL])
app.conf.update(task_acks_late=True, worker_hijack_root_logger=False)


@app.task(name="noop")
def noop(payload: Any) -> Any:
    tally.began()
    tally.ended()
    return payload


@app.task(name="nap")
def nap(payload: Any) -> Any:
    tally.began()
    time.sleep(NAP)
    tally.ended()
    return payload


JOBS: dict[str, Any] = {"noop": noop, "nap": nap}
