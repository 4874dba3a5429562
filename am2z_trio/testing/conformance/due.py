"""Schedules in their order: which are due, and how they stand."""

from __future__ import annotations

from math import inf

import msgspec

from am2z_trio.model.records import ScheduleStanding

from .bench import START_MS, Bench
from .schedules import FIRST, MINUTE, a_schedule, look, made, step


class DueCases:
    async def test_schedules_are_listed_by_when_they_are_due(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        for id, due in (("c", FIRST), ("a", inf), ("b", FIRST - 5)):
            await schedules.upsert(a_schedule(id), None if due == inf else FIRST, due)
        assert await schedules.page(0, 2) == ["b", "c"]
        assert await schedules.page(2, 2) == ["a"]
        found = await schedules.due(0, 10)
        assert (found.now, found.found, found.wait) == (START_MS, [], (FIRST - 5 - START_MS) / 1000)
        bench.clock.advance(60)
        found = await schedules.due(0, 10)
        assert ([record.name for record in found.found], found.wait) == (["b", "c"], None)
        assert [record.name for record in (await schedules.due(1, 1)).found] == ["c"]

    async def test_names_without_records_stand_before_no_schedule(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        for n in range(7):
            await schedules.upsert(a_schedule(f"gone {n}"), FIRST - 5, FIRST - 5)
        for id in ("x", "y"):
            await schedules.upsert(a_schedule(id), FIRST, FIRST)
        await schedules.upsert(a_schedule("z"), FIRST + 60_000, FIRST + 60_000)
        for n in range(7):
            bench.backend.drop_schedule(f"gone {n}")
        bench.clock.advance(60)
        found = await schedules.due(0, 3)
        assert ([record.name for record in found.found], found.wait) == (["x", "y"], 60)
        assert [record.name for record in (await schedules.due(1, 3)).found] == ["y"]
        assert await schedules.page(0, 10) == ["x", "y", "z"]

    async def test_how_schedules_stand_is_told_without_what_they_run(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        await schedules.upsert(a_schedule("p"), FIRST - 10, FIRST - 10)
        assert await schedules.put(await look(a, "p"), FIRST - 10, pause="enough")
        await made(a, id="m")
        odd = a_schedule("{ odd }\n")
        await schedules.upsert(odd, FIRST - 5, FIRST - 5)
        bench.clock.advance(60)
        firing = step(await look(a, "m"), FIRST)
        assert (await schedules.fire(msgspec.structs.replace(firing, missed=3))).done

        def standing(name: str, due: float, missed: int = 0, *, paused: bool = False) -> ScheduleStanding:
            return ScheduleStanding(name=name, due=due, missed=missed, paused=paused)

        expected = [
            standing(odd.name, FIRST - 5),
            standing("m", FIRST + MINUTE, 3),
            standing("p", inf, paused=True),
        ]
        assert await schedules.standings(0, 10) == (START_MS + 60_000, expected)
        assert (await schedules.standings(1, 1))[1] == expected[1:2]
        assert (await schedules.standings(3, 5))[1] == []
