"""Silences: findings that nobody is to hear of for a while."""

from __future__ import annotations

from am2z_trio.model.records import Silence

from .bench import Bench
from .hostile import HOSTILE


class SilenceCases:
    """What is silenced, for how long, and by whom."""

    async def test_a_silence_ends_by_itself(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        silence = await a.store.silences.put("held", "charge", 60.0, by="anna", reason="is known")
        until = bench.clock() + 60_000
        assert silence == Silence(code="held", target="charge", until=until, by="anna", reason="is known")
        assert await b.store.silences.all() == [silence]
        bench.clock.advance(59.999)
        assert await b.store.silences.all() == [silence]
        bench.clock.advance(0.001)
        assert await b.store.silences.all() == []

    async def test_a_silence_takes_the_place_of_an_earlier_one(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.silences.put("held", "", 60.0, by="anna", reason="first")
        await a.store.silences.put("held", "charge", 600.0, by="anna", reason="other")
        await a.store.silences.put("held", "", 30.0, by="ben", reason="second")
        told = [(one.target, one.by, one.reason) for one in await a.store.silences.all()]
        assert told == [("", "ben", "second"), ("charge", "anna", "other")]
        bench.clock.advance(30.0)
        assert [one.target for one in await a.store.silences.all()] == ["charge"]

    async def test_a_silence_is_lifted_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.silences.put("held", "charge", 60.0, by="", reason="")
        assert not await a.store.silences.lift("held", "")
        assert await a.store.silences.lift("held", "charge")
        assert not await a.store.silences.lift("held", "charge")
        await a.store.silences.put("held", "charge", 60.0, by="", reason="")
        bench.clock.advance(60.0)
        assert not await a.store.silences.lift("held", "charge")

    async def test_no_more_are_silenced_than_may_be(self, bench: Bench) -> None:
        a = await bench.node()
        for number in range(200):
            assert await a.store.silences.put("held", f"q{number}", 60.0, by="", reason="") is not None
        assert await a.store.silences.put("held", "one more", 60.0, by="", reason="") is None
        assert await a.store.silences.put("held", "q7", 90.0, by="", reason="") is not None
        bench.clock.advance(60.0)
        assert await a.store.silences.put("held", "one more", 60.0, by="", reason="") is not None
        assert [one.target for one in await a.store.silences.all()] == ["one more", "q7"]

    async def test_who_and_why_may_be_any_text(self, bench: Bench) -> None:
        a = await bench.node()
        for name in HOSTILE:
            await a.store.silences.put("held", name, 60.0, by=name, reason=name)
        found = {one.target: (one.by, one.reason) for one in await a.store.silences.all()}
        assert found == {name: (name, name) for name in HOSTILE}
