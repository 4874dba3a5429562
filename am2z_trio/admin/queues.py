"""Queues: how they stand, what limits them, how they go; and acted upon as a whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce
from typing import Final, get_args

import msgspec

from am2z_trio.concurrency import current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.checks import require, require_count, require_text
from am2z_trio.model.errors import ProcessorNotFoundError
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.records import QueueInfo, limits_of, queue_name
from am2z_trio.model.records.samples import Figures
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.bulks import BulkRecord
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.model.views.queues import QueueHolding, QueueRow, QueueShown, Series, Serving, Span, TurnRow
from am2z_trio.policy.series import SHAPES, beside, carried, earlier, ended, filled

from .bulks import BulkDesk
from .query import Query, Text
from .series import watch_of

MOST_LINES: Final = 10
"""Lines of a queue that are shown, of those that are served next."""

LOOKED_AT: Final = 200
"""Waiting jobs among which these are looked for."""

MOST_CHARTED: Final = 50
"""Queues that a series of all of them is made of: those with most to do."""

RATE_OVER: Final = 60
"""Seconds over which a queue's rate is taken."""

MOST_HELD: Final = 1_000
"""Queues that are paused, or resumed, in one call; and"""

HELD_AT_ONCE: Final = 20
"""so many at a time."""


class QueueDesk(BulkDesk):
    """What an operator asks of queues, and does with them, by the names of their processors."""

    # --- what is there ----------------------------------------------------------------------

    async def queues(self) -> list[QueueRow]:
        """All queues that have jobs, or are served, by their names."""
        await self._require_view("queues")
        infos = {info.processor: info for info in await self._store.known_queues()}
        slots = await self._slots()
        census = await self._runtime.census()
        rows = list[QueueRow]()
        for name in sorted(census.queues):
            if self.principal.is_for(queue=name):
                now = msgspec.structs.asdict(census.queues[name])
                row = QueueRow(queue=name, **now)
                served = slots.get(name, [])
                info = infos.get(name)
                rows.append(
                    msgspec.structs.replace(
                        row,
                        slots=sum(one.slots for one in served),
                        most_active=0 if info is None else limits_of(info.options).most_active,
                    )
                )
        rates = {row.queue: await self._rate(row.queue) for row in _busiest(rows)}
        return [msgspec.structs.replace(row, rate=rates.get(row.queue, 0.0)) for row in rows]

    async def queue(self, queue: str) -> QueueShown:
        """One queue: how it stands, what limits it, who serves it, and what begins next of each line. Raises
        `ProcessorNotFoundError` for one that nobody has announced, or that is none of the principal's
        business."""
        name = require_text("queue", queue, most=MAX_NAME_BYTES)
        await self._require_view("queue", name)
        info = await self._info(name)
        rows = [row for row in await self.queues() if row.queue == name]
        row = rows[0] if rows else QueueRow(queue=name)
        inspection, kept = self._store.inspection, queue_name(name)
        (totals,) = await inspection.totals([kept])
        (pressure,) = await inspection.pressure([kept])
        page = await inspection.page(kept, "waiting", 0, LOOKED_AT)
        lines, starts = await self._lines(page.rows)
        return QueueShown(
            row=row,
            limits=limits_of(info.options),
            most_waiting=info.options.max_size,
            starts=starts,
            lanes=totals.lanes + any(not one.session for one in page.rows),
            blocked=totals.blocked,
            nodes=(await self._slots()).get(name, []),
            seen=pressure.seen,
            circuit=pressure.breaker.state,
            circuit_until=pressure.breaker.until,
            next=lines,
        )

    async def _lines(self, waiting: list[JobRow]) -> tuple[list[TurnRow], int | None]:
        """The first job of each line, in the order of their turns; and how many starts the limiter counts."""
        first = dict[str, JobRow]()
        for row in waiting:
            first.setdefault(row.session, row)
        found, starts = list[TurnRow](), None
        for session, row in list(first.items())[:MOST_LINES]:
            facts = await self._store.inspection.facts(row.id)
            listed = None
            if facts is not None:
                starts = facts.queue.starts
                listed = None if facts.at_session is None else facts.at_session.listed
            if self.principal.is_for(session=session):
                found.append(TurnRow(session=session, job=row.id, at=row.at, listed=listed))
        return found, starts

    async def series(self, span: Span = "1h", *, queue: str | None = None) -> Series:
        """What has happened in a queue, or in all of them together, over that span. Of very many queues those
        are looked at that have most to do. What is read is some seconds old at most."""
        require(span in get_args(Span), "span", span, f"must be one of {', '.join(get_args(Span))}")
        await self._require_view("series")
        now, shape = self.now(), SHAPES[span]
        if queue is None:
            rows = await self._shown_rows()
            names = [row.queue for row in _busiest(rows)]
            left_out = len(rows) - len(names)
            has_jobs = {row.queue for row in rows if row.waiting or row.active}
        else:
            name = require_text("queue", queue, most=MAX_NAME_BYTES)
            await self._info(name)
            names, left_out, has_jobs = [name], 0, {name}
        watch, first = watch_of(self._runtime), shape.first(now)
        starts = range(first, first + shape.count * shape.width * 1000, shape.width * 1000)
        slots = dict[str, dict[int, Figures]]()
        for name in names:
            slots[name] = carried(await watch.slots(span, queue_name(name), now), starts)
        past = {name: watch.earlier(span, queue_name(name), now) for name in names}
        if queue is None and self.principal.sees_all:
            watch.forget(span, [queue_name(name) for name in names])
        total: dict[int, Figures] = {
            at: reduce(beside, (one[at] for one in slots.values()), {}) for at in starts
        }
        return Series(
            span=span,
            at=first,
            seconds=shape.width,
            samples=filled(total, shape, first, now),
            ended={name: [ended(one[at]) for at in starts] for name, one in slots.items()},
            left_out=left_out,
            earlier=earlier(
                [*past.values()],
                shape.seconds,
                is_known=all(past[name] for name in names if name in has_jobs),
            ),
        )

    async def _shown_rows(self) -> list[QueueRow]:
        census = await self._runtime.census()
        return [
            QueueRow(queue=name, **msgspec.structs.asdict(now))
            for name, now in census.queues.items()
            if self.principal.is_for(queue=name)
        ]

    async def _rate(self, name: str) -> float:
        now, width = self.now(), SHAPES["15m"].width * 1000
        slots = await watch_of(self._runtime).slots("15m", queue_name(name), now)
        # The slot of now is not over, and nodes have not told all of the one before.
        last = now - now % width - width
        first = last - RATE_OVER * 1000
        return sum(figures.get(1, 0) for at, figures in slots.items() if first <= at < last) / RATE_OVER

    async def _slots(self) -> dict[str, list[Serving]]:
        """By processor: who serves it, with how many slots."""
        found = dict[str, list[Serving]]()
        for node in await self._runtime.control.nodes():
            if node.status in ("serving", "unheard"):
                for name, slots in node.concurrency.items():
                    found.setdefault(name, []).append(Serving(node=node.id, slots=slots))
        return found

    async def _info(self, name: str) -> QueueInfo:
        if self.principal.is_for(queue=name):
            for info in await self._store.known_queues():
                if info.processor == name:
                    return info
            if name in self._runtime.list_processors():
                return QueueInfo(queue=queue_name(name), processor=name)
        raise ProcessorNotFoundError(f"there is no queue {name!r}", context={"processor": name})

    # --- what may be done -------------------------------------------------------------------

    async def pause(self, queue: str, *, reason: str = "") -> Answer:
        """Start no job of the queue on any node, until it is resumed; what runs goes on, what comes waits."""
        return await self._pause(queue, True, "pause", reason)

    async def resume(self, queue: str, *, reason: str = "") -> Answer:
        """Start jobs of the queue again."""
        return await self._pause(queue, False, "resume", reason)

    async def drain_queue(self, queue: str, *, reason: str = "") -> Answer:
        """Pause the queue, and say how many of its jobs run still: it is drained when these have ended."""
        return await self._pause(queue, True, "drain_queue", reason)

    async def _pause(self, queue: str, on: bool, action: str, reason: str) -> Answer:
        queue, reason = require_text("queue", queue, most=MAX_NAME_BYTES), self._reason(reason)
        return await self._hold(queue, on, action, reason)

    async def _hold(
        self, queue: str, on: bool, action: str, reason: str, *, known: Collection[str] | None = None
    ) -> Answer:
        """`known`: the queues that there are, where that has been asked."""
        acting = self._acting("pause", action, target=queue, queue=queue, whole=True, reason=reason)
        async with acting as under:
            if queue not in (known or {one.processor for one in await self._queues()}):
                answer = Answer(done=False, text="there is no such queue")
            else:
                await (self._runtime.pause if on else self._runtime.resume)(queue)
                told = "none of its jobs is started any more" if on else "its jobs are started again"
                if action == "drain_queue":
                    (totals,) = await self._store.inspection.totals([queue_name(queue)])
                    ends = f"{totals.active:,} still run" if totals.active else "none runs"
                    told = f"{told}; {ends}"
                answer = Answer(done=True, text=told)
            under.result = answer
            return answer

    async def preview_pause_all(self, *, resume: bool = False) -> QueueHolding:
        """What `pause_all` would be about; with `resume`, what `resume_all` would be."""
        require(isinstance(resume, bool), "resume", resume, "must be True or False")
        await self._require_view("preview_pause_all", whole=self._is_of_some_sessions)
        return await self._holding(not resume)

    async def pause_all(self, *, reason: str = "") -> Answer:
        """Pause each queue that the principal may pause and that is not paused, 1,000 at most; the answer
        says how many those were, how many were paused already, and how many are left. Each is written down
        as `pause` writes it down. Queues that come later are not paused. Where the store is lost meanwhile,
        or this is cancelled, those that were paused stay so."""
        return await self._hold_all(True, "pause_all", reason)

    async def resume_all(self, *, reason: str = "") -> Answer:
        """Resume each queue that the principal may resume and that is paused, whoever has paused it; bounded,
        answered and written down as `pause_all`."""
        return await self._hold_all(False, "resume_all", reason)

    async def _hold_all(self, on: bool, action: str, reason: str) -> Answer:
        reason = self._reason(reason)
        await self._require("pause", action, whole=self._is_of_some_sessions)
        found = await self._holding(on)
        names = [row.queue for row in found.queues]
        known = frozenset(names)

        async def hold(some: Sequence[str]) -> None:
            for name in some:
                await self._hold(name, on, "pause" if on else "resume", reason, known=known)

        with unwrapped():
            async with current_host().open_nursery() as nursery:
                for first in range(min(HELD_AT_ONCE, len(names))):
                    nursery.start_soon(hold, names[first::HELD_AT_ONCE])
        return _held(found, on)

    async def _holding(self, on: bool) -> QueueHolding:
        rows = [row for row in await self._shown_rows() if self.principal.is_for_all(queue=row.queue)]
        others = sorted((row for row in rows if row.paused != on), key=lambda row: row.queue)
        some = others[:MOST_HELD]
        return QueueHolding(queues=some, already=len(rows) - len(others), left=len(others) - len(some))

    @property
    def _is_of_some_sessions(self) -> bool:
        """Whether the principal is limited to some sessions: then no queue is its own, as each is of all."""
        return "*" not in self.principal.sessions

    async def purge(self, queue: str, *, agreed: int, reason: str = "") -> BulkRecord:
        """Begin to cancel all jobs of the queue that wait or are delayed: `carry_on` does it. `agreed`: how
        many they may be at most, as whoever asks has seen it. Takes the permission to cancel, too."""
        queue, reason = require_text("queue", queue, most=MAX_NAME_BYTES), self._reason(reason)
        agreed = require_count("agreed", agreed, most=2**53)
        preview = {"agreed": agreed}
        acting = self._acting(
            "purge", "purge", target=queue, queue=queue, whole=True, preview=preview, reason=reason
        )
        async with acting as under:
            await self._info(queue)
            record = await self.begin_bulk("cancel", purged(queue), agreed=agreed, reason=reason)
            under.result = {"bulk": record.id}
            return record


def purged(queue: str) -> str:
    """The query for what a purge of the queue is about."""
    return str(Query((Text("queue", queue), Text("status", "waiting"), Text("status", "delayed"))))


def _held(found: QueueHolding, on: bool) -> Answer:
    """What became of pausing, or resuming, all that was found."""
    if not found.queues:
        stand = "paused" if on else "running"
        some = f"all {found.already:,} are {stand} already" if found.already else "there are no queues"
        return Answer(done=found.already > 0, text=some)
    parts = [f"{_queues(len(found.queues))} {'paused' if on else 'resumed'}"]
    if found.already:
        were = "was" if found.already == 1 else "were"
        parts.append(f"{found.already:,} {were} {'paused already' if on else 'not paused'}")
    if found.left:
        parts.append(f"{_queues(found.left)} left: ask again")
    return Answer(done=True, text="; ".join(parts))


def _queues(number: int) -> str:
    return f"{number:,} queue" if number == 1 else f"{number:,} queues"


def _busiest(rows: list[QueueRow]) -> list[QueueRow]:
    def busy(row: QueueRow) -> tuple[int, int, int]:
        return row.active, row.waiting, row.workers

    return sorted(rows, key=busy, reverse=True)[:MOST_CHARTED]
