"""Nodes: they take leases, and what becomes of their claims when they leave or die."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Final

from am2z_trio.model.errors import JobStalledError
from am2z_trio.model.records import STALLED, FailedJob, RenewAnswer, Standing, TickAnswer, told_of_failure
from am2z_trio.store.agreed import APART, CALM, LATEST
from am2z_trio.store.ports import BATCH

from .claim import Claiming
from .endings import Endings
from .holdings import Holdings
from .job import JobRecord
from .leases import Leases
from .ledger import Ledger
from .queues import Queues
from .retention import Records
from .states import States

REST: Final = 3600.0
"""Most seconds between two beats of a node that rests."""


class Nodes:
    def __init__(
        self,
        ledger: Ledger,
        records: Records,
        leases: Leases,
        endings: Endings,
        holdings: Holdings,
        claiming: Claiming,
        queues: Queues,
        states: States,
    ) -> None:
        self._ledger = ledger
        self._records = records
        self._leases = leases
        self._endings = endings
        self._holdings = holdings
        self._claiming = claiming
        self._queues = queues
        self._states = states
        self.schedule_in: Callable[[float], float | None] = lambda now: None
        """Seconds until the next schedule is due."""

    def join(self, node: str, now: float, grace: float | None = None) -> None:
        self._leases.take(node, now, grace)
        self._ledger.end_rest()

    def leave(self, node: str, now: float) -> None:
        self._queues.leave(node)  # first: what goes back now must wake somebody else
        for job_id in list(self._holdings.of(node)):
            job = self._ledger.jobs[job_id]
            if self._holdings.return_job(job, "release", now):
                job.note(now, "left", node)
        self._holdings.drop(node)
        self._queues.unserve_all(node, now)
        self._leases.give_up(node)
        self._claiming.forget(node)
        self._ledger.deliver()

    def renew(self, node: str, now: float, look_every: float) -> RenewAnswer:
        leases, every = self._leases, look_every
        self._ledger.quiet = True
        lost = leases.renew(node, now)
        if lost or not every:
            return RenewAnswer(lost=lost, held=0 if lost else self._count(node))
        calm = leases.are_few and not any(map(self._holdings.of, leases.others(node)))
        if calm:
            every = max(every, CALM)
        found = self.tick(node, now) if leases.turn_to_look(now, every) else None
        wait = leases.wait(now, every, calm=calm)
        due = self.schedule_in(now)
        return RenewAnswer(lost=False, found=found, wait=wait, held=self._count(node), schedule_in=due)

    def rest(self, node: str, now: float, wake: Callable[[], object]) -> float:
        ledger = self._ledger
        if not ledger.quiet or any(name != node for name in self._leases.names()):
            return 0.0
        due = min(self._records.next_to_go(), self._states.next_to_expire())
        # What goes may do so as late as with the latest of usual beats, and then with what else is done.
        seconds = min((due - now) / 1000 + LATEST, REST)
        if seconds <= 2 * LATEST:
            return 0.0
        ledger.wake_resting = wake
        self._leases.prolong(node, seconds)
        return seconds

    def _count(self, node: str) -> int:
        return len(self._holdings.of(node))

    # --- dead nodes -------------------------------------------------------------------------

    def tick(self, node: str, now: float, *, reap: bool = True) -> TickAnswer:
        self._records.collect(now)
        lost = self._leases.renew(node, now)
        reaped, more = 0, False
        failed: list[FailedJob] = []
        for name in self._leases.find_dead(now, BATCH) if reap else ():
            if reaped < BATCH:
                reaped += self._reap(name, now, BATCH - reaped, failed)
            more = more or name in self._leases
        self._queues.sweep(now)
        self._states.expire(now)
        self._ledger.send_off()
        return TickAnswer(lost=lost, reaped=reaped, more=more, failed=sorted(failed, key=lambda job: job.id))

    def _reap(self, name: str, now: float, most: int, failed: list[FailedJob]) -> int:
        """Take a bounded number of jobs from a dead node; forget the node when it has none left."""
        taken = list(itertools.islice(self._holdings.of(name), most))
        suspects: list[JobRecord] = []
        for job_id in taken:
            job = self._ledger.jobs[job_id]
            job.stalls += 1
            self._ledger.tally(job, "stalled")
            if job.stalls > job.max_stalled and job.cancel_reason is None:
                failed.append(self._fail(job, name, now))
            elif job.stalls > 1:
                suspects.append(job)
            else:
                self._holdings.take_away(job, now, name)
        for index, job in enumerate(suspects):
            # One by one, each time in the other order: one of them may be what kills its worker.
            place = index if job.stalls % 2 == 0 else len(suspects) - 1 - index
            self._holdings.take_away(job, now, name, due=now + place * APART * 1000)
        if not self._holdings.of(name):
            self._holdings.drop(name)
            # Its claim numbers stay: a late duplicate may still be on its way.
            self._queues.leave(name)
            self._queues.unserve_all(name, now)
            self._leases.drop(name)
        return len(taken)

    def _fail(self, job: JobRecord, node: str, now: float) -> FailedJob:
        """It was lost with its node more often than its queue allows."""
        self._holdings.drop_claim(job, None)
        self._endings.end_job(job, "stall", now, reason="stalled")
        why = f"{JobStalledError.code}\n{STALLED}"
        job.note(now, "failed", node, why)
        self._ledger.outbox.tell("job:failed", job, now, node, told_of_failure(job.attempt, why))
        spec = job.spec
        return FailedJob(id=spec.id, processor=spec.processor, session=spec.session, attempt=job.attempt)

    # --- claims as the store has them -------------------------------------------------------

    def reconcile(self, claims: Sequence[tuple[str, str]]) -> list[Standing]:
        answers = [self._standing(job_id, token) for job_id, token in claims]
        self._ledger.deliver()
        return answers

    def _standing(self, job_id: str, token: str) -> Standing:
        job, holdings = self._ledger.jobs.get(job_id), self._holdings
        if job is None or not token:
            return Standing(status="lost")
        if job.token == token:
            return Standing(status="held", cancel=job.cancel_reason)
        if job.last_token == token:
            return Standing(status="settled")
        has_room = self._ledger.queue(job.queue).has_room(job.spec.session)
        if has_room and holdings.is_resumable(job, token):
            holdings.resume_claim(job)
            return Standing(status="held")
        holdings.take_stall_back(job, token)
        return Standing(status="lost")

    def holdings(self, node: str) -> list[tuple[str, str]]:
        return list(self._holdings.of(node).items())
