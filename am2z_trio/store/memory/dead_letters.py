"""Dead letters: jobs that have failed for good, kept to be looked at and queued again."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from am2z_trio.model.records import DeadJob
from am2z_trio.store.ports import ReviveAnswer

from .job import JobRecord
from .ledger import Ledger
from .retention import Records


class DeadLetters:
    def __init__(self, ledger: Ledger, records: Records) -> None:
        self._ledger = ledger
        self._records = records

    def dead_page(self, queue: str, offset: int, limit: int, now: float) -> list[str]:
        self._records.collect(now)
        dead = self._ledger.queue(queue).dead
        return sorted(dead, key=lambda name: (dead[name], name), reverse=True)[offset : offset + limit]

    def dead_jobs(self, jobs: Sequence[str], now: float) -> list[DeadJob | None]:
        self._records.collect(now)
        return [self._dead_job(job_id) for job_id in jobs]

    def _dead_job(self, job_id: str) -> DeadJob | None:
        job = self._dead(job_id)
        if job is None or job.settled is None:
            return None
        return DeadJob(
            spec=job.spec,
            attempt=job.attempt,
            stalls=job.stalls,
            failed=int(job.failed_at),
            settled=job.settled,
            processor=job.spec.processor,
            session=job.spec.session,
        )

    def _dead(self, job_id: str) -> JobRecord | None:
        job = self._ledger.jobs.get(job_id)
        if job is None or job.status != "failed" or job_id not in self._ledger.queue(job.queue).dead:
            return None
        return job

    def revive(self, jobs: Sequence[str], now: float) -> list[ReviveAnswer]:
        self._records.collect(now)
        answers: list[ReviveAnswer] = [self._revive(job_id, now) for job_id in jobs]
        self._ledger.deliver()
        return answers

    def _revive(self, job_id: str, now: float) -> ReviveAnswer:
        ledger, job = self._ledger, self._dead(job_id)
        if job is None:
            return "gone"
        session = job.spec.session
        if ledger.is_stopping(session, now):
            return "stopped"
        del ledger.queue(job.queue).dead[job_id]
        ledger.queue(job.queue).recent.pop(job_id, None)
        ledger.count(job, "revive")
        job.attempt, job.stalls, job.conflicts, job.deadline, job.forget_at = 1, 0, 0, inf, inf
        job.progress, job.reported = 0.0, False
        job.settled, job.cancel_reason, job.errors = None, None, b""
        job.at, job.since, job.ended, job.revived = now, 0.0, 0.0, True
        job.lost = "", ""
        job.charged.clear()
        if session:
            ledger.live.setdefault(session, {})[job_id] = None
        ledger.put(job)
        ledger.outbox.tell("job:enqueued", job, now)
        return "queued"

    def drop_dead_letters(self, jobs: Sequence[str], now: float) -> list[bool]:
        self._records.collect(now)
        answers: list[bool] = []
        for job_id in jobs:
            answers.append(self._dead(job_id) is not None)
            if answers[-1]:
                self._records.expire_soon(job_id, now)
        return answers
