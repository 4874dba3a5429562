"""Queues as they are seen from outside: which there are, and how many jobs are where."""

from __future__ import annotations

from am2z_trio.model.options import QueueOptions, RateLimit
from am2z_trio.model.records import QueueInfo, QueueStats

from .bench import Bench
from .builders import job


class QueueCases:
    """What a store tells of its queues."""

    async def test_queues_are_known_in_order_of_their_first_announcement(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        assert await a.store.known_queues() == []
        z = QueueInfo(queue="z", processor="zed")
        m = QueueInfo(queue="m@~x", processor="em", session="the session")
        c = QueueInfo(
            queue="c", processor="see", options=QueueOptions(max_size=7, limiter=RateLimit(max=1, duration=2))
        )
        await a.store.announce([z, m])
        await b.store.announce([c, m, z])
        bench.clock.advance(1)
        await a.store.announce([z])
        assert await b.store.known_queues() == [z, m, c]

    async def test_stats_count_each_queue(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.stats(["q", "empty"]) == [QueueStats(), QueueStats()]
        await a.store.enqueue([job(f"j{i}") for i in range(6)])
        await a.store.enqueue([job("l", delay=5.0), job("k", "other")])
        assert await a.store.stats(["q", "other", "empty"]) == [
            QueueStats(waiting=6, delayed=1),
            QueueStats(waiting=1),
            QueueStats(),
        ]
        j0, j1, j2, j3 = await a.claim(4)
        await a.settle(j0, "completed")
        await a.settle(j1, "failed")
        await a.settle(j2, "cancelled")
        await a.settle(j3, "retry", delay=3.0)
        assert await a.stats() == QueueStats(waiting=2, completed=1, failed=1, dead=1, cancelled=1, delayed=2)
