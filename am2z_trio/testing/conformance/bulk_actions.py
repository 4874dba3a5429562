"""Actions on many jobs: written down step by step, by whoever carries them on."""

from __future__ import annotations

from am2z_trio.store.agreed import BULKS_KEPT

from .bench import Bench
from .hostile import HOSTILE


class BulkActionCases:
    """How far an action has come, and that nobody carries on what somebody else has."""

    async def test_an_action_goes_on_from_where_it_was_left(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        assert await a.store.bulks.read(["x"]) == [None]
        assert await a.store.bulks.write("x", 1, b"begun")
        assert await b.store.bulks.read(["x", "y"]) == [(1, b"begun"), None]
        assert await b.store.bulks.write("x", 2, b"half")
        assert await a.store.bulks.read(["x"]) == [(2, b"half")]

    async def test_each_step_is_written_by_one(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        assert await a.store.bulks.write("x", 1, b"begun")
        assert not await b.store.bulks.write("x", 1, b"begun by another")
        assert await a.store.bulks.write("x", 2, b"by a")
        assert not await b.store.bulks.write("x", 2, b"by b")
        # One that comes too late, or too early.
        assert not await b.store.bulks.write("x", 1, b"begun")
        assert not await b.store.bulks.write("x", 4, b"by b")
        assert not await b.store.bulks.write("y", 2, b"never begun")
        assert await b.store.bulks.read(["x", "y"]) == [(2, b"by a"), None]

    async def test_a_step_that_is_written_again_is_the_same(self, bench: Bench) -> None:
        a = await bench.connect()
        for _ in range(2):
            assert await a.store.bulks.write("x", 1, b"begun")
        for _ in range(2):
            assert await a.store.bulks.write("x", 2, b"half")
        assert await a.store.bulks.read(["x"]) == [(2, b"half")]

    async def test_the_newest_actions_are_listed_first(self, bench: Bench) -> None:
        a = await bench.connect()
        assert await a.store.bulks.newest(9) == []
        for id in ("x", "y", "z"):
            bench.clock.advance(1)
            await a.store.bulks.write(id, 1, b"begun")
        bench.clock.advance(1)
        # It goes on, and is as old as it is.
        await a.store.bulks.write("x", 2, b"half")
        assert await a.store.bulks.newest(9) == ["z", "y", "x"]
        assert await a.store.bulks.newest(2) == ["z", "y"]

    async def test_old_actions_are_forgotten_for_newer_ones(self, bench: Bench) -> None:
        a = await bench.connect()
        for number in range(BULKS_KEPT + 2):
            bench.clock.advance(0.001)
            await a.store.bulks.write(f"x{number}", 1, b"begun")
        kept = await a.store.bulks.newest(2 * BULKS_KEPT)
        assert (len(kept), kept[-1]) == (BULKS_KEPT, "x2")
        assert await a.store.bulks.read(["x1", "x2"]) == [None, (1, b"begun")]

    async def test_names_and_records_of_actions_are_no_more_than_text(self, bench: Bench) -> None:
        a = await bench.connect()
        for number, text in enumerate(HOSTILE):
            bench.clock.advance(0.001)
            record = f"{number} {text}".encode()
            assert await a.store.bulks.write(text, 1, record)
            assert await a.store.bulks.read([text]) == [(1, record)]
        assert await a.store.bulks.newest(BULKS_KEPT) == list(reversed(HOSTILE))
