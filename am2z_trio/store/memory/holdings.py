"""What nodes hold: how a job becomes a node's, and how it ceases to be."""

from __future__ import annotations

from math import inf

from am2z_trio.model.records import SESSION_STOPPED
from am2z_trio.model.transitions import Transition

from .endings import Endings
from .job import JobRecord
from .leases import Leases
from .ledger import Ledger
from .turns import Turns


class Holdings:
    def __init__(self, ledger: Ledger, leases: Leases, turns: Turns, endings: Endings) -> None:
        self._ledger = ledger
        self._leases = leases
        self._turns = turns
        self._endings = endings
        self._held: dict[str, dict[str, str]] = {}
        """By node: the jobs it holds, and their tokens."""

    def of(self, node: str) -> dict[str, str]:
        """Its jobs, and their tokens."""
        return self._held.get(node, {})

    def nodes(self) -> list[str]:
        """Those that hold any."""
        return [node for node, held in self._held.items() if held]

    def drop(self, node: str) -> None:
        """The node is gone, and holds nothing any more."""
        self._held.pop(node, None)

    # --- a claim begins ---------------------------------------------------------------------

    def take(self, job: JobRecord, node: str, now: float, token: str = "") -> None:
        """Give a waiting job, that is in no line any more, to the node, under this token or a new one."""
        ledger = self._ledger
        ledger.leave_debounce(job)
        self._turns.take_turn(job)
        ledger.count(job, "claim")
        job.deliveries += 1
        job.expires = inf
        job.since = now
        job.node, job.token, job.lost = node, token or f"{next(ledger.fence)}:m", ("", "")
        self._held.setdefault(node, {})[job.spec.id] = job.token
        ledger.outbox.tell("job:started", job, now, node, {"attempt": job.attempt})

    # --- what is promised with it -----------------------------------------------------------

    def promise(self, job: JobRecord, queues: tuple[str, ...]) -> None:
        """Its node may begin a job in each of them that this one calls: as if it had."""
        job.promised = list(queues)
        for queue in queues:
            self._count_promised(queue, 1)

    def withdraw(self, job: JobRecord) -> list[str]:
        """Nothing is promised with it any more; returns what was."""
        promised, job.promised = job.promised, []
        for queue in promised:
            self._count_promised(queue, -1)
        return promised

    def _count_promised(self, queue: str, by: int) -> None:
        counts = self._ledger.queue(queue).counts
        counts["active"] = counts.get("active", 0) + by
        self._ledger.free(queue, -by)

    # --- a claim ends -----------------------------------------------------------------------

    def drop_claim(self, job: JobRecord, settled_as: str | None) -> str:
        """Retire the claim's token; returns the node that held it.

        `settled_as` is `None` for a claim that is taken away: its token is fenced from now on.
        """
        node, queue = job.node, self._ledger.queue(job.queue)
        self.of(node).pop(job.spec.id, None)
        if settled_as is not None:
            job.last_token, job.last_outcome = job.token, settled_as
        job.token = job.node = ""
        self._turns.pass_turn(job)
        self.withdraw(job)
        if job.away:
            queue.away -= 1
            queue.back.pop(job.spec.id, None)
            self._ledger.free(job.queue, -1)
            job.away = False
        elif job.spec.session and queue.leave(job.spec.session):
            self._ledger.wake(job.queue)
        return node

    def return_job(
        self,
        job: JobRecord,
        transition: Transition,
        now: float,
        settled_as: str | None = None,
        *,
        due: float | None = None,
    ) -> bool:
        """Give a claimed job back to its queue, unless somebody wants it cancelled: to the front, or for a
        time when it is due."""
        ledger = self._ledger
        node = self.drop_claim(job, settled_as)
        if job.cancel_reason is None and ledger.is_stopping(job.spec.session, now):
            job.cancel_reason = SESSION_STOPPED
        if job.cancel_reason is not None:
            if settled_as is not None:
                job.last_outcome = "cancelled"
            self._endings.end_job(job, "cancel", now, reason=job.cancel_reason)
            ledger.outbox.tell("job:cancelled", job, now, node, {"attempt": job.attempt})
            return False
        ledger.count(job, transition)
        if due is None:
            ledger.put(job, front=True)
        else:
            ledger.put_later(job, due)
        return True

    # --- a claim that was taken away --------------------------------------------------------

    def take_away(self, job: JobRecord, now: float, node: str, *, due: float | None = None) -> None:
        """Return a job of a node that seems to be dead, which may have it again until somebody else has."""
        token = job.token
        if self.return_job(job, "reap" if due is None else "reap_later", now, due=due):
            job.lost = token, node
            job.charged.append(token)
            job.note(now, "lost", node)
            self._ledger.outbox.tell("job:stalled", job, now, node)

    @staticmethod
    def take_stall_back(job: JobRecord, token: str) -> None:
        """The node of this token is there after all."""
        if token in job.charged and job.status != "failed":
            job.charged.remove(token)
            job.stalls -= 1

    def is_resumable(self, job: JobRecord, token: str) -> bool:
        """Whether this token's claim was taken away, and nobody was granted the job or its turn since."""
        lost = token != "" and job.status in ("waiting", "later") and job.lost[0] == token
        return lost and not self._turns.is_taken(job.turn)

    def resume_claim(self, job: JobRecord) -> None:
        """Give the job back to the node whose claim was taken away, as if that had not been."""
        ledger, turns = self._ledger, self._turns
        (job.token, job.node), job.lost = job.lost, ("", "")
        self._leases.keep(job.node)
        in_line = turns.step_out_of_line(job)
        turns.take_turn(job)
        if job.status == "waiting" and not in_line:
            ledger.leave_place(job)
        self.take_stall_back(job, job.token)
        ledger.count(job, "resume")
        ledger.queue(job.queue).enter(job.spec.session)
        self._held.setdefault(job.node, {})[job.spec.id] = job.token
