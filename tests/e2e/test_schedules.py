"""Schedules of seconds, fired by processes that are killed: each time has its effect, once."""

from __future__ import annotations

import signal
from itertools import pairwise

import anyio
import pytest

from am2z_trio import Every, QueueRuntime, Schedule
from tests.support.waiting import until

pytestmark = pytest.mark.trio

SCHEDULES = 3
EVERY = 0.3


async def test_each_time_has_its_effect_once_though_workers_are_killed(processes) -> None:
    workers = [processes.worker(target="scheduled:runtime") for _ in range(3)]
    async with QueueRuntime(processes.url, workers=False) as client:

        async def times(number: int) -> list[int]:
            found = await client.state.get(f"s{number}", list[int])
            assert found is not None
            return found.state

        async def have_run(count: int) -> None:
            while min([len(await times(number)) for number in range(SCHEDULES)]) < count:
                await anyio.sleep(0.05)

        for number in range(SCHEDULES):
            await client.state.set(f"s{number}", [])
            every = Every(EVERY, phase=number * EVERY / SCHEDULES)
            plan = Schedule(
                f"{number}",
                "note",
                every,
                session=f"s{number}",
                overlap="allow",
                missed="all",
                history=10_000,
            )
            await client.schedules.upsert(plan)
        for round in range(1, 4):
            await have_run(4 * round)
            # Whatever they are at: the others go on, or who comes next.
            victims = workers if round == 3 else workers[:1]
            for victim in victims:
                victim.signal(signal.SIGKILL)
            workers = workers[len(victims) :]
        workers.append(processes.worker(target="scheduled:runtime"))
        await have_run(16)
        for number in range(SCHEDULES):
            await client.schedules.pause(f"{number}")
            fired = (await client.schedules.get(f"{number}")).fired

            async def all_done(number: int = number, fired: int = fired) -> bool:
                return len(await times(number)) >= fired

            while not await all_done():
                await anyio.sleep(0.05)
            ran = sorted(await times(number))
            assert len(ran) == fired
            assert {after - before for before, after in pairwise(ran)} == {round_ms(EVERY)}
            noted = await client.schedules.runs(f"{number}", limit=1_000)
            assert [round_ms(run.at.timestamp()) for run in reversed(noted)] == ran
    await until(lambda: not workers[0].ended(), "the last worker to be there")


def round_ms(seconds: float) -> int:
    return round(seconds * 1000)
