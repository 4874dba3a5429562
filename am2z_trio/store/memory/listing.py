"""Jobs in lists, for whoever looks: by where they are, by id, by time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import inf

import msgspec

from am2z_trio.model.options import Retention
from am2z_trio.model.records import JobSpec
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.model.views.jobs import JobPage, JobRow, QueueTotals, Source, cut
from am2z_trio.store.ports import MOST_LOOKED_AT

from .holdings import Holdings
from .job import JobRecord
from .ledger import Ledger
from .line import Entry
from .queue import Queue
from .retention import Records


class Listing:
    def __init__(self, ledger: Ledger, records: Records, holdings: Holdings) -> None:
        self._ledger = ledger
        self._records = records
        self._holdings = holdings

    def page(self, name: str, source: Source, start: int, count: int, now: float) -> JobPage:
        self._records.collect(now)
        queue = self._ledger.queue(name)
        entries = islice(self._entries(name, queue, source), start, None)
        found, looked_at, gone, more = list[JobRow](), 0, 0, False
        for entry in entries:
            if len(found) == count or looked_at == MOST_LOOKED_AT:
                more = True
                break
            looked_at += 1
            job = self._ledger.jobs.get(entry[0])
            if job is None or job.forget_at <= now:
                gone += 1
            elif self._belongs(job, name, source, entry):
                found.append(self._row(job))
        behind = start + looked_at if more else None
        of = getattr(self.totals(name, now), source)
        return JobPage(rows=found, looked_at=looked_at, of=of, gone=gone, next=behind)

    def _entries(self, name: str, queue: Queue, source: Source) -> Iterator[Entry | tuple[str]]:
        """In the order of the source; with the generation where they stand in a line."""
        if source == "waiting":
            yield from _in_turns([queue.waiting, *(queue.by_session[session] for session in queue.ready)])
            places = queue.prioritised.items()
            yield from ((id,) for id, _ in sorted(places, key=lambda item: item[1]))
            yield from _in_turns(
                [queue.by_session[name] for name in queue.blocked if name in queue.by_session]
            )
        elif source == "active":
            for node in sorted(self._holdings.nodes()):
                yield from ((id,) for id in sorted(self._holdings.of(node)))
        elif source == "later":
            ledger = self._ledger
            later = {id for _, id in queue.later if ledger.is_later(name, id)}
            yield from ((id,) for id in sorted(later, key=lambda id: (ledger.jobs[id].due, id)))
        elif source == "dead":
            dead = queue.dead
            yield from ((id,) for id in sorted(dead, key=lambda id: (dead[id], id), reverse=True))
        else:
            yield from ((id,) for id in reversed(queue.recent))

    @staticmethod
    def _belongs(job: JobRecord, queue: str, source: Source, entry: Entry | tuple[str]) -> bool:
        """Whether a job is what its place says."""
        if source == "active":
            return job.status == "active" and job.queue == queue
        if source == "dead":
            return job.status == "failed"
        if source == "recent":
            return job.status in TERMINAL
        return job.status == source and (len(entry) == 1 or job.generation == entry[1])

    def rows(self, ids: Sequence[str], now: float) -> list[JobRow | None]:
        jobs = (self._records.known(id, now) for id in ids)
        return [None if job is None else self._row(job) for job in jobs]

    def specs(self, ids: Sequence[str], now: float) -> list[JobSpec | None]:
        jobs = (self._records.known(id, now) for id in ids)
        return [job.spec if job is not None and self._keeps_input(job) else None for job in jobs]

    def _keeps_input(self, job: JobRecord) -> bool:
        """Whether what it was given is kept: until it has ended, and with a dead letter."""
        return job.status not in TERMINAL or job.spec.id in self._ledger.queue(job.queue).dead

    def children(self, id: str, most: int, now: float) -> list[str]:
        job = self._records.known(id, now)
        return [] if job is None else list({**job.called, **job.children})[:most]

    def of_session(self, session: str, most: int) -> list[str]:
        return list(islice(self._ledger.live.get(session, ()), most))

    def of_node(self, node: str, most: int) -> list[str]:
        return list(islice(self._holdings.of(node), most))

    def place(self, name: str, at: int, now: float) -> int:
        self._records.collect(now)
        ended = [-self._ledger.jobs[id].ended for id in reversed(self._ledger.queue(name).recent)]
        return bisect_left(ended, -at)

    def totals(self, name: str, now: float) -> QueueTotals:
        self._records.collect(now)
        queue = self._ledger.queue(name)
        counts = queue.counts
        return QueueTotals(
            queue=name,
            waiting=counts.get("waiting", 0),
            later=counts.get("later", 0),
            active=counts.get("active", 0),
            dead=len(queue.dead),
            recent=len(queue.recent),
            lanes=len(queue.ready),
            blocked=len(queue.blocked),
        )

    def _row(self, job: JobRecord) -> JobRow:
        spec, has_ended = job.spec, job.status in TERMINAL
        runs = has_ended or job.status == "active"
        return JobRow(
            id=spec.id,
            status=job.status,
            queue=job.queue,
            processor=spec.processor,
            session=spec.session,
            at=int(job.at),
            since=int(job.since) if runs else 0,
            ended=int(job.ended),
            attempt=job.attempt,
            deliveries=job.deliveries,
            stalls=job.stalls,
            node=job.node,
            token=job.token,
            due=int(job.due) if job.status == "later" else 0,
            on_complete=_said(job.on_complete),
            on_fail=_said(job.on_fail),
            deadline=0 if job.deadline == inf else int(job.deadline),
            priority=job.priority,
            progress=job.progress,
            parent=spec.parent,
            origins=() if has_ended else tuple(job.origins),
            reason="" if job.settled is None else cut(job.settled.reason),
            cancel="" if job.cancel_reason is None or has_ended else cut(job.cancel_reason),
            size=len(msgspec.msgpack.encode(spec)) if self._keeps_input(job) else 0,
            turn=job.turn,
            away=job.away,
            conflicts=job.conflicts,
            depth=job.depth,
            trace=job.labels.trace if job.labels else "",
            schedule=job.labels.schedule if job.labels else "",
            tags=job.labels.tags if job.labels else (),
            trail=tuple(job.trail),
            waits=job.parked_for,
        )


def _in_turns(lines: Iterable[Iterable[Entry]]) -> Iterator[Entry]:
    """One entry of each line at a time."""
    living = [iter(line) for line in lines]
    while living:
        left = list[Iterator[Entry]]()
        for line in living:
            for entry in line:
                yield entry
                left.append(line)
                break
        living = left


def _said(kept: Retention | None) -> Retention | None:
    """A retention that says anything."""
    return kept if kept is not None and (kept.age is not None or kept.count is not None) else None
