"""What every store must do, as plain synchronous code: the executable specification.

No await inside an operation, so each is atomic; time is an argument, so a test can say what time it
is. `MemoryStore` puts it behind the `Store` port for one node. The Redis scripts do the same, step
by step; a property test holds them to it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Final, Literal

import msgspec

from am2z_trio.model.errors import JobStalledError
from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import (
    ANNOUNCED_FOR,
    ANNOUNCED_LATELY,
    DEADLINE,
    DEBOUNCED,
    FREE,
    NO_STATE,
    SESSION_STOPPED,
    STALLED,
    CancelRequest,
    ClaimAnswer,
    DeadJob,
    Enqueue,
    EnqueueAnswer,
    FailedJob,
    Flow,
    ForgetAnswer,
    Grant,
    JobView,
    Permit,
    QueueInfo,
    QueueStats,
    RenewAnswer,
    SessionCounts,
    SessionStopped,
    SettleAnswer,
    Settlement,
    Standing,
    TickAnswer,
    debounce_name,
    told_of_failure,
    turn_of,
)
from am2z_trio.model.transitions import TERMINAL, Status, follow
from am2z_trio.policy.breaker import Breaker
from am2z_trio.store.ports import BreakerStep, ReviveAnswer, StoreSettings

from .ledger import BATCH, Job, Ledger
from .queue import BOUNDS, Entry, Looks, Queue

STOPPED: Final = 50
"""Jobs of a session that end in one step of a stop."""

APART: Final = 0.25
"""Seconds between jobs that come back after they were lost with their worker for another time."""

STOPS_KEPT: Final = 10_000
"""Stopped sessions that are remembered."""

TRUCE: Final = 3.0
"""Most seconds for which nobody is taken for dead after some node was away."""


DEAD_AMONG: Final = 50
"""Nodes that are looked at to find dead ones: those whose leases end first."""

RENEWED: Final = 1.0
"""Seconds within which a node that lives has renewed its lease."""

FEW: Final = 10
"""Nodes of which each asks when the next look is due; of more, one does anyway."""


@dataclass(slots=True)
class _Node:
    lease_until: float
    grace: float
    """Seconds for which its inbox may be without a listener."""
    gone_since: float | None = None


class MemoryServer(Ledger):
    """What a Redis is to the Redis store: shared by the stores of any number of nodes.

    Every method takes `now`, milliseconds since the epoch. Messages are delivered synchronously,
    after the step that caused them.
    """

    def __init__(self, settings: StoreSettings | None = None) -> None:
        super().__init__(settings)
        self._infos: dict[str, QueueInfo] = {}
        self._seen: dict[str, float] = {}
        self._made: dict[str, float] = {}
        self._servers: dict[str, set[str]] = {}
        """By queue: the nodes that serve it."""
        self._retired: set[str] = set()
        """Queues that whoever served them last has taken away."""
        self._breakers: dict[str, Breaker] = {}
        self._nodes: dict[str, _Node] = {}
        self._claims: dict[tuple[str, str], tuple[int | None, list[tuple[str, str]]]] = {}
        self._stopped: dict[str, int] = {}
        """Sessions by the number of their last stop, the oldest first."""
        self._truce = 0.0
        self._look_at = 0.0
        """Until when nobody is taken for dead, since some node was away."""

    # --- jobs -------------------------------------------------------------------------------

    def enqueue(self, jobs: Sequence[Enqueue], now: float) -> list[EnqueueAnswer]:
        self._collect(now)
        answers = [self._enqueue(request, now) for request in jobs]
        self.deliver()
        return answers

    def _enqueue(self, request: Enqueue, now: float) -> EnqueueAnswer:
        spec = request.spec
        known = self._known(spec.id, now)
        generation = 0
        if known is None and request.joins:
            return EnqueueAnswer(status="unknown")
        if known is not None:
            again = request.again and known.status in TERMINAL and known.status != "completed"
            processor = known.spec.processor
            if known.spec.session != spec.session:
                return EnqueueAnswer(status="taken", other="session")
            if processor != spec.processor:
                return EnqueueAnswer(status="taken", other="processor", processor=processor)
            if known.input != request.input and known.input and request.input and not again:
                return EnqueueAnswer(status="taken", other="input", processor=processor)
            if again:
                generation = known.generation + 1
                known = None
        if known is not None:
            if known.status not in TERMINAL and spec.origin and spec.origin not in known.origins:
                known.origins.append(spec.origin)
            if known.status not in TERMINAL and request.again and request.stays:
                known.stays = True
            if spec.depth:
                self._call_for(known, spec.depth)
            caller = self._jobs.get(spec.parent) if known.spec.parent == spec.parent else None
            if known.status not in TERMINAL and caller is not None and caller.status not in TERMINAL:
                # Of a parent that ended, and runs again before this one was ended with it.
                caller.children[spec.id] = None
            return EnqueueAnswer(status="dup", settled=known.settled)
        if self._is_stopping(spec.session, now):
            return EnqueueAnswer(status="stopped")
        parent = self._jobs.get(spec.parent)
        if spec.parent and (parent is None or parent.status in TERMINAL):
            return EnqueueAnswer(status="orphan")
        counts = self._queue(request.queue).counts
        replaced = self._replaced_by(request)
        waiting = counts.get("waiting", 0) + counts.get("later", 0) - (replaced is not None)
        if request.max_size and waiting >= request.max_size:
            return EnqueueAnswer(status="full", waiting=waiting)
        if replaced is not None:
            self._cancel_unbegun(replaced, now, DEBOUNCED)
        if request.debounce:
            self._debounced[request.queue, debounce_name(request)] = spec.id
        job = Job(
            spec=spec,
            on_complete=request.on_complete,
            on_fail=request.on_fail,
            debounce=debounce_name(request) if request.debounce else "",
            input=request.input if request.again else "",
            generation=generation,
            queue=request.queue,
            priority=request.priority,
            deadline=inf if request.deadline is None else now + max(0.0, request.deadline) * 1000,
            max_stalled=request.max_stalled,
            origins=[spec.origin] if spec.origin else [],
            stays=request.again and request.stays,
            named=request.again and not spec.parent,
            depth=spec.depth or int(bool(spec.parent)),
            turn=turn_of(spec) if spec.state == NO_STATE and not spec.parent else "",
            status=follow(None, "delay" if request.delay > 0 else "enqueue"),
        )
        earlier = self._jobs.get(spec.id)
        self._jobs[spec.id] = job
        if generation and earlier is not None:
            self._queue(earlier.queue).dead.pop(spec.id, None)
        if parent is not None:
            parent.children[spec.id] = None
        if spec.session:
            self._live.setdefault(spec.session, {})[spec.id] = None
        counts[job.status] = counts.get(job.status, 0) + 1
        if job.status == "later":
            self._put_later(job, now + request.delay * 1000)
        else:
            self._put(job)
        self._tell("job:enqueued", job, now)
        return EnqueueAnswer(status="queued")

    def call_for(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        if job is not None:
            self._call_for(job, 1)
            self.deliver()

    def _call_for(self, job: Job, depth: int) -> None:
        """Another job waits for this one, which nobody had called."""
        if job.depth or job.status in TERMINAL:
            return
        job.depth = depth
        if job.status == "waiting" and not self._stands_in_line(job):
            self._list_call(job)
            self._wake(job.queue)

    def _replaced_by(self, request: Enqueue) -> Job | None:
        job_id = self._debounced.get((request.queue, debounce_name(request))) if request.debounce else None
        return None if job_id is None else self._jobs.get(job_id)

    def claim(
        self,
        node: str,
        queue_name: str,
        seq: int,
        limit: int,
        now: float,
        flow: Flow = FREE,
        calls_only: bool = False,
    ) -> ClaimAnswer:
        holder = self._nodes.get(node)
        if holder is None or holder.lease_until < 0:
            return ClaimAnswer(grants=[], lost=True)
        last_seq, last_grants = self._claims.get((node, queue_name), (None, []))
        if last_seq is not None and seq < last_seq:
            return ClaimAnswer(grants=[], stale=True)
        if seq == last_seq:
            standing = [
                self._grant(job, now)
                for job_id, token in last_grants
                if (job := self._jobs.get(job_id)) is not None and job.token == token
            ]
            # Whether the first answer asked for another call at once is not known any more.
            more = len(last_grants) < limit and self._queue(queue_name).has_work
            return ClaimAnswer(grants=standing, next_due=0.0 if more else self._next_due(queue_name, now))
        self._promote(queue_name, now)
        queue = self._queue(queue_name)
        unblocking = queue.limit_sessions(flow.per_session)
        while queue.starts and queue.starts[0] <= now - flow.per * 1000:
            queue.starts.popleft()
        starts = flow.starts - len(queue.starts) if flow.starts else limit
        queue.most_active = flow.most_active
        self._let_back(queue_name)
        active = flow.most_active - queue.counts.get("active", 0) + queue.away if flow.most_active else limit
        room = 0 if queue.paused else min(limit, starts, active)
        grants: list[Grant] = []
        expired: list[Job] = []
        looks = Looks()
        batches = queue.calls if calls_only else queue.batches
        for entries, line in batches(lambda: room - len(grants), looks):
            for entry in entries:
                job = self._waiting(queue, entry, line)
                if job is None:
                    looks.left -= 1
                    continue
                if now > job.deadline:
                    expired.append(job)
                    if calls_only:
                        queue.drop_call(job.spec.id)
                        self._leave_place(job)
                    self._taken.add(job.spec.id)
                    looks.left -= BOUNDS.looks_of_an_end
                    continue
                if job.turn in self._turns:
                    if calls_only:
                        self._leave_place(job)
                    self._stand_in_line(job)
                    looks.left -= 2
                    continue
                session = job.spec.session
                if session and flow.per_session:
                    if queue.running.get(session, 0) >= flow.per_session:
                        listed = calls_only and not queue.drop_priority(job.spec.id)
                        queue.block(job.entry, session, listed=listed)
                        looks.left -= 1
                        continue
                    queue.enter(session)
                if calls_only:
                    self._leave_place(job)
                self._leave_debounce(job)
                if job.turn:
                    self._turns[job.turn] = job.spec.id
                self._count(job, "claim")
                job.deliveries += 1
                job.node, job.token, job.lost = node, f"{next(self._fence)}:m", ("", "")
                self._active.setdefault(node, {})[job.spec.id] = job.token
                self._tell("job:started", job, now, node, {"attempt": job.attempt})
                grants.append(self._grant(job, now))
        # What they have called ends with them, and may be among the jobs that were just granted.
        for job in expired:
            if job.status == "waiting":
                self._end(job, "expire", now, reason=DEADLINE)
                self._tell("job:cancelled", job, now, data={"attempt": job.attempt})
        self._taken.clear()
        # One that had been about to take a turn has let the next one come back.
        more = queue.has_calls if calls_only else queue.has_work
        cut_short = unblocking or ((looks.left <= 0 or bool(expired)) and more)
        queue.held = bool(flow.most_active) and len(grants) >= active and queue.has_work and not queue.paused
        due = None if queue.paused else self._next_due(queue_name, now)
        if flow.starts:
            queue.starts.extend([now] * len(grants))
            if len(grants) >= starts and more and not queue.paused:
                again = queue.starts[0] + flow.per * 1000
                if flow.set_aside and not calls_only:
                    self._set_aside(queue, again, flow.per * 1000 / flow.starts, looks)
                due = min(inf if due is None else due, (again - now) / 1000)
        if calls_only and queue.has_work:
            # Whatever has woken this node may have been meant for one that claims all that waits.
            queue.lot.pop(node, None)
            self._wake(queue_name, "free")
        if len(grants) < limit:
            queue.lot[node] = calls_only, now
        else:
            queue.lot.pop(node, None)
        self._claims[node, queue_name] = (
            seq,
            [(grant.spec.id, grant.token) for grant in grants],
        )
        self.deliver()
        return ClaimAnswer(grants=grants, next_due=0.0 if cut_short else due)

    def _waiting(self, queue: Queue, entry: Entry, line: str | None) -> Job | None:
        """The job that waits as this entry, taken out of a line or of those with a priority."""
        job = self._jobs.get(entry[0])
        if job is not None and job.status == "waiting" and (line is None or job.generation == entry[1]):
            return job
        if line is not None:
            queue.count_ghosts(line, -1)
        return None

    def _set_aside(self, queue: Queue, again: float, gap: float, looks: Looks) -> None:
        """Delay what may not be started yet: each for the time at which the limit will let it start, behind
        those set aside before. One that comes back too early, by a little, keeps its place."""
        seen: list[Job] = []
        last = queue.aside
        for entries, line in queue.batches(lambda: BATCH - len(seen), looks):
            for entry in entries:
                job = self._waiting(queue, entry, line)
                if job is None:
                    looks.left -= 1
                    continue
                seen.append(job)
                if job.aside:
                    continue
                # Those set aside before are no more than there are.
                last = min(max(again, last + gap), again + gap * queue.counts.get("later", 0))
                job.aside = True
                self._count(job, "defer")
                self._put_later(job, ceil(last))
        for job in reversed(seen):
            if job.status == "waiting":
                queue.put(job.entry, job.spec.session, job.priority, 0, front=True)
        queue.aside = ceil(last)

    def _grant(self, job: Job, now: float) -> Grant:
        stored = None
        if job.spec.state == NO_STATE and job.spec.session:
            stored = self.states.read(job.spec.session, now)
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

    def _next_due(self, queue_name: str, now: float) -> float | None:
        later = self._queue(queue_name).later
        self._drop_ghosts(later)
        return max(0.0, (later[0][0] - now) / 1000) if later else None

    def settle(self, settlements: Sequence[Settlement], now: float) -> list[SettleAnswer]:
        answers = [self._settle(settlement, now) for settlement in settlements]
        self.deliver()
        return answers

    def _settle(self, settlement: Settlement, now: float) -> SettleAnswer:
        job = self._jobs.get(settlement.id)
        if job is None:
            return SettleAnswer(status="gone")
        if not settlement.token:
            return SettleAnswer(status="fenced")
        if job.last_token == settlement.token:
            return SettleAnswer(status="replay", outcome=job.last_outcome)
        if job.token != settlement.token:
            if not self._is_resumable(job, settlement.token):
                self._take_stall_back(job, settlement.token)
                return SettleAnswer(status="fenced")
            self._resume(job)
        outcome, session = settlement.outcome, job.spec.session
        commit = settlement.commit if outcome == "completed" and session else None
        if commit is not None:
            current = self.states.read(session, now)
            holder = self._turns.get(commit.turn, job.spec.id)
            if commit.expected is not None and (commit.expected != current.mark or holder != job.spec.id):
                return SettleAnswer(status="conflict", current=current)
            self.states.commit(session, commit.blob, commit.checksum, now)
        if outcome in ("released", "conflicted"):
            if settlement.delay > 0:
                due = now + settlement.delay * 1000
                returned = self._return(job, "release_later", now, outcome, due=due)
            else:
                returned = self._return(job, "release", now, outcome)
            if outcome == "conflicted" and returned:
                job.conflicts += 1
                job.turn = settlement.reason or job.turn
            return SettleAnswer(status="applied", outcome=outcome if returned else "cancelled")
        if outcome == "retry" and job.cancel_reason is None and self._is_stopping(session, now):
            job.cancel_reason = SESSION_STOPPED
        node = self._drop_claim(job, outcome)
        if outcome == "retry" and job.cancel_reason is None:
            self._tell("job:retrying", job, now, node, told_of_failure(job.attempt, settlement.reason))
            job.attempt += 1
            job.conflicts = 0
            job.errors = settlement.result or job.errors
            if settlement.delay > 0:
                self._count(job, "retry_later")
                self._put_later(job, now + settlement.delay * 1000)
            else:
                self._count(job, "retry")
                self._put(job)
            return SettleAnswer(status="applied", outcome="retry")
        if outcome == "completed":
            self._end(job, "complete", now, result=settlement.result)
        elif outcome == "failed":
            self._end(job, "fail", now, result=settlement.result)
        else:
            reason = "" if outcome == "retry" else settlement.reason
            reason = reason or job.cancel_reason or ""
            self._end(job, "cancel", now, reason=reason, result=settlement.result)
        job.last_outcome = job.status
        failed = job.status == "failed"
        told = told_of_failure(job.attempt, settlement.reason if failed else "")
        self._tell(f"job:{job.status}", job, now, node, told)
        return SettleAnswer(status="applied", outcome=job.status)

    def report(self, job_id: str, token: str, progress: float, now: float) -> bool:
        job = self._jobs.get(job_id)
        if job is None or not token or job.token != token:
            return False
        job.progress = progress
        self._tell("job:progress", job, now, job.node, {"progress": progress})
        self.deliver()
        return True

    def step_aside(self, job_id: str, token: str) -> None:
        job = self._jobs.get(job_id)
        if job is None or not token or job.token != token:
            return
        queue = self._queue(job.queue)
        if job.away:
            queue.back.pop(job_id, None)
            return
        job.away = True
        queue.away += 1
        self._freed[job.queue] = self._freed.get(job.queue, 0) + 1
        if job.spec.session and queue.leave(job.spec.session):
            self._wake(job.queue)
        self.deliver()

    def step_back(self, job_id: str, token: str) -> bool:
        job = self._jobs.get(job_id)
        if job is None or not token or job.token != token or not job.away:
            return True
        self._queue(job.queue).back.setdefault(job_id)
        self._let_back(job.queue, asking=job_id)
        self.deliver()
        return not job.away

    def cancel(self, job_id: str, reason: str, now: float, *, leaving: str = "") -> Status | None:
        job = self._jobs.get(job_id)
        if job is None:
            return None
        before = job.status
        if leaving and before not in TERMINAL:
            job.origins = [origin for origin in job.origins if origin != leaving]
            if job.origins or job.stays:
                return before
        if before == "active":
            job.cancel_reason = reason
            self._outbox.append((job.node, CancelRequest(job_id, job.token, reason)))
        elif before not in TERMINAL:
            self._cancel_unbegun(job, now, reason)
        self.deliver()
        return before

    def view(self, jobs: Sequence[str], now: float) -> list[JobView | None]:
        self._collect(now)
        return [self._view(job_id, now) for job_id in jobs]

    def _view(self, job_id: str, now: float) -> JobView | None:
        job = self._known(job_id, now)
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
        )

    # --- dead letters -----------------------------------------------------------------------

    def dead_page(self, queue: str, offset: int, limit: int, now: float) -> list[str]:
        self._collect(now)
        dead = self._queue(queue).dead
        return sorted(dead, key=lambda name: (dead[name], name), reverse=True)[offset : offset + limit]

    def _dead(self, job_id: str) -> Job | None:
        job = self._jobs.get(job_id)
        if job is None or job.status != "failed" or job_id not in self._queue(job.queue).dead:
            return None
        return job

    def dead_jobs(self, jobs: Sequence[str], now: float) -> list[DeadJob | None]:
        self._collect(now)
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

    def revive(self, jobs: Sequence[str], now: float) -> list[ReviveAnswer]:
        self._collect(now)
        answers: list[ReviveAnswer] = [self._revive(job_id, now) for job_id in jobs]
        self.deliver()
        return answers

    def _revive(self, job_id: str, now: float) -> ReviveAnswer:
        job = self._dead(job_id)
        if job is None:
            return "gone"
        session = job.spec.session
        if self._is_stopping(session, now):
            return "stopped"
        del self._queue(job.queue).dead[job_id]
        self._count(job, "revive")
        job.attempt, job.stalls, job.conflicts, job.deadline, job.forget_at = 1, 0, 0, inf, inf
        job.progress, job.settled, job.cancel_reason, job.errors = 0.0, None, None, b""
        job.lost = "", ""
        job.charged.clear()
        if session:
            self._live.setdefault(session, {})[job_id] = None
        self._put(job)
        self._tell("job:enqueued", job, now)
        return "queued"

    def bury(self, jobs: Sequence[str], now: float) -> list[bool]:
        self._collect(now)
        answers: list[bool] = []
        for job_id in jobs:
            answers.append(self._dead(job_id) is not None)
            if answers[-1]:
                self._bury(job_id, now)
        return answers

    # --- sessions ---------------------------------------------------------------------------

    def stop_session(self, node: str, session: str, *, running: bool, refuse: float, now: float) -> list[str]:
        """End the session's jobs; returns the running ones, where those are spared."""
        steps = self.stop_steps(node, session, running=running, refuse=refuse, clock=lambda: now)
        return [job_id for spared in steps for job_id in spared]

    def stop_steps(
        self, node: str, session: str, *, running: bool, refuse: float, clock: Callable[[], float]
    ) -> Iterator[list[str]]:
        """The same in steps, between which others may have their turn; each gives those it has spared."""
        again = True
        while again:
            jobs = sorted(self._live.get(session, ()))
            for start in range(0, max(1, len(jobs)), STOPPED):
                now = clock()
                self._stopping[session] = now + refuse * 1000
                spared = [
                    job_id
                    for job_id in jobs[start : start + STOPPED]
                    if not self._stop_job(job_id, node, running=running, now=now)
                ]
                self.deliver()
                yield spared
            # One that was on its way back to its queue between two steps has ended by now.
            again = running and bool(self._live.get(session))
        if running:
            now = clock()
            self._stopping.pop(session, None)
            self.states.drop_lock(session)
            stopped = SessionStopped(session, self._fence.above(now), node)
            self._stopped.pop(session, None)
            self._stopped[session] = stopped.number
            while len(self._stopped) > STOPS_KEPT:
                del self._stopped[next(iter(self._stopped))]
            self._outbox.extend((name, stopped) for name in self._inboxes if name != node)
            self.deliver()

    def _stop_job(self, job_id: str, node: str, *, running: bool, now: float) -> bool:
        """End one job of a session that is stopped; `False` if it runs and is spared."""
        job = self._jobs.get(job_id)
        if job is None or job.status in TERMINAL:
            return True  # ended with its parent, or by itself, a moment ago
        if job.status != "active":
            self._cancel_unbegun(job, now, SESSION_STOPPED)
        elif running:
            holder = job.node
            self._outbox.append((holder, CancelRequest(job_id, job.token, SESSION_STOPPED)))
            self._drop_claim(job, None)
            self._end(job, "cancel", now, reason=SESSION_STOPPED)
            self._tell("job:cancelled", job, now, holder, {"attempt": job.attempt})
        else:
            if node not in job.origins:
                job.origins.append(node)
            return False
        return True

    def stops(self, sessions: Sequence[str]) -> list[int]:
        return [self._stopped.get(session, 0) for session in sessions]

    def active_sessions(self) -> list[str]:
        return list(self._live)

    def session_stats(self, session: str) -> SessionCounts:
        found = [self._jobs[job_id].status for job_id in self._live.get(session, ())]
        return SessionCounts(
            waiting=found.count("waiting"), active=found.count("active"), delayed=found.count("later")
        )

    def breaker(self, processor: str, step: BreakerStep, policy: CircuitBreaker, now: float) -> Permit:
        circuit = self._breakers.setdefault(processor, Breaker())
        if step == "enter":
            return circuit.enter(policy, now)
        return circuit.succeed() if step == "succeed" else circuit.fail(policy, now)

    # --- queues -----------------------------------------------------------------------------

    def announce(self, node: str, queues: Sequence[QueueInfo], now: float, *, serves: bool = True) -> None:
        holder = self._nodes.get(node)
        for info in queues:
            if serves:
                self._seen[info.queue] = now
                if holder is not None and holder.lease_until >= 0:
                    self._servers.setdefault(info.queue, set()).add(node)
            else:
                self._made[info.queue] = now
                if info.queue in self._infos:
                    continue
            self._infos[info.queue] = info
            self._retired.discard(info.queue)

    def withdraw(self, node: str, queues: Sequence[str], now: float, *, retire: bool = False) -> None:
        for queue in queues:
            self._unserve(node, queue, now)
            if retire and queue in self._infos and not self._workers(queue, now):
                self._retired.add(queue)

    def retire(self, queue: str) -> None:
        """The queue is known by name no more: for a server with one node, entered or not."""
        self._retired.add(queue)

    def _unserve(self, node: str, queue: str, now: float) -> None:
        servers = self._servers.get(queue, set())
        if node in servers:
            servers.remove(node)
            self._seen[queue] = now
            if not servers:
                del self._servers[queue]

    def _unserve_all(self, node: str, now: float) -> None:
        for queue in list(self._servers):
            self._unserve(node, queue, now)

    def _workers(self, queue: str, now: float) -> int:
        """Live nodes that serve the queue."""
        servers = self._servers.get(queue)
        return len(servers - self._dead_nodes(now)) if servers else 0

    def _dead_nodes(self, now: float) -> set[str]:
        """Of the nodes whose leases end first, those that can be told to be dead."""
        first = heapq.nsmallest(
            DEAD_AMONG, self._nodes.items(), key=lambda item: (item[1].lease_until, item[0])
        )
        lease = self.settings.lease * 1000
        return {
            name
            for name, node in first
            if node.lease_until < now
            or (
                name not in self._inboxes
                and now - (node.lease_until - lease) > node.grace * 1000 + RENEWED * 1000
            )
        }

    def forget_queue(self, queue: str, now: float) -> ForgetAnswer:
        if queue not in self._infos:
            return ForgetAnswer(known=False)
        left, workers = self._jobs_left(queue, now), self._workers(queue, now)
        if not left and not workers:
            self._drop_queue(queue)
        return ForgetAnswer(known=True, jobs=left, workers=workers)

    def _jobs_left(self, queue_name: str, now: float) -> int:
        self._collect(now)
        queue = self._queue(queue_name)
        return sum(queue.counts.get(status, 0) for status in ("waiting", "later", "active")) + len(queue.dead)

    def _drop_queue(self, queue: str) -> None:
        for known in (self._infos, self._seen, self._made, self._queues, self._servers):
            known.pop(queue, None)
        self._retired.discard(queue)

    def known_queues(self, now: float) -> list[QueueInfo]:
        found: list[QueueInfo] = []
        for queue, info in self._infos.items():
            workers = self._workers(queue, now)
            lately = (
                queue not in self._retired and now - self._seen.get(queue, -inf) <= ANNOUNCED_LATELY * 1000
            )
            found.append(msgspec.structs.replace(info, workers=workers, known=workers > 0 or lately))
        return found

    def unpark(self, node: str, queue_name: str, now: float) -> None:
        queue = self._queue(queue_name)
        queue.lot.pop(node, None)
        later = self._next_due(queue_name, now) is not None
        if later or queue.has_work:
            self._wake(queue_name, "any" if later else "able")
        self.deliver()

    def pause(self, queue_name: str, on: bool) -> None:
        queue = self._queue(queue_name)
        goes_on = queue.paused and not on
        queue.paused = on
        while goes_on and self._wake(queue_name, "any"):
            pass
        self.deliver()

    def stats(self, queues: Sequence[str], now: float) -> list[QueueStats]:
        self._collect(now)
        return [self._stats(self._queue(name), self._workers(name, now)) for name in queues]

    @staticmethod
    def _stats(queue: Queue, workers: int) -> QueueStats:
        counts = queue.counts
        waiting = counts.get("waiting", 0)
        return QueueStats(
            waiting=0 if queue.paused else waiting,
            paused=waiting if queue.paused else 0,
            active=counts.get("active", 0),
            completed=counts.get("completed", 0),
            failed=counts.get("failed", 0),
            delayed=counts.get("later", 0),
            cancelled=counts.get("cancelled", 0),
            dead=len(queue.dead),
            workers=workers,
        )

    # --- nodes ------------------------------------------------------------------------------

    def join(self, node: str, now: float, grace: float | None = None) -> None:
        if grace is None:
            grace = self.settings.disconnect_grace
        self._nodes[node] = _Node(lease_until=now + self.settings.lease * 1000, grace=grace)

    def leave(self, node: str, now: float) -> None:
        self._leave_lots(node)  # first: what goes back now must wake somebody else
        for job_id in list(self._active.pop(node, ())):
            self._return(self._jobs[job_id], "release", now)
        self._unserve_all(node, now)
        self._nodes.pop(node, None)
        if not self._nodes:
            self._look_at = 0.0
        for key in [key for key in self._claims if key[0] == node]:
            del self._claims[key]
        self.deliver()

    def _leave_lots(self, node: str) -> None:
        for queue in self._queues.values():
            queue.lot.pop(node, None)

    def renew(self, node: str, now: float, look_every: float) -> RenewAnswer:
        lost = self._renew(node, now)
        if lost or not look_every:
            return RenewAnswer(lost=lost)
        look = self._look_at <= now
        if look or self._look_at > now + look_every * 1000:
            self._look_at = now + look_every * 1000
        if len(self._nodes) > FEW:
            return RenewAnswer(lost=lost, look=look)
        return RenewAnswer(lost=lost, look=look, wait=min(max((self._look_at - now) / 1000, 0.05), 1.0))

    def _renew(self, node: str, now: float) -> bool:
        """Renew a lease that stands; whether it is gone."""
        own = self._nodes.get(node)
        if own is None or own.lease_until < 0:
            return True
        lease = self.settings.lease * 1000
        if own.lease_until - now < lease / 3:
            # The others may be on their way back, too.
            self._truce = now + min(lease, TRUCE * 1000)
        own.lease_until = now + lease
        own.gone_since = None
        return False

    def tick(self, node: str, now: float, *, reap: bool = True) -> TickAnswer:
        self._collect(now)
        lost = self._renew(node, now)
        reaped, more = 0, False
        failed: list[FailedJob] = []
        oldest = heapq.nsmallest(BATCH, self._nodes.items(), key=lambda item: (item[1].lease_until, item[0]))
        for name, holder in oldest if reap and self._truce <= now else ():
            if self._is_dead(name, holder, now):
                holder.lease_until = -1
                if reaped < BATCH:
                    reaped += self._reap(name, now, BATCH - reaped, failed)
                more = more or name in self._nodes
            elif holder.gone_since is not None:
                # A suspect is looked at again as soon as its grace is over.
                self._look_at = min(self._look_at, holder.gone_since + holder.grace * 1000)
        # Nothing here is too much for one look.
        for name in list(self._infos):
            queue = self._queue(name)
            announced = max(self._seen.get(name, -inf), self._made.get(name, -inf))
            old = now - announced > ANNOUNCED_FOR * 1000
            if old and not queue.paused and not self._jobs_left(name, now):
                self._drop_queue(name)
                continue
            due = self._next_due(name, now)
            overdue = due is not None and due <= 0
            if queue.lot and not queue.paused and (queue.has_work or overdue):
                self._wake(name, "any" if overdue else "able")
        self.states.expire(now)
        self.deliver()
        return TickAnswer(lost=lost, reaped=reaped, more=more, failed=sorted(failed, key=lambda job: job.id))

    def _is_dead(self, name: str, node: _Node, now: float) -> bool:
        if node.lease_until < now:
            return True
        if name in self._inboxes:
            node.gone_since = None
        elif node.gone_since is None:
            node.gone_since = now
        return node.gone_since is not None and now - node.gone_since >= node.grace * 1000

    def _reap(self, name: str, now: float, most: int, failed: list[FailedJob]) -> int:
        """Take a bounded number of jobs from a dead node; forget the node when it has none left."""
        taken = list(itertools.islice(self._active.get(name, ()), most))
        suspects: list[Job] = []
        for job_id in taken:
            job = self._jobs[job_id]
            job.stalls += 1
            if job.stalls > job.max_stalled and job.cancel_reason is None:
                self._drop_claim(job, None)
                self._end(job, "stall", now, reason="stalled")
                spec = job.spec
                failed.append(
                    FailedJob(id=spec.id, processor=spec.processor, session=spec.session, attempt=job.attempt)
                )
                lost = f"{JobStalledError.code}\n{STALLED}"
                self._tell("job:failed", job, now, name, told_of_failure(job.attempt, lost))
            elif job.stalls > 1:
                suspects.append(job)
            elif self._take_away(job, "reap", now, name):
                self._tell("job:stalled", job, now, name)
        for index, job in enumerate(suspects):
            # One by one, each time in the other order: one of them may be what kills its worker.
            place = index if job.stalls % 2 == 0 else len(suspects) - 1 - index
            if self._take_away(job, "reap_later", now, name, due=now + place * APART * 1000):
                self._tell("job:stalled", job, now, name)
        if not self._active.get(name):
            self._active.pop(name, None)
            # Its claim numbers stay: a late duplicate may still be on its way.
            self._leave_lots(name)
            self._unserve_all(name, now)
            self._nodes.pop(name, None)
        return len(taken)

    def _take_away(
        self,
        job: Job,
        transition: Literal["reap", "reap_later"],
        now: float,
        node: str,
        *,
        due: float | None = None,
    ) -> bool:
        """Return a job of a node that seems to be dead, which may have it again until somebody else has."""
        token = job.token
        if not self._return(job, transition, now, due=due):
            return False
        job.lost = token, node
        job.charged.append(token)
        return True

    def _resume(self, job: Job) -> None:
        # Unless it has joined again it counts as being reaped, so that the claim cannot be forgotten.
        self._nodes.setdefault(job.lost[1], _Node(lease_until=-1, grace=0.0))
        super()._resume(job)

    def reconcile(self, claims: Sequence[tuple[str, str]]) -> list[Standing]:
        answers = [self._stands(job_id, token) for job_id, token in claims]
        self.deliver()
        return answers

    def _stands(self, job_id: str, token: str) -> Standing:
        job = self._jobs.get(job_id)
        if job is None or not token:
            return Standing(status="lost")
        if job.token == token:
            return Standing(status="held", cancel=job.cancel_reason)
        if job.last_token == token:
            return Standing(status="settled")
        if self._is_resumable(job, token) and self._queue(job.queue).has_room(job.spec.session):
            self._resume(job)
            return Standing(status="held")
        self._take_stall_back(job, token)
        return Standing(status="lost")

    def holdings(self, node: str) -> list[tuple[str, str]]:
        return list(self._active.get(node, {}).items())
