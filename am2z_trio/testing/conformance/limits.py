"""Limits on how many jobs start and run, and queues that stand still."""

from __future__ import annotations

from am2z_trio.model.records import MayGoOn, QueueLimits, Wake

from .bench import SETTINGS, Bench
from .builders import ids_of, job


class LimitCases:
    """What is held back although it could be granted, and what sets it going again."""

    async def test_a_rate_limit_counts_starts_in_a_sliding_window(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        limits = QueueLimits(starts=2, per=1.0)
        await a.store.enqueue([job(f"j{n}") for n in range(6)])
        (j0,) = await a.claim(1, limits=limits)
        bench.clock.advance(0.4)
        answer = await b.claim_answer(5, limits=limits)
        assert (ids_of(answer.grants), answer.next_due) == (["j1"], 0.6)
        bench.clock.advance(0.6)
        # The first start is out of the window now, the second is not; one that is run again counts.
        await a.settle(j0, "released")
        answer = await a.claim_answer(5, limits=limits)
        assert (ids_of(answer.grants), answer.next_due) == (["j0"], 0.4)
        assert await b.claim(5, limits=limits) == []
        bench.clock.advance(0.4)
        assert ids_of(await b.claim(5, limits=limits)) == ["j2"]
        (stats,) = await a.store.stats(["q"])
        assert (stats.waiting, stats.active, stats.delayed) == (3, 3, 0)

    async def test_a_rate_limit_knows_of_starts_from_before_it_was_lifted(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(f"j{n}") for n in range(3)])
        limits = QueueLimits(starts=1, per=10.0)
        assert ids_of(await a.claim(1, limits=limits)) == ["j0"]
        assert ids_of(await a.claim(1)) == ["j1"]
        assert await a.claim(1, limits=limits) == []

    async def test_a_rate_limit_may_set_jobs_aside(self, bench: Bench) -> None:
        a = await bench.node("a")
        limits = QueueLimits(starts=1, per=1.0, delays_excess=True)
        await a.store.enqueue([job("j0"), job("s1", session="s"), job("j1")])
        answer = await a.claim_answer(5, limits=limits)
        assert (ids_of(answer.grants), answer.next_due) == (["j0"], 1.0)
        assert [await a.status(name) for name in ("s1", "j1")] == ["later", "later"]
        bench.clock.advance(1.002)
        assert len(await a.claim(5, limits=limits)) == 1
        bench.clock.advance(1.002)
        assert len(await a.claim(5, limits=limits)) == 1

    async def test_no_more_are_active_than_may_be_and_who_frees_room_wakes(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        limits = QueueLimits(most_active=2)
        await a.store.enqueue([job(f"j{n}") for n in range(4)])
        j0, _j1 = await a.claim(5, limits=limits)
        bench.clock.advance(0.001)
        assert await b.claim(5, limits=limits) == []
        assert (await a.heard(), await b.heard()) == ([], [])
        await a.settle(j0)
        assert (await a.heard(), await b.heard()) == ([Wake("q")], [])
        assert ids_of(await a.claim(5, limits=limits)) == ["j2"]

    async def test_many_sessions_that_are_full_are_passed_in_bounded_steps(self, bench: Bench) -> None:
        a = await bench.node("a")
        limits, sessions = QueueLimits(per_session=1), [f"s{n}" for n in range(600)]
        for first in range(0, 600, 100):
            some = sessions[first : first + 100]
            await a.store.enqueue([job(f"{name}-{turn}", session=name) for turn in (1, 2) for name in some])
        grants = [grant for _ in range(6) for grant in await a.claim(100, limits=limits)]
        assert len({grant.spec.session for grant in grants}) == 600
        answers = [await a.claim_answer(100, limits=limits) for _ in range(2)]
        assert [(answer.grants, answer.next_due) for answer in answers] == [([], 0), ([], None)]
        await a.settle(grants[77])
        assert ids_of(await a.claim(100, limits=limits)) == [f"{grants[77].spec.session}-2"]

    async def test_many_of_a_session_with_a_priority_line_up_in_bounded_steps(self, bench: Bench) -> None:
        a = await bench.node("a")
        limits = QueueLimits(per_session=1)
        for first in range(0, 800, 100):
            some = [job(f"s{n}", session="s", priority=1) for n in range(first, first + 100)]
            await a.store.enqueue(some)
        await a.store.enqueue([job("t", session="t", priority=2)])
        answer = await a.claim_answer(10, limits=limits)
        assert (ids_of(answer.grants), answer.next_due) == (["s0"], 0)
        calls = 1
        while answer.next_due == 0:
            answer, calls = await a.claim_answer(10, limits=limits), calls + 1
        assert (ids_of(answer.grants), calls > 2) == (["t"], True)
        assert (await a.stats()).waiting == 799

    async def test_no_more_of_a_session_are_active_than_may_be(self, bench: Bench) -> None:
        a = await bench.node("a")
        limits = QueueLimits(per_session=1)
        jobs = [job("s1", session="s"), job("s2", session="s"), job("t1", session="t"), job("j")]
        await a.store.enqueue([*jobs, job("s0", session="s", priority=1)])
        grants = {grant.spec.id: grant for grant in await a.claim(9, limits=limits)}
        assert sorted(grants) == ["j", "s1", "t1"]
        assert await a.claim(9, limits=limits) == []
        await a.settle(grants["j"])
        await a.settle(grants["t1"])
        assert await a.heard() == []
        await a.settle(grants["s1"], "released")
        assert await a.heard() == [Wake("q")]
        (s1,) = await a.claim(9, limits=limits)
        assert s1.spec.id == "s1"
        await a.settle(s1)
        # One with a priority went on with its session, behind those without.
        assert ids_of(await a.claim(9, limits=limits)) == ["s2"]
        await a.store.cancel("s2", "enough")
        # Without the limit, nobody is held back any more.
        assert ids_of(await a.claim(9)) == ["s0"]

    async def test_a_dead_nodes_jobs_leave_room(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        limits = QueueLimits(most_active=1, per_session=1)
        await a.store.enqueue([job("s1", session="s"), job("s2", session="s")])
        assert ids_of(await b.claim(5, limits=limits)) == ["s1"]
        assert await a.claim(5, limits=limits) == []
        await bench.crash(b)
        await a.store.tick()
        bench.clock.advance(SETTINGS.disconnect_grace)
        await a.store.tick()
        assert Wake("q") in await a.heard()
        assert ids_of(await a.claim(5, limits=limits)) == ["s1"]

    async def test_a_paused_queue_grants_nothing_and_wakes_everybody_when_it_goes_on(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.pause("q", True)
        await a.store.pause("q", True)
        await a.store.enqueue([job("j1"), job("j2", delay=1.0)])
        assert (await a.claim_answer(5)).next_due is None
        await b.claim(5)
        bench.clock.advance(1.0)
        await a.store.tick()
        assert (await a.heard(), await b.heard()) == ([], [])
        (stats,) = await a.store.stats(["q"])
        assert (stats.waiting, stats.paused, stats.delayed) == (0, 1, 1)
        await b.store.pause("q", False)
        assert (await a.heard(), await b.heard()) == ([Wake("q")], [Wake("q")])
        assert ids_of(await a.claim(5)) == ["j1", "j2"]

    async def test_who_has_stepped_aside_does_not_count_and_steps_back_before_who_waits(
        self, bench: Bench
    ) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        limits = QueueLimits(most_active=1)
        await a.store.enqueue([job(f"j{n}") for n in range(3)])
        (j0,) = await a.claim(5, limits=limits)
        assert await b.claim(5, limits=limits) == []
        await a.store.step_aside("j0", j0.token)
        await a.store.step_aside("j0", j0.token)
        assert Wake("q") in [*await a.heard(), *await b.heard()]
        (j1,) = await b.claim(5, limits=limits)
        assert await a.claim(5, limits=limits) == []
        assert (await a.stats()).active == 2
        assert not await a.store.step_back("j0", j0.token)
        assert not await a.store.step_back("j0", j0.token)
        await b.settle(j1)
        assert MayGoOn("j0", j0.token) in await a.heard()
        assert await b.claim(5, limits=limits) == []
        assert await a.store.step_back("j0", j0.token)
        await a.settle(j0)
        (j2,) = await b.claim(5, limits=limits)
        # Another token's is nobody's affair, and one that has not stepped aside is there.
        await a.store.step_aside("j2", j0.token)
        assert await b.store.step_back("j2", j2.token)
        assert await a.claim(5, limits=limits) == []

    async def test_who_has_stepped_aside_in_its_session_makes_room_for_the_next(self, bench: Bench) -> None:
        a = await bench.node("a")
        limits = QueueLimits(per_session=1)
        await a.store.enqueue([job(f"s{n}", session="s") for n in range(3)])
        (s0,) = await a.claim(5, limits=limits)
        await a.store.step_aside("s0", s0.token)
        (s1,) = await a.claim(5, limits=limits)
        await a.store.step_aside("s1", s1.token)
        (s2,) = await a.claim(5, limits=limits)
        assert not await a.store.step_back("s0", s0.token)
        assert not await a.store.step_back("s1", s1.token)
        # It needs others once more: whoever is next goes on.
        await a.store.step_aside("s0", s0.token)
        await a.heard()
        await a.settle(s2)
        assert await a.heard() == [MayGoOn("s1", s1.token)]
        # Ended while it was in line, it takes no place.
        assert not await a.store.step_back("s0", s0.token)
        await a.settle(s0, "failed")
        await a.settle(s1)
        await a.store.enqueue([job(f"t{n}", session="s") for n in range(2)])
        assert len(await a.claim(5, limits=limits)) == 1

    async def test_a_claim_that_is_taken_away_counts_again_when_it_is_granted(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        limits = QueueLimits(most_active=1)
        await a.store.enqueue([job("j0"), job("j1")])
        (j0,) = await a.claim(5, limits=limits)
        await a.store.step_aside("j0", j0.token)
        await a.store.leave()
        (j0,) = await b.claim(5, limits=limits)
        assert j0.spec.id == "j0"
        assert await b.store.step_back("j0", j0.token)
        assert await b.claim(5, limits=limits) == []
        assert (await b.stats()).active == 1

    async def test_calls_alone_are_claimed_the_deepest_first(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("root"), job("parent")])
        _, parent = await a.claim(2)
        jobs = [job("r1"), job("one", depth=1), job("child", parent="parent"), job("s", session="s", depth=1)]
        jobs += [
            job("two", depth=2),
            job("r2"),
            job("p", priority=1, depth=2),
            job("late", delay=1.0, depth=3),
        ]
        await a.store.enqueue(jobs)
        answer = await a.claim_answer(3, calls_only=True)
        assert (ids_of(answer.grants), answer.next_due) == (["two", "p", "one"], 1.0)
        bench.clock.advance(1.0)
        assert ids_of(await a.claim(1, calls_only=True)) == ["late"]
        assert ids_of(await a.claim(9, calls_only=True)) == ["child", "s"]
        # What has begun is granted to nobody else, and the others wait in their order.
        assert ids_of(await a.claim(9)) == ["r1", "r2"]
        await a.settle(parent)
        assert (await a.stats()).waiting == 0

    async def test_a_call_that_comes_back_ends_or_is_set_aside_is_where_it_belongs(
        self, bench: Bench
    ) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("x", depth=1), job("y", depth=1), job("z", depth=1), job("root")])
        x, y, _ = await a.claim(3, calls_only=True)
        await a.settle(x, "released")
        await a.settle(y, "retry")
        await a.store.cancel("y", "no more")
        assert ids_of(await a.claim(9, calls_only=True)) == ["x"]
        await a.store.enqueue([job("w", depth=1, deadline=0.5)])
        bench.clock.advance(0.501)
        assert await a.claim(9, calls_only=True) == []
        assert await a.status("w") == "cancelled"
        limits = QueueLimits(starts=1, per=1.0, delays_excess=True)
        await a.store.enqueue([job("v", depth=1)])
        assert ids_of(await a.claim(9, limits=limits)) == ["root"]
        assert await a.status("v") == "later"
        assert await a.claim(9, calls_only=True) == []

    async def test_the_limits_hold_for_calls(self, bench: Bench) -> None:
        a = await bench.node("a")
        limits = QueueLimits(per_session=1, most_active=2)
        names = ["s1", "s2", "s3", "u1", "u2"]
        await a.store.enqueue([job(name, session=name[0], depth=1) for name in names])
        s1, u1 = await a.claim(9, limits=limits, calls_only=True)
        assert (s1.spec.id, u1.spec.id) == ("s1", "u1")
        await a.heard()
        await a.settle(s1)
        assert await a.heard() == [Wake("q")]
        assert ids_of(await a.claim(9, limits=limits, calls_only=True)) == ["s2"]
        await a.settle(u1)
        await a.store.pause("q", True)
        assert await a.claim(9, limits=limits, calls_only=True) == []
        await a.store.pause("q", False)
        assert ids_of(await a.claim(9, limits=limits, calls_only=True)) == ["u2"]
        starts = QueueLimits(starts=1, per=1.0)
        await a.store.enqueue([job("x1", depth=1), job("x2", depth=1)])
        answer = await a.claim_answer(9, limits=starts, calls_only=True)
        assert (ids_of(answer.grants), answer.next_due) == (["s3"], 1.0)

    async def test_a_job_that_others_come_to_wait_for_is_a_call(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j1"), job("j2"), job("j3"), job("late", delay=1.0)])
        assert await a.claim(9, calls_only=True) == []
        await a.store.call_for("j2")
        assert await a.heard() == [Wake("q")]
        assert await a.store.enqueue([job("j3", depth=4)])
        await a.store.call_for("late")
        await a.store.call_for("nobody")
        assert ids_of(await a.claim(9, calls_only=True)) == ["j3", "j2"]
        bench.clock.advance(1.0)
        assert ids_of(await a.claim(9, calls_only=True)) == ["late"]
        assert ids_of(await a.claim(9)) == ["j1"]
