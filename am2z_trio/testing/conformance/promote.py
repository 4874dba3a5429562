"""Put before others: a job that waits or is delayed begins next."""

from __future__ import annotations

import msgspec

from am2z_trio.model.records import QueueLimits, QueueStats, Wake

from .bench import Bench
from .builders import ids_of, job


class PromoteCases:
    """What begins next when somebody says so."""

    async def test_what_is_put_first_begins_before_all_that_waits(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{n}") for n in range(4)])
        assert await a.store.promote("j2") == "waiting"
        assert await a.store.promote("j3") == "waiting"
        assert await a.stats() == QueueStats(waiting=4)
        assert ids_of(await a.claim(9)) == ["j3", "j2", "j0", "j1"]
        assert await a.stats() == QueueStats(active=4)

    async def test_what_is_delayed_waits_no_longer(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("late", delay=60.0)])
        assert await a.claim(9) == []
        await a.heard()
        assert await a.store.promote("late") == "later"
        assert await a.heard() == [Wake("q")]
        await a.store.promote("late")
        await a.store.enqueue([job("j0")])
        assert await a.stats() == QueueStats(waiting=2)
        assert ids_of(await a.claim(9)) == ["late", "j0"]
        # It is due no more.
        bench.clock.advance(61)
        assert await a.claim(9) == []

    async def test_what_was_delayed_in_another_queue_once_is_not_due_there(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", delay=5.0)])
        assert await a.store.cancel("j", "unwanted") == "later"
        elsewhere = msgspec.structs.replace(job("j", delay=5.0, again=True), queue="p")
        await a.store.enqueue([elsewhere])
        assert (await a.claim_answer()).next_due is None
        assert (await a.store.inspection.page("q", "later")).rows == []
        bench.clock.advance(6)
        assert (await a.claim(9), ids_of(await a.claim(9, "p"))) == ([], ["j"])

    async def test_what_was_put_first_is_given_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j0"), job("j1")])
        for _ in range(3):
            assert await a.store.promote("j1") == "waiting"
        assert ids_of(await a.claim(9)) == ["j1", "j0"]
        assert await a.claim(9) == []

    async def test_a_priority_is_left_behind(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p1", priority=1), job("p9", priority=9), job("j")])
        assert await a.store.promote("p9") == "waiting"
        assert ids_of(await a.claim(9)) == ["p9", "j", "p1"]

    async def test_its_sessions_turn_comes_first(self, bench: Bench) -> None:
        a = await bench.node()
        for session in ("s", "t", "u"):
            await a.store.enqueue([job(f"{session}{n}", session=session) for n in range(2)])
        assert await a.store.promote("u1") == "waiting"
        assert [(await a.claim_one()).spec.id for _ in range(6)] == ["u1", "s0", "t0", "u0", "s1", "t1"]

    async def test_a_limit_holds_it_up_as_any_other(self, bench: Bench) -> None:
        a = await bench.node()
        limits = QueueLimits(per_session=1)
        await a.store.enqueue([job(f"s{n}", session="s") for n in range(3)])
        (first,) = await a.claim(9, limits=limits)
        assert await a.claim(9, limits=limits) == []
        assert await a.store.promote("s2") == "waiting"
        assert await a.claim(9, limits=limits) == []
        await a.settle(first)
        assert ids_of(await a.claim(9, limits=limits)) == ["s2"]
        await a.store.pause("q", True)
        assert await a.store.promote("s1") == "waiting"
        assert await a.claim(9) == []

    async def test_it_is_the_next_one_in_line_for_a_turn(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{n}", session="s", state=None) for n in range(4)])
        (grant,) = await a.claim(9)
        assert grant.spec.id == "j0"
        for id in ("j3", "j2"):
            assert await a.store.promote(id) == "waiting"
        order: list[str] = []
        for _ in range(3):
            await a.settle(grant)
            (grant,) = await a.claim(9)
            order.append(grant.spec.id)
        assert order == ["j2", "j3", "j1"]

    async def test_what_another_job_waits_for_comes_before_other_calls(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p")])
        await a.claim_one()
        await a.store.enqueue([job(f"c{n}", parent="p") for n in range(3)])
        assert await a.store.promote("c2") == "waiting"
        assert ids_of(await a.claim(9, calls_only=True)) == ["c2", "c0", "c1"]
        assert await a.claim(9) == []

    async def test_what_runs_or_has_ended_is_put_nowhere(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        assert await a.store.promote("j") == "active"
        await a.settle(grant)
        assert await a.store.promote("j") == "completed"
        assert await a.store.promote("nobody") is None
        assert await a.claim(9) == []
        assert await a.stats() == QueueStats(completed=1)

    async def test_what_was_put_first_is_cancelled_and_run_again_as_any_other(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j0"), job("j1", again=True), job("j2")])
        await a.store.promote("j1")
        assert await a.store.cancel("j1", "unwanted") == "waiting"
        await a.store.enqueue([job("j1", again=True)])
        assert ids_of(await a.claim(9)) == ["j0", "j2", "j1"]
        assert await a.claim(9) == []
