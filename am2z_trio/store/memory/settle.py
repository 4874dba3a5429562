"""Jobs are settled by the node that has claimed them; and what it says of them meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from am2z_trio.model.records import (
    PARKED_TILL,
    SESSION_STOPPED,
    Author,
    SettleAnswer,
    Settlement,
    told_of_failure,
)
from am2z_trio.model.transitions import Transition

from .endings import Endings
from .holdings import Holdings
from .job import JobRecord
from .ledger import Ledger
from .states import States
from .turns import Turns
from .waits import Waits


class Settling:
    def __init__(
        self,
        ledger: Ledger,
        turns: Turns,
        endings: Endings,
        holdings: Holdings,
        states: States,
        waits: Waits,
    ) -> None:
        self._ledger = ledger
        self._turns = turns
        self._endings = endings
        self._holdings = holdings
        self._states = states
        self._waits = waits

    def settle(self, settlements: Sequence[Settlement], now: float) -> list[SettleAnswer]:
        answers = [self._settle(settlement, now) for settlement in settlements]
        self._ledger.deliver()
        return answers

    def _settle(self, settlement: Settlement, now: float) -> SettleAnswer:
        job, token, outcome = self._ledger.jobs.get(settlement.id), settlement.token, settlement.outcome
        if job is None:
            return SettleAnswer(status="gone")
        if not token:
            return SettleAnswer(status="fenced")
        if job.last_token == token:
            return SettleAnswer(status="replay", outcome=job.last_outcome)
        if job.token != token:
            if not self._holdings.is_resumable(job, token):
                self._holdings.take_stall_back(job, token)
                self._ledger.tally(job, "fenced")
                job.note(now, "refused", "", f"{token}\n{outcome}")
                return SettleAnswer(status="fenced")
            self._holdings.resume_claim(job)
        if not self._ledger.are_recorded(settlement.builds_on):
            return SettleAnswer(status="unfounded")
        conflict = self._commit(settlement, job, now) if outcome == "completed" else None
        if conflict is not None:
            return conflict
        if outcome in ("released", "conflicted"):
            return self._hand_back(settlement, job, now)
        if outcome == "parked":
            return self._park(settlement, job, now)
        if outcome == "retry":
            if job.cancel_reason is None and self._ledger.is_stopping(job.spec.session, now):
                job.cancel_reason = SESSION_STOPPED
            if job.cancel_reason is None:
                return self._retry(settlement, job, now)
        return self._end(settlement, job, now)

    def _commit(self, settlement: Settlement, job: JobRecord, now: float) -> SettleAnswer | None:
        """Write the session's state, if it is still what the job has read; if not, this is the answer."""
        commit, session = settlement.commit, job.spec.session
        if commit is None or not session:
            return None
        if commit.expected is not None:
            current = self._states.read(session, now)
            if commit.expected != current.mark or self._turns.is_anothers(commit.turn, job):
                self._ledger.tally(job, "conflicts")
                job.note(now, "conflict", job.node, f"\nit is version {current.version}")
                return SettleAnswer(status="conflict", current=current)
        by = Author(node=job.node, job=job.spec.id, token=job.token)
        self._states.commit(session, commit.blob, commit.checksum, now, by)
        return None

    def _hand_back(self, settlement: Settlement, job: JobRecord, now: float) -> SettleAnswer:
        """Others may run it, or this node at another time."""
        outcome, holdings, node = settlement.outcome, self._holdings, job.node
        if settlement.delay > 0:
            due = now + settlement.delay * 1000
            returned = holdings.return_job(job, "release_later", now, outcome, due=due)
        else:
            returned = holdings.return_job(job, "release", now, outcome)
        if returned:
            job.note(now, outcome, node, settlement.reason if outcome == "released" else "")
        if outcome == "conflicted" and returned:
            job.conflicts += 1
            job.turn = settlement.reason or job.turn
        return SettleAnswer(status="applied", outcome=outcome if returned else "cancelled")

    def _park(self, settlement: Settlement, job: JobRecord, now: float) -> SettleAnswer:
        """It comes back when what it waits for is there."""
        keys = settlement.reason.split("\n")
        due = self._waits.parked_until(job, keys, now)
        transition: Transition = "release" if due is None else "release_later"
        node = job.node
        returned = self._holdings.return_job(job, transition, now, "parked", due=due)
        if returned:
            self._waits.keep(job, keys)
            if due is not None:
                told = {"until": int(due)} if due < PARKED_TILL * 1000 else None
                self._ledger.outbox.tell("job:parked", job, now, node, told)
        return SettleAnswer(status="applied", outcome="parked" if returned else "cancelled")

    def _retry(self, settlement: Settlement, job: JobRecord, now: float) -> SettleAnswer:
        ledger = self._ledger
        node = self._holdings.drop_claim(job, "retry")
        ledger.outbox.tell("job:retrying", job, now, node, told_of_failure(job.attempt, settlement.reason))
        ledger.tally(job, "retried")
        job.note(now, "retry", node, settlement.reason)
        job.attempt += 1
        job.conflicts = 0
        job.errors = settlement.result or job.errors
        if settlement.delay > 0:
            ledger.count(job, "retry_later")
            ledger.put_later(job, now + settlement.delay * 1000)
        else:
            ledger.count(job, "retry")
            ledger.put(job)
        return SettleAnswer(status="applied", outcome="retry")

    def _end(self, settlement: Settlement, job: JobRecord, now: float) -> SettleAnswer:
        outcome, end_job = settlement.outcome, self._endings.end_job
        node = self._holdings.drop_claim(job, outcome)
        if settlement.told and job.origins == [node]:
            job.origins = []
        if outcome == "completed":
            end_job(job, "complete", now, result=settlement.result)
        elif outcome == "failed":
            end_job(job, "fail", now, result=settlement.result)
            job.note(now, "failed", node, settlement.reason)
        else:
            reason = "" if outcome == "retry" else settlement.reason
            reason = reason or job.cancel_reason or ""
            end_job(job, "cancel", now, reason=reason, result=settlement.result)
        job.last_outcome = job.status
        told = told_of_failure(job.attempt, settlement.reason if job.status == "failed" else "")
        self._ledger.outbox.tell(f"job:{job.status}", job, now, node, told)
        return SettleAnswer(status="applied", outcome=job.status)

    # --- while it runs ----------------------------------------------------------------------

    def report(self, job_id: str, token: str, progress: float, now: float) -> bool:
        job = self._ledger.claimed(job_id, token)
        if job is None:
            return False
        if job.reported and job.progress == progress:
            # What is said already is said again by nobody: this very call may have been sent twice.
            return True
        job.progress, job.reported = progress, True
        self._ledger.outbox.tell("job:progress", job, now, job.node, {"progress": progress})
        self._ledger.deliver()
        return True

    def step_aside(self, job_id: str, token: str) -> None:
        job = self._ledger.claimed(job_id, token)
        if job is None:
            return
        queue = self._ledger.queue(job.queue)
        if job.away:
            queue.back.pop(job_id, None)
            return
        job.away = True
        queue.away += 1
        self._ledger.free(job.queue, 1)
        if job.spec.session and queue.leave(job.spec.session):
            self._ledger.wake(job.queue)
        self._ledger.deliver()

    def step_back(self, job_id: str, token: str) -> bool:
        job = self._ledger.claimed(job_id, token)
        if job is None or not job.away:
            return True
        self._ledger.queue(job.queue).back.setdefault(job_id)
        self._ledger.let_back(job.queue, asking=job_id)
        self._ledger.deliver()
        return not job.away
