"""What is so now, beside what is counted: how long the first have waited, what holds a queue up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from am2z_trio.model.records.samples import Counted, QueueCounted

from .breakers import Breakers
from .leases import Leases
from .ledger import Ledger

LANES: Final = 20
"""Sessions, and jobs with a priority, of which the first are looked at; and"""

HEADS: Final = 3
"""so many entries of each line."""


class Census:
    def __init__(self, ledger: Ledger, leases: Leases, breakers: Breakers) -> None:
        self._ledger = ledger
        self._leases = leases
        self._breakers = breakers

    def census(self, queues: Sequence[str], now: float) -> Counted:
        found = [self._of(name, now) for name in queues]
        return Counted(self._leases.live(now), len(self._ledger.live), found)

    def _of(self, name: str, now: float) -> QueueCounted:
        queue = self._ledger.queue(name)
        some = queue.counts.get("waiting", 0) > 0
        oldest = max(self._waited(name, now), default=0.0) if some else 0.0
        return QueueCounted(
            oldest / 1000, queue.paused, some and queue.held, self._breakers.is_open(name, now)
        )

    def _waited(self, name: str, now: float) -> Iterator[float]:
        queue = self._ledger.queue(name)
        lines = [queue.waiting, *(queue.by_session[session] for session in islice(queue.ready, LANES))]
        for line in lines:
            jobs = (self._ledger.jobs.get(id) for id, _ in islice(line, HEADS))
            waiting = (
                now - max(job.at, job.due) for job in jobs if job is not None and job.status == "waiting"
            )
            yield max(0.0, next(waiting, 0.0))
        for id, _ in sorted(queue.prioritised.items(), key=lambda item: item[1])[:LANES]:
            job = self._ledger.jobs[id]
            yield max(0.0, now - max(job.at, job.due))
