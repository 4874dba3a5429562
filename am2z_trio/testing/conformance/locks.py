"""Locks of sessions, and writes from outside of jobs: one holder, one line, growing numbers."""

from __future__ import annotations

from math import inf

import msgspec

from am2z_trio.model.codec import checksum
from am2z_trio.model.records import LockGranted, StateRecord, StateWrite, WriteAnswer

from .bench import Bench
from .builders import timeless, version


def write(seq: int, text: str, *, expected: StateRecord | None = None, lock: str = "") -> StateWrite:
    """The next state of session `s`, or its deletion."""
    blob = msgspec.msgpack.encode(text) if text else b""
    mark = None if expected is None else expected.mark
    sum = checksum(blob) if blob else ""
    return StateWrite(session="s", seq=seq, blob=blob, checksum=sum, expected=mark, lock=lock)


def told(answer: WriteAnswer) -> tuple[str, StateRecord | None]:
    return answer.status, timeless(answer.current)


class LockCases:
    """Who may write a session's state, and what becomes of those who may not."""

    async def test_a_write_compares_and_counts(self, bench: Bench) -> None:
        states = (await bench.node()).store.states
        one, two = version(1, "one"), version(2, "two")
        assert (await states.write(write(1, "one", expected=version(0)))).status == "applied"
        assert told(await states.write(write(2, "x", expected=version(0)))) == ("conflict", one)
        # Another state that was the first one is not this one.
        assert told(await states.write(write(3, "x", expected=version(1, "other")))) == ("conflict", one)
        assert (await states.write(write(4, "two", expected=one))).status == "applied"
        assert timeless(await states.read("s")) == two

    async def test_a_write_that_arrives_again_changes_nothing(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        first = await a.store.states.write(write(7, "one"))
        assert await a.store.states.write(write(7, "one")) == first
        # Numbers are each node's own.
        await b.store.states.write(write(7, "two"))
        assert await a.store.states.write(write(7, "one")) == first
        await a.store.states.write(write(8, "three"))
        assert (await a.store.states.write(write(7, "one"))).status == "stale"
        assert await b.state() == version(3, "three")

    async def test_versions_outlive_a_deletion(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.states.write(write(1, "one"))
        assert (await a.store.states.write(write(2, ""))).status == "applied"
        assert (await a.state(), (await a.state()).exists) == (version(2), False)
        # There is nothing to delete any more: nothing changes.
        await a.store.states.write(write(3, ""))
        await a.store.states.write(write(4, "two"))
        assert await a.state() == version(3, "two")

    async def test_a_state_is_deleted_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.states.write(write(1, "one"))
        await a.store.states.write(write(2, "two"))
        assert (await a.store.states.write(write(3, "", expected=version(2, "two")))).status == "applied"
        assert told(await a.store.states.write(write(4, "", expected=version(2, "two")))) == (
            "conflict",
            version(3),
        )

    async def test_a_state_expires_after_its_last_write(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.states.write(write(1, "one"))
        await a.store.states.set_ttl("s", 5.0)
        bench.clock.advance(4.0)
        await a.store.states.write(write(2, "two"))
        bench.clock.advance(4.999)
        assert (await a.state()).exists
        bench.clock.advance(0.001)
        assert not (await a.state()).exists
        await a.store.states.write(write(3, "three"))
        await a.store.states.set_ttl("s", inf)
        bench.clock.advance(1e6)
        assert await a.state() == version(3, "three")

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
