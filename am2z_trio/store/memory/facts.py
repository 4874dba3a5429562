"""What decides whether a job is granted at the next claim: as `claim` does, without doing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from math import inf

from am2z_trio.model.codec import NIL
from am2z_trio.model.records import (
    BreakerFacts,
    JobFacts,
    LineFacts,
    NodeFacts,
    ParentFacts,
    QueueFacts,
    QueueLimits,
    QueuePressure,
    SessionFacts,
    Settled,
    TurnFacts,
    limits_of,
)
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.store.agreed import BOUNDS

from .breakers import Breakers
from .control import Introductions
from .holdings import Holdings
from .job import JobRecord
from .leases import Leases
from .ledger import Ledger
from .line import Entry
from .queue import Queue
from .queues import Queues
from .turns import Turns


class Facts:
    """Looks, and changes nothing."""

    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        turns: Turns,
        holdings: Holdings,
        queues: Queues,
        breakers: Breakers,
        introductions: Introductions,
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._turns = turns
        self._holdings = holdings
        self._queues = queues
        self._breakers = breakers
        self._introductions = introductions

    def facts(self, job_id: str, now: float) -> JobFacts | None:
        job = self._ledger.jobs.get(job_id)
        if job is None or job.forget_at <= now:
            return None
        queue, spec, status = self._queue(job.queue, now), job.spec, job.status
        active, ended = status == "active", status in TERMINAL
        calls = self._calls(job) if active else []
        return JobFacts(
            id=job_id,
            now=int(now),
            came=int(job.at) or None,
            began=int(job.since) or None if active or ended else None,
            ended=int(job.ended) or None if ended else None,
            status=status,
            processor=spec.processor,
            session=spec.session,
            attempt=job.attempt,
            deliveries=job.deliveries,
            stalls=job.stalls,
            progress=job.progress,
            priority=job.priority,
            left=job.left_to_others if status == "later" else "",
            depth=job.depth,
            errors=job.errors,
            due=int(job.due) if status == "later" else None,
            waits=list(job.parked_for),
            aside=job.aside,
            deadline=None if job.deadline == inf else int(job.deadline),
            expires=None if job.expires == inf else int(job.expires),
            cancel=job.cancel_reason if active else None,
            away=job.away,
            in_back=job_id in self._ledger.queue(job.queue).back,
            calls=None if calls is None else len(calls),
            called=(calls or [])[: BOUNDS.named],
            settled=self._settled(job) if ended else None,
            dead_till=self._dead_till(job) if ended else None,
            holder=self._node(job.node, job.queue, now) if active else None,
            parent=self._parent(spec.parent) if spec.parent else None,
            turn=self._turn(job) if job.turn and not (active or ended) else None,
            at_session=self._session(job, queue.limits, now) if spec.session else None,
            line=self._line(job, now) if status == "waiting" else None,
            queue=queue,
            breaker=self._breaker(spec.processor),
        )

    def pressure(self, queues: Sequence[str], now: float) -> list[QueuePressure]:
        return [self._pressure(name, now) for name in queues]

    def _pressure(self, name: str, now: float) -> QueuePressure:
        queue, known = self._ledger.queues.get(name) or Queue(), self._queues.announced(name)
        breaker = self._breaker(name if known is None else known.info.processor)
        return QueuePressure(
            queue=name,
            at=int(now),
            held=queue.held,
            seen=None if known is None or known.served == -inf else int(known.served),
            breaker=BreakerFacts(state=breaker.state, until=breaker.until),
        )

    # --- its queue --------------------------------------------------------------------------

    def _queue(self, name: str, now: float) -> QueueFacts:
        queue, known = self._ledger.queues.get(name) or Queue(), self._queues.announced(name)
        counts, options = queue.counts, None if known is None else known.info.options
        if options is None:
            limits = QueueLimits(most_active=queue.most_active, per_session=queue.per_session)
        else:
            limits = limits_of(options)
        starts = [at for at in queue.starts if at > now - limits.per * 1000] if limits.starts else []
        active = counts.get("active", 0)
        last = (queue.most_active, queue.per_session)
        servers = [] if known is None else sorted(known.servers)[: BOUNDS.seen_nodes]
        is_full = 0 < limits.most_active <= active - queue.away
        holders, longest = self._longest(self._holders(name, servers) if is_full else [])
        return QueueFacts(
            name=name,
            options=options,
            limits=limits,
            unsettled=last != (limits.most_active, limits.per_session) or queue.unblocking,
            paused=queue.paused,
            waiting=counts.get("waiting", 0),
            later=counts.get("later", 0),
            due=self._due(name, now),
            active=active,
            away=queue.away,
            back=len(queue.back),
            starts=len(starts),
            first_start=int(starts[0]) if starts else None,
            lanes=len(queue.ready) + bool(queue.waiting),
            holders=holders,
            longest=longest,
            workers=0 if known is None else self._queues.workers(known, now),
            seen=None if known is None or known.served == -inf else int(known.served),
            announced=known is not None,
            nodes=[self._node(node, name, now) for node in servers],
            parked=len(queue.parked),
            parked_for_calls=sum(calls_only for calls_only, _, _ in queue.parked.values()),
        )

    def _due(self, name: str, now: float) -> int:
        ledger = self._ledger
        if name not in ledger.queues:
            return 0
        due = {id for at, id in ledger.queues[name].later if at <= now and ledger.is_later(name, id)}
        return sum(ledger.jobs[id].due <= now for id in due)

    def _node(self, name: str, queue: str, now: float) -> NodeFacts:
        place = self._ledger.queues[queue].parked.get(name) if queue in self._ledger.queues else None
        info = self._introductions.of(name, now)
        return NodeFacts(
            name=name,
            lease=self._leases.until(name),
            heard=self._ledger.outbox.is_connected(name),
            claims=len(self._holdings.of(name)),
            parked=place is not None,
            calls_only=place is not None and place[0],
            draining=info is not None and info.draining,
            full="" if info is None else info.full,
        )

    def _holders(self, queue: str, nodes: Iterable[str]) -> list[str]:
        """Jobs of the queue that are active, among the claims of nodes, up to a bound."""
        found, left = list[str](), BOUNDS.seen_claims
        for node in nodes:
            held = self._holdings.of(node)
            if len(held) <= left:
                left -= len(held)
                found += [id for id in held if self._counts(id, queue)]
        return found

    def _longest(self, jobs: Iterable[str]) -> tuple[list[str], int | None]:
        """Some of these jobs, those that have run longest first, and since when the first has."""
        found = sorted((int(self._ledger.jobs[id].since), id) for id in jobs)
        return [id for _, id in found[: BOUNDS.named]], (found[0][0] or None) if found else None

    def _counts(self, job_id: str, queue: str) -> bool:
        job = self._ledger.jobs[job_id]
        return job.status == "active" and job.queue == queue and not job.away

    # --- its place --------------------------------------------------------------------------

    def _line(self, job: JobRecord, now: float) -> LineFacts | None:
        if job.turn and self._turns.stands_in_line(job):
            return None
        queue, id = self._ledger.queue(job.queue), job.spec.id
        if id in queue.prioritised:
            own = (queue.prioritised[id], id)
            before = sum((place, other) < own for other, place in queue.prioritised.items())
            return LineFacts(place=before)
        line = queue.by_session.get(job.spec.session) if job.spec.session else queue.waiting
        entries = [] if line is None else list(islice(line, BOUNDS.placed))
        if job.entry not in entries:
            return LineFacts()
        place = entries.index(job.entry)
        if place > BOUNDS.seen_before:
            return LineFacts(place=place)
        ahead = self._may_go(job.queue, entries[:place], now)
        same_turn = job.turn != "" and any(other.turn == job.turn for other in ahead)
        return LineFacts(place=place, ahead=len(ahead), same_turn=same_turn)

    def _may_go(self, queue: str, entries: list[Entry], now: float) -> list[JobRecord]:
        """Which of these a claim with room for all would be granted."""
        found, turns = list[JobRecord](), set[str]()
        for id, generation in entries:
            job = self._ledger.jobs.get(id)
            if job is None or job.status != "waiting" or job.generation != generation:
                continue
            if now > job.deadline or now >= job.expires:
                continue
            if job.turn:
                if job.turn in turns or self._turns.is_taken(job.turn):
                    continue
                turns.add(job.turn)
            found.append(job)
        return found

    def _turn(self, job: JobRecord) -> TurnFacts:
        turns = self._turns
        holder = self._ledger.jobs.get(turns.holders.get(job.turn, ""))
        in_line = turns.stands_in_line(job)
        line = turns.lines.get(job.turn, {}).get(job.queue, [])
        return TurnFacts(
            holder="" if holder is None else holder.spec.id,
            holder_node="" if holder is None else holder.node,
            in_line=in_line,
            before=line.index((job.place, job.spec.id)) if in_line else 0,
        )

    def _session(self, job: JobRecord, limits: QueueLimits, now: float) -> SessionFacts:
        session, ledger = job.spec.session, self._ledger
        queue, till = ledger.queue(job.queue), ledger.stopping.get(session, -inf)
        active, live = queue.running.get(session, 0), ledger.live.get(session, {})
        is_full = 0 < limits.per_session <= active and len(live) <= BOUNDS.seen_claims
        holders, longest = self._longest(id for id in live if is_full and self._counts(id, job.queue))
        return SessionFacts(
            stopping=int(till) if till > now else None,
            active=active if limits.per_session else 0,
            listed=len(queue.by_session.get(session, ())),
            holders=holders,
            longest=longest,
        )

    # --- others -----------------------------------------------------------------------------

    def _calls(self, job: JobRecord) -> list[str] | None:
        """What it has called and has not ended; `None`: it has called too many."""
        if len(job.children) > BOUNDS.seen_claims:
            return None
        jobs = self._ledger.jobs
        return sorted(id for id in job.children if id in jobs and jobs[id].status not in TERMINAL)

    def _parent(self, job_id: str) -> ParentFacts:
        parent = self._ledger.jobs.get(job_id)
        if parent is None:
            return ParentFacts(id=job_id)
        return ParentFacts(id=job_id, status=parent.status, node=parent.node)

    def _breaker(self, processor: str) -> BreakerFacts:
        circuit = self._breakers.known(processor)
        if circuit is None:
            return BreakerFacts()
        return BreakerFacts(state=circuit.state, until=int(circuit.until), failures=circuit.failures)

    @staticmethod
    def _settled(job: JobRecord) -> Settled | None:
        settled = job.settled
        if settled is None or job.status != "completed":
            return settled
        return Settled(settled.id, settled.status, settled.reason, NIL)

    def _dead_till(self, job: JobRecord) -> int | None:
        till = self._ledger.queue(job.queue).dead.get(job.spec.id)
        return None if till is None else int(till)
