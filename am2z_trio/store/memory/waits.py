"""What jobs wait for that no other job brings: a time, or a signal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from math import inf

from am2z_trio.model.records import (
    MOST_WAITS,
    PARKED_TILL,
    SIGNALS_TTL,
    Signal,
    SignalAnswer,
    Signalled,
    Wait,
    WaitAnswer,
)
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.store.agreed import BOUNDS

from .job import JobRecord
from .ledger import Ledger
from .mail import JobWaits, Mailbox, OpenWait


class _SessionMail(Mailbox):
    """Signals to a session."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[str] = []
        self.till = inf


class Waits:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._mail: dict[str, _SessionMail] = {}
        """By session; first what goes first."""
        self._awaiting: dict[tuple[str, str], dict[str, None]] = {}
        """By session and name: its jobs that wait for such signals, by arrival."""

    # --- waits ------------------------------------------------------------------------------

    def wait(self, job_id: str, token: str, wait: Wait, now: float) -> WaitAnswer:
        self._forget(now)
        job = self._ledger.claimed(job_id, token)
        if job is None:
            return WaitAnswer(status="fenced")
        waits = job.waits or JobWaits()
        if wait.key in waits.over:
            name, answer = waits.over[wait.key]
            return answer if name == wait.name else WaitAnswer(status="other", name=name)
        begun = waits.open.get(wait.key)
        if begun is not None and begun.name != wait.name:
            return WaitAnswer(status="other", name=begun.name)
        if begun is None:
            if waits.begun >= MOST_WAITS:
                return WaitAnswer(status="full")
            until = inf if wait.seconds is None else now + round(wait.seconds * 1000)
            begun = waits.begin(wait.key, OpenWait(wait.name, now, until))
            job.waits = waits
            if job.spec.session and wait.name:
                self._awaiting.setdefault((job.spec.session, wait.name), {}).setdefault(job_id)
        found = self._mail_for(job, wait.name)
        if found is not None:
            answer = WaitAnswer(status="signalled", value=found.take(wait.name))
        elif now >= begun.until:
            answer = WaitAnswer(status="timed_out" if wait.name else "slept")
        else:
            left = None if begun.until == inf else (begun.until - now) / 1000
            return WaitAnswer(status="open", left=left, many=len(waits.open) > BOUNDS.few_waits)
        waits.drop(wait.key)
        waits.over[wait.key] = wait.name, answer
        self._leave_lines(job, [wait.name])
        # A job that gets on is lost with its worker as often as before.
        job.stalls = 0
        job.charged.clear()
        self._ledger.deliver()
        return answer

    def _mail_for(self, job: JobRecord, name: str) -> Mailbox | None:
        """Where there is a signal that a wait of this job may take."""
        if not name or job.waits is None:
            return None
        if job.waits.mail.many(name):
            return job.waits.mail
        mail, line = self._mail.get(job.spec.session), self._awaiting.get((job.spec.session, name), {})
        if mail is not None and job.spec.id in islice(line, mail.many(name)):
            return mail
        return None

    def parked_until(self, job: JobRecord, keys: Sequence[str], now: float) -> float | None:
        """Until when a job is parked that waits for these; `None`: what it waits for is there."""
        self._forget(now)
        due = min(PARKED_TILL * 1000, job.deadline)
        for key in keys:
            wait = None if job.waits is None else job.waits.open.get(key)
            if wait is None or self._mail_for(job, wait.name) is not None:
                return None
            due = min(due, wait.until)
        return due if due > now else None

    def keep(self, job: JobRecord, keys: Sequence[str]) -> None:
        """Of the waits of a job that is parked, those stay that it has named."""
        if job.waits is None:
            return
        left = job.waits.open.keys() - set(keys)
        self._leave_lines(job, sorted({job.waits.drop(key) for key in left}))

    def pack(self, job_id: str, token: str, keys: Sequence[str]) -> None:
        job = self._ledger.claimed(job_id, token)
        if job is not None:
            self.keep(job, keys)
            self._ledger.deliver()

    def end(self, job: JobRecord) -> None:
        """A job has ended, and waits no more."""
        waits, job.waits = job.waits, None
        if waits is not None:
            self._leave_lines(job, sorted(waits.named))

    def _leave_lines(self, job: JobRecord, names: Sequence[str]) -> None:
        """It waits for signals of these names no more, but for another wait; who comes next may take them."""
        session = job.spec.session
        for name in names:
            if not session or not name or (job.waits is not None and name in job.waits.named):
                continue
            line = self._awaiting.get((session, name), {})
            if job.spec.id in line:
                del line[job.spec.id]
                self._offer(session, name)
            if not line:
                self._awaiting.pop((session, name), None)

    # --- signals ----------------------------------------------------------------------------

    def signal(self, job_id: str, signal: Signal) -> SignalAnswer:
        job = self._ledger.jobs.get(job_id)
        if job is None:
            return "gone"
        if signal.op in job.signals:
            return "kept"
        if job.status in TERMINAL:
            return "ended"
        waits = job.waits or JobWaits()
        if not waits.mail.keep(signal, job.signals):
            return "full"
        job.waits = waits
        if signal.name in waits.named:
            self._bring(job, signal.name)
        self._ledger.deliver()
        return "kept"

    def signal_session(self, session: str, signal: Signal, now: float) -> SignalAnswer:
        self._forget(now)
        mail = self._mail.get(session) or _SessionMail()
        if signal.op in mail.known:
            return "kept"
        if self._ledger.is_stopping(session, now):
            return "stopped"
        if not mail.keep(signal, mail.known):
            return "full"
        mail.till = now + SIGNALS_TTL * 1000
        self._mail.pop(session, None)
        self._mail[session] = mail
        self._offer(session, signal.name)
        self._ledger.deliver()
        return "kept"

    def drop_mail(self, session: str) -> None:
        """Nothing is left of the session but its state."""
        self._mail.pop(session, None)

    def _offer(self, session: str, name: str) -> None:
        """As many jobs as there are signals are to take them."""
        mail, line = self._mail.get(session), self._awaiting.get((session, name), {})
        for job_id in list(islice(line, mail.many(name) if mail is not None else 0)):
            self._bring(self._ledger.jobs[job_id], name)

    def _bring(self, job: JobRecord, name: str) -> None:
        """A job that is parked goes on; one that runs hears that there is something for it."""
        ledger = self._ledger
        if job.status == "active":
            ledger.outbox.post(job.node, Signalled(job.spec.id, job.token, name))
        elif job.status == "later" and job.last_outcome == "parked":
            ledger.count(job, "promote")
            ledger.put(job, front=True)

    def _forget(self, now: float) -> None:
        while self._mail:
            session, mail = next(iter(self._mail.items()))
            if mail.till > now:
                return
            del self._mail[session]


class MemoryWaits:
    """`WaitStore` of one node."""

    def __init__(
        self, waits: Waits, checkpoint: Callable[[], Awaitable[None]], now: Callable[[], float]
    ) -> None:
        self._waits = waits
        self._checkpoint = checkpoint
        self._now = now

    async def wait(self, job: str, token: str, wait: Wait) -> WaitAnswer:
        await self._checkpoint()
        return self._waits.wait(job, token, wait, self._now())

    async def pack(self, job: str, token: str, keys: Sequence[str]) -> None:
        await self._checkpoint()
        self._waits.pack(job, token, keys)

    async def signal(self, job: str, signal: Signal) -> SignalAnswer:
        await self._checkpoint()
        return self._waits.signal(job, signal)

    async def signal_session(self, session: str, signal: Signal) -> SignalAnswer:
        await self._checkpoint()
        return self._waits.signal_session(session, signal, self._now())
