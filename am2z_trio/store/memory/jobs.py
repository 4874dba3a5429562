"""Jobs are looked at, cancelled, and put before others, by whoever knows their ids."""

from __future__ import annotations

from collections.abc import Sequence

from am2z_trio.model.records import EXPIRED, CancelRequest, JobView
from am2z_trio.model.transitions import TERMINAL, Status

from .endings import Endings
from .ledger import Ledger
from .retention import Records
from .turns import Turns


class Jobs:
    def __init__(self, ledger: Ledger, turns: Turns, records: Records, endings: Endings) -> None:
        self._ledger = ledger
        self._turns = turns
        self._records = records
        self._endings = endings

    def cancel(self, job_id: str, reason: str, now: float, *, leaving: str = "") -> Status | None:
        """With `leaving`, that node waits for it no more, and it is cancelled only if nobody else does."""
        job = self._ledger.jobs.get(job_id)
        if job is None:
            return None
        before = job.status
        if reason == EXPIRED:
            if job.deliveries or before in TERMINAL:
                return before
            self._ledger.tally(job, "expired")
        if leaving and before not in TERMINAL:
            job.origins = [origin for origin in job.origins if origin != leaving]
            if job.origins or job.stays:
                return before
        if before == "active":
            job.cancel_reason = reason
            self._ledger.outbox.post(job.node, CancelRequest(job_id, job.token, reason))
        elif before not in TERMINAL:
            self._endings.cancel_unbegun(job, now, reason)
        self._ledger.deliver()
        return before

    def promote(self, job_id: str) -> Status | None:
        ledger = self._ledger
        job = ledger.jobs.get(job_id)
        if job is None:
            return None
        before = job.status
        if before == "waiting" and self._turns.stands_in_line(job):
            self._turns.go_first(job)
        elif before in ("waiting", "later"):
            if before == "later":
                ledger.count(job, "promote")
            else:
                ledger.leave_place(job)
            job.priority = 0
            ledger.put(job, front=True)
            ledger.queue(job.queue).serve_next(job.spec.session)
        ledger.deliver()
        return before

    def view(self, jobs: Sequence[str], now: float) -> list[JobView | None]:
        self._records.collect(now)
        return [self._view(job_id, now) for job_id in jobs]

    def _view(self, job_id: str, now: float) -> JobView | None:
        job = self._records.known(job_id, now)
        if job is None:
            return None
        return JobView(
            id=job_id,
            status=job.status,
            attempt=job.attempt,
            deliveries=job.deliveries,
            stalls=job.stalls,
            progress=job.progress,
            settled=job.settled,
            input=job.input,
            processor=job.spec.processor,
            session=job.spec.session,
        )
