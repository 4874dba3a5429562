"""What an operator asks of a store: reads alone, each bounded whatever the backlog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

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

MOST_LOOKED_AT: Final = 2_000
"""Places that one call looks at, however few of them hold what it is after: 10 to 50 ms of the store, in
slices between which others are served."""


class InspectionStore(Protocol):
    """What there is in the namespace, for whoever looks at it.

    What a page of jobs shows was so when the store was asked for its slice of at most 250 places; jobs come
    and go between two slices.
    """

    async def page(self, queue: str, source: Source, start: int = 0, count: int = 50) -> JobPage:
        """Up to `count` jobs from a place on, in the order of the source.

        `start`: how many to skip from the beginning, or `next` of the page before. Waiting jobs are in the
        order in which they would be served: those without a session and each session's by turns, then those
        with a priority, then those of sessions of which as many run as may; those in line for a turn at a
        session's state are not among them. Of running ones, those of the first 1,000 nodes by name. Ids whose
        records are no longer kept are skipped and counted; at most `MOST_LOOKED_AT` places are looked at, so
        a page may be short and yet have a `next`.
        """
        ...

    async def rows(self, ids: Sequence[str]) -> list[JobRow | None]:
        """Jobs by their ids, in this order; `None` for one that there is no record of."""
        ...

    async def specs(self, ids: Sequence[str]) -> list[JobSpec | None]:
        """What jobs were given, in this order; `None` where that is no longer kept, or cannot be read."""
        ...

    async def children(self, id: str, most: int = 1_000) -> list[str]:
        """Ids of the jobs that it has called, for as long as its record is kept; in no order, and no more
        than `most`."""
        ...

    async def of_session(self, session: str, most: int = 1_000) -> list[str]:
        """Ids of the session's jobs that have not ended; as `children` has them."""
        ...

    async def of_node(self, node: str, most: int = 1_000) -> list[str]:
        """Ids of the jobs that a node holds; as `children` has them."""
        ...

    async def place(self, queue: str, at: int) -> int:
        """Where in `recent` the newest is that had ended at that time, in ms since the epoch: a `start`.
        Found by halves; what is no longer kept counts as older than anything that is."""
        ...

    async def totals(self, queues: Sequence[str]) -> list[QueueTotals]:
        """How many jobs there are in each source of these queues."""
        ...

    async def facts(self, job: str) -> JobFacts | None:
        """All that decides whether the next claim grants the job, or what becomes of one that is active, or
        has ended; read in one step, which changes nothing. `None`: there is no record of it."""
        ...

    async def pressure(self, queues: Sequence[str]) -> list[QueuePressure]:
        """What holds each of these queues up; each read in one step."""
        ...

    async def sessions(self, cursor: str = "", most: int = 50) -> SessionNames:
        """Sessions that have jobs which have not ended, in no order: up to `most`, from a cursor on that the
        page before has named. Those that come or go between two pages may be told or not, or told twice."""
        ...

    async def session_rows(self, sessions: Sequence[str]) -> list[SessionRow]:
        """Sessions as they are shown, in this order; of each some hundred jobs are looked at. One that nobody
        has used is a row all the same."""
        ...

    async def stored_state(self, session: str) -> StateRecord:
        """What is stored as the session's state, whether it is what was written or not: bytes that do not
        match their checksum are no state."""
        ...

    async def server(self) -> ServerFigures:
        """The server that holds the namespace, as it describes itself."""
        ...

    async def scripts(self) -> ScriptFigures:
        """What scripts cost it."""
        ...
