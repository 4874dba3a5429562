"""RQ's jobs, which its command finds by their names."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.contenders import tally
from benchmarks.contenders.contender import NAP


def noop(payload: Any) -> Any:
    tally.began()
    tally.ended()
    return payload


def nap(payload: Any) -> Any:
    tally.began()
    time.sleep(NAP)
    tally.ended()
    return payload


JOBS: dict[str, Any] = {"noop": noop, "nap": nap}
