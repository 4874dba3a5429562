"""Sessions: their jobs are counted, and stopped together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import inf

from am2z_trio.model.checks import require
from am2z_trio.model.records import SESSION_STOPPED, CancelRequest, SessionCounts, SessionStopped
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.model.views.sessions import SessionNames, SessionRow
from am2z_trio.store.agreed import ENDED_BY_STOP, STOPS_KEPT

from .endings import Endings
from .holdings import Holdings
from .ledger import Ledger
from .locks import Locks
from .states import States
from .waits import Waits


class Sessions:
    def __init__(
        self,
        ledger: Ledger,
        endings: Endings,
        holdings: Holdings,
        locks: Locks,
        states: States,
        waits: Waits,
    ) -> None:
        self._ledger = ledger
        self._endings = endings
        self._holdings = holdings
        self._locks = locks
        self._states = states
        self._waits = waits
        self._stops: dict[str, int] = {}
        """Sessions by the number of their last stop, the oldest first."""

    def active_sessions(self) -> list[str]:
        return list(self._ledger.live)

    def session_counts(self, session: str) -> SessionCounts:
        found = [self._ledger.jobs[job_id].status for job_id in self._ledger.live.get(session, ())]
        return SessionCounts(
            waiting=found.count("waiting"), active=found.count("active"), delayed=found.count("later")
        )

    def page(self, cursor: str, most: int) -> SessionNames:
        """Those with jobs, by when they got the first of them."""
        require(
            cursor == "" or cursor.isdecimal(), "cursor", cursor, "must be one that an earlier page has named"
        )
        first, all_of_them = int(cursor or 0), len(self._ledger.live)
        found = list(islice(self._ledger.live, first, first + most))
        behind = str(first + most) if first + most < all_of_them else ""
        return SessionNames(sessions=found, of=all_of_them, cursor=behind)

    def row(self, session: str, now: float) -> SessionRow:
        """As it is shown."""
        jobs = [self._ledger.jobs[id] for id in self._ledger.live.get(session, ())]
        found = [job.status for job in jobs]
        state, expires = self._states.read(session, now), self._states.expires(session)
        return SessionRow(
            session=session,
            waiting=found.count("waiting"),
            active=found.count("active"),
            delayed=found.count("later"),
            jobs=len(jobs),
            looked_at=len(jobs),
            nodes=tuple(sorted({job.node for job in jobs if job.status == "active"})),
            stopping=self._ledger.is_stopping(session, now),
            version=state.version,
            size=len(state.blob) if state.exists else None,
            created=state.created,
            updated=state.updated,
            expires=int(expires) if state.exists and expires < inf else 0,
            locked=self._locks.look(session, now).left > 0,
        )

    def stops(self, sessions: Sequence[str]) -> list[int]:
        return [self._stops.get(session, 0) for session in sessions]

    def stop_session(self, node: str, session: str, *, running: bool, refuse: float, now: float) -> list[str]:
        """End the session's jobs; returns the running ones, where those are spared."""
        steps = self.stop_steps(node, session, running=running, refuse=refuse, clock=lambda: now)
        return [job_id for spared in steps for job_id in spared]

    def stop_steps(
        self, node: str, session: str, *, running: bool, refuse: float, clock: Callable[[], float]
    ) -> Iterator[list[str]]:
        """The same in steps, between which others may have their turn; each gives those it has spared."""
        ledger = self._ledger
        again = True
        while again:
            jobs = sorted(ledger.live.get(session, ()))
            for start in range(0, max(1, len(jobs)), ENDED_BY_STOP):
                now = clock()
                ledger.stopping[session] = now + refuse * 1000
                spared = [
                    job_id
                    for job_id in jobs[start : start + ENDED_BY_STOP]
                    if not self._stop_job(job_id, node, running=running, now=now)
                ]
                ledger.deliver()
                yield spared
            # One that was on its way back to its queue between two steps has ended by now.
            again = running and bool(ledger.live.get(session))
        if running:
            self._say_stopped(node, session, clock())

    def _stop_job(self, job_id: str, node: str, *, running: bool, now: float) -> bool:
        """End one job of a session that is stopped; `False` if it runs and is spared."""
        job = self._ledger.jobs.get(job_id)
        if job is None or job.status in TERMINAL:
            return True  # ended with its parent, or by itself, a moment ago
        if job.status != "active":
            self._endings.cancel_unbegun(job, now, SESSION_STOPPED)
        elif running:
            holder, outbox = job.node, self._ledger.outbox
            outbox.post(holder, CancelRequest(job_id, job.token, SESSION_STOPPED))
            self._holdings.drop_claim(job, None)
            self._endings.end_job(job, "cancel", now, reason=SESSION_STOPPED)
            outbox.tell("job:cancelled", job, now, holder, {"attempt": job.attempt})
        else:
            if node not in job.origins:
                job.origins.append(node)
            return False
        return True

    def _say_stopped(self, node: str, session: str, now: float) -> None:
        """Nothing is left of the session but its state: every other node is told."""
        ledger = self._ledger
        ledger.stopping.pop(session, None)
        self._locks.drop(session)
        self._waits.drop_mail(session)
        stopped = SessionStopped(session, ledger.fence.above(now), node)
        self._stops.pop(session, None)
        self._stops[session] = stopped.number
        while len(self._stops) > STOPS_KEPT:
            del self._stops[next(iter(self._stops))]
        for other in ledger.outbox.nodes:
            if other != node:
                ledger.outbox.post(other, stopped)
        ledger.deliver()
