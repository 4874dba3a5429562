"""Jobs that are given to a node that waits for them, as they come."""

from __future__ import annotations

from math import inf

from am2z_trio.model.records import NO_STATE, ClaimAnswer, EnqueueAnswer, Handed

from .claim import Claiming
from .holdings import Holdings
from .job import JobRecord
from .leases import Leases
from .ledger import Ledger
from .queue import Queue


class Handoff:
    def __init__(self, ledger: Ledger, leases: Leases, holdings: Holdings, claiming: Claiming) -> None:
        self._ledger = ledger
        self._leases = leases
        self._holdings = holdings
        self._claiming = claiming
        self.at_rest: dict[str, str] = {}
        """By queue: the node that is given the first job, if it is parked; for one call."""
        self.withholds = False
        """Many come at once, and are claimed together."""

    def give(self, job: JobRecord, now: float, *, only_asked: bool) -> EnqueueAnswer | None:
        """Give a job that comes to the node that sends it, if that is at rest, or to the one that has waited
        longest; `None` if it has to wait. Its size is a matter of the way there (`PUSHED_BYTES`)."""
        queue, ledger = self._ledger.queue(job.queue), self._ledger
        has_place = bool(job.priority or job.debounce or job.spec.state == NO_STATE) or job.expires < inf
        if has_place or only_asked or self.withholds or not queue.parked:
            return None
        own = self.at_rest.get(job.queue, "")
        if not self._takes(queue, own):
            own = ""
        node = own or min(queue.parked, key=lambda name: (queue.parked[name], name))
        present = ledger.outbox.is_connected(node) and self._leases.stands(node, now)
        if not (self._takes(queue, node) and present and self._is_open(queue)):
            return None
        left = -queue.parked[node][2] - 1
        if left:
            queue.parked[node] = False, now, -left
        else:
            del queue.parked[node]
        self._holdings.take(job, node, now)
        if own:
            del self.at_rest[job.queue]
            return EnqueueAnswer(status="queued", token=job.token, left=left)
        answer = ClaimAnswer(grants=[self._claiming.grant_of(job, now)])
        ledger.outbox.post(node, Handed(job.queue, left, answer))
        return EnqueueAnswer(status="queued")

    @staticmethod
    def _takes(queue: Queue, node: str) -> bool:
        """Whether the node is parked, and takes jobs unasked."""
        calls_only, _, spare = queue.parked.get(node, (False, 0.0, 0))
        return not calls_only and spare < 0

    @staticmethod
    def _is_open(queue: Queue) -> bool:
        """Whether nothing waits, and nothing limits the queue or holds it up."""
        limited = queue.paused or queue.per_session or queue.most_active
        return not (limited or queue.has_work or queue.blocked)
