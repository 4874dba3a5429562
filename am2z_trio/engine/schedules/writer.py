"""Writes schedules down: what users say, and what the processors say that this node serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.engine.submission.preparation import Preparation
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import ScheduleRecord, ScheduleSpec, UpsertAnswer
from am2z_trio.policy.schedules import first_after
from am2z_trio.policy.zones import tz_version
from am2z_trio.store.ports import BATCH, ScheduleStore

from .plan import DECORATED, Schedule, ScheduleTerms, plan_of

logger: Final = Log("am2z_trio.schedules")


NO_REMEDY: Final = ("configuration", "validation")
"""Categories of errors that the same schedule would meet again."""


class Writer:
    """Writes with the means of one node."""

    def __init__(self, schedules: ScheduleStore, preparation: Preparation, emitter: Emitter) -> None:
        self._schedules = schedules
        self._preparation = preparation
        self._emitter = emitter

    async def write(
        self, plan: Schedule, owner: str, *, take_over: bool = False
    ) -> tuple[UpsertAnswer, float]:
        """Write a plan down; returns in how many seconds it is due, too. Raises what a job of it would."""
        made = await self._preparation.prepare(plan.processor, plan.state, plan.request)
        return await self._upsert(plan.spec(made, owner), take_over=take_over)

    async def amend(self, record: ScheduleRecord, terms: ScheduleTerms) -> tuple[UpsertAnswer, float]:
        """Give a schedule other terms, if it is what the record says; returns in how many seconds it is due,
        too."""
        assert record.spec is not None
        return await self._upsert(plan_of(record.spec, terms).amended(record.spec), of=record)

    @staticmethod
    def tz_version_of(spec: ScheduleSpec) -> str:
        """The version of the time zones by which its times are computed here; empty where there is none."""
        return tz_version() if spec.cron and spec.tz != "UTC" else ""

    async def _upsert(
        self, spec: ScheduleSpec, *, of: ScheduleRecord | None = None, take_over: bool = False
    ) -> tuple[UpsertAnswer, float]:
        now, (known,) = await self._schedules.look([spec.id])
        next, due = first_after(spec, now, 0 if known is None else known.fired)
        tz = self.tz_version_of(spec)
        answer = await self._schedules.upsert(spec, next, due, tz, of=of, take_over=take_over)
        if answer.status in ("created", "changed"):
            self.tell("changed", spec, {"what": answer.status, "rev": answer.rev})
        return answer, (due - now) / 1000

    def tell(self, what: str, spec: ScheduleSpec, data: dict[str, Any], job: str = "") -> None:
        """An event of a schedule."""
        of = msgspec.structs.replace(spec.job.spec, id=job)
        self._emitter.emit_of_job(f"schedule:{what}", {"schedule": spec.id, **data}, of)

    # --- of processors ------------------------------------------------------------------------

    async def adopt(self, definitions: Sequence[Definition]) -> float:
        """Write down what the processors say that are served here, and take away what earlier versions of
        them have said; returns in how many seconds the first one is due."""
        wait, without = float("inf"), list[str]()
        for definition in definitions:
            processor = definition.processor
            if processor.schedule is None:
                without.append(processor.name)
                continue
            try:
                answer, due_in = await self.write(self._plan_of(definition), DECORATED)
            except AM2ZError as error:
                if error.category not in NO_REMEDY:
                    raise
                logger.error("processor %r cannot be scheduled: %s", processor.name, error)
                continue
            if answer.status == "owned":
                logger.warning(
                    "processor %r is not scheduled as it says: a schedule of its name is %s",
                    processor.name,
                    whose(answer.owner),
                )
            else:
                wait = min(wait, due_in)
        for start in range(0, len(without), BATCH):
            _, found = await self._schedules.look(without[start : start + BATCH])
            for record in found:
                if record is not None and record.spec is not None and record.spec.owner == DECORATED:
                    await self.remove(record, DECORATED)
        return wait

    @staticmethod
    def _plan_of(definition: Definition) -> Schedule:
        processor = definition.processor
        assert processor.schedule is not None
        return Schedule(processor.name, processor, processor.schedule, definition.scheduled_state())

    async def remove(self, record: ScheduleRecord, owner: str | None = None) -> bool:
        """Remove a schedule."""
        assert record.spec is not None
        removed = await self._schedules.remove(record.spec.id, owner)
        if removed:
            self.tell("changed", record.spec, {"what": "removed"})
        return removed

    # --- of all -------------------------------------------------------------------------------

    async def recompute(self) -> None:
        """Give those their next time by this node's time zones that have it by older ones."""
        version, offset = tz_version(), 0
        while version and (names := await self._schedules.page(offset, BATCH)):
            offset += len(names)
            now, found = await self._schedules.look_at(names)
            for record in found:
                spec = None if record is None else record.spec
                if record is None or spec is None or not self.tz_version_of(spec) > record.tz_version:
                    continue
                if record.next is None or record.next <= now:
                    continue
                try:
                    next, due = first_after(spec, now, record.fired)
                except AM2ZError as error:
                    # It stays as it is; whoever is to fire it says so, too.
                    logger.warning("schedule %r has no next time here: %s", spec.id, error)
                    continue
                if await self._schedules.put(record, next, due, tz_version=version) and next != record.next:
                    self.tell("changed", spec, {"what": "time zones", "version": version})


def whose(owner: str) -> str:
    """How it is told whose a schedule is."""
    if owner == DECORATED:
        return "its processor's own (@processor(schedule=...))"
    return f"that of owner {owner!r}" if owner else "there, and has no owner"
