"""Figures: queues as they are now, and what has happened in them."""

from __future__ import annotations

import msgspec

from am2z_trio.engine.runtime.samples import LOOK_BACK
from am2z_trio.model.checks import require_seconds, require_text
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.records import QueueStats
from am2z_trio.model.views.samples import Census, Sample, Throughput

from .asking import Asking


class FigureDesk(Asking):
    """What an operator asks of queues in figures, by the names of their processors.

    Queues that are no business of the principal are not there for it, and nothing has ever happened in them.
    What is told of a queue counts the jobs of all sessions.
    """

    async def census(self) -> Census:
        """All queues as they are now; nodes and sessions count all."""
        await self._require_view("census")
        found = await self._runtime.census()
        theirs = {name: now for name, now in found.queues.items() if self.principal.is_for(queue=name)}
        return msgspec.structs.replace(found, queues=theirs)

    async def queue_stats(self) -> dict[str, QueueStats]:
        """What has become of the jobs of all queues since there were any, as `runtime.get_queue_stats`."""
        await self._require_view("queue_stats")
        found = await self._runtime.get_queue_stats()
        return {name: stats for name, stats in found.items() if self.principal.is_for(queue=name)}

    async def samples(self, queue: str, *, since: float = 3600.0) -> list[Sample]:
        """What has happened in a queue in the last `since` seconds, as `runtime.samples` has it: in slots of
        ten seconds, or of five minutes where it is more than a day, the oldest first."""
        name, since = _name(queue), require_seconds("since", since, zero=False)
        await self._require_view("samples", name)
        return await self._runtime.samples(name, since=since) if self.principal.is_for(queue=name) else []

    async def throughput(self, queue: str, *, since: float = LOOK_BACK) -> Throughput:
        """How a queue goes: rates and quantiles of the last `since` seconds, a day at most."""
        name, since = _name(queue), require_seconds("since", since, zero=False)
        await self._require_view("throughput", name)
        if not self.principal.is_for(queue=name):
            return Throughput(processor=name, seconds=since)
        return await self._runtime.throughput(name, since=since)


def _name(queue: object) -> str:
    return require_text("queue", queue, most=MAX_NAME_BYTES)
