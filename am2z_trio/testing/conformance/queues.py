"""Queues as they are seen from outside: which there are, and how many jobs are where."""

from __future__ import annotations

from am2z_trio.model.options import QueueOptions, RateLimit, Retention
from am2z_trio.model.records import ANNOUNCED_FOR, QueueInfo, QueueStats

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

    async def test_a_queue_that_nobody_announces_is_forgotten_with_time(self, bench: Bench) -> None:
        a = await bench.node("a")
        names = ["old", "busy", "dead", "paused", "new"]
        infos = {name: QueueInfo(queue=name, processor=name) for name in names}
        await a.store.announce(list(infos.values()))
        await a.store.enqueue([job("j", "busy"), job("d", "dead", on_fail=Retention(age=2 * ANNOUNCED_FOR))])
        await a.settle(await a.claim_one("dead"), "failed")
        await a.store.pause("paused", True)
        bench.clock.advance(ANNOUNCED_FOR - 1)
        await a.store.announce([infos["new"]])
        await a.store.tick()
        assert len(await a.store.known_queues()) == 6
        bench.clock.advance(2)
        await a.store.join()
        await a.store.tick()
        # What has jobs stays, and so does a pause.
        assert [info.queue for info in await a.store.known_queues()] == ["busy", "dead", "paused", "new"]
        # A place that was freed is not given to two.
        await a.store.announce([infos["old"], infos["busy"]])
        assert [info.queue for info in await a.store.known_queues()][-1] == "old"
        assert (await a.claim_one("busy")).spec.id == "j"

    async def test_a_queue_without_jobs_can_be_forgotten(self, bench: Bench) -> None:
        a = await bench.node("a")
        assert await a.store.forget_queue("nobody knows it") is None
        await a.store.enqueue([job("j"), job("k")])
        await a.settle(await a.claim_one(), "completed")
        assert await a.store.forget_queue("q") == 1
        grant = await a.claim_one()
        assert await a.store.forget_queue("q") == 1
        await a.settle(grant, "failed")
        assert await a.store.forget_queue("q") == 1
        assert await a.store.bury(["k"]) == [True]
        assert await a.store.forget_queue("q") == 0
        assert await a.store.known_queues() == []
        assert await a.store.forget_queue("q") is None
        # Whoever comes back to it is served as ever.
        await a.store.enqueue([job("l")])
        assert (await a.claim_one()).spec.id == "l"

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
