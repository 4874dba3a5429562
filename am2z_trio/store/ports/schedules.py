"""What the engine asks of a store about schedules."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Protocol

from am2z_trio.model.records import (
    DueSchedules,
    FireAnswer,
    Firing,
    RunRecord,
    ScheduleRecord,
    ScheduleSpec,
    ScheduleStanding,
    UpsertAnswer,
)


class ScheduleStore(Protocol):
    """Schedules: kept, looked at, and fired. When they come and what is to be done then is decided by who
    asks (`policy.schedules`); here it is done in one step, or not at all where the record has changed."""

    async def upsert(
        self,
        spec: ScheduleSpec,
        next: int | None,
        due: float = inf,
        tz_version: str = "",
        *,
        of: ScheduleRecord | None = None,
        take_over: bool = False,
    ) -> UpsertAnswer:
        """Write a schedule down: its next time (ms) and when that is due. The same spec changes nothing, and
        another one makes the next `rev`; a pause, counts and runs stay.

        Nothing is written over another owner's (`owned`), unless to `take_over`; nor with `of` where there is
        none any more, or it is not that one (mark, `rev`): `stale`.

        Linearization point: the spec is in its record.
        """
        ...

    async def look(self, ids: Sequence[str]) -> tuple[int, list[ScheduleRecord | None]]:
        """The time by the store's clock, ms, and these schedules; `None` for what is none."""
        ...

    async def page(self, offset: int, limit: int) -> list[str]:
        """Names of schedules (`ScheduleRecord.name`), those that are due first in front, to be looked at by
        `look_at`."""
        ...

    async def standings(self, offset: int, limit: int) -> tuple[int, list[ScheduleStanding]]:
        """The time by the store's clock, ms, and how a page of the schedules stands; in the order of `page`.
        What they run is not read, however large it is."""
        ...

    async def look_at(self, names: Sequence[str]) -> tuple[int, list[ScheduleRecord | None]]:
        """As `look`, by name."""
        ...

    async def due(self, offset: int, limit: int) -> DueSchedules:
        """Those that are due now, the first ones passed by; fewer than `limit`, where they are large. Names
        whose records something else has deleted are no schedules, however many stand in front."""
        ...

    async def put(
        self,
        record: ScheduleRecord,
        next: int | None,
        due: float = inf,
        *,
        pause: str | None = None,
        resume: bool = False,
        tz_version: str = "",
    ) -> bool:
        """Give a schedule another next time, pause it (for a reason), or let it go on: then a failure of its
        last run is forgiven. `False`, and nothing is done, where it is not what it was (mark, `rev`, next).

        Linearization point: the next time, or the pause, is in its record.
        """
        ...

    async def remove(self, id: str, owner: str | None = None) -> bool:
        """Remove a schedule, if it is this owner's; returns whether there was one. Its jobs go on.

        Linearization point: its record is gone.
        """
        ...

    async def fire(self, firing: Firing) -> FireAnswer:
        """Do one step of a schedule: cancel its last run, enqueue jobs, note what became of their times and
        of those passed by, set the next one, pause it. All of it, or nothing (`done=False`): where mark or
        `rev` are others; where the next time is, or it is paused, unless the step stands `beside` that; or
        where the last run stands otherwise than the record says, if that mattered. A job that is known is not
        made again.

        Linearization point: the next time is in its record, and the jobs in their queues.
        """
        ...

    async def runs(self, id: str, offset: int, limit: int) -> list[RunRecord]:
        """What became of its times, the newest first; as many as its `history` says are kept."""
        ...
