"""Sessions that a filter asks for by their ids: counted, and stopped step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from am2z_trio.concurrency import current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import AM2ZError

from .bulk import Became, Step
from .query import Query
from .session_query import is_asked_for

AT_ONCE: Final = 20
"""Sessions that are stopped at a time."""

NAMES: Final = 100
"""Ids that one step looks at."""

PATIENCE: Final = 5.0
"""Seconds for which a step waits for one: it is done well within the time that a step has."""

SAMPLE: Final = 5
"""Sessions that are named before."""


class Counted(NamedTuple):
    """How many there are."""

    matched: int
    complete: bool
    sample: tuple[str, ...]


class SessionSteps:
    """Walks through the ids of all sessions that have jobs which have not ended."""

    def __init__(self, runtime: Runtime, query: Query, is_theirs: Callable[[str], bool]) -> None:
        self._runtime = runtime
        self._query = query
        self._is_theirs = is_theirs

    async def count(self, most: int) -> Counted:
        """How many are asked for, looking at about `most` ids."""
        found, looked_at, cursor = dict[str, None](), 0, ""
        while True:
            page = await self._runtime.node.store.inspection.sessions(cursor, NAMES)
            found |= dict.fromkeys(self._meant(page.sessions))
            looked_at, cursor = looked_at + len(page.sessions), page.cursor
            if not cursor or looked_at >= most:
                return Counted(len(found), not cursor, tuple(found)[:SAMPLE])

    async def step(self, cursor: str, most: int) -> Step:
        """Stop at most so many of those on one page."""
        page = await self._runtime.node.store.inspection.sessions(cursor, NAMES)
        meant = list(dict.fromkeys(self._meant(page.sessions)))[:most]
        became = dict[str, tuple[Became, str]]()

        async def stop(some: Sequence[str]) -> None:
            for session in some:
                became[session] = await self._stopped(session)

        with unwrapped():
            async with current_host().open_nursery() as nursery:
                for first in range(min(AT_ONCE, len(meant))):
                    nursery.start_soon(stop, meant[first::AT_ONCE])
        return Step([(name, *became[name]) for name in meant], page.cursor, len(page.sessions), page.of)

    def _meant(self, sessions: Sequence[str]) -> list[str]:
        return [one for one in sessions if is_asked_for(self._query, one) and self._is_theirs(one)]

    async def _stopped(self, session: str) -> tuple[Became, str]:
        host = current_host()
        with host.cancel_scope(deadline=host.now() + PATIENCE) as waiting:
            try:
                await self._runtime.stop_session(session)
            except AM2ZError as error:
                return "failed", error.message
        if waiting.cancelled_caught:
            # It is being stopped all the same.
            return "failed", f"it is being stopped, and a job of it has not ended within {PATIENCE:g} s"
        return "done", ""
