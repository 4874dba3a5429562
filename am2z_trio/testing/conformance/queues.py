"""Queues as they are seen from outside: which there are, and how many jobs are where."""

from __future__ import annotations

from am2z_trio.model.options import QueueOptions, RateLimit, Retention
from am2z_trio.model.records import (
    ANNOUNCED_FOR,
    ANNOUNCED_LATELY,
    ForgetAnswer,
    QueueInfo,
    QueueStats,
)

from .bench import GRACE, SETTINGS, Bench, Node
from .builders import commit, ids_of, job

WORK = QueueInfo(queue="q", processor="work")


async def known(node: Node) -> dict[str, int]:
    """What can be asked for by name, and how many live nodes serve it."""
    return {info.queue: info.workers for info in await node.store.known_queues() if info.known}


async def withdraw(node: Node, *queues: str, retire: bool = False) -> None:
    """Returns when it is done."""
    node.store.withdraw_nowait(queues, retire=retire)
    await node.store.ping()


class QueueCases:
    """What a store tells of its queues."""

    async def test_queues_are_known_in_order_of_their_first_announcement(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        assert await a.store.known_queues() == []
        z = QueueInfo(queue="z", processor="zed")
        m = QueueInfo(queue="m@~x", processor="em")
        c = QueueInfo(
            queue="c", processor="see", options=QueueOptions(max_size=7, limiter=RateLimit(max=1, duration=2))
        )
        await a.store.announce([z, m])
        await b.store.announce([c, m, z])
        bench.clock.advance(1)
        await a.store.announce([z])
        assert await b.store.known_queues() == [z, m, c]

    async def test_a_node_serves_a_queue_until_it_withdraws_or_leaves(self, bench: Bench) -> None:
        a, b, c = await bench.node("a"), await bench.node("b"), await bench.connect("c")
        # Who has no lease serves nothing, whatever it says.
        await c.store.announce([WORK])
        assert await known(c) == {"q": 2}
        assert [await node.workers() for node in (a, b, c)] == [2, 2, 2]
        assert await c.workers("another") == 0
        await withdraw(a, "q", "nobody has heard of this one")
        assert await b.workers() == 1
        await withdraw(a, "q")
        assert await b.workers() == 1
        await a.store.announce([WORK])
        await a.store.announce([WORK])
        assert await b.workers() == 2
        await a.store.leave()
        assert await b.workers() == 1
        await b.store.leave()
        # It was served lately; the node that comes back says so itself.
        assert await known(c) == {"q": 0}
        await a.store.join()
        assert await known(c) == {"q": 0}
        await a.store.announce([WORK])
        assert await known(c) == {"q": 1}

    async def test_a_node_that_leaves_serves_none_of_very_many_queues(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.announce([QueueInfo(queue=f"q{n}", processor=f"p{n}") for n in range(1_200)])
        assert [await b.workers(f"q{n}") for n in (0, 600, 1_199)] == [1, 1, 1]
        await a.store.leave()
        assert not any(stats.workers for stats in await b.store.stats([f"q{n}" for n in range(1_200)]))

    async def test_a_dead_node_serves_none_of_very_many_queues(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.announce([QueueInfo(queue=f"q{n}", processor=f"p{n}") for n in range(1_200)])
        await bench.outlast(b)
        while (await b.store.tick()).more:
            pass
        await b.store.tick(reap=False)
        assert not any(stats.workers for stats in await b.store.stats([f"q{n}" for n in range(1_200)]))
        # Nothing of it comes back with its name.
        await a.store.join()
        assert await b.workers("q0") == 0

    async def test_a_dead_node_does_not_count_though_nobody_has_taken_it_away(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        client = await bench.connect("client")
        await bench.crash(a)
        # It may be on its way back, and would have renewed its lease by then.
        bench.clock.advance(GRACE + 1.0)
        assert await client.workers() == 2
        bench.clock.advance(0.001)
        await b.store.renew(look_every=0.0)
        assert await client.workers() == 1
        assert (await client.store.forget_queue("q")).workers == 1
        # One that is only frozen is alive until its lease is over.
        bench.clock.advance(SETTINGS.lease)
        assert await client.workers() == 1
        bench.clock.advance(0.001)
        assert await known(client) == {"q": 0}

    async def test_a_deaf_node_that_renews_its_lease_counts(self, bench: Bench) -> None:
        a, client = await bench.node("a"), await bench.connect("client")
        await bench.crash(a)
        bench.clock.advance(GRACE + 2.0)
        assert await client.workers() == 0
        back = await bench.connect("a")
        assert await client.workers() == 1
        await bench.crash(back)
        bench.clock.advance(GRACE)
        assert await client.workers() == 0

    async def test_a_queue_is_known_by_name_for_a_while_after_its_last_server(self, bench: Bench) -> None:
        a, client = await bench.node("a"), await bench.connect("client")
        bench.clock.advance(ANNOUNCED_LATELY)
        await a.store.join()
        await a.store.leave()
        bench.clock.advance(ANNOUNCED_LATELY)
        assert await known(client) == {"q": 0}
        bench.clock.advance(0.001)
        assert await known(client) == {}
        assert [info.queue for info in await client.store.known_queues()] == ["q"]
        await a.store.join()
        await a.store.announce([WORK])
        assert await known(client) == {"q": 1}

    async def test_the_last_server_may_take_a_queues_name_away(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await withdraw(a, "q", retire=True)
        assert await known(a) == {"q": 1}
        await withdraw(b, "q", "another", retire=True)
        assert await known(a) == {}
        assert [info.queue for info in await a.store.known_queues()] == ["q"]
        await a.store.announce([WORK])
        assert await known(a) == {"q": 1}
        await withdraw(a, "q")
        assert await known(a) == {"q": 0}

    async def test_who_only_submits_makes_a_queue_seen_and_not_known(self, bench: Bench) -> None:
        client, a = await bench.connect("client"), await bench.node("a")
        other = QueueInfo(queue="r", processor="other")
        await client.store.announce([other, WORK], serves=False)
        await client.store.enqueue([job("j", "r")])
        assert await known(a) == {"q": 1}
        assert [info.queue for info in await a.store.known_queues()] == ["q", "r"]
        mine = QueueInfo(queue="r", processor="other", options=QueueOptions(max_size=3))
        await a.store.announce([mine])
        await client.store.announce([other], serves=False)
        assert (await a.store.known_queues())[1].options.max_size == 3
        assert await known(a) == {"q": 1, "r": 1}

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

    async def test_a_queue_that_is_only_submitted_to_stays_as_long_as_one_that_is_served(
        self, bench: Bench
    ) -> None:
        a, client = await bench.node("a"), await bench.connect("client")
        info = QueueInfo(queue="made", processor="made")
        await client.store.announce([info], serves=False)
        bench.clock.advance(ANNOUNCED_FOR - 1)
        await a.store.join()
        await a.store.tick()
        assert "made" in [info.queue for info in await a.store.known_queues()]
        # Before each time that it submits.
        await client.store.announce([info], serves=False)
        bench.clock.advance(ANNOUNCED_FOR - 1)
        await a.store.join()
        await a.store.tick()
        assert "made" in [info.queue for info in await a.store.known_queues()]
        bench.clock.advance(2)
        await a.store.tick()
        assert "made" not in [info.queue for info in await a.store.known_queues()]

    async def test_a_queue_without_jobs_can_be_forgotten(self, bench: Bench) -> None:
        a = await bench.node("a")
        unknown, one_left = ForgetAnswer(known=False), ForgetAnswer(known=True, jobs=1)
        assert await a.store.forget_queue("nobody knows it") == unknown
        await a.store.enqueue([job("j"), job("k")])
        assert await a.store.forget_queue("q") == ForgetAnswer(known=True, jobs=2, workers=1)
        await a.settle(await a.claim_one(), "completed")
        await withdraw(a, "q")
        assert await a.store.forget_queue("q") == one_left
        grant = await a.claim_one()
        assert await a.store.forget_queue("q") == one_left
        await a.settle(grant, "failed")
        assert await a.store.forget_queue("q") == one_left
        assert await a.store.drop_dead_letters(["k"]) == [True]
        await a.store.announce([WORK])
        assert await a.store.forget_queue("q") == ForgetAnswer(known=True, workers=1)
        await withdraw(a, "q")
        assert await a.store.forget_queue("q") == ForgetAnswer(known=True)
        assert await a.store.known_queues() == []
        assert await a.store.forget_queue("q") == unknown
        # Whoever comes back to it is served as ever.
        await a.store.enqueue([job("l")])
        assert (await a.claim_one()).spec.id == "l"

    async def test_stats_count_each_queue(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.stats(["q", "empty"]) == [QueueStats(workers=1), QueueStats()]
        await a.store.enqueue([job(f"j{i}") for i in range(6)])
        await a.store.enqueue([job("l", delay=5.0), job("k", "other")])
        assert await a.store.stats(["q", "other", "empty"]) == [
            QueueStats(waiting=6, delayed=1, workers=1),
            QueueStats(waiting=1),
            QueueStats(),
        ]
        j0, j1, j2, j3 = await a.claim(4)
        await a.settle(j0, "completed")
        await a.settle(j1, "failed")
        await a.settle(j2, "cancelled")
        await a.settle(j3, "retry", delay=3.0)
        assert await a.stats() == QueueStats(
            waiting=2, completed=1, failed=1, dead=1, cancelled=1, delayed=2, retried=1
        )

    async def test_what_goes_wrong_is_counted_of_its_queue(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue(
            [
                job("fails"),
                job("conflicts", session="s", state=None),
                job("stalls"),
                job("late", deadline=0.5, delay=0.4),
            ]
        )
        conflicts, fails, stalls = sorted(await a.claim(3), key=lambda grant: grant.spec.id)
        await a.settle(fails, "retry", delay=3600.0)
        assert (await a.settle(conflicts, commit=commit("x", (7, "0" * 64)))).status == "conflict"
        await a.settle(conflicts, "released", delay=3600.0)
        assert await a.stats() == QueueStats(active=1, delayed=3, retried=1, conflicts=1)
        await bench.outlast(b)
        assert (await b.store.tick()).reaped == 1
        # A claim that ends what is past its deadline may leave the rest to the next one.
        assert [*ids_of(await b.claim(9)), *ids_of(await b.claim(9))] == ["stalls"]
        assert (await a.settle(stalls)).status == "fenced"
        # Nothing of that is another queue's.
        assert await b.store.stats(["q", "r"]) == [
            QueueStats(
                active=1,
                delayed=2,
                cancelled=1,
                workers=1,
                retried=1,
                conflicts=1,
                stalled=1,
                fenced=1,
                expired=1,
            ),
            QueueStats(),
        ]
