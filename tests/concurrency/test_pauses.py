"""Pauses end in time, but not while what they are part of stands still."""

from __future__ import annotations

from math import inf

import anyio
import anyio.lowlevel
import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.concurrency.pauses import Pauses
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class Sleeper:
    """Makes pauses, one after another."""

    def __init__(self, pauses: Pauses, seconds: float, goes_on: bool = False) -> None:
        self.made = 0
        self._pauses, self._seconds, self._goes_on = pauses, seconds, goes_on

    async def run(self) -> None:
        while True:
            with self._pauses.of(self._seconds, lambda: self._goes_on):
                await anyio.sleep(inf)
            self.made += 1


async def test_pauses_stand_still_and_go_on():
    pauses = Pauses(current_host())
    usual, keen, late = Sleeper(pauses, 0.01), Sleeper(pauses, 0.01, goes_on=True), Sleeper(pauses, 0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(usual.run)
        tasks.start_soon(keen.run)
        await until(lambda: usual.made > 2 and keen.made > 2, "a few pauses")
        pauses.stand_still()
        pauses.stand_still()
        # The pauses that had begun may end; the next ones begin while all stand still.
        before = usual.made, keen.made
        await until(lambda: keen.made > before[1], "the end of a pause")
        tasks.start_soon(late.run)
        await anyio.sleep(0.01)
        before = usual.made, keen.made
        for _ in range(10):
            await anyio.sleep(0.01)
        assert (usual.made, keen.made, late.made) == (*before, 0)
        pauses.go_on()
        pauses.go_on()
        await until(
            lambda: usual.made > before[0] + 1 and keen.made > before[1] + 1 and late.made > 1, "more pauses"
        )
        tasks.cancel_scope.cancel()
    assert not pauses._open


async def test_what_is_waited_for_ends_a_pause_and_an_error_leaves_it():
    pauses = Pauses(current_host())
    with pauses.of(60):
        await anyio.lowlevel.checkpoint()
    with pytest.raises(ValueError, match="no"), pauses.of(60):
        raise ValueError("no")
    with anyio.move_on_after(0.01) as outer, pauses.of(60):
        await anyio.sleep(60)
    assert outer.cancelled_caught
    assert not pauses._open
