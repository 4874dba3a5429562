"""Jobs come in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf

from am2z_trio.model.records import (
    ACCEPTED,
    DEBOUNCED,
    NO_STATE,
    Bulk,
    BulkAnswer,
    Enqueue,
    EnqueueAnswer,
    debounce_name,
    labels_of,
    turn_of,
)
from am2z_trio.model.transitions import TERMINAL, follow

from .endings import Endings
from .handoff import Handoff
from .job import JobRecord
from .ledger import Ledger
from .retention import Records
from .turns import Turns


class Enqueuing:
    def __init__(
        self,
        ledger: Ledger,
        records: Records,
        turns: Turns,
        endings: Endings,
        handoff: Handoff,
    ) -> None:
        self._ledger = ledger
        self._handoff = handoff
        self._records = records
        self._turns = turns
        self._endings = endings

    def enqueue(
        self, jobs: Sequence[Enqueue], now: float, node: str = "", at_rest: Collection[str] = ()
    ) -> list[EnqueueAnswer]:
        self._records.collect(now)
        self._handoff.open(node, at_rest)
        answers = [self._enqueue(request, now) for request in jobs]
        self._ledger.deliver()
        return answers

    def enqueue_bulk(self, bulk: Bulk, now: float) -> BulkAnswer:
        self._records.collect(now)
        accepted, refused = 0, None
        self._handoff.withholds = True
        while accepted < len(bulk.states):
            answer = self._enqueue(bulk.job(accepted), now)
            if answer.status not in ACCEPTED:
                refused = answer
                break
            accepted += 1
        self._handoff.withholds = False
        self._ledger.deliver()
        return BulkAnswer(accepted=accepted, refused=refused)

    def _enqueue(self, request: Enqueue, now: float) -> EnqueueAnswer:
        if not self._ledger.are_recorded(request.builds_on):
            return EnqueueAnswer(status="unfounded")
        if not request.sender:
            return self._take_in(request, now)
        sender, id = self._ledger.jobs.get(request.sender), request.spec.id
        if sender is None or sender.status in TERMINAL:
            return EnqueueAnswer(status="orphan")
        if id in sender.sent and self._records.known(id, now) is None:
            return EnqueueAnswer(status="dup")
        answer = self._take_in(request, now)
        if answer.status in ACCEPTED:
            sender.sent.add(id)
        return answer

    def _take_in(self, request: Enqueue, now: float) -> EnqueueAnswer:
        known = self._records.known(request.spec.id, now)
        if known is None:
            return EnqueueAnswer(status="unknown") if request.joins else self._accept(request, now)
        again = request.again and known.status in TERMINAL and known.status != "completed"
        taken = self._taken(request, known, again=again)
        if taken is not None:
            return taken
        return self._accept(request, now, earlier=known) if again else self._join(request, known)

    @staticmethod
    def _taken(request: Enqueue, known: JobRecord, *, again: bool) -> EnqueueAnswer | None:
        """The answer where the id is another job's."""
        spec, other = request.spec, known.spec
        if other.session != spec.session:
            return EnqueueAnswer(status="taken", other="session")
        if other.processor != spec.processor:
            return EnqueueAnswer(status="taken", other="processor", processor=other.processor)
        input = request.input if request.again and not again else ""
        if input and known.input and known.input != input:
            return EnqueueAnswer(status="taken", other="input", processor=other.processor)
        return None

    def _join(self, request: Enqueue, known: JobRecord) -> EnqueueAnswer:
        """One more waits for a job that there is."""
        spec, has_ended = request.spec, known.status in TERMINAL
        if not has_ended and spec.origin and spec.origin not in known.origins:
            known.origins.append(spec.origin)
        if not has_ended and request.again and request.stays:
            known.stays = True
        if spec.depth:
            self._call_for(known, spec.depth)
        caller = self._ledger.jobs.get(spec.parent) if known.spec.parent == spec.parent else None
        if not has_ended and caller is not None and caller.status not in TERMINAL:
            # Of a parent that ended, and runs again before this one was ended with it.
            caller.children[spec.id] = None
            self._handoff.has_called(caller)
        is_own = known.status == "active" and known.node == self._handoff.own
        if is_own and known.token == request.under and spec.id not in self._handoff.given:
            # It has made it, and is sent again.
            return EnqueueAnswer(status="queued", token=known.token, promised=tuple(known.promised))
        return EnqueueAnswer(status="dup", settled=known.settled)

    def _accept(self, request: Enqueue, now: float, *, earlier: JobRecord | None = None) -> EnqueueAnswer:
        """A new job, if nothing speaks against it; `earlier` is one of its id that it takes the place of."""
        ledger, spec = self._ledger, request.spec
        if ledger.is_stopping(spec.session, now):
            return EnqueueAnswer(status="stopped")
        parent = ledger.jobs.get(spec.parent)
        if spec.parent and (parent is None or parent.status in TERMINAL):
            return EnqueueAnswer(status="orphan")
        # So it is active, as it was counted, whatever has happened since.
        begun = self._handoff.has_begun(parent, request.queue, request.under)
        counts, replaced = ledger.queue(request.queue).counts, self._replaced_by(request)
        waiting = counts.get("waiting", 0) + counts.get("later", 0) - (replaced is not None)
        if request.max_size and waiting >= request.max_size and not begun:
            return EnqueueAnswer(status="full", waiting=waiting)
        if replaced is not None:
            self._endings.cancel_unbegun(replaced, now, DEBOUNCED)
        if earlier is not None:
            ledger.queue(earlier.queue).dead.pop(spec.id, None)
            ledger.queue(earlier.queue).recent.pop(spec.id, None)
            if (once := ledger.jobs.get(earlier.spec.parent)) is not None:
                once.children.pop(spec.id, None)
        if parent is not None:
            parent.children[spec.id] = None
            self._handoff.has_called(parent)
        job = _record_of(request, now, generation=0 if earlier is None else earlier.generation + 1)
        self._write_down(job)
        ledger.outbox.tell("job:enqueued", job, now)
        if begun:
            return self._handoff.begin(job, now, request.under)
        if job.status == "later":
            ledger.put_later(job, now + request.delay * 1000)
            return EnqueueAnswer(status="queued")
        is_new, only_asked = earlier is None and not request.again, request.only_asked or request.lifo
        given = self._handoff.give(job, now, only_asked=only_asked, is_new=is_new)
        if given is None:
            ledger.put(job, lifo=request.lifo)
        return given or EnqueueAnswer(status="queued")

    def _replaced_by(self, request: Enqueue) -> JobRecord | None:
        """The job that gives way to this one."""
        if not request.debounce:
            return None
        job_id = self._ledger.debounced.get((request.queue, debounce_name(request)))
        return None if job_id is None else self._ledger.jobs.get(job_id)

    def _write_down(self, job: JobRecord) -> None:
        ledger, job_id = self._ledger, job.spec.id
        ledger.jobs[job_id] = job
        if job.debounce:
            ledger.debounced[job.queue, job.debounce] = job_id
        if job.spec.session:
            ledger.live.setdefault(job.spec.session, {})[job_id] = None
        counts = ledger.queue(job.queue).counts
        counts[job.status] = counts.get(job.status, 0) + 1

    # --- jobs that others wait for ----------------------------------------------------------

    def call_for(self, job_id: str) -> None:
        job = self._ledger.jobs.get(job_id)
        if job is not None:
            self._call_for(job, 1)
            self._ledger.deliver()

    def _call_for(self, job: JobRecord, depth: int) -> None:
        """Another job waits for this one, which nobody had called."""
        if job.depth or job.status in TERMINAL:
            return
        job.depth = depth
        if job.status == "waiting" and not self._turns.stands_in_line(job):
            self._ledger.list_call(job)
            self._ledger.wake(job.queue)


def _record_of(request: Enqueue, now: float, *, generation: int) -> JobRecord:
    spec = request.spec
    return JobRecord(
        spec=spec,
        queue=request.queue,
        priority=request.priority,
        deadline=inf if request.deadline is None else now + max(0.0, request.deadline) * 1000,
        max_stalled=request.max_stalled,
        expires=inf if request.expires is None else now + request.expires * 1000,
        status=follow(None, "delay" if request.delay > 0 else "enqueue"),
        at=now,
        on_complete=request.on_complete,
        on_fail=request.on_fail,
        input=request.input if request.again else "",
        debounce=debounce_name(request) if request.debounce else "",
        labels=labels_of(request),
        generation=generation,
        turn=turn_of(spec) if spec.state == NO_STATE and not spec.parent else "",
        stays=request.again and request.stays,
        named=request.again and not spec.parent,
        depth=spec.depth or int(bool(spec.parent)),
        origins=[spec.origin] if spec.origin else [],
    )
