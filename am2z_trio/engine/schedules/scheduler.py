"""The task of a node that fires what is due.

When that is comes with the answers to the node's own heartbeat, about one a second anyway, and with what is
written here. All nodes set a timer for it, each a little later by an amount of its own, so that usually one
comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final
from zlib import crc32

from am2z_trio.concurrency import Host
from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.engine.submission.preparation import Preparation
from am2z_trio.model.errors import AM2ZError, NetworkError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import FireAnswer, Firing, ScheduleRecord
from am2z_trio.model.telling import class_of, trace_of
from am2z_trio.policy.schedules import decide
from am2z_trio.store.ports import BATCH, ScheduleStore

from .writer import Writer

logger: Final = Log("am2z_trio.schedules")

APART: Final = 25
"""Milliseconds by which nodes fire one after the other, at most."""

NO_SOONER: Final = 0.001
"""Seconds; a timer is not set anew for less."""

AGAIN_AFTER: Final = 1.0
"""Seconds after which is tried again what could not be done: the store refused, or this node cannot tell when
a schedule comes."""


class Scheduler:
    """One node's timer, and what it does then."""

    def __init__(
        self, host: Host, node: str, schedules: ScheduleStore, preparation: Preparation, emitter: Emitter
    ) -> None:
        self._host = host
        self._schedules = schedules
        self.writer = Writer(schedules, preparation, emitter)
        self._offset = crc32(node.encode()) % (APART + 1) / 1000
        self._due_at = inf
        self._bell = host.spot()
        self._adopted: dict[str, Definition] = {}
        self._recomputed = False
        """Each has its next time by time zones that are no older than this node's."""
        self._puzzling: dict[str, str] = {}
        """Schedules that this node cannot fire, and why, as it has said."""

    # --- told from outside, synchronously -----------------------------------------------------

    def due_in(self, wait: float | None) -> None:
        """The store says when the first of all is due; `None`: it does not know of any."""
        if wait is not None:
            self.is_due_in(wait)

    def is_due_in(self, wait: float) -> None:
        """One is due in so many seconds."""
        at = self._host.now() + wait + self._offset
        if at < self._due_at - NO_SOONER:
            self._due_at = at
            self._bell.wake()

    def adopt(self, definitions: Sequence[Definition]) -> None:
        """These are served here now: what they say of schedules is to be written down."""
        self._adopted |= {one.processor.name: one for one in definitions}
        self._bell.wake()

    # --- its task -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Fire until cancelled. What cannot be written down keeps nothing from being fired."""
        host = self._host
        while True:
            if not self._adopted and self._recomputed:
                with host.cancel_scope(deadline=self._due_at):
                    await self._bell.park()
            failed = False
            for look in (self._adopt, self._recompute, self._fire_due):
                try:
                    await look()
                except AM2ZError as error:
                    logger.warning("schedules could not be looked after, and will be in a moment: %s", error)
                    failed = True
            if failed:
                self.is_due_in(AGAIN_AFTER)
                await host.sleep(AGAIN_AFTER)

    async def _recompute(self) -> None:
        if not self._recomputed:
            await self.writer.recompute()
            self._recomputed = True

    async def _fire_due(self) -> None:
        if self._host.now() >= self._due_at:
            self._due_at = inf
            await self._fire_all()

    async def _adopt(self) -> None:
        adopted, self._adopted = self._adopted, {}
        if not adopted:
            return
        try:
            self.is_due_in(await self.writer.adopt(list(adopted.values())))
        except BaseException:
            self._adopted = adopted | self._adopted
            raise

    async def _fire_all(self) -> None:
        """Do every step that is due, and learn when the next one is."""
        passed_by, wait = 0, inf
        while True:
            due = await self._schedules.due(passed_by, BATCH)
            if due.wait is not None:
                wait = due.wait
            if not due.found:
                break
            for record in due.found:
                if not await self._step(record, due.now):
                    passed_by += 1
        if passed_by:
            wait = min(wait, AGAIN_AFTER)
        if wait < inf:
            self.is_due_in(wait)

    async def _step(self, record: ScheduleRecord, now: int) -> bool:
        """Do its step, unless another node has; `False` if this node cannot tell what it is, or do it: then
        the others are fired all the same."""
        try:
            firing = decide(record, now)
            answer = None if firing is None else await self._schedules.fire(firing)
        except NetworkError:
            raise
        except AM2ZError as error:
            self._say_once(record, str(error))
            return False
        except Exception as error:
            # Whatever its record says, which anybody may have written, ends no node.
            self._say_once(record, f"it is none that can be ({class_of(error)})", trace_of(error))
            return False
        if firing is None or answer is None:
            if record.spec is None:
                self._say_once(record, f"it was written by another version, or spoilt: {record.unread}")
            elif record.next is None and record.paused is None:
                self._say_once(record, "its record says no next time: pause it, and let it go on")
            return False
        self._puzzling.pop(record.name, None)
        if answer.done:
            self._tell(firing, answer, now)
        return True

    def _say_once(self, record: ScheduleRecord, why: str, trace: str = "") -> None:
        if self._puzzling.get(record.name) != why:
            self._puzzling[record.name] = why
            logger.error("schedule %r cannot be fired by this node: %s", record.name, why, trace=trace)

    def _tell(self, firing: Firing, answer: FireAnswer, now: int) -> None:
        spec, tell = firing.record.spec, self.writer.tell
        assert spec is not None
        for job, outcome in zip(firing.jobs, answer.outcomes, strict=False):
            scheduled = job.spec.schedule
            assert scheduled is not None
            at, late = scheduled.at, (now - scheduled.at) / 1000
            if outcome == "queued":
                data = {"at": at, "late": late, "missed": scheduled.missed}
                tell("fired", spec, data, job.spec.id)
            elif outcome != "known":
                logger.warning("a run of schedule %r was not accepted: %s", spec.id, outcome)
                tell("skipped", spec, {"times": [at], "why": outcome})
        if firing.skipped:
            tell("skipped", spec, {"times": firing.skipped[:BATCH], "why": "the last run has not ended"})
        if firing.missed:
            logger.warning("schedule %r: %d times have passed without a run", spec.id, firing.missed)
            tell("missed", spec, {"count": firing.missed})
        if firing.pause:
            logger.warning("schedule %r is paused: %s", spec.id, firing.pause)
            tell("paused", spec, {"reason": firing.pause})
