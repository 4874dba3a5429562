"""Jobs that are given to a node that waits for them, as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from math import inf

import msgspec

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
        self.own = ""
        """The node that sends them."""
        self.given: set[str] = set()
        """Jobs that it was given by this call."""
        self._owed: dict[str, list[str]] = {}
        """What was promised with jobs that have called by this call."""
        self.withholds = False
        """Many come at once, and are claimed together."""

    def open(self, node: str, at_rest: Collection[str]) -> None:
        """A call of this node begins."""
        self.at_rest, self.own = dict.fromkeys(at_rest, node), node
        self.given, self._owed = set(), {}

    def has_begun(self, parent: JobRecord | None, queue: str, under: str) -> bool:
        """Whether a job that is called has begun under this token, as was promised."""
        if parent is None or under.rpartition("/")[0] != parent.token:
            return False
        return queue in self._owed.get(parent.spec.id, parent.promised)

    def has_called(self, parent: JobRecord) -> None:
        """Nothing is promised with it any more when this call is over, which says what of it has begun."""
        if parent.promised:
            self._owed[parent.spec.id] = self._holdings.withdraw(parent)

    def begin(self, job: JobRecord, now: float, token: str) -> EnqueueAnswer:
        """Its node has begun this job under this token, as was promised with its parent."""
        queue, left = self._ledger.queue(job.queue), 0
        if self._takes(queue, self.own):
            left = self._take_one(queue, self.own, now)
        self._holdings.take(job, self.own, now, token)
        self.at_rest.pop(job.queue, None)
        self.given.add(job.spec.id)
        return EnqueueAnswer(status="queued", token=token, left=left)

    def give(self, job: JobRecord, now: float, *, only_asked: bool, is_new: bool) -> EnqueueAnswer | None:
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
        promised = self._promised(queue, node) if is_new else ()
        left = self._take_one(queue, node, now)
        self._holdings.take(job, node, now)
        self._holdings.promise(job, promised)
        if own:
            del self.at_rest[job.queue]
            self.given.add(job.spec.id)
            return EnqueueAnswer(status="queued", token=job.token, left=left, promised=promised)
        grant = msgspec.structs.replace(self._claiming.grant_of(job, now), promised=promised)
        answer = ClaimAnswer(grants=[grant])
        ledger.outbox.post(node, Handed(job.queue, left, answer))
        return EnqueueAnswer(status="queued")

    def _promised(self, queue: Queue, node: str) -> tuple[str, ...]:
        """What a job of this queue begins with there, if the node may begin all of it at once."""
        begins, ledger = queue.begins.get(node, ()), self._ledger
        for name, many in Counter(begins).items():
            part = ledger.queue(name)
            if not (self._takes(part, node) and -part.parked[node][2] >= many and self._is_open(part)):
                return ()
        return begins

    @staticmethod
    def _take_one(queue: Queue, node: str, now: float) -> int:
        """The node takes one unasked; returns how many more it does then."""
        left = -queue.parked[node][2] - 1
        if left:
            queue.parked[node] = False, now, -left
        else:
            del queue.parked[node]
        return left

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
