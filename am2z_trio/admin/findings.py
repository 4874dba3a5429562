"""Findings: gathers how the namespace stands, and what of that needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.records import QueueInfo, QueuePressure, QueueStats
from am2z_trio.model.views.findings import Finding
from am2z_trio.policy.findings import MANY_TIMES, OLDEST, findings
from am2z_trio.policy.forecast import Forecast
from am2z_trio.policy.standings import QueueStanding, Snapshot

from .forecasts import expected
from .rounds import NodeRounds, ScheduleRounds, SessionRounds
from .usual import QueuePast, Usual

FORESEEN_EVERY: Final = 60.0
"""Seconds after which it is looked again at what memory will be needed."""

MOST_QUEUES: Final = 1_000
"""Queues that are looked at: those that were announced first."""

COMPARED_AFTER: Final = 30.0
"""Seconds after which an earlier look is far enough away to say what has changed since."""

REMEMBERED: Final = 20
"""Looks that are remembered, so far apart."""


class FindingsWatch:
    """Looks at a namespace whenever it is asked to, and remembers some earlier looks: what has changed is
    found from the second look on.

    A look is a page of queues after the other (three calls of the store for each two hundred), one of nodes,
    which are asked how they are, and one question to the server. Every now and then what has ended lately is
    counted, too (`forecasts`), what is usual in some queues (`usual`), and how schedules and some sessions
    stand (`rounds`). No more, however many jobs there are. Any number of watches may look; who shows findings
    to many keeps one for all of them.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._looks: list[Snapshot] = []
        self._held: dict[str, int] = {}
        """By processor: since when it has been at its limit, as far as this watch has seen."""
        self._past = QueuePast(runtime)
        self._nodes = NodeRounds(runtime)
        self._schedules = ScheduleRounds(runtime)
        self._sessions = SessionRounds(runtime)
        self._foreseen: tuple[int, Forecast | None] | None = None

    async def look(self, *, silenced: bool = False) -> list[Finding]:
        """What needs a person, the worst first; with `silenced`, also what was silenced. Raises
        `NetworkError` where the store cannot be reached."""
        now = await self._snapshot()
        silences = [] if silenced else await self._runtime.node.store.silences.all()
        before = self._looks[0] if self._looks else None
        if not self._looks or now.at - self._looks[-1].at >= COMPARED_AFTER * 1000:
            self._looks = [*self._looks[-REMEMBERED + 1 :], now]
        return [
            one
            for one in findings(now, before)
            if not any(silence.covers(one.code, one.target) for silence in silences)
        ]

    async def _snapshot(self) -> Snapshot:
        node = self._runtime.node
        store = node.store
        known = (await store.known_queues())[:MOST_QUEUES]
        names = [info.queue for info in known]
        stats, pressures = await store.stats(names), await store.inspection.pressure(names)
        server = await store.inspection.server()
        at = pressures[0].at if pressures else (await store.schedules.look_at([]))[0]
        if self._foreseen is None or at - self._foreseen[0] >= FORESEEN_EVERY * 1000:
            self._foreseen = at, await expected(self._runtime, names, at)
        served = {info.processor for info, one in zip(known, stats, strict=True) if one.workers}
        return Snapshot(
            at=at,
            queues=await self._queues(known, stats, pressures, at),
            nodes=await self._nodes.look(at),
            schedules=await self._schedules.look(at, served),
            sessions=await self._sessions.look(at),
            server=server,
            expected=self._foreseen[1],
        )

    async def _queues(
        self,
        known: Sequence[QueueInfo],
        stats: Sequence[QueueStats],
        pressures: Sequence[QueuePressure],
        at: int,
    ) -> list[QueueStanding]:
        counted = await self._runtime.node.store.samples.census([info.queue for info in known])
        standings = [
            self._standing(info, counts, pressure, oldest=now.oldest)
            for info, counts, pressure, now in zip(known, stats, pressures, counted.queues, strict=True)
        ]
        busiest = sorted(standings, key=lambda one: -(one.stats.waiting + one.stats.active))
        past = await self._past.look([one.processor for one in busiest], at)
        return [
            await self._compared(one, past[one.processor]) if one.processor in past else one
            for one in standings
        ]

    async def _compared(self, one: QueueStanding, usual: Usual) -> QueueStanding:
        """A queue beside what is usual in it."""
        longest = None if usual.longest is None else (one.pressure.at - usual.longest[1]) / 1000
        is_long = longest is not None and usual.run is not None and longest > MANY_TIMES * usual.run
        if longest is not None and is_long and longest > OLDEST and not await self._past.still_runs(usual):
            longest = None
        return msgspec.structs.replace(
            one,
            usual_oldest=usual.wait,
            usual_longest=usual.run,
            longest=longest,
            longest_job="" if usual.longest is None else usual.longest[0],
            integrity=usual.integrity,
        )

    def _standing(
        self, info: QueueInfo, stats: QueueStats, pressure: QueuePressure, *, oldest: float
    ) -> QueueStanding:
        name, held_for = info.processor, None
        if pressure.held:
            since = self._held.setdefault(name, pressure.at)
            held_for = (pressure.at - since) / 1000
        else:
            self._held.pop(name, None)
        return QueueStanding(
            processor=name, stats=stats, pressure=pressure, held_for=held_for, oldest=oldest or None
        )
