"""Locks on sessions: one holder, who may lose it, and a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from math import inf

from am2z_trio.model.records import LockAnswer, LockGranted, LockPlace, LockStanding
from am2z_trio.model.records.states import job_of
from am2z_trio.store.agreed import LINE_SHOWN

from .fence import Fence
from .outbox import Outbox


@dataclass(slots=True)
class _Lock:
    token: str = ""
    fence: int = 0
    ends: float = -inf
    node: str = ""
    since: float = 0.0
    line: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    """Token → node and lease in seconds of who waits, by arrival."""


class Locks:
    def __init__(self, fence: Fence, outbox: Outbox) -> None:
        self._fence = fence
        self._outbox = outbox
        self._locks: dict[str, _Lock] = {}

    def holds(self, session: str, token: str, now: float) -> bool:
        """Whether this is the lock's token, and its lease runs."""
        lock = self._locks.get(session)
        return lock is not None and lock.token == token and lock.ends >= now

    def acquire(self, node: str, session: str, token: str, lease: float, now: float) -> LockAnswer:
        answer = self._acquire(node, session, token, lease, now)
        self._outbox.send()
        return answer

    def _acquire(self, node: str, session: str, token: str, lease: float, now: float) -> LockAnswer:
        lock = self._locks.setdefault(session, _Lock())
        if lock.ends >= now and lock.token == token:
            return LockAnswer(fence=lock.fence)
        lock.line.setdefault(token, (node, lease))
        if lock.ends < now:
            self._hand_on(session, lock, now, asking=token)
            if lock.token == token:
                return LockAnswer(fence=lock.fence)
        return LockAnswer(fence=None, wait=(lock.ends - now) / 1000)

    def _hand_on(self, session: str, lock: _Lock, now: float, *, asking: str = "") -> None:
        """Give the lock to the first in line who is there; nobody: it is free."""
        while lock.line:
            token = next(iter(lock.line))
            node, lease = lock.line.pop(token)
            if token == asking or self._outbox.is_connected(node):
                lock.token, lock.fence, lock.ends = token, self._fence.above(now), now + lease * 1000
                lock.node, lock.since = node, now
                if token != asking:
                    self._outbox.post(node, LockGranted(token, lock.fence))
                return
        del self._locks[session]

    def renew(self, session: str, token: str, lease: float, now: float) -> bool:
        if not self.holds(session, token, now):
            return False
        self._locks[session].ends = now + lease * 1000
        return True

    def release(self, session: str, token: str, now: float) -> bool:
        lock = self._locks.get(session)
        if lock is None:
            return False
        lock.line.pop(token, None)
        held = self.holds(session, token, now)
        if lock.token == token:
            self._hand_on(session, lock, now)
        self._outbox.send()
        return held

    def look(self, session: str, now: float) -> LockStanding:
        lock = self._locks.get(session)
        if lock is None:
            return LockStanding()
        waiting = islice(lock.line.items(), LINE_SHOWN)
        line = tuple(LockPlace(job_of(token), node) for token, (node, _) in waiting)
        if lock.ends <= now:
            return LockStanding(waiting=len(lock.line), line=line)
        return LockStanding(
            left=(lock.ends - now) / 1000,
            waiting=len(lock.line),
            fence=lock.fence,
            node=lock.node,
            since=int(lock.since),
            job=job_of(lock.token),
            line=line,
        )

    def drop(self, session: str) -> None:
        self._locks.pop(session, None)
