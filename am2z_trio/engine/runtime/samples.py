"""What has happened in a queue: samples, and how it goes now."""

from __future__ import annotations

from typing import Any, Final

from am2z_trio.engine.figures.figures import MOST
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.model.checks import require_seconds
from am2z_trio.model.records import queue_name
from am2z_trio.model.records.samples import StoredSample
from am2z_trio.model.views.samples import Census, QueueNow, Sample, ScheduleNow, Throughput
from am2z_trio.policy.throughput import added_up, shown, throughput
from am2z_trio.store.agreed import PERIOD, SLOT, SLOTS_KEPT
from am2z_trio.store.ports import Store
from am2z_trio.store.ports.samples import Width

from .life import Life

PAGE: Final = 500
"""Samples that one call asks for: some 30 kB."""

LOOK_BACK: Final = 60.0
"""Seconds that `throughput` looks back, if nothing else is said."""


class SampleMethods(Life):
    """What a runtime's user may ask of the past."""

    async def samples(self, processor: Processor[Any] | str, *, since: float = 3600.0) -> list[Sample]:
        """What happened to the processor's jobs in the last `since` seconds, on all nodes; the oldest first.

        A sample is of ten seconds, or of five minutes where `since` is more than a day; what is older than
        thirty days is gone. Nodes tell what they have counted every ten seconds, so the last sample may grow
        still; where nothing was counted there is none.
        """
        queue = queue_name(name_of(processor))
        seconds = require_seconds("since", since, zero=False)
        store = self._running().store
        if seconds <= SLOTS_KEPT:
            return [shown(one, int(SLOT)) for one in await _all(store, queue, "slot", seconds)]
        periods = await _all(store, queue, "period", seconds)
        # The last one is not over, or nothing has happened since.
        behind = periods[-1].at + int(PERIOD * 1000) if periods else 0
        periods += added_up(await _all(store, queue, "slot", seconds, behind), int(PERIOD * 1000))
        return [shown(one, int(PERIOD)) for one in periods]

    async def census(self) -> Census:
        """All processors that have jobs, or are served, and all schedules, as they are now on all nodes
        together."""
        node = self._running()
        known = await node.store.known_queues()
        queues = {info.processor: info.queue for info in known}
        stats = await node.store.stats([*queues.values()])
        seen = await node.store.samples.census([*queues.values()])
        found = {
            name: QueueNow(
                waiting=counts.waiting + counts.paused,
                delayed=counts.delayed,
                active=counts.active,
                dead=counts.dead,
                workers=counts.workers,
                paused=now.paused,
                oldest=now.oldest,
                held=now.held,
                breaker_open=now.breaker_open,
            )
            for name, counts, now in zip(queues, stats, seen.queues, strict=True)
        }
        return Census(
            nodes=seen.nodes,
            sessions=seen.sessions,
            queues=found,
            schedules=await _schedules(node.store),
        )

    async def throughput(self, processor: Processor[Any] | str, *, since: float = LOOK_BACK) -> Throughput:
        """How the processor's queue goes: rates and quantiles of the last `since` seconds, a day at most."""
        name = name_of(processor)
        seconds = min(require_seconds("since", since, zero=False), SLOTS_KEPT)
        return throughput(name, await self.samples(processor, since=seconds), seconds)


async def _schedules(store: Store) -> dict[str, ScheduleNow]:
    found = dict[str, ScheduleNow]()
    for offset in range(0, MOST, PAGE):
        now, page = await store.schedules.standings(offset, PAGE)
        for one in page:
            late = max(0.0, now - one.due) / 1000
            found[one.name] = ScheduleNow(late=late, missed=one.missed, paused=one.paused)
        if len(page) < PAGE:
            break
    return found


async def _all(store: Store, queue: str, width: Width, within: float, first: int = 0) -> list[StoredSample]:
    found = list[StoredSample]()
    while True:
        page = await store.samples.read(queue, width, within, first, PAGE)
        found += page
        if len(page) < PAGE:
            return found
        first = page[-1].at + 1
