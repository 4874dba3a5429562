"""Jobs go out: a node claims what waits in a queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, inf

from am2z_trio.model.records import DEADLINE, EXPIRED, NO_STATE, UNLIMITED, ClaimAnswer, Grant, QueueLimits
from am2z_trio.store.agreed import BOUNDS, MOST_SPARE
from am2z_trio.store.ports import BATCH

from .bounds import Looks
from .endings import Endings
from .holdings import Holdings
from .job import JobRecord
from .leases import Leases
from .ledger import Ledger
from .line import Entry
from .queue import Queue
from .states import States
from .turns import Turns


@dataclass(slots=True)
class _Claim:
    """One call under way."""

    node: str
    name: str
    queue: Queue
    limit: int
    now: float
    limits: QueueLimits
    calls_only: bool
    in_a_row: int
    """Jobs that a session may have at a turn."""
    unasked: int
    unblocking: bool
    """More sessions are yet to be let go on, after the limit has changed."""
    starts: int = 0
    """How many the rate limit lets start."""
    places: int = 0
    """How many more may be active."""
    looks: Looks = field(default_factory=Looks)
    grants: list[Grant] = field(default_factory=list[Grant])
    expired: list[JobRecord] = field(default_factory=list[JobRecord])

    @property
    def has_more(self) -> bool:
        """Whether anything is left that this call might take."""
        return self.queue.has_calls if self.calls_only else self.queue.has_work


class Claiming:
    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        turns: Turns,
        endings: Endings,
        holdings: Holdings,
        states: States,
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._turns = turns
        self._endings = endings
        self._holdings = holdings
        self._states = states
        self._last: dict[tuple[str, str], tuple[int, list[tuple[str, str]]]] = {}
        """By node and queue: the number of its last call, and the jobs and tokens of its answer."""

    def claim(
        self,
        node: str,
        name: str,
        seq: int,
        limit: int,
        now: float,
        limits: QueueLimits = UNLIMITED,
        calls_only: bool = False,
        in_a_row: int = 1,
        unasked: int = 0,
    ) -> ClaimAnswer:
        if not self._leases.is_held(node):
            return ClaimAnswer(grants=[], lost=True)
        last_seq, last_grants = self._last.get((node, name), (-1, []))
        if seq < last_seq:
            return ClaimAnswer(grants=[], stale=True)
        if seq == last_seq:
            return self._answer_again(name, limit, now, last_grants)
        self._ledger.promote(name, now)
        queue = self._ledger.queue(name)
        unblocking = queue.limit_sessions(limits.per_session)
        call = _Claim(node, name, queue, limit, now, limits, calls_only, in_a_row, unasked, unblocking)
        self._grant_what_may_go(call, self._room(call))
        self._end_expired(call)
        next_due = self._next_due(call)
        self._park_or_unpark(call)
        self._last[node, name] = seq, [(grant.spec.id, grant.token) for grant in call.grants]
        self._ledger.deliver()
        return ClaimAnswer(grants=call.grants, next_due=next_due)

    def forget(self, node: str) -> None:
        """The node has left, and counts anew."""
        for key in [key for key in self._last if key[0] == node]:
            del self._last[key]

    def _answer_again(self, name: str, limit: int, now: float, grants: list[tuple[str, str]]) -> ClaimAnswer:
        """What still stands of an answer that was given before."""
        standing = [
            self.grant_of(job, now)
            for job_id, token in grants
            if (job := self._ledger.claimed(job_id, token)) is not None
        ]
        # Whether the first answer asked for another call at once is not known any more.
        more = len(grants) < limit and self._ledger.queue(name).has_work
        return ClaimAnswer(grants=standing, next_due=0.0 if more else self._ledger.next_due(name, now))

    def grant_of(self, job: JobRecord, now: float) -> Grant:
        """What its node is told of a job that it was given."""
        stored = None
        if job.spec.state == NO_STATE and job.spec.session:
            stored = self._states.read(job.spec.session, now)
        return Grant(
            spec=job.spec,
            token=job.token,
            attempt=job.attempt,
            deliveries=job.deliveries,
            remaining=None if job.deadline == inf else max(0.0, (job.deadline - now) / 1000),
            stored=stored,
            errors=job.errors,
            conflicts=job.conflicts,
        )

    # --- how many ---------------------------------------------------------------------------

    def _room(self, call: _Claim) -> int:
        """How many jobs the call may take: as many as it asks for, and the limits let begin."""
        queue, limits = call.queue, call.limits
        while limits.starts and queue.starts and queue.starts[0] <= call.now - limits.per * 1000:
            queue.starts.popleft()
        call.starts = limits.starts - len(queue.starts) if limits.starts else call.limit
        queue.most_active = limits.most_active
        # Who has stepped aside goes on before any job that waits.
        self._ledger.let_back(call.name)
        active = queue.counts.get("active", 0) - queue.away
        call.places = limits.most_active - active if limits.most_active else call.limit
        return 0 if queue.paused else min(call.limit, call.starts, call.places)

    # --- which ------------------------------------------------------------------------------

    def _grant_what_may_go(self, call: _Claim, room: int) -> None:
        def left() -> int:
            return room - len(call.grants)

        queue, looks = call.queue, call.looks
        batches = queue.calls(left, looks) if call.calls_only else queue.batches(left, looks, call.in_a_row)
        for entries, line in batches:
            for entry in entries:
                self._look_at(call, entry, line)

    def _look_at(self, call: _Claim, entry: Entry, line: str | None) -> None:
        """Grant the job that waits as this entry, or see why it is not to be granted now."""
        job = self._waiting(call.queue, entry, line)
        if job is None:
            call.looks.left -= 1
        elif call.now > job.deadline or call.now >= job.expires:
            call.expired.append(job)
            if call.calls_only:
                call.queue.drop_call(job.spec.id)
            self._leave_calls(call, job)
            self._ledger.taken.add(job.spec.id)
            call.looks.left -= BOUNDS.looks_of_an_end
        elif self._turns.is_taken(job.turn):
            self._leave_calls(call, job)
            self._turns.stand_in_line(job)
            call.looks.left -= 2
        elif self._enter_session(call, job):
            self._leave_calls(call, job)
            self._holdings.take(job, call.node, call.now)
            call.grants.append(self.grant_of(job, call.now))
        else:
            call.looks.left -= 1

    def _waiting(self, queue: Queue, entry: Entry, line: str | None) -> JobRecord | None:
        """The job that waits as this entry, taken out of a line or of those with a priority."""
        job = self._ledger.jobs.get(entry[0])
        if job is not None and job.status == "waiting" and (line is None or job.generation == entry[1]):
            return job
        if line is not None:
            queue.count_ghosts(line, -1)
        return None

    def _leave_calls(self, call: _Claim, job: JobRecord) -> None:
        """What was found among the calls is still where it waits, and waits there no more."""
        if call.calls_only:
            self._ledger.leave_place(job)

    @staticmethod
    def _enter_session(call: _Claim, job: JobRecord) -> bool:
        """Count the job among the active ones of its session, if there is room for it. If not, it goes on
        with its session."""
        session, queue = job.spec.session, call.queue
        if queue.has_room(session):
            queue.enter(session)
            return True
        listed = call.calls_only and not queue.drop_priority(job.spec.id)
        queue.block(job.entry, session, listed=listed)
        return False

    def _end_expired(self, call: _Claim) -> None:
        # What they have called ends with them, and may be among the jobs that were just granted.
        for job in call.expired:
            if job.status == "waiting":
                self._ledger.tally(job, "expired")
                reason = EXPIRED if call.now >= job.expires else DEADLINE
                self._endings.end_job(job, "expire", call.now, reason=reason)
                self._ledger.outbox.tell("job:cancelled", job, call.now, data={"attempt": job.attempt})
        self._ledger.taken.clear()

    # --- when again -------------------------------------------------------------------------

    def _next_due(self, call: _Claim) -> float | None:
        """Seconds until it is worth another call; 0 where this one has stopped before the end."""
        queue, limits, granted = call.queue, call.limits, len(call.grants)
        # One that had been about to take a turn has let the next one come back.
        more = call.has_more
        cut_short = call.unblocking or ((call.looks.left <= 0 or bool(call.expired)) and more)
        queue.held = (
            bool(limits.most_active) and granted >= call.places and queue.has_work and not queue.paused
        )
        due = None if queue.paused else self._ledger.next_due(call.name, call.now)
        if limits.starts:
            queue.starts.extend([call.now] * granted)
            if granted >= call.starts and more and not queue.paused:
                again = queue.starts[0] + limits.per * 1000
                if limits.delays_excess and not call.calls_only:
                    self._delay_excess(call, again)
                due = min(inf if due is None else due, (again - call.now) / 1000)
        return 0.0 if cut_short else due

    def _delay_excess(self, call: _Claim, again: float) -> None:
        """Delay what may not be started yet: each for the time at which the limit will let it start, behind
        those set aside before. One that comes back too early, by a little, keeps its place."""
        queue, gap = call.queue, call.limits.per * 1000 / call.limits.starts
        seen: list[JobRecord] = []
        last = queue.aside
        for entries, line in queue.batches(lambda: BATCH - len(seen), call.looks):
            for entry in entries:
                job = self._waiting(queue, entry, line)
                if job is None:
                    call.looks.left -= 1
                    continue
                seen.append(job)
                if job.aside:
                    continue
                # Those set aside before are no more than there are.
                last = min(max(again, last + gap), again + gap * queue.counts.get("later", 0))
                job.aside = True
                self._ledger.count(job, "defer")
                self._ledger.put_later(job, ceil(last))
        for job in reversed(seen):
            if job.status == "waiting":
                queue.put(job.entry, job.spec.session, job.priority, 0, front=True, first=True)
        queue.aside = ceil(last)

    def _park_or_unpark(self, call: _Claim) -> None:
        """A node that got less than it asked for is woken when there is more."""
        parked = call.queue.parked
        if call.calls_only and call.queue.has_work:
            # Whatever has woken this node may have been meant for one that claims all that waits.
            parked.pop(call.node, None)
            self._ledger.wake(call.name, "free")
        if len(call.grants) < call.limit:
            limited = call.queue.paused or call.limits != UNLIMITED
            spare = 0 if limited or call.calls_only else max(0, call.unasked - len(call.grants))
            parked[call.node] = call.calls_only, call.now, -min(spare, MOST_SPARE)
        else:
            parked.pop(call.node, None)
