"""Queues: which there are, who serves them, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

import msgspec

from am2z_trio.model.records import (
    ANNOUNCED_FOR,
    ANNOUNCED_LATELY,
    ForgetAnswer,
    QueueInfo,
    QueueStats,
)

from .leases import Leases
from .ledger import Ledger
from .retention import Records
from .samples import Samples


@dataclass(slots=True)
class Announced:
    """A queue that somebody has announced."""

    info: QueueInfo
    served: float = -inf
    """When somebody has said last that it serves it, or no more."""
    submitted_to: float = -inf
    """When somebody has said last that it only submits to it."""
    servers: set[str] = field(default_factory=set[str])
    is_retired: bool = False
    """Whoever served it last has taken it away."""


class Queues:
    def __init__(self, ledger: Ledger, records: Records, leases: Leases, samples: Samples) -> None:
        self._samples = samples
        self._ledger = ledger
        self._records = records
        self._leases = leases
        self._announced: dict[str, Announced] = {}

    def announced(self, queue: str) -> Announced | None:
        return self._announced.get(queue)

    # --- which there are, and who serves them -----------------------------------------------

    def announce(self, node: str, queues: Sequence[QueueInfo], now: float, *, serves: bool = True) -> None:
        for info in queues:
            known = self._announced.get(info.queue)
            if known is not None and not serves:
                known.submitted_to = now
                continue
            known = self._announced.setdefault(info.queue, Announced(info))
            known.info, known.is_retired = msgspec.structs.replace(info, begins=()), False
            if not serves:
                known.submitted_to = now
                continue
            known.served = now
            if self._leases.is_held(node):
                known.servers.add(node)
                begins = self._ledger.queue(info.queue).begins
                begins.pop(node, None)
                if info.begins:
                    begins[node] = info.begins

    def withdraw(self, node: str, queues: Sequence[str], now: float, *, retire: bool = False) -> None:
        for queue in queues:
            known = self._announced.get(queue)
            if known is not None:
                self._unserve(known, node, now)
                if retire and not self.workers(known, now):
                    known.is_retired = True

    def leave(self, node: str) -> None:
        """The node is woken for no queue any more."""
        for queue in self._ledger.queues.values():
            queue.parked.pop(node, None)
            queue.begins.pop(node, None)

    def unserve_all(self, node: str, now: float) -> None:
        for known in self._announced.values():
            self._unserve(known, node, now)

    @staticmethod
    def _unserve(known: Announced, node: str, now: float) -> None:
        if node in known.servers:
            known.servers.remove(node)
            known.served = now

    def workers(self, known: Announced, now: float) -> int:
        """Live nodes that serve the queue."""
        return len(known.servers - self._leases.seem_dead(now)) if known.servers else 0

    def known_queues(self, now: float) -> list[QueueInfo]:
        found: list[QueueInfo] = []
        for known in self._announced.values():
            workers = self.workers(known, now)
            lately = not known.is_retired and now - known.served <= ANNOUNCED_LATELY * 1000
            found.append(msgspec.structs.replace(known.info, workers=workers, known=workers > 0 or lately))
        return found

    def forget_queue(self, queue: str, now: float) -> ForgetAnswer:
        known = self._announced.get(queue)
        if known is None:
            return ForgetAnswer(known=False)
        left, workers = self._jobs_left(queue, now), self.workers(known, now)
        if not left and not workers:
            self._drop(queue)
        return ForgetAnswer(known=True, jobs=left, workers=workers)

    def _jobs_left(self, name: str, now: float) -> int:
        self._records.collect(now)
        queue = self._ledger.queue(name)
        return sum(queue.counts.get(status, 0) for status in ("waiting", "later", "active")) + len(queue.dead)

    def _drop(self, queue: str) -> None:
        del self._announced[queue]
        self._ledger.queues.pop(queue, None)
        self._samples.forget(queue)

    # --- what is in them --------------------------------------------------------------------

    def stats(self, queues: Sequence[str], now: float) -> list[QueueStats]:
        self._records.collect(now)
        return [self._stats(name, now) for name in queues]

    def _stats(self, name: str, now: float) -> QueueStats:
        queue, known = self._ledger.queue(name), self._announced.get(name)
        counts = queue.counts
        waiting = counts.get("waiting", 0)
        return QueueStats(
            waiting=0 if queue.paused else waiting,
            paused=waiting if queue.paused else 0,
            active=counts.get("active", 0),
            completed=counts.get("completed", 0),
            failed=counts.get("failed", 0),
            delayed=counts.get("later", 0),
            cancelled=counts.get("cancelled", 0),
            dead=len(queue.dead),
            workers=0 if known is None else self.workers(known, now),
            retried=counts.get("retried", 0),
            stalled=counts.get("stalled", 0),
            fenced=counts.get("fenced", 0),
            conflicts=counts.get("conflicts", 0),
            expired=counts.get("expired", 0),
        )

    # --- who is woken for them --------------------------------------------------------------

    def unpark(self, node: str, name: str, now: float) -> None:
        queue = self._ledger.queue(name)
        queue.parked.pop(node, None)
        later = self._ledger.next_due(name, now) is not None
        if later or queue.has_work:
            self._ledger.wake(name, "any" if later else "able")
        self._ledger.deliver()

    def pause(self, name: str, on: bool) -> None:
        queue = self._ledger.queue(name)
        goes_on = queue.paused and not on
        queue.paused = on
        while goes_on and self._ledger.wake(name, "any"):
            pass
        self._ledger.deliver()

    def sweep(self, now: float) -> None:
        """Wake nodes for queues that are stuck, and forget queues without jobs that nobody has announced for
        long. Nothing here is too much for one look."""
        for name, known in list(self._announced.items()):
            queue = self._ledger.queue(name)
            old = now - max(known.served, known.submitted_to) > ANNOUNCED_FOR * 1000
            if old and not queue.paused and not self._jobs_left(name, now):
                self._drop(name)
                continue
            due = self._ledger.next_due(name, now)
            overdue = due is not None and due <= 0
            if queue.parked and not queue.paused and (queue.has_work or overdue):
                self._ledger.wake(name, "any" if overdue else "able")
