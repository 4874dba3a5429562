"""What findings are found in that is looked at by turns: nodes, which come and go, schedules, and sessions in
their stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import Final

import msgspec

from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.records import NodeStanding as StoredStanding
from am2z_trio.model.records import ScheduleRecord
from am2z_trio.model.views.health import NodeHealth
from am2z_trio.policy.schedules import PAUSED_BY_FAILURE
from am2z_trio.policy.standings import NodeStanding, ScheduleStanding, SessionStanding

RESTARTS_WITHIN: Final = 600.0
"""Seconds in which a node must come anew for that to be lately."""

ROUND: Final = 30.0
"""Seconds after which schedules and sessions are looked at again."""

MOST_SCHEDULES: Final = 1_000
MOST_SESSIONS: Final = 100
"""Sessions of one look; the next one goes on behind them."""

PATIENCE: Final = 5.0
"""Seconds for which a schedule may be due, if it counts nothing as missed so soon."""


class NodeRounds:
    """All nodes as they are, with what was seen of them before: since when one is silent, and how often those
    of a host have come anew."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._silent: dict[str, int] = {}
        """Since when a node has not been heard, or has not answered."""
        self._seen: dict[str, str] | None = None
        """The nodes of the look before, and on which hosts they are."""
        self._gone = Counter[str]()
        """Nodes that have left a host, and have not come anew."""
        self._restarts: list[tuple[int, str, str]] = []
        """When, on which host, and which node it is now."""

    async def look(self, at: int) -> list[NodeStanding]:
        """At all of them, and at what they say themselves."""
        nodes = await self._runtime.node.store.control.nodes()
        said = await self._runtime.control.healths()
        self._note({one.id: "" if one.info is None else one.info.host for one in nodes}, at)
        return [self._standing(one, said.get(one.id), at) for one in nodes]

    def _note(self, now: dict[str, str], at: int) -> None:
        before, self._seen = self._seen, now
        if before is None:
            return
        self._gone.update(host for id, host in before.items() if id not in now)
        for id, host in now.items():
            if id not in before and self._gone[host]:
                self._gone[host] -= 1
                self._restarts.append((at, host, id))
        self._restarts = [one for one in self._restarts if at - one[0] < RESTARTS_WITHIN * 1000]

    def _standing(self, one: StoredStanding, said: NodeHealth | None, at: int) -> NodeStanding:
        silent_for = None
        if one.is_heard and one.lease >= 0 and said is not None:
            self._silent.pop(one.id, None)
        else:
            seen = (at - self._silent.setdefault(one.id, at)) / 1000
            silent_for = max(seen, -one.lease)
        places = [] if said is None else said.figures.kept_by
        host = "" if one.info is None else one.info.host
        told = () if said is None else said.reasons
        return NodeStanding(
            is_drained=any(reason.code == "draining" for reason in told),
            name=one.id,
            silent_for=silent_for,
            is_heard=one.is_heard,
            claims=one.claims,
            version="" if one.info is None else one.info.version,
            loop_lag=0.0 if said is None else said.figures.loop_lag_p99,
            kept_by=f"{places[0].file}:{places[0].line}" if places else "",
            blocked=() if said is None else tuple(said.figures.blocked),
            host=host,
            restarts=self._restarts_of(one.id, host),
        )

    def _restarts_of(self, id: str, host: str) -> int:
        """Of those of its host for each node that is there, told of the one that has come last."""
        lately = [node for _, on, node in self._restarts if on == host]
        if not lately or lately[-1] != id:
            return 0
        return len(lately) // max(1, sum(on == host for on in (self._seen or {}).values()))


class ScheduleRounds:
    """Schedules as they were found at the last look."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._found: tuple[int, list[ScheduleStanding]] | None = None

    async def look(self, at: int, served: Container[str]) -> list[ScheduleStanding]:
        """`served`: the processors that some node serves."""
        if self._found is None or at - self._found[0] >= ROUND * 1000:
            schedules = self._runtime.node.store.schedules
            now, records = await schedules.look_at(await schedules.page(0, MOST_SCHEDULES))
            self._found = at, [_of_schedule(one, now, served) for one in records if one is not None]
        return self._found[1]


def _of_schedule(record: ScheduleRecord, now: int, served: Container[str]) -> ScheduleStanding:
    spec = record.spec
    if spec is None:
        return ScheduleStanding(id=record.name, processor="")
    job, stands = spec.job.spec, record.paused is None and record.next is not None
    late = (now - record.due) / 1000 if stands and record.held is None else 0.0
    return ScheduleStanding(
        id=spec.id,
        processor=job.processor,
        session=job.session,
        failed=record.paused == PAUSED_BY_FAILURE,
        overdue=late if late > max(PATIENCE, spec.missed_after) else None,
        passed_by=record.missed,
        is_served=not stands or job.processor in served,
    )


class SessionRounds:
    """Sessions that are being stopped, of those that have been looked at: some each time, and again those
    that were found."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._cursor = ""
        self._since: dict[str, int] = {}
        self._looked: int | None = None
        self._found: list[SessionStanding] = []

    async def look(self, at: int) -> list[SessionStanding]:
        """Each with how long it has been in its stop, as far as was seen."""
        if self._looked is None or at - self._looked >= ROUND * 1000:
            self._looked = at
            self._found = await self._look(at)
        return [
            msgspec.structs.replace(one, stopping_for=(at - self._since[one.id]) / 1000)
            for one in self._found
        ]

    async def _look(self, at: int) -> list[SessionStanding]:
        inspection = self._runtime.node.store.inspection
        page = await inspection.sessions(self._cursor, MOST_SESSIONS)
        self._cursor = page.cursor
        names: Sequence[str] = [*dict.fromkeys([*self._since, *page.sessions])]
        rows = [row for row in await inspection.session_rows(names[: 2 * MOST_SESSIONS]) if row.stopping]
        self._since = {row.session: self._since.get(row.session, at) for row in rows}
        return [
            SessionStanding(id=row.session, stopping_for=0.0, jobs=row.jobs, nodes=row.nodes) for row in rows
        ]
