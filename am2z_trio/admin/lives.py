"""Lives of jobs: their calls, what they have changed, why many of them wait, and one of them as a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from am2z_trio.concurrency import current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.checks import require, require_text
from am2z_trio.model.errors import JobNotFoundError
from am2z_trio.model.limits import MAX_ANY_ID_BYTES
from am2z_trio.model.views.diagnosis import Diagnosis
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.model.views.lives import CallRow, Calls, Loosened, StatusCounts
from am2z_trio.model.views.sessions import StateShown
from am2z_trio.policy.diagnosis import unknown_job

from .jobs import JobDesk
from .query import Query, parse
from .reproduction import written_as_test
from .sessions import SessionDesk

MOST_CALLERS: Final = 20
"""Above a job, one calling the other."""

MOST_CALLED: Final = 200
"""Below it, in all."""

MOST_EXPLAINED: Final = 200
"""At once."""

AT_ONCE: Final = 10
"""Questions to the store that are under way together."""

MOST_TERMS: Final = 8
"""Without each of which a query is tried, the alternatives of a field being one."""


class LifeDesk(JobDesk, SessionDesk):
    """What an operator asks of a job's surroundings, and of how many jobs there are."""

    async def processors(self) -> list[str]:
        """By which names jobs can be submitted here."""
        await self._require_view("processors")
        return sorted(queue.processor for queue in await self._queues())

    async def status_counts(self) -> StatusCounts:
        """How many jobs there are of each status."""
        await self._require_view("status_counts")
        found = await self._store.stats([queue.name for queue in await self._queues()])
        return StatusCounts(
            waiting=sum(one.waiting + one.paused for one in found),
            delayed=sum(one.delayed for one in found),
            active=sum(one.active for one in found),
            dead=sum(one.dead for one in found),
            completed=sum(one.completed for one in found),
            failed=sum(one.failed for one in found),
            cancelled=sum(one.cancelled for one in found),
        )

    async def loosened(self, query: str) -> list[Loosened]:
        """What a query that finds nothing would find without one of its terms, or the alternatives of one
        field, each looked for on one page: the most first, and those of which nothing would be found left
        out."""
        await self._require_view("loosened")
        asked, found = parse(query), list[Loosened]()
        demands = asked.demands
        async with self._seeing(asked):
            for demand in demands[:MOST_TERMS] if len(demands) > 1 else []:
                left = asked.without(demand)
                page = await self._search(left, 50, "")
                if page.rows:
                    found.append(
                        Loosened(
                            without=str(Query(demand)),
                            query=str(left),
                            found=len(page.rows),
                            more=page.cursor != "",
                        )
                    )
        return sorted(found, key=lambda one: -one.found)

    async def explain_some(self, job_ids: Sequence[str]) -> dict[str, Diagnosis]:
        """Why each of these jobs does not run, as `explain` says it, but that no node is asked; of those that
        are not there, or are none that the principal sees, that there is no record."""
        require(
            isinstance(job_ids, list | tuple) and len(job_ids) <= MOST_EXPLAINED,
            "job_ids",
            job_ids,
            f"must be a list of at most {MOST_EXPLAINED} ids",
        )
        ids = [require_text("job_ids", id, most=MAX_ANY_ID_BYTES) for id in job_ids]
        await self._require_view("explain_some")
        found = dict[str, Diagnosis]()

        async def ask(some: Sequence[str]) -> None:
            for id in some:
                told = await self._runtime.explain(id, ask_node=False)
                theirs = self.principal.is_for(queue=told.processor, session=told.session)
                found[id] = told if theirs else unknown_job(id)

        with unwrapped():
            async with current_host().open_nursery() as nursery:
                for first in range(min(AT_ONCE, len(ids))):
                    nursery.start_soon(ask, ids[first::AT_ONCE])
        return {id: found[id] for id in ids}

    async def calls(self, job_id: str) -> Calls:
        """The jobs whose calls have led to one, the first of them first, and all that it has led to, kept as
        long as their records are. Raises `JobNotFoundError`."""
        await self._require_view("calls")
        row = await self._row(job_id)
        above = list[CallRow]()
        parent = row.parent
        while parent and len(above) < MOST_CALLERS and all(one.id != parent for one in above):
            (caller,) = await self._store.inspection.rows([parent])
            seen = caller if caller is not None and self._sees(caller) else None
            above.insert(0, CallRow(id=parent, level=0, row=seen))
            parent = "" if seen is None else seen.parent
        above = [msgspec.structs.replace(one, level=level) for level, one in enumerate(above)]
        it = CallRow(id=row.id, level=len(above), row=row, asked=True)
        below, more = await self._called(row, it.level + 1)
        return Calls(rows=[*above, it, *below], more=more)

    async def _called(self, row: JobRow, level: int) -> tuple[list[CallRow], int]:
        """All below a job: asked for level by level, told from the outside in."""
        inspection, depth = self._store.inspection, level
        called: dict[str, list[JobRow]] = {}
        known, more, ask = {row.id}, 0, [row.id]
        while ask:
            following = list[str]()
            for id in ask:
                ids = [one for one in await inspection.children(id) if one not in known]
                some = ids[: max(0, MOST_CALLED - len(known))]
                more += len(ids) - len(some)
                known.update(some)
                rows = [one for one in await inspection.rows(some) if one is not None and self._sees(one)]
                called[id] = sorted(rows, key=lambda one: (one.at, one.id))
                following += [one.id for one in rows]
            ask = following

        found = list[CallRow]()
        waits = [(one, depth) for one in reversed(called.get(row.id, []))]
        while waits:
            one, level = waits.pop()
            found.append(CallRow(id=one.id, level=level, row=one))
            waits += [(each, level + 1) for each in reversed(called.get(one.id, []))]
        return found, more

    async def changes(self, job_id: str, *, reveal: bool = False, reason: str = "") -> list[StateShown]:
        """What a job has made of its session's state, the newest version first, for as long as versions are
        kept (`state_history`): as `state` shows each of them. Raises `JobNotFoundError`, and
        `StateIntegrityError` where what is stored is not what was written."""
        await self._require_view("changes")
        require(isinstance(reveal, bool), "reveal", reveal, "must be True or False")
        reason = self._reason(reason)
        row = await self._row(job_id)
        if not reveal:
            return await self._changed(row, revealed=False)
        async with self._acting_on(row, "reveal", "changes", reason):
            return await self._changed(row, revealed=True)

    async def _changed(self, row: JobRow, *, revealed: bool) -> list[StateShown]:
        if not row.session:
            return []
        theirs = [one.version for one in await self._kept(row.session) if one.by.job == row.id]
        found = [await self._state(row.session, version, None, revealed=revealed) for version in theirs]
        return [one for one in found if one is not None and one.version.by.job == row.id]

    async def as_test(self, job_id: str, *, reason: str = "") -> str:
        """The text of a pytest that runs what a job was given once more. What it was given is revealed by
        that: it takes the permission, and is audited. Raises `JobNotFoundError` where there is no such job,
        or what it was given is no longer kept."""
        reason = self._reason(reason) or "to be run as a test"
        shown = await self.show(job_id, reveal=True, reason=reason)
        if not shown.input.kept:
            raise JobNotFoundError(
                f"what job {shown.row.id} was given is no longer kept", context={"job": shown.row.id}
            )
        return written_as_test(shown.row, shown.input.value)
