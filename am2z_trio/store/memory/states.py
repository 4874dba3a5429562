"""Session states: versions, what is kept of earlier ones, and when they expire."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Final

import msgspec

from am2z_trio.model.records import Author, StateRecord, StateWrite, WriteAnswer
from am2z_trio.store.agreed import RECEIPT_TTL, RECEIPTS, RECEIPTS_SEEN
from am2z_trio.store.ports import BATCH, StoreSettings

from .locks import Locks

NOTHING: Final = StateRecord()


@dataclass(slots=True)
class _Session:
    record: StateRecord = NOTHING
    ttl: float | None = None
    """Seconds; `None`: the default's."""
    expires: float = inf
    history: deque[StateRecord] = field(default_factory=deque[StateRecord])
    receipts: dict[str, tuple[int, StateRecord]] = field(default_factory=dict[str, tuple[int, StateRecord]])
    """Per node: the number of its last write, and what it became; the last to write is the last."""


class States:
    def __init__(self, settings: StoreSettings, locks: Locks) -> None:
        self._settings = settings
        self._locks = locks
        self._sessions: dict[str, _Session] = {}
        self._expiries: list[tuple[float, str]] = []
        """A heap of when states expire, and of when some would have."""

    def read(self, session: str, now: float) -> StateRecord:
        found = self._sessions.get(session)
        return NOTHING if found is None else self._as_of(found, now)

    def expires(self, session: str) -> float:
        """When the session's state does; `inf`: never."""
        found = self._sessions.get(session)
        return inf if found is None else found.expires

    def _as_of(self, session: _Session, now: float) -> StateRecord:
        """The record; an expired one keeps only its version. Taken away when somebody looks."""
        if session.expires <= now:
            session.record = _tombstone(session.record)
            session.expires = inf
            session.history.clear()
        return session.record

    def commit(self, session: str, blob: bytes, checksum: str, now: float, by: Author) -> StateRecord:
        """Write the next version, unconditionally."""
        found = self._sessions.setdefault(session, _Session())
        before = self._as_of(found, now)
        found.record = StateRecord(
            version=before.version + 1,
            checksum=checksum,
            blob=blob,
            created=before.created if before.exists else int(now),
            updated=int(now),
            by=by,
        )
        ttl = self._settings.state_ttl if found.ttl is None else found.ttl
        self._expires(session, found, inf if ttl is None else now + ttl * 1000)
        found.history.appendleft(found.record)
        while len(found.history) > self._settings.state_history:
            found.history.pop()
        return found.record

    def write(self, node: str, write: StateWrite, now: float) -> WriteAnswer:
        found = self._sessions.get(write.session) or _Session()
        receipt = found.receipts.get(node)
        if receipt is not None:
            if write.seq < receipt[0]:
                return WriteAnswer(status="stale")
            if write.seq == receipt[0]:
                return WriteAnswer(status="applied", current=receipt[1])
        if write.lock and not self._locks.holds(write.session, write.lock, now):
            return WriteAnswer(status="fenced")
        current = self._as_of(found, now)
        if write.expected is not None and write.expected != current.mark:
            return WriteAnswer(status="conflict", current=current)
        if not write.blob and not current.exists:
            return WriteAnswer(status="applied", current=current)
        self._sessions[write.session] = found
        if write.blob:
            if write.ttl is not None:
                found.ttl = write.ttl
            current = self.commit(write.session, write.blob, write.checksum, now, Author(node=node))
        else:
            current = StateRecord(version=current.version + 1, updated=int(now))
            found.record, found.expires = current, inf
            found.history.clear()
        current = msgspec.structs.replace(current, blob=b"", checksum=write.checksum)
        self._forget_old_receipts(found, now)
        found.receipts.pop(node, None)
        found.receipts[node] = write.seq, current
        return WriteAnswer(status="applied", current=current)

    @staticmethod
    def _forget_old_receipts(session: _Session, now: float) -> None:
        """Those of writers that have not written for an hour go when there are too many, some per write."""
        if len(session.receipts) < RECEIPTS:
            return
        for node in list(itertools.islice(session.receipts, RECEIPTS_SEEN)):
            if session.receipts[node][1].updated < now - RECEIPT_TTL * 1000:
                del session.receipts[node]

    def history(self, session: str, now: float) -> list[StateRecord]:
        found = self._sessions.get(session)
        if found is None or not self._as_of(found, now).exists:
            return []
        return list(found.history)

    def expire(self, now: float) -> None:
        """Take expired states away, a bounded number; whoever looks at one does so, too."""
        for _ in range(BATCH):
            if not self._expiries or self._expiries[0][0] > now:
                return
            _, name = heapq.heappop(self._expiries)
            session = self._sessions.get(name)
            if session is not None:
                self._as_of(session, now)

    def next_to_expire(self) -> float:
        """When `expire` may have something to take away; `inf`: never."""
        return self._expiries[0][0] if self._expiries else inf

    def _expires(self, name: str, session: _Session, at: float) -> None:
        """Let a state expire at a time; `inf`: never."""
        if at < inf:
            heapq.heappush(self._expiries, (at, name))
            if len(self._expiries) > 2 * len(self._sessions) + BATCH:
                # Most are of states whose time was changed since.
                every = ((one.expires, name) for name, one in self._sessions.items())
                self._expiries = [entry for entry in every if entry[0] < inf]
                heapq.heapify(self._expiries)
        session.expires = at

    def set_ttl(self, session: str, ttl: float, now: float) -> None:
        found = self._sessions.setdefault(session, _Session())
        current = self._as_of(found, now)
        found.ttl = ttl
        if current.exists:
            self._expires(session, found, current.updated + ttl * 1000)


def _tombstone(record: StateRecord) -> StateRecord:
    return StateRecord(version=record.version, updated=record.updated)
