"""One queue: what waits, in which order it is served, and what limits it."""

from __future__ import annotations

import bisect
import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil

from am2z_trio.store.agreed import BOUNDS

from .bounds import Looks
from .line import Entry, Line


@dataclass(slots=True)
class Queue:
    """One queue. `later` may hold ghosts, too."""

    waiting: Line = field(default_factory=Line)
    by_session: dict[str, Line] = field(default_factory=dict[str, Line])
    """What waits of each session; none is empty."""
    ready: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    """The sessions in `by_session` that are not blocked, in the order in which they are served."""
    blocked: dict[str, int] = field(default_factory=dict[str, int])
    """Sessions with as many active jobs as they may have: as many."""
    unblocking: bool = False
    """Some may be blocked that have met another limit than today's."""
    running: dict[str, int] = field(default_factory=dict[str, int])
    """Active jobs of each session, where their number is limited."""
    away: int = 0
    """Active jobs that have stepped aside, or are in line to step back."""
    back: dict[str, None] = field(default_factory=dict[str, None])
    """Jobs that go on when there is room again."""
    most_active: int = 0
    """The limit, as the last claim named it."""
    per_session: int = 0
    """The limit, as the last claim named it."""
    starts: deque[float] = field(default_factory=deque[float])
    """When jobs were granted, where a rate limit counts them."""
    aside: float = 0.0
    """For when the last one was set aside by a rate limit."""
    held: bool = False
    """The last claim left jobs waiting because enough were active: who frees one wakes a node."""
    paused: bool = False
    prioritised: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Jobs that wait by their priority: it and their arrival."""
    _by_priority: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    """A heap of them, and of what was taken out since."""
    later: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    dead: dict[str, float] = field(default_factory=dict[str, float])
    """Dead letters, by when they go."""
    done: dict[str, float] = field(default_factory=dict[str, float])
    """Completed jobs whose number is limited, by when they completed."""
    recent: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    """Jobs that have ended and whose records are kept, the newest last."""
    begins: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """By node that says so: queues of what its jobs of this one begin with."""
    parked: dict[str, tuple[bool, float, int]] = field(default_factory=dict[str, tuple[bool, float, int]])
    """Nodes that wait for work, each with whether it claims calls only, since when, and how many jobs, below
    0, it takes unasked: the first one is woken, or given a job."""
    _calls: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """What waits and was called by other jobs: the deepest first, then by arrival."""
    _by_depth: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    """The same, in order."""
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.ready or self.prioritised)

    def put(
        self, entry: Entry, session: str, priority: int, arrival: int, *, front: bool, first: bool
    ) -> None:
        """Let a job wait: by its priority, in its session's turn, which may be the `first` one, or with all
        the others."""
        if priority:
            self.prioritised[entry[0]] = (priority, arrival)
            heapq.heappush(self._by_priority, (priority, arrival, entry[0]))
        elif session:
            if session not in self.by_session:
                self.by_session[session] = Line()
                self.ready[session] = None
                self.ready.move_to_end(session, last=not first)
            self.by_session[session].push(entry, front=front)
        else:
            self.waiting.push(entry, front=front)

    def serve_next(self, session: str) -> None:
        """Let a session's turn come before the others', if it has jobs that wait and may be active."""
        if session in self.ready:
            self.ready.move_to_end(session, last=False)

    @property
    def has_calls(self) -> bool:
        return bool(self._calls)

    def put_call(self, job: str, depth: int, arrival: int) -> None:
        """A job waits that another one waits for."""
        self.drop_call(job)
        self._calls[job] = (-depth, arrival)
        bisect.insort(self._by_depth, (-depth, arrival, job))

    def drop_call(self, job: str) -> None:
        place = self._calls.pop(job, None)
        if place is not None:
            del self._by_depth[bisect.bisect_left(self._by_depth, (*place, job))]

    def calls(self, room: Callable[[], int], looks: Looks) -> Iterator[tuple[list[Entry], None]]:
        """What other jobs wait for, as long as there is room, anything left, and looks. It is not taken out
        of where it waits; what is left among the calls is not looked at again."""
        passed = 0
        while room() > 0 and looks.left > 0:
            some = [job for _, _, job in self._by_depth[passed : passed + room()]]
            if not some:
                return
            yield [(job, 0) for job in some], None
            passed += sum(job in self._calls for job in some)

    def drop_priority(self, job: str) -> bool:
        """Take a job out that waits by its priority; whether it did."""
        if self.prioritised.pop(job, None) is None:
            return False
        if len(self._by_priority) > 2 * len(self.prioritised) + BOUNDS.looks:
            self._by_priority = [(*place, job) for job, place in self.prioritised.items()]
            heapq.heapify(self._by_priority)
        return True

    def _take_prioritised(self, most: int) -> list[Entry]:
        taken: list[Entry] = []
        while len(taken) < most and self._by_priority:
            priority, arrival, job = heapq.heappop(self._by_priority)
            if self.prioritised.get(job) == (priority, arrival):
                del self.prioritised[job]
                taken.append((job, 0))
        return taken

    def block(self, entry: Entry, session: str, *, listed: bool = False) -> None:
        """The session is full. A job with a priority goes on with it; another one is `listed` there."""
        if not listed:
            self.by_session.setdefault(session, Line()).push(entry, front=False)
        self.blocked[session] = self.per_session
        self.ready.pop(session, None)

    def count_ghosts(self, session: str, by: int) -> None:
        """So many more jobs wait no more whose entries are still in the line of this session, or of none."""
        line = self.by_session.get(session) if session else self.waiting
        if line is not None:
            line.ghosts = max(0, line.ghosts + by)

    def sieve(self, session: str, most: int, waits: Callable[[Entry], bool]) -> int:
        """Take ghosts out where they are half of a line; returns how many entries were to be looked at."""
        line = self.by_session.get(session) if session else self.waiting
        if line is None or line.ghosts * 2 < len(line):
            return 0
        most = min(most, len(line))
        line.sieve(most, waits)
        if session and not line:
            del self.by_session[session]
            self.ready.pop(session, None)
            self.blocked.pop(session, None)
        return most

    def batches(
        self, room: Callable[[], int], looks: Looks, in_a_row: int = 1
    ) -> Iterator[tuple[list[Entry], str | None]]:
        """What to look at next, taken out, as long as there is room, anything left, and looks; and whose line
        it was in: a session's, nobody's (``), or none.

        Jobs without a session and every session with jobs are lanes, which are served in turn; jobs
        with a priority come after all of them. Each gets its share of the room; the rest goes round. A
        session gets `in_a_row` where that is more, and a round of all of them is not too long then.
        """
        while room() > 0 and looks.left > 0:
            lanes = len(self.ready) + bool(self.waiting)
            if not lanes:
                urgent = self._take_prioritised(room())
                if not urgent:
                    return
                yield urgent, None
                continue
            share = ceil(room() / lanes)
            run = max(share, min(in_a_row, BOUNDS.in_a_round // lanes))
            if self.waiting:
                lanes -= 1
                yield self.waiting.take(min(share, room())), ""
            for _ in range(lanes):
                if room() <= 0 or looks.left <= 0:
                    return
                session, _ = self.ready.popitem(last=False)
                line = self.by_session[session]
                most = min(run, room())
                if self.per_session:
                    most = min(most, self.per_session - self.running.get(session, 0))
                    if most <= 0:
                        self.blocked[session] = self.per_session
                        looks.left -= 1
                        continue
                entries = line.take(most)
                if line:
                    self.ready[session] = None
                else:
                    del self.by_session[session]
                yield entries, session

    def has_room(self, session: str) -> bool:
        """Whether one more job of the session may be active."""
        return not session or not self.per_session or self.running.get(session, 0) < self.per_session

    def enter(self, session: str) -> None:
        """A job of the session is active."""
        if session and self.per_session:
            self.running[session] = self.running.get(session, 0) + 1

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
        self.ready[session] = None
        return True

    def limit_sessions(self, most: int) -> bool:
        """Take over a claim's limit. With another one, nobody is blocked at first: those that met one before
        get their turn, some per call. Returns whether there are more of them."""
        if most != self.per_session:
            if not most:
                self.running.clear()
            self.per_session, self.unblocking = most, True
        if self.unblocking:
            others = ((met > most, met, session) for session, met in self.blocked.items() if met != most)
            for _, _, session in (some := heapq.nsmallest(BOUNDS.unblocked, others)):
                self._unblock(session)
            self.unblocking = len(some) == BOUNDS.unblocked
        return self.unblocking
