"""What is usual in queues: how long jobs have waited and run there in the last hour, and which one runs
longest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.records import queue_name
from am2z_trio.model.views.samples import Sample
from am2z_trio.policy.throughput import throughput

LOOK_BACK: Final = 3_600.0
"""Seconds in which what happened is usual."""

LATELY: Final = 300.0
"""Seconds of which it is not: what has just gone wrong is no measure of itself."""

LOOKED_AT_EVERY: Final = 60.0
"""Seconds after which a queue is looked at again."""

MOST_AT_ONCE: Final = 25
"""Queues that one look looks at; the others come next time."""

MOST_RUNNING: Final = 200
"""Running jobs of a queue that are looked at."""

FEW: Final = 20
"""Jobs of which nothing is usual."""


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """One queue's last hour."""

    at: int
    """When it was looked at, in ms since the epoch by the store's clock."""
    wait: float | None = None
    """Seconds that all but one of twenty have waited at most; `None`: there were too few."""
    run: float | None = None
    """Seconds that all but one of a hundred have run at most."""
    integrity: int = 0
    longest: tuple[str, int] | None = None
    """The job that runs longest, and since when."""


class QueuePast:
    """Remembers what is usual, and looks anew every now and then, at so many queues at a time."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: dict[str, Usual] = {}

    async def look(self, processors: Iterable[str], at: int) -> dict[str, Usual]:
        """What is usual in those of these queues that have been looked at; the first of them come first."""
        names = [*dict.fromkeys(processors)]
        self._known = {name: self._known[name] for name in names if name in self._known}
        due = [
            name
            for name in names
            if name not in self._known or at - self._known[name].at >= LOOKED_AT_EVERY * 1000
        ]
        for name in due[:MOST_AT_ONCE]:
            self._known[name] = await self._of(name, at)
        return self._known

    async def still_runs(self, usual: Usual) -> bool:
        """Whether the job that was seen to run longest does so yet."""
        if usual.longest is None:
            return False
        job, since = usual.longest
        (row,) = await self._runtime.node.store.inspection.rows([job])
        return row is not None and row.status == "active" and row.since == since

    async def _of(self, processor: str, at: int) -> Usual:
        samples = await self._runtime.samples(processor, since=LOOK_BACK)
        before = [sample for sample in samples if at - sample.at > LATELY * 1000]
        going = throughput(processor, before, LOOK_BACK)
        inspection = self._runtime.node.store.inspection
        page = await inspection.page(queue_name(processor), "active", 0, MOST_RUNNING)
        running = [(row.since, row.id) for row in page.rows if row.since]
        since, job = min(running, default=(0, ""))
        return Usual(
            at=at,
            wait=going.wait_p95 if _many(before, "waits") else None,
            run=going.run_p99 if _many(before, "runs") else None,
            integrity=sum(sample.integrity for sample in samples),
            longest=(job, since) if job else None,
        )


def _many(samples: Iterable[Sample], what: str) -> bool:
    return sum(sum(getattr(sample, what)) for sample in samples) >= FEW
