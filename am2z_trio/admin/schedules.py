"""Schedules: looked at, written down, held up, removed, and run beside their times."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final, Unpack

import msgspec

from am2z_trio.engine.processors.processor import name_of
from am2z_trio.engine.runtime.schedules import ScheduleManager
from am2z_trio.engine.schedules.plan import DECORATED, Schedule, ScheduleTerms
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.checks import require, require_count, require_text
from am2z_trio.model.errors import ResourceError, ScheduleNotFoundError, StateConflictError
from am2z_trio.model.limits import MAX_REASON_BYTES
from am2z_trio.model.schedules import MAX_SCHEDULE_ID_BYTES, Backfill, ScheduleRun, ScheduleView
from am2z_trio.model.telling import text_of
from am2z_trio.model.views.actions import Answer

from .asking import Asking

PAGE: Final = 1_000
"""Schedules that are looked at in one call."""


class ScheduleDesk(Asking):
    """What an operator asks of schedules, and does with them, by their ids.

    Those whose jobs are no business of the principal are not there for it. What changes one takes the
    permission `schedule`; where there is none, or it has changed meanwhile, the answer says so.
    """

    # --- looked at --------------------------------------------------------------------------

    async def schedules(self, *, offset: int = 0, limit: int = 100) -> list[ScheduleView]:
        """A page of them, those that come next in front, paused ones and those at their end last."""
        await self._require_view("schedules")
        offset = require_count("offset", offset, least=0, most=2**31)
        limit = require_count("limit", limit, most=PAGE)
        if self.principal.sees_all:
            return await self._manager.list(offset=offset, limit=limit)
        found, looked_at = list[ScheduleView](), 0
        while len(found) < offset + limit and (
            page := await self._manager.list(offset=looked_at, limit=PAGE)
        ):
            looked_at += PAGE
            found += [view for view in page if self._is_for(view)]
        return found[offset : offset + limit]

    async def schedule(self, schedule_id: str) -> ScheduleView:
        """One of them. Raises `ScheduleNotFoundError`."""
        await self._require_view("schedule", _id(schedule_id))
        return await self._there(schedule_id)

    async def schedule_times(self, schedule_id: str, n: int = 10) -> Sequence[datetime]:
        """Its next nominal times, UTC, without jitter; none where it is paused, or at its end. Raises
        `ScheduleNotFoundError`."""
        await self._require_view("schedule_times", _id(schedule_id))
        await self._there(schedule_id)
        return await self._manager.next(schedule_id, n)

    async def schedule_runs(
        self, schedule_id: str, *, offset: int = 0, limit: int = 100
    ) -> list[ScheduleRun]:
        """What became of its times, the newest first. Raises `ScheduleNotFoundError`."""
        await self._require_view("schedule_runs", _id(schedule_id))
        await self._there(schedule_id)
        return await self._manager.runs(schedule_id, offset=offset, limit=limit)

    async def last_runs(self, ids: Sequence[str], limit: int = 8) -> dict[str, list[ScheduleRun]]:
        """The newest runs of several schedules; those that are not there are left out."""
        await self._require_view("last_runs")
        seen = [view.id for view in await self._manager.get_many(ids) if self._is_for(view)]
        return await self._manager.last_runs(seen, limit)

    # --- changed ----------------------------------------------------------------------------

    async def add_schedule(self, plan: Schedule, *, reason: str = "") -> Answer:
        """Write a schedule down, or change the one that has its id, as `runtime.schedules.upsert` does; its
        state is as in `edit`. One of an owner, or a processor's own, is not changed so, but by
        `amend_schedule`."""
        require(isinstance(plan, Schedule), "plan", plan, "must be a Schedule")
        name, reason = name_of(plan.processor), self._reason(reason)
        session = "" if plan.session is None else require_session(plan.session)
        known = await self._known(plan.id)
        preview = {"processor": name, "session": session, "was": None if known is None else _standing(known)}
        whose: dict[str, Any] = {"queue": name, "session": session, "preview": preview, "reason": reason}
        async with self._acting("schedule", "add_schedule", target=plan.id, **whose) as under:
            if known is not None and not self._is_for(known):
                answer = Answer(done=False, text="its id is that of a schedule of others")
            else:
                answer = await _or_gone(self._write(plan, name, 0 if known is None else known.rev))
            under.result = answer
            return answer

    async def _write(self, plan: Schedule, processor: str, rev: int) -> Answer:
        if plan.state is not None:
            plan = msgspec.structs.replace(plan, state=self._typed(processor, plan.state))
        return _written(await self._manager.upsert(plan), rev)

    async def amend_schedule(
        self, schedule_id: str, *, rev: int | None = None, reason: str = "", **terms: Unpack[ScheduleTerms]
    ) -> Answer:
        """Change when it comes, and what is to become of its times, as `runtime.schedules.amend` does; what
        it runs stays. `rev`: the revision that whoever asks has seen: where it is another one by now, nothing
        is done."""
        reason = self._reason(reason)
        if rev is not None:
            rev = require_count("rev", rev)

        async def amend(view: ScheduleView) -> Answer:
            try:
                new = await self._manager.amend(schedule_id, rev=rev, **terms)
            except StateConflictError as moved:
                newest = moved.context["rev"]
                return Answer(done=False, text=f"it has moved on: revision {newest} is the newest")
            back = ", until a node announces its processor: that says when it comes"
            return _written(new, view.rev, back if view.owner == DECORATED else "")

        return await self._change("amend_schedule", schedule_id, reason, amend)

    async def pause_schedule(self, schedule_id: str, *, reason: str = "") -> Answer:
        """Let it come no more until it is resumed. What has begun goes on."""
        reason = self._reason(reason)
        why = text_of(reason or f"paused by {self.principal.name}", MAX_REASON_BYTES)

        async def pause(_: ScheduleView) -> Answer:
            await self._manager.pause(schedule_id, why)
            return Answer(done=True, text="it comes no more, until it is resumed")

        return await self._change("pause_schedule", schedule_id, reason, pause)

    async def resume_schedule(self, schedule_id: str, *, reason: str = "") -> Answer:
        """Let it come again, from now on."""

        async def resume(view: ScheduleView) -> Answer:
            await self._manager.resume(schedule_id)
            was = "it was not paused, and comes as before"
            return Answer(done=True, text=was if view.paused is None else "it comes again, from now on")

        return await self._change("resume_schedule", schedule_id, self._reason(reason), resume)

    async def remove_schedule(self, schedule_id: str, *, reason: str = "") -> Answer:
        """Remove it; its jobs go on."""

        async def remove(view: ScheduleView) -> Answer:
            if not await self._manager.remove(schedule_id):
                raise _none(schedule_id)
            back = ", until a node announces its processor: to be rid of it, pause it"
            return Answer(done=True, text=f"it is removed{back if view.owner == DECORATED else ''}")

        return await self._change("remove_schedule", schedule_id, self._reason(reason), remove)

    async def run_schedule(self, schedule_id: str, *, reason: str = "") -> Answer:
        """Run it once, now, beside its times, as `runtime.schedules.run_now` does."""

        async def run(_: ScheduleView) -> Answer:
            try:
                job = await self._manager.run_now(schedule_id)
            except ResourceError as error:
                if "outcomes" not in error.context:
                    raise
                # Its queue is full, or its session is being stopped.
                return Answer(done=False, text=error.message)
            return Answer(done=True, text=f"job {job.id} was made", job=job.id)

        return await self._change("run_schedule", schedule_id, self._reason(reason), run)

    async def backfill_schedule(
        self, schedule_id: str, start: datetime, end: datetime, *, dry_run: bool = True, reason: str = ""
    ) -> Backfill:
        """Run it for past times that have had no job, as `runtime.schedules.backfill` does. To ask which
        these are (`dry_run`) is to look. Raises `ScheduleNotFoundError`."""
        schedule_id, reason = _id(schedule_id), self._reason(reason)
        require(isinstance(dry_run, bool), "dry_run", dry_run, "must be True or False")
        if dry_run:
            await self._require_view("backfill_schedule", schedule_id)
            await self._there(schedule_id)
            return await self._manager.backfill(schedule_id, start, end)

        async def foresee() -> dict[str, Any]:
            await self._there(schedule_id)
            return _numbers(await self._manager.backfill(schedule_id, start, end))

        acting = self._acting(
            "schedule", "backfill_schedule", target=schedule_id, foresee=foresee, reason=reason
        )
        async with acting as under:
            told = await self._manager.backfill(schedule_id, start, end, dry_run=False)
            under.result = _numbers(told)
            return told

    # --- what it stands on ------------------------------------------------------------------

    @property
    def _manager(self) -> ScheduleManager:
        return self._runtime.schedules

    def _is_for(self, view: ScheduleView) -> bool:
        """Whether its jobs are any business of the principal."""
        return self.principal.is_for(queue=view.processor, session=view.session or "")

    async def _known(self, id: str) -> ScheduleView | None:
        """A schedule, whosever it is."""
        try:
            return await self._manager.get(id)
        except ScheduleNotFoundError:
            return None

    async def _find(self, id: str) -> ScheduleView | None:
        """A schedule that the principal sees."""
        view = await self._known(id)
        return view if view is not None and self._is_for(view) else None

    async def _there(self, id: str) -> ScheduleView:
        view = await self._find(id)
        if view is None:
            raise _none(id)
        return view

    async def _change(
        self, action: str, id: str, reason: str, change: Callable[[ScheduleView], Awaitable[Answer]]
    ) -> Answer:
        """Do it to a schedule as it stands, if it is there."""
        view = await self._find(_id(id))
        preview = None if view is None else _standing(view)
        acting = self._acting("schedule", action, target=id, preview=preview, reason=reason)
        async with acting as under:
            answer = _gone(_none(id)) if view is None else await _or_gone(change(view))
            under.result = answer
            return answer


def _id(id: object) -> str:
    return require_text("schedule_id", id, most=MAX_SCHEDULE_ID_BYTES)


def _written(view: ScheduleView, rev: int, more: str = "") -> Answer:
    """What became of one that had this revision before."""
    told = "it is as it was" if view.rev == rev else f"revision {view.rev} is written down"
    comes = "comes no more, as it is" if view.next is None else f"comes next at {view.next.isoformat()}"
    return Answer(done=True, text=f"{told}, and {comes}{more}")


def _none(id: str) -> ScheduleNotFoundError:
    return ScheduleNotFoundError(f"there is no schedule {id!r}", context={"schedule": id})


def _gone(error: ScheduleNotFoundError) -> Answer:
    return Answer(done=False, text=error.message)


async def _or_gone(answer: Awaitable[Answer]) -> Answer:
    """What was removed meanwhile, or another version has written, is an answer."""
    try:
        return await answer
    except ScheduleNotFoundError as error:
        return _gone(error)


def _standing(view: ScheduleView) -> dict[str, Any]:
    """How it stands, as the audit has it."""
    shown = ("processor", "session", "when", "tz", "rev", "paused", "fired")
    return {name: getattr(view, name) for name in shown}


def _numbers(told: Backfill) -> dict[str, Any]:
    """A backfill, as the audit has it."""
    return {"times": len(told.times), "had": told.had, "queued": told.queued, "refused": told.refused}
