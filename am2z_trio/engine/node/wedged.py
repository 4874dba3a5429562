"""Workers that do not claim although they could: looked for when somebody asks how this node is.

A queue's first job that waits is asked about as `explain` does: whether the next claim would be granted it.
Where that is so, a place is free here, and nothing has changed for a while, the worker is stuck.
"""

from __future__ import annotations

from typing import Final

from am2z_trio.engine.work.feeder import Feeder
from am2z_trio.policy.diagnosis import diagnose
from am2z_trio.store.ports import BATCH, Store

from .inside import Inside

MOST: Final = 5
"""Queues whose first job is asked about in one look; of more, they take turns."""

Mark = tuple[int, int]
"""Runs of a worker's jobs, and claims that are not settled: what changes when it gets on."""


class Wedged:
    """The suspects of one node."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._since: dict[str, tuple[float, Mark]] = {}
        """By processor: since when a job was seen to wait for nothing, and how far the worker was then."""
        self._next = 0

    async def look(self) -> dict[str, float]:
        """By processor: seconds for which a job has waited beside a free place, as far as was looked."""
        inside = self._inside
        free = {worker.queue: worker for worker in inside.fleet.workers.values() if _has_room(worker)}
        kept = {worker.processor for worker in free.values() if self._is_as_before(worker)}
        self._since = {name: since for name, since in self._since.items() if name in kept}
        stats = await inside.store.stats(list(free)[:BATCH])
        waiting = [queue for queue, one in zip(free, stats, strict=False) if one.waiting]
        first = self._next if self._next < len(waiting) else 0
        self._next = first + MOST
        for queue in waiting[first : first + MOST]:
            await self._look_at(free[queue])
        now = inside.host.now()
        return {name: now - since for name, (since, _) in self._since.items()}

    def _is_as_before(self, worker: Feeder) -> bool:
        found = self._since.get(worker.processor)
        return found is not None and found[1] == _mark(worker)

    async def _look_at(self, worker: Feeder) -> None:
        now, mark = self._inside.host.now(), _mark(worker)
        if not await _would_be_granted(self._inside.store, worker.queue):
            self._since.pop(worker.processor, None)
        elif mark == _mark(worker) and _has_room(worker):
            self._since.setdefault(worker.processor, (now, mark))


def _has_room(worker: Feeder) -> bool:
    return not worker.closing and worker.want() > 0


def _mark(worker: Feeder) -> Mark:
    return worker.jobs_run, worker.delivery.unsettled


async def _would_be_granted(store: Store, queue: str) -> bool:
    """Whether the next claim brings the queue's first job, whoever makes it."""
    page = await store.inspection.page(queue, "waiting", 0, 1)
    facts = await store.inspection.facts(page.rows[0].id) if page.rows else None
    return facts is not None and facts.status == "waiting" and diagnose(facts).granted_next is True
