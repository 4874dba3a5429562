"""`InspectionStore` on a `MemoryServer`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from am2z_trio.model.records import (
    JobFacts,
    JobSpec,
    QueuePressure,
    ScriptFigures,
    ServerFigures,
    StateRecord,
)
from am2z_trio.model.views.jobs import JobPage, JobRow, QueueTotals, Source
from am2z_trio.model.views.sessions import SessionNames, SessionRow

from .server import MemoryServer


class MemoryInspection:
    """What an operator asks, seen from one node."""

    def __init__(
        self, server: MemoryServer, checkpoint: Callable[[], Awaitable[None]], now: Callable[[], float]
    ) -> None:
        self._server = server
        self._checkpoint = checkpoint
        self._now = now

    async def facts(self, job: str) -> JobFacts | None:
        await self._checkpoint()
        return self._server.facts.facts(job, self._now())

    async def pressure(self, queues: Sequence[str]) -> list[QueuePressure]:
        await self._checkpoint()
        return self._server.facts.pressure(queues, self._now())

    async def server(self) -> ServerFigures:
        await self._checkpoint()
        return ServerFigures(kind="memory")

    async def scripts(self) -> ScriptFigures:
        await self._checkpoint()
        return ScriptFigures()

    # --- sessions ---------------------------------------------------------------------------

    async def sessions(self, cursor: str = "", most: int = 50) -> SessionNames:
        await self._checkpoint()
        return self._server.sessions.page(cursor, most)

    async def session_rows(self, sessions: Sequence[str]) -> list[SessionRow]:
        await self._checkpoint()
        return [self._server.sessions.row(session, self._now()) for session in sessions]

    async def stored_state(self, session: str) -> StateRecord:
        await self._checkpoint()
        return self._server.states.read(session, self._now())

    # --- jobs in lists ----------------------------------------------------------------------

    async def page(self, queue: str, source: Source, start: int = 0, count: int = 50) -> JobPage:
        await self._checkpoint()
        return self._server.listing.page(queue, source, start, count, self._now())

    async def rows(self, ids: Sequence[str]) -> list[JobRow | None]:
        await self._checkpoint()
        return self._server.listing.rows(ids, self._now())

    async def specs(self, ids: Sequence[str]) -> list[JobSpec | None]:
        await self._checkpoint()
        return self._server.listing.specs(ids, self._now())

    async def children(self, id: str, most: int = 1_000) -> list[str]:
        await self._checkpoint()
        return self._server.listing.children(id, most, self._now())

    async def of_session(self, session: str, most: int = 1_000) -> list[str]:
        await self._checkpoint()
        return self._server.listing.of_session(session, most)

    async def of_node(self, node: str, most: int = 1_000) -> list[str]:
        await self._checkpoint()
        return self._server.listing.of_node(node, most)

    async def place(self, queue: str, at: int) -> int:
        await self._checkpoint()
        return self._server.listing.place(queue, at, self._now())

    async def totals(self, queues: Sequence[str]) -> list[QueueTotals]:
        await self._checkpoint()
        return [self._server.listing.totals(queue, self._now()) for queue in queues]
