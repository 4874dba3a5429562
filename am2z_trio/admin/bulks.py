"""Actions on many jobs or sessions: begun, carried on, looked at and stopped."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final, get_args

from am2z_trio.concurrency import current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.checks import require, require_count, require_number, require_text
from am2z_trio.model.codec import RecordDecoder, encode_record
from am2z_trio.model.errors import AM2ZError, JobNotFoundError, ValidationError
from am2z_trio.model.limits import MAX_REASON_BYTES
from am2z_trio.model.telling import text_of
from am2z_trio.model.transitions import UNDER_WAY
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.bulks import BulkAction, BulkPreview, BulkRecord
from am2z_trio.model.views.jobs import JobRow

from . import bulk, cursors
from .bulk import ASKED_FROM, NEEDS, Became, Step
from .bulk_sessions import SessionSteps
from .jobs import JobDesk
from .principals import Principal
from .query import Query, parse
from .search import Search
from .session_query import require_ids

AT_ONCE: Final = 20
"""Jobs that are cancelled at a time."""

LOOK_AGAIN_AFTER: Final = 1.0
"""Seconds between two looks at an action that somebody else carries on, or at a job that is tried first."""

MOST_COUNTED: Final = 200_000
"""Records that a preview looks at."""

_decode: Final = RecordDecoder[BulkRecord](BulkRecord)


class BulkDesk(JobDesk):
    """What an operator does with many jobs at once."""

    async def preview_bulk(self, action: BulkAction, query: str) -> BulkPreview:
        """How many jobs an action would be done to now, or sessions, of 'stop'. Nothing is done. Raises
        `ValidationError` for a query that does not say what is wanted: an empty one never means all."""
        await self._require_view("preview_bulk")
        asked = _asked(action, query)
        if action == "stop":
            found = await SessionSteps(self._runtime, asked, self._may_stop).count(MOST_COUNTED)
            return BulkPreview(
                action=action,
                query=str(asked),
                matched=found.matched,
                complete=found.complete,
                sample=[*found.sample],
                text=bulk.told(action, found.matched, found.complete),
            )
        counted = await self._count(bulk.meant(action, asked), MOST_COUNTED)
        return BulkPreview(
            action=action,
            query=bulk.recorded(action, asked),
            matched=counted.matched,
            complete=counted.complete,
            text=bulk.told(action, counted.matched, counted.complete),
        )

    async def begin_bulk(
        self,
        action: BulkAction,
        query: str,
        *,
        agreed: int = ASKED_FROM,
        rate: float | None = None,
        probe: bool = False,
        reason: str = "",
    ) -> BulkRecord:
        """Begin an action on all jobs that the query asks for now: it is written down, and `carry_on` does
        it.

        `agreed`: how many jobs it may be done to at most, as a preview has said; without it 100. `rate`: jobs
        per second; with `probe` one is tried first, and the others follow when that has completed.

        'stop' stops sessions that have jobs, as `stop_session` does without a grace: the query says which, by
        their ids alone (`session:team-*`). Those that begin meanwhile may be among them.
        """
        query = bulk.recorded(action, await self._asked_for(action, query))
        agreed = require_count("agreed", agreed, most=2**53)
        require(isinstance(probe, bool), "probe", probe, "must be True or False")
        require(not probe or action == "retry", "probe", probe, "goes with 'retry' alone")
        if rate is not None:
            rate = float(require_number("rate", rate, least=0.001, most=1_000_000))
        who, reason = self.principal, self._reason(reason)
        preview = {"agreed": agreed, "rate": rate, "probe": probe}
        acting = self._acting(NEEDS[action], f"bulk {action}", query=query, preview=preview, reason=reason)
        async with acting as under:
            now = self.now()
            record = BulkRecord(
                id=f"{now:x}-{secrets.token_hex(4)}",
                action=action,
                query=query,
                who=who.name,
                role=who.role,
                face=self.face,
                reason=reason,
                sessions=who.sessions,
                queues=who.queues,
                began=now,
                changed=now,
                most=agreed,
                rate=rate,
                probe="asked" if probe else "",
            )
            await self._store.bulks.write(record.id, 1, encode_record(record))
            under.result = {"bulk": record.id}
            return record

    async def _asked_for(self, action: BulkAction, query: str) -> Query:
        """What it is to be done to, of which nothing may be hidden from who asks."""
        asked = _asked(action, query)
        await self._require_seen(asked)
        return asked

    async def bulks(self, *, limit: int = 50) -> list[BulkRecord]:
        """The newest actions on many jobs, done ones included."""
        await self._require_view("bulks")
        ids = await self._store.bulks.newest(require_count("limit", limit, most=500))
        found = await self._store.bulks.read(ids)
        records = [_read(one[1]) for one in found if one is not None]
        return [record for record in records if record is not None and self._sees_bulk(record)]

    async def bulk(self, bulk_id: str) -> BulkRecord:
        """One of them. Raises `JobNotFoundError` if there is none, or no longer."""
        await self._require_view("bulk")
        return (await self._found(bulk_id))[1]

    async def stop_bulk(self, bulk_id: str, *, reason: str = "") -> Answer:
        """Let an action go no further; what it has done stays done."""
        reason = self._reason(reason)
        _, record = await self._found(bulk_id)
        async with self._acting(NEEDS[record.action], "stop bulk", target=record.id, reason=reason) as under:
            while True:
                nth, record = await self._found(bulk_id)
                if record.state != "runs":
                    answer = Answer(done=False, text=f"it goes on no more: it is {record.state}")
                    break
                why = reason or f"stopped by {self.principal.name}"
                stopped = bulk.ended(record, "stopped", self.now(), why)
                if await self._store.bulks.write(bulk_id, nth + 1, encode_record(stopped)):
                    what = "sessions" if record.action == "stop" else "jobs"
                    answer = Answer(done=True, text=f"it is stopped: {record.done:,} {what} were acted upon")
                    break
            under.result = answer
            return answer

    async def carry_on(self, bulk_id: str) -> BulkRecord:
        """Do an action, or what is left of it, until it is done or stopped; where somebody else carries it
        on, wait for that, and go on if nothing is heard of it for half a minute. Cancelled, it is left as far
        as it has come, and anybody can carry it on."""
        host, me = current_host(), f"{self._runtime.node_id}/{secrets.token_hex(4)}"
        permitted = False
        while True:
            nth, record = await self._found(bulk_id)
            now = self.now()
            if record.state != "runs":
                return record
            if not permitted:
                async with self._acting(NEEDS[record.action], "carry on bulk", target=record.id):
                    permitted = True
            if bulk.is_anothers(record, me, now):
                await host.sleep(LOOK_AGAIN_AFTER)
                continue
            mine = bulk.carried(record, me, now)
            if not await self._store.bulks.write(bulk_id, nth + 1, encode_record(mine)):
                continue
            await host.sleep(await self._step(bulk_id, nth + 1, mine))

    # --- steps ------------------------------------------------------------------------------

    async def _step(self, id: str, nth: int, record: BulkRecord) -> float:
        """Do one; returns how long to wait before the next."""
        if record.probe == "waits":
            (row,) = await self._store.inspection.rows([record.probed])
            after = bulk.after_probe(record, row, self.now())
            if after is None:
                return LOOK_AGAIN_AFTER
            await self._store.bulks.write(id, nth + 1, encode_record(after))
            return 0.0
        began = current_host().now()
        step = await self._done_step(record)
        after = bulk.after_step(record, step, self.now())
        await self._store.bulks.write(id, nth + 1, encode_record(after))
        took = current_host().now() - began
        return max(0.0, bulk.pause_after(record, after.done - record.done) - took)

    async def _done_step(self, record: BulkRecord) -> Step:
        theirs = Principal(
            name=record.who,
            role=record.role,
            permissions=frozenset(),
            sessions=record.sessions,
            queues=record.queues,
        )

        if record.action == "stop":

            def may_be_stopped(session: str) -> bool:
                return theirs.is_for_all(session=session) and self._may_stop(session)

            steps = SessionSteps(self._runtime, parse(record.query), may_be_stopped)
            return await steps.step(record.cursor, bulk.step_size(record))

        def sees(row: JobRow) -> bool:
            is_theirs = theirs.is_for(queue=row.processor, session=row.session)
            return is_theirs and self._sees(row) and bulk.is_meant(record, row)

        search = Search(self._store, sees)
        page = await search.page(
            bulk.meant(record.action, parse(record.query)),
            await self._queues(),
            limit=max(1, bulk.step_size(record)),
            cursor=record.cursor,
            now=self.now(),
            of=record.id,
        )
        rows = page.rows[: bulk.step_size(record)]
        became = await self._act(record, rows)
        left = sum(one == "done" for _, one, _ in became)
        # Dead letters leave their list, and those behind them come forward.
        leave = record.action != "cancel" and page.cursor != ""
        return Step(
            became, cursors.back(page.cursor, left) if leave else page.cursor, page.looked_at, page.of
        )

    async def _act(self, record: BulkRecord, rows: Sequence[JobRow]) -> list[tuple[str, Became, str]]:
        ids = [row.id for row in rows]
        if record.action == "retry":
            said = await self._store.revive(ids)
            return [_of_revived(id, answer) for id, answer in zip(ids, said, strict=True)]
        if record.action == "drop":
            dropped = await self._store.drop_dead_letters(ids)
            return [(id, "done" if one else "skipped", "") for id, one in zip(ids, dropped, strict=True)]
        became = dict[str, tuple[Became, str]]()
        why = text_of(record.reason or f"cancelled by {record.who}", MAX_REASON_BYTES)

        async def cancel(some: Sequence[str]) -> None:
            for id in some:
                before = await self._store.cancel(id, why)
                became[id] = "done" if before in UNDER_WAY else "skipped", ""

        with unwrapped():
            async with current_host().open_nursery() as nursery:
                for first in range(min(AT_ONCE, len(ids))):
                    nursery.start_soon(cancel, ids[first::AT_ONCE])
        return [(id, *became[id]) for id in ids]

    def _may_stop(self, session: str) -> bool:
        """Whether all of it is the principal's business."""
        return self.principal.is_for_all(session=session)

    # --- records ----------------------------------------------------------------------------

    async def _found(self, id: object) -> tuple[int, BulkRecord]:
        name = require_text("bulk_id", id, most=100)
        (found,) = await self._store.bulks.read([name])
        record = None if found is None else _read(found[1])
        if found is None or record is None or not self._sees_bulk(record):
            raise JobNotFoundError(f"no action on many jobs {name!r}", context={"bulk": name})
        return found[0], record

    def _sees_bulk(self, record: BulkRecord) -> bool:
        """Who may not see all jobs sees the actions that it has begun itself."""
        return self.principal.sees_all or record.who == self.principal.name


def _asked(action: BulkAction, query: object) -> Query:
    actions = get_args(BulkAction)
    require(action in actions, "action", action, f"must be one of {', '.join(actions)}")
    asked = parse(query)
    if not asked.asks_for_something:
        rule = "must say which are meant, not only which are not: an empty one never means all"
        raise ValidationError(f"query: {rule}", context={"field": "query", "rule": rule})
    if action == "stop":
        require_ids(asked)
    return asked


def _of_revived(id: str, said: str) -> tuple[str, Became, str]:
    if said == "queued":
        return id, "done", ""
    if said == "gone":
        return id, "skipped", ""
    whys = {"stopped": "its session is being stopped", "unreadable": "its record has been spoilt"}
    return id, "failed", whys[said]


def _read(data: bytes) -> BulkRecord | None:
    try:
        return _decode(data)
    except AM2ZError:
        # Of a newer version, or spoilt.
        return None
