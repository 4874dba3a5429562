"""The server: how it is, and what of its memory the namespace takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from am2z_trio.model.records import queue_name
from am2z_trio.model.views.server import Holding, Outlook, ServerShown
from am2z_trio.policy.forecast import USUAL_BYTES
from am2z_trio.policy.spans import span

from .asking import Asking
from .forecasts import expected

RECORD: Final = 600
"""Bytes of a job's record but for what it was given: about."""

ENTRY: Final = 40
"""Bytes of an id in a list: about."""

SAMPLED: Final = 20
"""Jobs of each queue of which it is looked at how much they were given."""

MOST_QUEUES: Final = 50
"""Queues that are looked at for this: those that were announced first."""


class ServerDesk(Asking):
    """What an operator asks of the server."""

    async def server(self) -> ServerShown:
        """How the server is, and what of the namespace takes its memory: counted where there is a count, and
        about, from some of each kind. It is everybody's: what is told counts all."""
        await self._require_view("server")
        inspection = self._store.inspection
        figures, scripts = await inspection.server(), await inspection.scripts()
        queues = [queue_name(info.processor) for info in await self._store.known_queues()]
        foreseen = await expected(self._runtime, queues, self.now())
        outlook = None
        if foreseen is not None:
            outlook = Outlook(rate=foreseen.rate, count=foreseen.count, bytes=foreseen.bytes)
        return ServerShown(figures=figures, scripts=scripts, holds=await self._holds(queues), outlook=outlook)

    async def _holds(self, queues: Sequence[str]) -> list[Holding]:
        totals = await self._store.inspection.totals(queues)
        ended, dead = sum(one.recent for one in totals), sum(one.dead for one in totals)
        pending = sum(one.waiting + one.later + one.active for one in totals)
        each_pending, each_dead = await self._given(queues, "waiting"), await self._given(queues, "dead")
        options, sessions = self._runtime.options, (await self._store.inspection.sessions("", 1)).of
        history = await self._store.chronicle.events("", 1)
        return [
            Holding(
                what="records of ended jobs",
                number=ended,
                bytes=ended * USUAL_BYTES,
                kept=f"{span(options.result_ttl)} after they ended",
            ),
            Holding(
                what="jobs that have not ended",
                number=pending,
                bytes=pending * (RECORD + each_pending),
                kept="until they end",
            ),
            Holding(
                what="dead letters",
                number=dead,
                bytes=dead * (RECORD + each_dead),
                kept="until they are run again, dropped, or too old",
            ),
            Holding(
                what="sessions with work", number=sessions, kept="while they have any; states by their TTL"
            ),
            Holding(
                what="lists of ended jobs",
                number=ended,
                bytes=ended * ENTRY,
                kept=f"the newest {options.recent:,} of a queue" if options.recent else "none",
            ),
            Holding(
                what="event history",
                number=history.length,
                kept=_of_events(options.event_history, is_kept=history.kept),
            ),
        ]

    async def _given(self, queues: Sequence[str], source: Literal["waiting", "dead"]) -> int:
        """Bytes that a job was given: the mean of some of them."""
        sizes = list[int]()
        for queue in queues[:MOST_QUEUES]:
            page = await self._store.inspection.page(queue, source, 0, SAMPLED)
            sizes += [row.size for row in page.rows]
        return sum(sizes) // len(sizes) if sizes else 0


def _of_events(most: int | None, *, is_kept: bool) -> str:
    if not is_kept:
        return "none: it is off"
    # Another runtime of the namespace may keep it.
    return f"about the newest {most:,} entries" if most else "as many entries as other runtimes say"
