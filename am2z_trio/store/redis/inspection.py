"""Inspection of a namespace on Redis: every question is one script, or one command."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, Final

from am2z_trio.model.checks import require
from am2z_trio.model.records import (
    BreakerFacts,
    JobFacts,
    QueuePressure,
    ScriptFigures,
    ServerFigures,
    StateRecord,
    plain_name,
)
from am2z_trio.model.views.sessions import SessionNames, SessionRow
from am2z_trio.wire.resp import Argument

from . import scripts
from .arguments import require_text
from .facts import job_facts
from .figures import script_figures, server_figures
from .listing import RedisListing
from .rows import state_record, text

_CURSOR: Final = re.compile(r"(0|[1-9][0-9]{0,19}) (0|[1-9][0-9]{0,5})")
"""Where a scan is, and how many of what it finds there have been told."""


class RedisInspection(RedisListing):
    """`InspectionStore` on a node's link."""

    async def facts(self, job: str) -> JobFacts | None:
        return await job_facts(self._link, job)

    async def pressure(self, queues: Sequence[str]) -> list[QueuePressure]:
        rows = await self._link.eval_records(
            scripts.PRESSURE, (self._link.clock,), [(queue,) for queue in queues]
        )
        return [_pressure(queue, *row) for queue, row in zip(queues, rows, strict=True)]

    async def sessions(self, cursor: str = "", most: int = 50) -> SessionNames:
        asked = _CURSOR.fullmatch(cursor or "0 0")
        require(asked is not None, "cursor", cursor, "must be one that an earlier page has named")
        assert asked is not None
        at, told = asked[1].encode(), int(asked[2])
        found, of = list[str](), (await self._link.eval(scripts.CENSUS, self._link.clock))[0][1]
        while True:
            behind, *page = await self._link.eval(scripts.SESSIONS, at, most)
            missing = most - len(found)
            found += [text(one) for one in page[told : told + missing]]
            if len(page) > told + missing:
                return SessionNames(sessions=found, of=of, cursor=f"{at.decode()} {told + missing}")
            at, told = behind, 0
            if at == b"0":
                return SessionNames(sessions=found, of=of)
            if len(found) >= most:
                return SessionNames(sessions=found, of=of, cursor=f"{at.decode()} 0")

    async def session_rows(self, sessions: Sequence[str]) -> list[SessionRow]:
        names = list[tuple[Argument, ...]]()
        for session in sessions:
            require_text(session)
            names.append((plain_name(session),))
        found = await self._link.eval_records(scripts.LOOK_AT_SESSIONS, (self._link.clock,), names)
        return [_session(session, *row) for session, row in zip(sessions, found, strict=True)]

    async def stored_state(self, session: str) -> StateRecord:
        require_text(session)
        return state_record(await self._link.eval(scripts.READ_STATE, self._link.clock, plain_name(session)))

    async def server(self) -> ServerFigures:
        if self._link.commands is None:
            raise self._link.not_running()
        sent = time.time()
        said = await self._link.commands.call("INFO")
        return server_figures(said, sent, time.time())

    async def scripts(self) -> ScriptFigures:
        if self._link.commands is None:
            raise self._link.not_running()
        said = await self._link.commands.call("INFO", "commandstats")
        # A server that knows no such section answers with nothing; one before 7.0 takes one section a call.
        return script_figures(said, await self._link.commands.call("INFO", "latencystats"))


def _pressure(queue: str, now: bytes, held: int, seen: bytes, state: bytes, until: bytes) -> QueuePressure:
    return QueuePressure(
        queue=queue,
        at=int(now),
        held=bool(held),
        seen=None if int(seen) < 0 else int(seen),
        breaker=BreakerFacts(state=text(state), until=int(until)),
    )


def _session(
    session: str,
    version: bytes,
    size: int,
    created: bytes,
    updated: bytes,
    expires: bytes,
    stopping: int,
    locked: int,
    *jobs: Any,
) -> SessionRow:
    all_jobs, looked_at, waiting, active, delayed, *nodes = jobs
    return SessionRow(
        session=session,
        waiting=waiting,
        active=active,
        delayed=delayed,
        jobs=all_jobs,
        looked_at=looked_at,
        nodes=tuple(sorted(text(node) for node in nodes)),
        stopping=bool(stopping),
        version=int(version),
        size=None if size < 0 else size,
        created=int(created),
        updated=int(updated),
        expires=int(expires),
        locked=bool(locked),
    )
