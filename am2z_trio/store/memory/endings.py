"""A job's end: its outcome is told and kept, and what it has called ends with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from am2z_trio.model.codec import NIL
from am2z_trio.model.records import KEPT, NO_STATE, PARENT_ENDED, SESSION_STOPPED, CancelRequest, Settled
from am2z_trio.model.transitions import TERMINAL, Transition

from .job import JobRecord
from .ledger import Ledger
from .retention import Records
from .turns import Turns
from .waits import Waits


@dataclass(slots=True)
class _Ending:
    """What a job that has ended had called, and has yet to end with it."""

    parent: str
    children: deque[str]
    why: str
    till: float
    """When outcomes go."""


class Endings:
    def __init__(self, ledger: Ledger, turns: Turns, records: Records, waits: Waits) -> None:
        self._ledger = ledger
        self._waits = waits
        self._turns = turns
        self._records = records
        self.unfinished: deque[_Ending] = deque()
        self.on_ending: list[Callable[[], None]] = []
        """Called when there is something for `end_children`."""

    def end_job(
        self, job: JobRecord, transition: Transition, now: float, *, reason: str = "", result: bytes = b""
    ) -> None:
        ledger, spec = self._ledger, job.spec
        if job.status != "active":
            ledger.leave_debounce(job)
            self._turns.leave_line(job)
            job.since = 0.0
        ledger.count(job, transition)
        status = job.status
        assert status in ("completed", "failed", "cancelled")
        job.settled = Settled(spec.id, status, reason, msgspec.Raw(result) if result else NIL)
        dead = status == "failed" and not spec.parent
        if not dead:
            job.spec = msgspec.structs.replace(spec, state=NO_STATE)  # the input is no longer needed
        job.token = job.node = ""
        job.ended = now
        age = self._records.retain(job, now, dead=dead)
        self._records.note_end(job, now)
        self._waits.end(job)
        parent = ledger.jobs.get(spec.parent)
        if parent is not None and status == "completed":
            # A job whose calls complete gets on, however often it is lost with its worker.
            parent.stalls = 0
            parent.charged.clear()
        why = SESSION_STOPPED if reason == SESSION_STOPPED else PARENT_ENDED
        self._end_what_it_called(job, now, why, age)
        for origin in job.origins:
            ledger.outbox.post(origin, job.settled)
        job.origins = []
        if session := spec.session:
            live = ledger.live[session]
            live.pop(spec.id)
            if not live:
                del ledger.live[session]

    def cancel_unbegun(self, job: JobRecord, now: float, why: str) -> None:
        """End a job that waits or is delayed. Its entry stays in a line until it is skipped or sieved out."""
        ledger = self._ledger
        listed = job.status == "waiting" and not ledger.queue(job.queue).drop_priority(job.spec.id)
        listed = listed and not self._turns.stands_in_line(job)
        self.end_job(job, "cancel", now, reason=why)
        ledger.outbox.tell("job:cancelled", job, now, data={"attempt": job.attempt})
        if listed and job.spec.id not in ledger.taken:
            ledger.leave_ghost(job)

    # --- with the one that called them ------------------------------------------------------

    def _end_what_it_called(self, job: JobRecord, now: float, why: str, age: float) -> None:
        """Outcomes are kept as long as its own record. Many end by and by."""
        ledger = self._ledger
        children, job.children = job.children, {}
        job.called.update(children)
        if len(children) > ledger.budget.ended:
            next(ledger.fence)
            self.unfinished.append(_Ending(job.spec.id, deque(children), why, now + age * 1000))
            for listener in self.on_ending:
                listener()
        else:
            ledger.budget.ended -= len(children)
            for child_id in children:
                self._end_child(job.spec.id, child_id, now, why, now + age * 1000)

    def _end_child(self, parent: str, child_id: str, now: float, why: str, till: float) -> None:
        child = self._ledger.jobs.get(child_id)
        if child is None or child.spec.parent != parent:
            # One that was run again since by itself, or by another job, is no child of this one any more.
            return
        if child.status in TERMINAL:
            self._records.keep_until(child, max(till, now + KEPT * 1000))
            return
        child.outlived = till
        if child.status == "active":
            child.cancel_reason = why
            self._ledger.outbox.post(child.node, CancelRequest(child_id, child.token, why))
        else:
            self.cancel_unbegun(child, now, why)

    def end_children(self, now: float) -> bool:
        """Go on ending what jobs that have ended had called; returns whether there is more."""
        ledger = self._ledger
        while self.unfinished and ledger.budget.ended > 0:
            first = self.unfinished[0]
            parent = ledger.jobs.get(first.parent)
            while first.children and ledger.budget.ended > 0:
                child_id = first.children.popleft()
                ledger.budget.ended -= 1
                # Its job may run again, and have called it anew.
                if parent is None or child_id not in parent.children:
                    self._end_child(first.parent, child_id, now, first.why, first.till)
            if not first.children:
                self.unfinished.popleft()
        ledger.deliver()
        return bool(self.unfinished)
