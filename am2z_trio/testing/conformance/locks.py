"""Locks of sessions: one holder, one line, growing numbers."""

from __future__ import annotations

from am2z_trio.model.records import LockGranted, LockPlace, LockStanding
from am2z_trio.model.records.states import lock_token
from am2z_trio.store.agreed import LINE_SHOWN

from .bench import Bench
from .builders import version, write


class LockCases:
    """Who may write a session's state, and what becomes of those who may not."""

    async def test_a_lock_has_one_holder_and_a_line(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        first = (await a.store.states.acquire("s", "l1", 10.0)).fence
        assert first is not None
        bench.clock.advance(4.0)
        answer = await b.store.states.acquire("s", "l2", 10.0)
        assert (answer.fence, answer.wait) == (None, 6.0)
        bench.clock.advance(0.001)
        assert (await a.store.states.acquire("s", "l3", 10.0)).fence is None
        # Asked for once more, a token keeps its place, or its lock.
        assert (await b.store.states.acquire("s", "l2", 10.0)).fence is None
        assert (await a.store.states.acquire("s", "l1", 10.0)).fence == first
        assert await a.store.states.release("s", "l1", 10.0)
        (granted,) = await b.heard()
        assert isinstance(granted, LockGranted)
        assert (granted.token, granted.fence > first) == ("l2", True)
        assert not await a.store.states.release("s", "l1", 10.0)
        assert await b.store.states.release("s", "l2", 10.0)
        assert [message for message in await a.heard() if isinstance(message, LockGranted)]

    async def test_whoever_waits_for_a_lock_waits_for_its_holder(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        assert (await a.store.states.acquire("s", "l1", 10.0)).fence is not None
        assert (await b.store.states.acquire("s", "l2", 10.0)).wait == 10.0
        bench.clock.advance(9.0)
        assert await a.store.states.renew("s", "l1", 10.0)
        assert (await b.store.states.acquire("s", "l2", 10.0)).wait == 10.0

    async def test_a_lease_that_has_passed_is_the_next_ones(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.states.acquire("s", "l1", 10.0)
        bench.clock.advance(9.0)
        assert await a.store.states.renew("s", "l1", 10.0)
        bench.clock.advance(10.001)
        assert not await a.store.states.renew("s", "l1", 10.0)
        assert (await b.store.states.acquire("s", "l2", 10.0)).fence is not None
        assert not await a.store.states.renew("s", "l1", 10.0)
        # Who has lost it gives nothing back.
        assert not await a.store.states.release("s", "l1", 10.0)
        assert await b.store.states.renew("s", "l2", 10.0)

    async def test_only_the_holder_writes_under_the_lock(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.states.acquire("s", "l1", 10.0)
        assert (await a.store.states.write(write(1, "one", lock="l1"))).status == "applied"
        bench.clock.advance(10.001)
        assert (await a.store.states.write(write(2, "late", lock="l1"))).status == "fenced"
        await b.store.states.acquire("s", "l2", 10.0)
        assert (await a.store.states.write(write(3, "late", lock="l1"))).status == "fenced"
        # A write that was applied is answered as such although the lock is lost meanwhile.
        assert (await b.store.states.write(write(1, "two", lock="l2"))).status == "applied"
        bench.clock.advance(10.001)
        assert (await b.store.states.write(write(1, "two", lock="l2"))).status == "applied"
        assert await a.state() == version(2, "two")

    async def test_a_session_that_is_stopped_has_no_lock(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.states.acquire("s", "l1", 10.0)
        await a.store.stop_session("s", running=True, refuse=5.0)
        assert not await a.store.states.renew("s", "l1", 10.0)
        assert (await a.store.states.acquire("s", "l2", 10.0)).fence is not None

    async def test_who_looks_at_a_lock_sees_how_long_it_is_held_and_how_many_wait(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        look = b.store.states.lock_standing
        assert await look("s") == LockStanding()
        since = bench.clock()
        fence = (await a.store.states.acquire("s", "l1", 10.0)).fence
        assert fence is not None
        await a.store.states.acquire("s", "l2", 10.0)
        bench.clock.advance(4.0)
        held = LockStanding(
            left=6.0, waiting=1, fence=fence, node="a", since=since, line=(LockPlace("", "a"),)
        )
        assert await look("s") == held
        assert await look("s") == held
        bench.clock.advance(7.0)
        assert (await look("s")).left == 0.0
        await a.store.states.release("s", "l1", 10.0)
        given = await look("s")
        assert (given.left, given.waiting, given.node, given.since) == (10.0, 0, "a", bench.clock())
        assert given.fence > fence
        await a.store.states.release("s", "l2", 10.0)
        assert await look("s") == LockStanding()

    async def test_who_looks_at_a_lock_sees_the_job_that_its_token_names(self, bench: Bench) -> None:
        a = await bench.node("a")
        states = a.store.states
        first, second, third = lock_token("@s/order:8812"), lock_token(""), lock_token("two words")
        for token in (first, second, third):
            await states.acquire("s", token, 10.0)
        for token, job in ((first, "@s/order:8812"), (second, ""), (third, "")):
            found = await states.lock_standing("s")
            assert (found.job, found.node) == (job, "a")
            await states.release("s", token, 10.0)

    async def test_who_looks_at_a_lock_sees_which_jobs_stand_in_line(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.states.acquire("s", lock_token("first"), 10.0)
        jobs = [f"@s/order:{number}" for number in range(LINE_SHOWN + 5)]
        for number, job in enumerate([*jobs[:2], "", *jobs[2:]]):
            await (a, b)[number % 2].store.states.acquire("s", lock_token(job), 10.0)
        found = await a.store.states.lock_standing("s")
        assert (found.job, found.waiting) == ("first", LINE_SHOWN + 6)
        assert [one.job for one in found.line] == [*jobs[:2], "", *jobs[2 : LINE_SHOWN - 1]]
        assert [one.node for one in found.line] == ["a", "b"] * (LINE_SHOWN // 2)
        # The lease is over, and nobody has asked since: they wait all the same.
        bench.clock.advance(11.0)
        over = await a.store.states.lock_standing("s")
        assert (over.left, over.job, over.line) == (0.0, "", found.line)
