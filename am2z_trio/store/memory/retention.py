"""How long the records of jobs that have ended are kept."""

from __future__ import annotations

import heapq
from math import inf

import msgspec

from am2z_trio.model.options import Retention
from am2z_trio.model.records import CHILD_TTL, DEAD_COUNT, DEAD_TTL, KEPT, NO_STATE
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.store.agreed import BOUNDS
from am2z_trio.store.ports import BATCH

from .job import JobRecord
from .ledger import Ledger


class Records:
    """Finds records, and drops those that have had their time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._forget: list[tuple[float, str]] = []
        """A heap of when records go, and of when some would have gone."""

    def known(self, job_id: str, now: float) -> JobRecord | None:
        """The job's record, unless it has had its time."""
        job = self._ledger.jobs.get(job_id)
        if job is None or job.forget_at > now:
            return job
        self._drop(job)
        return None

    def _drop(self, job: JobRecord) -> None:
        job_id, queue = job.spec.id, self._ledger.queue(job.queue)
        del self._ledger.jobs[job_id]
        queue.dead.pop(job_id, None)
        queue.done.pop(job_id, None)
        queue.recent.pop(job_id, None)

    def collect(self, now: float) -> None:
        """Drop records that have had their time: a bounded number per operation, the rest with the next."""
        for _ in range(BOUNDS.forgotten):
            if not self._forget or self._forget[0][0] > now:
                return
            _, job_id = heapq.heappop(self._forget)
            self.known(job_id, now)

    def next_to_go(self) -> float:
        """When `collect` may have something to drop; `inf`: never."""
        return self._forget[0][0] if self._forget else inf

    def retain(self, job: JobRecord, now: float, *, dead: bool) -> float:
        """Keep the record of a job that has ended for as long as it may be asked for; returns the seconds."""
        if job.spec.parent:
            # A parent that is run again asks its children for their outcomes, however late; one that has
            # ended is outlived by none for long.
            age = min(CHILD_TTL, max((job.outlived - now) / 1000, KEPT))
            self.keep_until(job, now + age * 1000)
            return age
        age, count = self._asked_for(job, dead)
        self.keep_until(job, now + age * 1000)
        queue = self._ledger.queue(job.queue)
        if dead:
            job.failed_at = now
            queue.dead[job.spec.id] = job.forget_at
        elif count is not None:
            queue.done[job.spec.id] = now
        if count is not None:
            self._trim(queue.dead if dead else queue.done, count, now)
        return age

    def note_end(self, job: JobRecord, now: float) -> None:
        """List it with those that have ended; what is beyond their number goes with its record."""
        most, recent = self._ledger.settings.recent, self._ledger.queue(job.queue).recent
        if not most:
            return
        recent[job.spec.id] = None
        over = min(len(recent) - most, self._ledger.budget.trimmed)
        for _ in range(over):
            self._ledger.budget.trimmed -= 1
            oldest, _ = recent.popitem(last=False)
            self._go_early(self._ledger.jobs[oldest], now)

    def _go_early(self, job: JobRecord, now: float) -> None:
        """Its record goes, a minute after its end, unless somebody has asked for it by more than a number of
        the newest: by an id of his own, a time, a call that may be made again, or as a dead letter."""
        asked = job.named or job.on_complete is not None or job.on_fail is not None or job.spec.parent
        if asked or job.failed_at or job.revived or job.status not in TERMINAL:
            return
        until = job.ended + KEPT * 1000
        if until <= now:
            self._drop(job)
        elif until < job.forget_at:
            self.keep_until(job, until)

    def _asked_for(self, job: JobRecord, dead: bool) -> tuple[float, int | None]:
        """Seconds for which its record is kept, and beside how many others."""
        settings = self._ledger.settings
        ttl = settings.result_ttl if job.named else settings.unnamed_ttl
        usual = Retention(age=min(ttl, settings.result_ttl))
        if dead:
            usual = Retention(age=DEAD_TTL, count=DEAD_COUNT)
        own = (job.on_fail if dead else job.on_complete if job.status == "completed" else None) or usual
        age = usual.age if own.age is None else max(own.age, KEPT)
        assert age is not None
        return age, usual.count if own.count is None else own.count

    def _trim(self, kept: dict[str, float], count: int, now: float) -> None:
        over = len(kept) - count
        if over <= 0:
            return
        # Far more are kept only after the limit was lowered: they go with the next ones.
        over = min(over, self._ledger.budget.trimmed)
        self._ledger.budget.trimmed -= over
        for job_id in heapq.nsmallest(over, kept, key=lambda name: (kept[name], name)):
            del kept[job_id]
            self.expire_soon(job_id, now)

    def expire_soon(self, job_id: str, now: float) -> None:
        """What it was given goes at once, its outcome a minute later."""
        job = self._ledger.jobs.get(job_id)
        if job is not None and job.status in TERMINAL:
            self._ledger.queue(job.queue).dead.pop(job_id, None)
            job.spec = msgspec.structs.replace(job.spec, state=NO_STATE)
            self.keep_until(job, min(job.forget_at, now + KEPT * 1000))

    def keep_until(self, job: JobRecord, until: float) -> None:
        job.forget_at = until
        heapq.heappush(self._forget, (until, job.spec.id))
        jobs = self._ledger.jobs
        if len(self._forget) > 2 * len(jobs) + BATCH:
            # Most are of jobs whose time was changed since.
            self._forget = [(at, id) for id, kept in jobs.items() if (at := kept.forget_at) < inf]
            heapq.heapify(self._forget)
