"""The memory server's jobs, queues and messages, and the steps that its operations share.

What `lua/jobs.lua` is to the Redis scripts.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, Literal

import msgspec

from am2z_trio.model.codec import NIL
from am2z_trio.model.events import Event
from am2z_trio.model.options import Retention
from am2z_trio.model.records import (
    CHILD_TTL,
    DEAD_COUNT,
    DEAD_TTL,
    KEPT,
    NO_STATE,
    PARENT_ENDED,
    SESSION_STOPPED,
    CancelRequest,
    InboxMessage,
    JobSpec,
    MayGoOn,
    Settled,
    Wake,
)
from am2z_trio.model.transitions import TERMINAL, Status, Transition, follow
from am2z_trio.store.ports import Listener, StoreSettings

from .queue import BOUNDS, Entry, Queue
from .states import Fence, MemoryStates

BATCH: Final = 100
"""Most jobs, nodes or queues that one housekeeping step touches."""


@dataclass(slots=True)
class Job:
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
    lost: tuple[str, str] = ("", "")
    """Token and node of the claim that was taken away, until somebody else is granted the job."""
    charged: list[str] = field(default_factory=list[str])
    """Tokens of the claims for which `stalls` were counted."""
    errors: bytes = b""
    cancel_reason: str | None = None
    outlived: float = inf
    """Until when the record of its parent is kept, which has ended before it."""
    settled: Settled | None = None
    forget_at: float = inf
    failed_at: float = 0.0
    on_complete: Retention | None = None
    on_fail: Retention | None = None
    input: str = ""
    """Digest of what it was given."""
    debounce: str = ""
    generation: int = 0
    """How often its id was used before."""
    turn: str = ""
    """The turn it takes; empty for none."""
    place: int = 0
    """Where it is in the line for its turn, once it has been there."""
    conflicts: int = 0
    stays: bool = False
    named: bool = False
    """Somebody has chosen its id, and may use it again."""
    away: bool = False
    """It waits for others, or for room to go on: limits do not count it."""
    aside: bool = False
    """A rate limit has set it aside once."""
    depth: int = 0
    """How deep it is in calls of other jobs; 0 if none waits for it."""
    children: dict[str, None] = field(default_factory=dict[str, None])
    origins: list[str] = field(default_factory=list[str])
    """Nodes that wait for the outcome: every one that has enqueued this id."""

    @property
    def entry(self) -> Entry:
        """What stands for it in a line."""
        return self.spec.id, self.generation


@dataclass(slots=True)
class _Ending:
    """What a job that has ended had called, and has yet to end with it."""

    parent: str
    children: deque[str]
    why: str
    till: float
    """When outcomes go."""


class Ledger:
    """Who is in which queue, held by whom, and what has yet to be said to whom.

    Steps take `now`, milliseconds since the epoch. Messages gather until `deliver`.
    """

    def __init__(self, settings: StoreSettings | None = None) -> None:
        self.settings = settings or StoreSettings()
        self._jobs: dict[str, Job] = {}
        self._queues: dict[str, Queue] = {}
        self._live: dict[str, dict[str, None]] = {}
        """By session: its jobs that have not ended."""
        self._stopping: dict[str, float] = {}
        self._active: dict[str, dict[str, str]] = {}
        """By node: the jobs it holds, and their tokens."""
        self._freed: dict[str, int] = {}
        """By queue: how many fewer of its jobs are active since the last `deliver`."""
        self._ghosts: dict[tuple[str, str], int] = {}
        """By queue and session: entries of jobs that wait no more since the last `deliver`."""
        self._may_end, self._may_trim = BOUNDS.ended, BOUNDS.trimmed
        self._ending: deque[_Ending] = deque()
        self.on_ending: list[Callable[[], None]] = []
        """Called when there is something for `end_children`."""
        self._taken: set[str] = set()
        """Jobs that wait and were taken out of their lines by the step under way."""
        self._debounced: dict[tuple[str, str], str] = {}
        """By queue and `debounce_name`: the last job of that key, until it begins or ends."""
        self._turns: dict[str, str] = {}
        """Who has which turn."""
        self._lines: dict[str, dict[str, list[tuple[int, str]]]] = {}
        """By turn and queue: who waits for it, by place. None is empty."""
        self._fence = Fence()
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
        self._sieve_ghosts()
        self._sieve_ghosts()
        self._may_end, self._may_trim = BOUNDS.ended, BOUNDS.trimmed
        freed, self._freed = self._freed, {}
        for name, places in freed.items():
            let_back = self._let_back(name) if places > 0 else 0
            if self._queue(name).held:
                for _ in range(places - let_back):
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

    def _tell(self, name: str, job: Job, now: float, node: str = "", data: Any = None) -> None:
        if self._watchers:
            spec = job.spec
            self._events.append(Event(name, int(now), node, spec.id, spec.processor, spec.session, data))
            if name == "job:failed" and not spec.parent:
                self._tell("job:dead", job, now, node, data)

    # --- small steps that operations share --------------------------------------------------

    def _queue(self, name: str) -> Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = Queue()
        return queue

    def _count(self, job: Job, transition: Transition) -> None:
        """Change the job's status by the table, and the queue's counts with it."""
        old, new = job.status, follow(job.status, transition)
        if "active" in (old, new):
            self._freed[job.queue] = self._freed.get(job.queue, 0) + (1 if old == "active" else -1)
        if job.depth and old == "waiting":
            self._queue(job.queue).drop_call(job.spec.id)
        counts = self._queue(job.queue).counts
        counts[old] = counts.get(old, 0) - 1
        counts[new] = counts.get(new, 0) + 1
        job.status = new

    def _put(self, job: Job, *, front: bool = False) -> None:
        """Make a waiting job claimable and wake one node that is parked on its queue."""
        arrival = 0 if front or not job.priority else next(self._arrival)
        self._queue(job.queue).put(job.entry, job.spec.session, job.priority, arrival, front=front)
        if job.depth:
            self._list_call(job, front=front)
        self._wake(job.queue)

    def _list_call(self, job: Job, *, front: bool = False) -> None:
        """A job that others wait for is to be found apart from those that nobody does."""
        arrival = 0 if front else next(self._arrival)
        self._queue(job.queue).put_call(job.spec.id, job.depth, arrival)

    def _leave_place(self, job: Job) -> None:
        """A waiting job begins without being taken from where it waits. Its entry stays in its line, as one
        that waits no more whenever the job does."""
        if not self._queue(job.queue).drop_priority(job.spec.id):
            job.generation += 1
            place = job.queue, job.spec.session
            self._ghosts[place] = self._ghosts.get(place, 0) + 1

    def _put_later(self, job: Job, due: float) -> None:
        job.due = due
        later = self._queue(job.queue).later
        heapq.heappush(later, (due, job.spec.id))
        self._drop_ghosts(later)
        if later[0][1] == job.spec.id:
            # Some node has to learn when to come back; its next claim will tell it.
            self._wake(job.queue, "any")

    def _wake(self, name: str, whom: Literal["able", "free", "any"] = "able") -> bool:
        """Wake a parked node: one that claims whatever waits. Where there is none, one that claims calls
        only, if there are calls or `any` will do; never if it is for a `free` one."""
        queue = self._queue(name)
        lot = queue.lot
        while lot:
            node = min(lot, key=lambda name: (lot[name], name))
            calls_only, _ = lot[node]
            if calls_only and (whom == "free" or (whom == "able" and not queue.has_calls)):
                return False
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
        job: Job,
        transition: Transition,
        now: float,
        *,
        reason: str = "",
        result: bytes = b"",
    ) -> None:
        if job.status != "active":
            self._leave_debounce(job)
            self._leave_line(job)
        self._count(job, transition)
        status = job.status
        assert status in ("completed", "failed", "cancelled")
        job.settled = Settled(job.spec.id, status, reason, msgspec.Raw(result) if result else NIL)
        dead = status == "failed" and not job.spec.parent
        if not dead:
            job.spec = msgspec.structs.replace(job.spec, state=NO_STATE)  # the input is no longer needed
        job.token = job.node = ""
        age = self._retain(job, dead, now)
        parent = self._jobs.get(job.spec.parent)
        if parent is not None and status == "completed":
            # A job whose calls complete gets on, however often it is lost with its worker.
            parent.stalls = 0
            parent.charged.clear()
        self._end_children(job, now, SESSION_STOPPED if reason == SESSION_STOPPED else PARENT_ENDED, age)
        self._outbox.extend((origin, job.settled) for origin in job.origins)
        job.origins = []
        if session := job.spec.session:
            live = self._live[session]
            live.pop(job.spec.id)
            if not live:
                del self._live[session]

    def _leave_debounce(self, job: Job) -> None:
        """A job that begins or ends gives way to no later one of its key any more."""
        if self._debounced.get((job.queue, job.debounce)) == job.spec.id:
            del self._debounced[job.queue, job.debounce]

    def _retain(self, job: Job, dead: bool, now: float) -> float:
        """Keep the record of a job that has ended for as long as it may be asked for; returns the seconds."""
        if job.spec.parent:
            # A parent that is run again asks its children for their outcomes, however late; one that has
            # ended is outlived by none for long.
            till = min(CHILD_TTL, max((job.outlived - now) / 1000, KEPT))
            self._keep_until(job, now + till * 1000)
            return till
        ttl = self.settings.result_ttl if job.named else self.settings.unnamed_ttl
        queue, usual = self._queue(job.queue), Retention(age=min(ttl, self.settings.result_ttl))
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
        return age

    def _trim(self, kept: dict[str, float], count: int, now: float) -> None:
        over = len(kept) - count
        if over <= 0:
            return
        # Far more are kept only after the limit was lowered: they go with the next ones.
        over = min(over, self._may_trim)
        self._may_trim -= over
        for job_id in heapq.nsmallest(over, kept, key=lambda name: (kept[name], name)):
            del kept[job_id]
            self._bury(job_id, now)

    def _bury(self, job_id: str, now: float) -> None:
        job = self._jobs.get(job_id)
        if job is not None and job.status in TERMINAL:
            self._queue(job.queue).dead.pop(job_id, None)
            job.spec = msgspec.structs.replace(job.spec, state=NO_STATE)
            self._keep_until(job, min(job.forget_at, now + KEPT * 1000))

    def _keep_until(self, job: Job, until: float) -> None:
        job.forget_at = until
        heapq.heappush(self._forget, (until, job.spec.id))
        if len(self._forget) > 2 * len(self._jobs) + BATCH:
            # Most are of jobs whose time was changed since.
            self._forget = [(at, id) for id, kept in self._jobs.items() if (at := kept.forget_at) < inf]
            heapq.heapify(self._forget)

    def _end_children(self, job: Job, now: float, why: str, age: float) -> None:
        """What a job has called ends with it; outcomes are kept as long as its own record."""
        children, job.children = job.children, {}
        if len(children) > self._may_end:
            next(self._fence)
            self._ending.append(_Ending(job.spec.id, deque(children), why, now + age * 1000))
            for listener in self.on_ending:
                listener()
        else:
            self._may_end -= len(children)
            for child_id in children:
                self._end_child(child_id, now, why, now + age * 1000)

    def _end_child(self, child_id: str, now: float, why: str, till: float) -> None:
        child = self._jobs.get(child_id)
        if child is None:
            return
        if child.status in TERMINAL:
            self._keep_until(child, max(till, now + KEPT * 1000))
            return
        child.outlived = till
        if child.status == "active":
            child.cancel_reason = why
            self._outbox.append((child.node, CancelRequest(child_id, child.token, why)))
        else:
            self._cancel_unbegun(child, now, why)

    def end_children(self, now: float) -> bool:
        """Go on ending what jobs that have ended had called; returns whether there is more."""
        while self._ending and self._may_end > 0:
            first = self._ending[0]
            parent = self._jobs.get(first.parent)
            while first.children and self._may_end > 0:
                child_id = first.children.popleft()
                self._may_end -= 1
                # Its job may run again, and have called it anew.
                if parent is None or child_id not in parent.children:
                    self._end_child(child_id, now, first.why, first.till)
            if not first.children:
                self._ending.popleft()
        self.deliver()
        return bool(self._ending)

    def _cancel_unbegun(self, job: Job, now: float, why: str) -> None:
        """End a job that waits or is delayed. Its entry stays in a line until it is skipped or sieved out."""
        listed = job.status == "waiting" and not self._queue(job.queue).drop_priority(job.spec.id)
        listed = listed and not self._stands_in_line(job)
        self._end(job, "cancel", now, reason=why)
        self._tell("job:cancelled", job, now, data={"attempt": job.attempt})
        if listed and job.spec.id not in self._taken:
            place = job.queue, job.spec.session
            self._ghosts[place] = self._ghosts.get(place, 0) + 1

    def _waits(self, entry: Entry) -> bool:
        """Whether a job that has not ended stands in its line as this entry."""
        job = self._jobs.get(entry[0])
        return job is not None and job.status not in TERMINAL and job.generation == entry[1]

    def _sieve_ghosts(self) -> None:
        """Take entries of jobs that wait no more out where they are many: a bounded number per operation."""
        ghosts, self._ghosts = self._ghosts, {}
        left = BOUNDS.sieved
        for (name, session), count in ghosts.items():
            queue = self._queue(name)
            queue.count_ghosts(session, count)
            most = min(left, count * BOUNDS.sieved_per_ghost + BOUNDS.sieved_at_least)
            if most > 0:
                left -= queue.sieve(session, most, self._waits)

    # --- jobs that wait for others ----------------------------------------------------------

    def _let_back(self, name: str, asking: str = "") -> int:
        """Let jobs go on for which there is room; all but the one that is `asking` hear of it."""
        queue, let = self._queue(name), 0
        for job_id in list(itertools.islice(queue.back, BATCH)):
            if queue.most_active and queue.counts.get("active", 0) - queue.away >= queue.most_active:
                break
            job = self._jobs[job_id]
            if not queue.has_room(job.spec.session):
                continue
            del queue.back[job_id]
            job.away = False
            queue.away -= 1
            queue.enter(job.spec.session)
            let += 1
            if job_id != asking:
                self._outbox.append((job.node, MayGoOn(job_id, job.token)))
        return let

    # --- turns ------------------------------------------------------------------------------

    def _stand_in_line(self, job: Job) -> None:
        """The job's turn is another one's. It keeps its place when it comes here again."""
        job.place = job.place or next(self._arrival)
        self._queue(job.queue).drop_call(job.spec.id)
        line = self._lines.setdefault(job.turn, {}).setdefault(job.queue, [])
        bisect.insort(line, (job.place, job.spec.id))

    def _stands_in_line(self, job: Job) -> bool:
        return (job.place, job.spec.id) in self._lines.get(job.turn, {}).get(job.queue, ())

    def _leave_line(self, job: Job) -> None:
        """A job has ended before it had its turn. If it was about to take it, the next one is."""
        if job.turn and not self._step_out_of_line(job):
            self._call_up(job.turn, job.queue)

    def _step_out_of_line(self, job: Job) -> bool:
        """Returns whether it stood there."""
        if not self._stands_in_line(job):
            return False
        self._lines[job.turn][job.queue].remove((job.place, job.spec.id))
        self._drop_if_empty(job.turn, job.queue)
        return True

    def _pass_turn(self, job: Job) -> None:
        """The first in line of every queue may take it: nobody is to wait for a queue that is not served."""
        if job.turn and self._turns.get(job.turn) == job.spec.id:
            del self._turns[job.turn]
            for queue in sorted(self._lines.get(job.turn, ())):
                self._call_up(job.turn, queue)

    def _call_up(self, turn: str, queue: str) -> None:
        line = self._lines.get(turn, {}).get(queue)
        if line:
            _, job_id = line.pop(0)
            self._drop_if_empty(turn, queue)
            self._put(self._jobs[job_id], front=True)

    def _drop_if_empty(self, turn: str, queue: str) -> None:
        lines = self._lines[turn]
        if not lines[queue]:
            del lines[queue]
            if not lines:
                del self._lines[turn]

    def _drop_claim(self, job: Job, settled_as: str | None) -> str:
        """Retire the claim's token; returns the node that held it.

        `settled_as` is `None` for a claim that is taken away: its token is fenced from now on.
        """
        node = job.node
        self._active.get(node, {}).pop(job.spec.id, None)
        if settled_as is not None:
            job.last_token, job.last_outcome = job.token, settled_as
        job.token = job.node = ""
        self._pass_turn(job)
        if job.away:
            queue = self._queue(job.queue)
            queue.away -= 1
            queue.back.pop(job.spec.id, None)
            self._freed[job.queue] = self._freed.get(job.queue, 0) - 1
            job.away = False
        elif job.spec.session and self._queue(job.queue).leave(job.spec.session):
            self._wake(job.queue)
        return node

    def _return(
        self,
        job: Job,
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

    @staticmethod
    def _take_stall_back(job: Job, token: str) -> None:
        """The node of this token is there after all."""
        if token in job.charged and job.status != "failed":
            job.charged.remove(token)
            job.stalls -= 1

    def _is_resumable(self, job: Job, token: str) -> bool:
        """Whether this token's claim was taken away, and nobody was granted the job or its turn since."""
        lost = token != "" and job.status in ("waiting", "later") and job.lost[0] == token
        return lost and job.turn not in self._turns

    def _resume(self, job: Job) -> None:
        """Give the job back to the node whose claim was taken away, as if that had not been."""
        (job.token, job.node), job.lost = job.lost, ("", "")
        in_line = self._step_out_of_line(job)
        if job.turn:
            self._turns[job.turn] = job.spec.id
        if job.status == "waiting" and not in_line:
            self._leave_place(job)
        self._take_stall_back(job, job.token)
        self._count(job, "resume")
        self._queue(job.queue).enter(job.spec.session)
        self._active.setdefault(job.node, {})[job.spec.id] = job.token

    def _collect(self, now: float) -> None:
        """Drop records that have had their time: a bounded number per operation, the rest with the next."""
        for _ in range(BOUNDS.collected):
            if not self._forget or self._forget[0][0] > now:
                return
            _, job_id = heapq.heappop(self._forget)
            self._known(job_id, now)

    def _known(self, job_id: str, now: float) -> Job | None:
        """The job's record, unless it has had its time."""
        job = self._jobs.get(job_id)
        if job is None or job.forget_at > now:
            return job
        del self._jobs[job_id]
        queue = self._queue(job.queue)
        queue.dead.pop(job_id, None)
        queue.done.pop(job_id, None)
        return None

    def _is_stopping(self, session: str, now: float) -> bool:
        return self._stopping.get(session, -inf) > now
