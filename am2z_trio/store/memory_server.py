"""What every store must do, as plain synchronous code: the executable specification.

No await inside an operation, so each is atomic; time is an argument, so a test can say what time it
is. `MemoryStore` puts it behind the `Store` port for one node. The Redis scripts do the same, step
by step; a property test holds them to it.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any, Final

import msgspec

from am2z_trio.model.codec import NIL
from am2z_trio.model.events import Event
from am2z_trio.model.options import CircuitBreaker, Retention
from am2z_trio.model.records import (
    CHILD_TTL,
    DEAD_COUNT,
    DEAD_TTL,
    DEBOUNCED,
    FREE,
    KEPT,
    NO_STATE,
    PARENT_ENDED,
    SESSION_STOPPED,
    CancelRequest,
    ClaimAnswer,
    DeadJob,
    Enqueue,
    EnqueueAnswer,
    Flow,
    Grant,
    InboxMessage,
    JobSpec,
    JobView,
    Permit,
    QueueInfo,
    QueueStats,
    SessionCounts,
    SessionStopped,
    SettleAnswer,
    Settled,
    Settlement,
    TickAnswer,
    Wake,
)
from am2z_trio.model.transitions import TERMINAL, Status, Transition, follow
from am2z_trio.policy.breaker import Breaker

from .memory_states import MemoryStates
from .ports import BreakerStep, Listener, ReviveAnswer, StoreSettings

BATCH: Final = 100
"""Most jobs, nodes or queues that one housekeeping step touches."""

APART: Final = 0.25
"""Seconds between jobs that come back after they were lost with their worker for another time."""


@dataclass(slots=True)
class _Job:
    spec: JobSpec
    queue: str
    priority: int
    deadline: float
    max_stalled: int
    status: Status
    attempt: int = 1
    deliveries: int = 0
    stalls: int = 0
    progress: float = 0.0
    due: float = 0.0
    node: str = ""
    token: str = ""
    last_token: str = ""
    last_outcome: str = ""
    errors: bytes = b""
    cancel_reason: str | None = None
    settled: Settled | None = None
    forget_at: float = inf
    failed_at: float = 0.0
    on_complete: Retention | None = None
    on_fail: Retention | None = None
    children: dict[str, None] = field(default_factory=dict[str, None])
    origins: list[str] = field(default_factory=list[str])
    """Nodes that wait for the outcome: every one that has enqueued this id."""


@dataclass(slots=True)
class _Queue:
    """One queue. `waiting` and `later` may hold ghosts: ids that are there no more."""

    waiting: deque[str] = field(default_factory=deque[str])
    by_session: dict[str, deque[str]] = field(default_factory=dict[str, deque[str]])
    """What waits of each session; none is empty."""
    ready: deque[str] = field(default_factory=deque[str])
    """The sessions in `by_session` that are not blocked, in the order in which they are served."""
    blocked: dict[str, None] = field(default_factory=dict[str, None])
    """Sessions with as many active jobs as they may have."""
    running: dict[str, int] = field(default_factory=dict[str, int])
    """Active jobs of each session, where their number is limited."""
    per_session: int = 0
    """The limit, as the last claim named it."""
    starts: deque[float] = field(default_factory=deque[float])
    """When jobs were granted, where a rate limit counts them."""
    held: bool = False
    """The last claim left jobs waiting because enough were active: who frees one wakes a node."""
    paused: bool = False
    prioritised: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    later: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    dead: dict[str, float] = field(default_factory=dict[str, float])
    """Dead letters, by when they go."""
    done: dict[str, float] = field(default_factory=dict[str, float])
    """Completed jobs whose number is limited, by when they completed."""
    lot: dict[str, float] = field(default_factory=dict[str, float])
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.ready or self.prioritised)

    def batches(self, room: Callable[[], int]) -> Iterator[list[str]]:
        """What to look at next, taken out, as long as there is room and anything left.

        Jobs without a session and every session with jobs are parties, which are served in turn; jobs
        with a priority come after all of them. Each gets its share of the room; the rest goes round.
        """
        while room() > 0:
            parties = len(self.ready) + bool(self.waiting)
            if not parties:
                ids = [heapq.heappop(self.prioritised)[2] for _ in range(min(room(), len(self.prioritised)))]
                if not ids:
                    return
                yield ids
                continue
            share = ceil(room() / parties)
            if self.waiting:
                parties -= 1
                yield _take(self.waiting, min(share, room()))
            for _ in range(parties):
                if room() <= 0:
                    return
                session = self.ready.popleft()
                jobs = self.by_session[session]
                most = min(share, room())
                if self.per_session:
                    most = min(most, self.per_session - self.running.get(session, 0))
                    if most <= 0:
                        self.blocked[session] = None
                        continue
                ids = _take(jobs, most)
                if jobs:
                    self.ready.append(session)
                else:
                    del self.by_session[session]
                yield ids

    def leave(self, session: str) -> bool:
        """A job of the session is active no more; whether the session may go on now."""
        if not self.per_session:
            return False
        left = self.running.get(session, 0) - 1
        if left > 0:
            self.running[session] = left
        else:
            self.running.pop(session, None)
        return self._unblock(session)

    def _unblock(self, session: str) -> bool:
        if session not in self.blocked:
            return False
        del self.blocked[session]
        if session not in self.by_session:
            return False
        self.ready.append(session)
        return True

    def limit_sessions(self, most: int) -> None:
        """Take over a claim's limit; with another one, nobody is blocked at first."""
        if most == self.per_session:
            return
        if not most:
            self.running.clear()
        for session in sorted(self.blocked):
            self._unblock(session)
        self.per_session = most

    def drop(self, session: str) -> None:
        """Nothing waits of this session."""
        self.by_session.pop(session, None)
        self.blocked.pop(session, None)
        if session in self.ready:
            self.ready.remove(session)


def _take(jobs: deque[str], most: int) -> list[str]:
    return [jobs.popleft() for _ in range(min(most, len(jobs)))]


@dataclass(slots=True)
class _Node:
    lease_until: float
    gone_since: float | None = None


class MemoryServer:
    """What a Redis is to the Redis store: shared by the stores of any number of nodes.

    Every method takes `now`, milliseconds since the epoch. Messages are delivered synchronously,
    after the step that caused them.
    """

    def __init__(self, settings: StoreSettings | None = None) -> None:
        self.settings = settings or StoreSettings()
        self._jobs: dict[str, _Job] = {}
        self._queues: dict[str, _Queue] = {}
        self._infos: dict[str, QueueInfo] = {}
        self._live: dict[str, dict[str, None]] = {}
        self._stopping: dict[str, float] = {}
        self._breakers: dict[str, Breaker] = {}
        self._nodes: dict[str, _Node] = {}
        self._active: dict[str, dict[str, str]] = {}
        self._claims: dict[tuple[str, str], tuple[int | None, list[tuple[str, str]]]] = {}
        self._sweeps: dict[str, int] = {}
        self._freed: dict[str, None] = {}
        self._debounced: dict[tuple[str, str], tuple[str, float]] = {}
        self._fence = itertools.count(1)
        self._arrival = itertools.count(1)
        self._forget: list[tuple[float, str]] = []
        self._inboxes: dict[str, Listener] = {}
        self._watchers: dict[str, Listener] = {}
        self._outbox: list[tuple[str, InboxMessage]] = []
        self._events: list[Event] = []
        self.states = MemoryStates(
            self.settings,
            self._fence,
            is_connected=lambda node: node in self._inboxes,
            post=lambda node, message: self._outbox.append((node, message)),
        )

    # --- inboxes and events -----------------------------------------------------------------

    def connect(self, node: str, listener: Listener) -> None:
        self._inboxes[node] = listener

    def disconnect(self, node: str) -> None:
        self._inboxes.pop(node, None)
        self._watchers.pop(node, None)

    def watch_events(self, node: str, on: bool) -> None:
        if on:
            self._watchers[node] = self._inboxes[node]
        else:
            self._watchers.pop(node, None)

    def publish(self, events: Sequence[Event]) -> None:
        self._events.extend(events)
        self.deliver()

    def deliver(self) -> None:
        """Send the messages that have gathered."""
        freed, self._freed = self._freed, {}
        for name in freed:
            if self._queue(name).held:
                self._wake(name)
        outbox, self._outbox = self._outbox, []
        for node, message in outbox:
            listener = self._inboxes.get(node)
            if listener is not None:
                listener.on_message(message)
        events, self._events = self._events, []
        for event in events:
            for listener in list(self._watchers.values()):
                listener.on_event(event)

    def _tell(self, name: str, job: _Job, now: float, node: str = "", data: Any = None) -> None:
        if self._watchers:
            spec = job.spec
            self._events.append(Event(name, int(now), node, spec.id, spec.processor, spec.session, data))
            if name == "job:failed" and not spec.parent:
                self._tell("job:dead", job, now, node, data)

    # --- small steps that operations share --------------------------------------------------

    def _queue(self, name: str) -> _Queue:
        return self._queues.setdefault(name, _Queue())

    def _count(self, job: _Job, transition: Transition) -> None:
        """Change the job's status by the table, and the queue's counts with it."""
        old, new = job.status, follow(job.status, transition)
        if old == "active":
            self._freed[job.queue] = None
        counts = self._queue(job.queue).counts
        counts[old] = counts.get(old, 0) - 1
        counts[new] = counts.get(new, 0) + 1
        job.status = new

    def _put(self, job: _Job, *, front: bool = False) -> None:
        """Make a waiting job claimable and wake one node that is parked on its queue."""
        queue = self._queue(job.queue)
        if job.priority:
            arrival = 0 if front else next(self._arrival)
            heapq.heappush(queue.prioritised, (job.priority, arrival, job.spec.id))
        elif session := job.spec.session:
            jobs = queue.by_session.get(session)
            if jobs is None:
                jobs = queue.by_session[session] = deque()
                (queue.ready.appendleft if front else queue.ready.append)(session)
            (jobs.appendleft if front else jobs.append)(job.spec.id)
        else:
            (queue.waiting.appendleft if front else queue.waiting.append)(job.spec.id)
        self._wake(job.queue)

    def _put_later(self, job: _Job, due: float) -> None:
        job.due = due
        later = self._queue(job.queue).later
        heapq.heappush(later, (due, job.spec.id))
        self._drop_ghosts(later)
        if later[0][1] == job.spec.id:
            # Some node has to learn when to come back; its next claim will tell it.
            self._wake(job.queue)

    def _wake(self, name: str) -> bool:
        lot = self._queue(name).lot
        while lot:
            node = min(lot, key=lambda name: (lot[name], name))
            del lot[node]
            if node in self._inboxes:
                self._outbox.append((node, Wake(name)))
                return True
        return False

    def _promote(self, name: str, now: float) -> None:
        later = self._queue(name).later
        for _ in range(BATCH):
            self._drop_ghosts(later)
            if not later or later[0][0] > now:
                return
            job = self._jobs[heapq.heappop(later)[1]]
            self._count(job, "promote")
            self._put(job)

    def _drop_ghosts(self, later: list[tuple[float, str]]) -> None:
        """Make the first entry a job that really is due then."""
        while later:
            due, job_id = later[0]
            job = self._jobs.get(job_id)
            if job is not None and job.status == "later" and job.due == due:
                return
            heapq.heappop(later)

    def _end(
        self,
        job: _Job,
        transition: Transition,
        now: float,
        *,
        reason: str = "",
        result: bytes = b"",
    ) -> None:
        self._count(job, transition)
        status = job.status
        assert status in ("completed", "failed", "cancelled")
        job.settled = Settled(job.spec.id, status, reason, msgspec.Raw(result) if result else NIL)
        dead = status == "failed" and not job.spec.parent
        if not dead:
            job.spec = msgspec.structs.replace(job.spec, state=NO_STATE)  # the input is no longer needed
        job.token = job.node = ""
        self._retain(job, dead, now)
        parent = self._jobs.get(job.spec.parent)
        if parent is not None and status == "completed":
            # A job whose calls complete gets on, however often it is lost with its worker.
            parent.stalls = 0
        self._end_children(job, now, SESSION_STOPPED if reason == SESSION_STOPPED else PARENT_ENDED)
        self._outbox.extend((origin, job.settled) for origin in job.origins)
        job.origins = []
        if session := job.spec.session:
            live = self._live[session]
            live.pop(job.spec.id)
            if not live:
                del self._live[session]

    def _retain(self, job: _Job, dead: bool, now: float) -> None:
        """Keep the record of a job that has ended for as long as it may be asked for."""
        if job.spec.parent:
            # A parent that is run again asks its children for their outcomes, however late.
            self._keep_until(job, now + CHILD_TTL * 1000)
            return
        queue, usual = self._queue(job.queue), Retention(age=self.settings.result_ttl)
        if dead:
            usual = Retention(age=DEAD_TTL, count=DEAD_COUNT)
        own = (job.on_fail if dead else job.on_complete if job.status == "completed" else None) or usual
        age = usual.age if own.age is None else max(own.age, KEPT)
        count = usual.count if own.count is None else own.count
        assert age is not None
        self._keep_until(job, now + age * 1000)
        if dead:
            job.failed_at = now
            queue.dead[job.spec.id] = job.forget_at
        elif count is not None:
            queue.done[job.spec.id] = now
        if count is not None:
            self._trim(queue.dead if dead else queue.done, count, now)

    def _trim(self, kept: dict[str, float], count: int, now: float) -> None:
        over = len(kept) - count
        if over <= 0:
            return
        for job_id in sorted(kept, key=lambda name: (kept[name], name))[:over]:
            del kept[job_id]
            self._bury(job_id, now)

    def _bury(self, job_id: str, now: float) -> None:
        job = self._jobs.get(job_id)
        if job is not None and job.status in TERMINAL:
            self._queue(job.queue).dead.pop(job_id, None)
            job.spec = msgspec.structs.replace(job.spec, state=NO_STATE)
            self._keep_until(job, min(job.forget_at, now + KEPT * 1000))

    def _keep_until(self, job: _Job, until: float) -> None:
        job.forget_at = until
        heapq.heappush(self._forget, (until, job.spec.id))

    def _end_children(self, job: _Job, now: float, why: str) -> None:
        """What a job has called ends with it; outcomes are kept no longer than its own."""
        children, job.children = job.children, {}
        for child_id in children:
            child = self._jobs.get(child_id)
            if child is None:
                continue
            if child.status in TERMINAL:
                self._keep_until(child, now + self.settings.result_ttl * 1000)
            elif child.status == "active":
                child.cancel_reason = why
                self._outbox.append((child.node, CancelRequest(child_id, child.token, why)))
            else:
                self._drop_priority(child)
                self._end(child, "cancel", now, reason=why)
                self._tell("job:cancelled", child, now, data={"attempt": child.attempt})

    def _forget_in_lists(self, old: _Job) -> None:
        """A job that is run again must not be in a list from before, where a cancelled one stays."""
        job_id, queue, session = old.spec.id, self._queue(old.queue), old.spec.session
        jobs = queue.by_session.get(session) if session else queue.waiting
        while jobs and job_id in jobs:
            jobs.remove(job_id)
            if not jobs and session:
                queue.drop(session)

    def _drop_priority(self, job: _Job) -> None:
        if job.priority and job.status == "waiting":
            urgent = self._queue(job.queue).prioritised
            urgent[:] = [entry for entry in urgent if entry[2] != job.spec.id]
            heapq.heapify(urgent)

    def _drop_claim(self, job: _Job, settled_as: str | None) -> str:
        """Retire the claim's token; returns the node that held it.

        `settled_as` is `None` for a claim that is taken away: its token is fenced from now on.
        """
        node = job.node
        self._active.get(node, {}).pop(job.spec.id, None)
        if settled_as is not None:
            job.last_token, job.last_outcome = job.token, settled_as
        job.token = job.node = ""
        if job.spec.session and self._queue(job.queue).leave(job.spec.session):
            self._wake(job.queue)
        return node

    def _return(
        self,
        job: _Job,
        transition: Transition,
        now: float,
        settled_as: str | None = None,
        *,
        due: float | None = None,
    ) -> bool:
        """Give a claimed job back to its queue, unless somebody wants it cancelled: to the front, or for a
        time when it is due."""
        node = self._drop_claim(job, settled_as)
        if job.cancel_reason is None and self._is_stopping(job.spec.session, now):
            job.cancel_reason = SESSION_STOPPED
        if job.cancel_reason is not None:
            if settled_as is not None:
                job.last_outcome = "cancelled"
            self._end(job, "cancel", now, reason=job.cancel_reason)
            self._tell("job:cancelled", job, now, node, {"attempt": job.attempt})
            return False
        self._count(job, transition)
        if due is None:
            self._put(job, front=True)
        else:
            self._put_later(job, due)
        return True

    def _collect(self, now: float) -> None:
        while self._forget and self._forget[0][0] <= now:
            _, job_id = heapq.heappop(self._forget)
            job = self._jobs.get(job_id)
            if job is not None and job.forget_at <= now:
                del self._jobs[job_id]
                queue = self._queue(job.queue)
                queue.dead.pop(job_id, None)
                queue.done.pop(job_id, None)

    # --- jobs -------------------------------------------------------------------------------

    def enqueue(self, jobs: Sequence[Enqueue], now: float) -> list[EnqueueAnswer]:
        self._collect(now)
        answers = [self._enqueue(request, now) for request in jobs]
        self.deliver()
        return answers

    def _enqueue(self, request: Enqueue, now: float) -> EnqueueAnswer:
        spec = request.spec
        known = self._jobs.get(spec.id)
        if known is not None and request.again and known.status in TERMINAL and known.status != "completed":
            known = None
        if known is not None:
            if known.status not in TERMINAL and spec.origin and spec.origin not in known.origins:
                known.origins.append(spec.origin)
            return EnqueueAnswer(status="dup", settled=known.settled)
        if self._is_stopping(spec.session, now):
            return EnqueueAnswer(status="stopped")
        parent = self._jobs.get(spec.parent)
        if spec.parent and (parent is None or parent.status in TERMINAL):
            return EnqueueAnswer(status="orphan")
        counts = self._queue(request.queue).counts
        replaced = self._replaced_by(request, now)
        waiting = counts.get("waiting", 0) + counts.get("later", 0) - (replaced is not None)
        if request.max_size and waiting >= request.max_size:
            return EnqueueAnswer(status="full", waiting=waiting)
        if replaced is not None:
            self._drop_priority(replaced)
            self._end(replaced, "cancel", now, reason=DEBOUNCED)
            self._tell("job:cancelled", replaced, now, data={"attempt": replaced.attempt})
        if request.debounce:
            until = now + (request.delay + self.settings.result_ttl) * 1000
            self._debounced[request.queue, request.debounce] = (spec.id, until)
        job = _Job(
            spec=spec,
            on_complete=request.on_complete,
            on_fail=request.on_fail,
            queue=request.queue,
            priority=request.priority,
            deadline=inf if request.deadline is None else now + max(0.0, request.deadline) * 1000,
            max_stalled=request.max_stalled,
            origins=[spec.origin] if spec.origin else [],
            status=follow(None, "delay" if request.delay > 0 else "enqueue"),
        )
        old = self._jobs.get(spec.id)
        if old is not None:
            self._forget_in_lists(old)
        self._jobs[spec.id] = job
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

    def _replaced_by(self, request: Enqueue, now: float) -> _Job | None:
        job_id, until = self._debounced.get((request.queue, request.debounce), ("", -inf))
        job = self._jobs.get(job_id) if request.debounce and until > now else None
        return job if job is not None and job.status in ("waiting", "later") else None

    def claim(
        self, node: str, queue_name: str, seq: int, limit: int, now: float, flow: Flow = FREE
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
            return ClaimAnswer(grants=standing, next_due=self._next_due(queue_name, now))
        self._promote(queue_name, now)
        queue = self._queue(queue_name)
        queue.limit_sessions(flow.per_session)
        while queue.starts and queue.starts[0] <= now - flow.per * 1000:
            queue.starts.popleft()
        starts = flow.starts - len(queue.starts) if flow.starts else limit
        active = flow.most_active - queue.counts.get("active", 0) if flow.most_active else limit
        room = 0 if queue.paused else min(limit, starts, active)
        grants: list[Grant] = []
        for ids in queue.batches(lambda: room - len(grants)):
            for job_id in ids:
                job = self._jobs.get(job_id)
                if job is None or job.status != "waiting":
                    continue
                if now > job.deadline:
                    self._end(job, "expire", now, reason="deadline")
                    self._tell("job:failed", job, now, data={"attempt": job.attempt})
                    continue
                session = job.spec.session
                if session and flow.per_session:
                    if queue.running.get(session, 0) >= flow.per_session:
                        # One with a priority: it goes on with its session.
                        queue.by_session.setdefault(session, deque()).append(job_id)
                        queue.blocked[session] = None
                        if session in queue.ready:
                            queue.ready.remove(session)
                        continue
                    queue.running[session] = queue.running.get(session, 0) + 1
                self._count(job, "claim")
                job.deliveries += 1
                job.node, job.token = node, f"{next(self._fence)}:m"
                self._active.setdefault(node, {})[job.spec.id] = job.token
                self._tell("job:started", job, now, node, {"attempt": job.attempt})
                grants.append(self._grant(job, now))
        queue.held = bool(flow.most_active) and len(grants) >= active and queue.has_work and not queue.paused
        due = None if queue.paused else self._next_due(queue_name, now)
        if flow.starts:
            queue.starts.extend([now] * len(grants))
            if len(grants) >= starts and queue.has_work and not queue.paused:
                again = queue.starts[0] + flow.per * 1000
                if flow.set_aside:
                    self._set_aside(queue, again)
                due = min(inf if due is None else due, (again - now) / 1000)
        if len(grants) < limit:
            queue.lot[node] = now
        else:
            queue.lot.pop(node, None)
        self._claims[node, queue_name] = (
            seq,
            [(grant.spec.id, grant.token) for grant in grants],
        )
        self.deliver()
        return ClaimAnswer(grants=grants, next_due=due)

    def _set_aside(self, queue: _Queue, due: float) -> None:
        """Delay what may not be started yet, a millisecond apart so that it stays in order."""
        moved: list[_Job] = []
        for ids in queue.batches(lambda: BATCH - len(moved)):
            for job_id in ids:
                job = self._jobs.get(job_id)
                if job is not None and job.status == "waiting":
                    self._count(job, "defer")
                    self._put_later(job, due + len(moved))
                    moved.append(job)

    def _grant(self, job: _Job, now: float) -> Grant:
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
            return SettleAnswer(status="fenced")
        outcome, session = settlement.outcome, job.spec.session
        commit = settlement.commit if outcome == "completed" and session else None
        if commit is not None:
            current = self.states.read(session, now)
            if commit.expected is not None and commit.expected != current.mark:
                return SettleAnswer(status="conflict", current=current)
            self.states.commit(session, commit.blob, commit.checksum, now)
        if outcome == "released":
            returned = self._return(job, "release", now, "released")
            return SettleAnswer(status="applied", outcome="released" if returned else "cancelled")
        if outcome == "retry" and job.cancel_reason is None and self._is_stopping(session, now):
            job.cancel_reason = SESSION_STOPPED
        node = self._drop_claim(job, outcome)
        if outcome == "retry" and job.cancel_reason is None:
            self._tell("job:retrying", job, now, node, {"attempt": job.attempt})
            job.attempt += 1
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
            reason = settlement.reason or job.cancel_reason or ""
            self._end(job, "cancel", now, reason=reason, result=settlement.result)
        job.last_outcome = job.status
        self._tell(f"job:{job.status}", job, now, node, {"attempt": job.attempt})
        return SettleAnswer(status="applied", outcome=job.status)

    def report(self, job_id: str, token: str, progress: float, now: float) -> bool:
        job = self._jobs.get(job_id)
        if job is None or not token or job.token != token:
            return False
        job.progress = progress
        self._tell("job:progress", job, now, job.node, {"progress": progress})
        self.deliver()
        return True

    def cancel(self, job_id: str, reason: str, now: float) -> Status | None:
        job = self._jobs.get(job_id)
        if job is None:
            return None
        before = job.status
        if before == "active":
            job.cancel_reason = reason
            self._outbox.append((job.node, CancelRequest(job_id, job.token, reason)))
        elif before not in TERMINAL:
            self._drop_priority(job)
            self._end(job, "cancel", now, reason=reason)
            self._tell("job:cancelled", job, now, data={"attempt": job.attempt})
        self.deliver()
        return before

    def view(self, jobs: Sequence[str], now: float) -> list[JobView | None]:
        self._collect(now)
        return [self._view(job_id) for job_id in jobs]

    def _view(self, job_id: str) -> JobView | None:
        job = self._jobs.get(job_id)
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
        )

    # --- dead letters -----------------------------------------------------------------------

    def dead_page(self, queue: str, offset: int, limit: int, now: float) -> list[str]:
        self._collect(now)
        dead = self._queue(queue).dead
        return sorted(dead, key=lambda name: (dead[name], name), reverse=True)[offset : offset + limit]

    def _dead(self, job_id: str) -> _Job | None:
        job = self._jobs.get(job_id)
        return job if job is not None and job_id in self._queue(job.queue).dead else None

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
        )

    def revive(self, jobs: Sequence[str], now: float) -> list[ReviveAnswer]:
        self._collect(now)
        answers: list[ReviveAnswer] = [self._revive(job_id, now) for job_id in jobs]
        self.deliver()
        return answers

    def _revive(self, job_id: str, now: float) -> ReviveAnswer:
        job = self._jobs.get(job_id)
        if job is None:
            return "gone"
        if job.status != "failed":
            return "queued"
        dead, session = self._queue(job.queue).dead, job.spec.session
        if job_id not in dead:
            return "gone"
        if self._is_stopping(session, now):
            return "stopped"
        del dead[job_id]
        self._count(job, "revive")
        job.attempt, job.stalls, job.deadline, job.forget_at = 1, 0, inf, inf
        job.progress, job.settled, job.cancel_reason = 0.0, None, None
        if session:
            self._live.setdefault(session, {})[job_id] = None
        self._forget_in_lists(job)
        self._put(job)
        self._tell("job:enqueued", job, now)
        return "queued"

    def bury(self, jobs: Sequence[str], now: float) -> None:
        for job_id in jobs:
            if self._dead(job_id) is not None:
                self._bury(job_id, now)

    # --- sessions ---------------------------------------------------------------------------

    def _is_stopping(self, session: str, now: float) -> bool:
        return self._stopping.get(session, -inf) > now

    def stop_session(self, node: str, session: str, *, running: bool, refuse: float, now: float) -> list[str]:
        """End the session's jobs; returns the running ones, where those are spared."""
        self._stopping[session] = now + refuse * 1000
        spared: list[str] = []
        for job_id in sorted(self._live.get(session, ())):
            job = self._jobs[job_id]
            if job.status in TERMINAL:
                continue  # ended with its parent a moment ago
            holder = job.node
            if job.status == "active":
                if not running:
                    spared.append(job_id)
                    if node not in job.origins:
                        job.origins.append(node)
                    continue
                self._outbox.append((holder, CancelRequest(job_id, job.token, SESSION_STOPPED)))
                self._drop_claim(job, None)
            else:
                self._drop_priority(job)
            self._end(job, "cancel", now, reason=SESSION_STOPPED)
            self._tell("job:cancelled", job, now, holder, {"attempt": job.attempt})
        if running:
            del self._stopping[session]
            for queue in self._queues.values():
                queue.drop(session)
            self.states.drop_lock(session)
            self._outbox.extend((name, SessionStopped(session)) for name in self._nodes)
        self.deliver()
        return spared

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

    def announce(self, queues: Sequence[QueueInfo]) -> None:
        for info in queues:
            self._infos[info.queue] = info

    def known_queues(self) -> list[QueueInfo]:
        return list(self._infos.values())

    def unpark(self, node: str, queue_name: str, now: float) -> None:
        queue = self._queue(queue_name)
        queue.lot.pop(node, None)
        if queue.has_work or self._next_due(queue_name, now) is not None:
            self._wake(queue_name)
        self.deliver()

    def pause(self, queue_name: str, on: bool) -> None:
        queue = self._queue(queue_name)
        goes_on = queue.paused and not on
        queue.paused = on
        while goes_on and self._wake(queue_name):
            pass
        self.deliver()

    def stats(self, queues: Sequence[str], now: float) -> list[QueueStats]:
        self._collect(now)
        return [self._stats(self._queue(name)) for name in queues]

    @staticmethod
    def _stats(queue: _Queue) -> QueueStats:
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
        )

    # --- nodes ------------------------------------------------------------------------------

    def join(self, node: str, now: float) -> None:
        for job_id in list(self._active.get(node, ())):
            self._return(self._jobs[job_id], "reap", now)
        self._nodes[node] = _Node(lease_until=now + self.settings.lease * 1000)
        self.deliver()

    def leave(self, node: str, now: float) -> None:
        self._leave_lots(node)  # first: what goes back now must wake somebody else
        for job_id in list(self._active.pop(node, ())):
            self._return(self._jobs[job_id], "release", now)
        self._nodes.pop(node, None)
        for key in [key for key in self._claims if key[0] == node]:
            del self._claims[key]
        self.deliver()

    def _leave_lots(self, node: str) -> None:
        for queue in self._queues.values():
            queue.lot.pop(node, None)

    def tick(self, node: str, now: float, *, reap: bool = True) -> TickAnswer:
        self._collect(now)
        own = self._nodes.get(node)
        lost = own is None or own.lease_until < 0
        if own is not None and not lost:
            own.lease_until = now + self.settings.lease * 1000
            own.gone_since = None
        reaped = 0
        oldest = heapq.nsmallest(BATCH, self._nodes.items(), key=lambda item: (item[1].lease_until, item[0]))
        for name, holder in oldest:
            if reap and reaped < BATCH and self._is_dead(name, holder, now):
                holder.lease_until = -1
                reaped += self._reap(name, now, BATCH - reaped)
        first = self._sweeps.get(node, 0)
        swept = list(itertools.islice(self._infos, first, first + BATCH))
        self._sweeps[node] = 0 if len(swept) < BATCH else first + BATCH
        for name in swept:
            queue = self._queue(name)
            due = self._next_due(name, now)
            if queue.lot and not queue.paused and (queue.has_work or (due is not None and due <= 0)):
                self._wake(name)
        self.states.expire(now)
        self.deliver()
        return TickAnswer(lost=lost, reaped=reaped)

    def _is_dead(self, name: str, node: _Node, now: float) -> bool:
        if node.lease_until < now:
            return True
        if name in self._inboxes:
            node.gone_since = None
        elif node.gone_since is None:
            node.gone_since = now
        return node.gone_since is not None and now - node.gone_since >= self.settings.gone_grace * 1000

    def _reap(self, name: str, now: float, most: int) -> int:
        """Take a bounded number of jobs from a dead node; forget the node when it has none left."""
        taken = list(itertools.islice(self._active.get(name, ()), most))
        suspects: list[_Job] = []
        for job_id in taken:
            job = self._jobs[job_id]
            job.stalls += 1
            if job.stalls > job.max_stalled and job.cancel_reason is None:
                self._drop_claim(job, None)
                self._end(job, "stall", now, reason="stalled")
                self._tell("job:failed", job, now, name, {"attempt": job.attempt})
            elif job.stalls > 1:
                suspects.append(job)
            elif self._return(job, "reap", now):
                self._tell("job:stalled", job, now, name)
        for index, job in enumerate(suspects):
            # One by one, each time in the other order: one of them may be what kills its worker.
            place = index if job.stalls % 2 == 0 else len(suspects) - 1 - index
            if self._return(job, "reap_later", now, due=now + place * APART * 1000):
                self._tell("job:stalled", job, now, name)
        if not self._active.get(name):
            self._active.pop(name, None)
            # Its claim numbers stay: a late duplicate may still be on its way.
            self._leave_lots(name)
            self._nodes.pop(name, None)
        return len(taken)

    def reconcile(self, node: str, known: Sequence[str], now: float) -> int:
        mine = set(known)
        lost = [job_id for job_id in self._active.get(node, ()) if job_id not in mine]
        for job_id in lost:
            self._return(self._jobs[job_id], "release", now)
        self.deliver()
        return len(lost)
