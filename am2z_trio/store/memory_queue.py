"""One queue of the memory server: what waits, in which order it is served, and what limits it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Final

LOOKS: Final = 500
"""What one claim may look at beside what it grants: ids that wait no more, sessions that are full."""
LOOKS_OF_AN_END: Final = 5
"""What it counts for to end a job whose deadline has passed."""


@dataclass(slots=True)
class Looks:
    """How many are left to one claim."""

    left: int = LOOKS


@dataclass(slots=True)
class Queue:
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
    aside: float = 0.0
    """For when the last one was set aside by a rate limit."""
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

    def put(self, job: str, session: str, priority: int, arrival: int, *, front: bool) -> None:
        """Let a job wait: by its priority, in its session's turn, or with all the others."""
        if priority:
            heapq.heappush(self.prioritised, (priority, arrival, job))
        elif session:
            jobs = self.by_session.get(session)
            if jobs is None:
                jobs = self.by_session[session] = deque()
                (self.ready.appendleft if front else self.ready.append)(session)
            (jobs.appendleft if front else jobs.append)(job)
        else:
            (self.waiting.appendleft if front else self.waiting.append)(job)

    def batches(self, room: Callable[[], int], looks: Looks) -> Iterator[list[str]]:
        """What to look at next, taken out, as long as there is room, anything left, and looks.

        Jobs without a session and every session with jobs are parties, which are served in turn; jobs
        with a priority come after all of them. Each gets its share of the room; the rest goes round.
        """
        while room() > 0 and looks.left > 0:
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
                if room() <= 0 or looks.left <= 0:
                    return
                session = self.ready.popleft()
                jobs = self.by_session[session]
                most = min(share, room())
                if self.per_session:
                    most = min(most, self.per_session - self.running.get(session, 0))
                    if most <= 0:
                        self.blocked[session] = None
                        looks.left -= 1
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
