"""What charts show is read once, and the span before it is remembered in sum."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from am2z_trio import QueueOptions, processor
from am2z_trio.admin.series import LOOK_EVERY, SeriesWatch
from am2z_trio.model.records.samples import StoredSample
from am2z_trio.policy.series import SHAPES, earlier, in_sum
from tests.support.desks import admin

pytestmark = pytest.mark.anyio

NOW = 1_700_000_123_456
HOUR = 3_600_000
WAITING = 90
ACTIVE = 92


class Samples:
    """The slots of one queue, and how many of them were read."""

    def __init__(self, figures: dict[int, dict[int, int]]) -> None:
        self.figures = figures
        self.read_so_far = 0

    async def read(self, queue: str, width: str, within: float, since: int, most: int) -> list[StoredSample]:
        if width != "slot":
            return []
        found = [StoredSample(at, one) for at, one in sorted(self.figures.items()) if at >= since][:most]
        self.read_so_far += len(found)
        return found


def watching(samples: Samples) -> SeriesWatch:
    runtime: Any = SimpleNamespace(node=SimpleNamespace(store=SimpleNamespace(samples=samples)))
    return SeriesWatch(runtime)


def slots(since: int, until: int, figures: dict[int, int]) -> dict[int, dict[int, int]]:
    return dict.fromkeys(range(since - since % 10_000, until, 10_000), figures)


async def test_the_hour_before_is_one_sum_and_not_among_the_slots_of_this_one(monkeypatch):
    first, before = SHAPES["1h"].first(NOW), SHAPES["1h"].earlier(NOW)
    assert first - before == HOUR
    samples = Samples(
        {
            **slots(before - HOUR, before, {1: 1_000}),
            **slots(before, first, {1: 2, WAITING: 7}),
            **slots(first, NOW, {1: 3, WAITING: 1}),
        }
    )
    watch = watching(samples)
    found = await watch.slots("1h", "q", NOW)
    assert min(found) == first
    assert sum(one[1] for one in found.values()) >= 3 * 6 * 60
    assert watch.earlier("1h", "q", NOW) == {1: 2 * 360, WAITING: 7}
    # The next look reads what may have grown, and no more.
    seen = samples.read_so_far
    monkeypatch.setattr("am2z_trio.admin.series.LOOK_EVERY", -LOOK_EVERY)
    await watch.slots("1h", "q", NOW + 60_000)
    assert samples.read_so_far - seen < 30
    # A slot of the hour that has been is now one of the hour before.
    assert watch.earlier("1h", "q", NOW + 60_000) == {1: 2 * 360 + 6, WAITING: 1}


async def test_of_a_queue_that_nobody_has_counted_nothing_is_said():
    watch = watching(Samples({}))
    assert await watch.slots("1h", "q", NOW) == {}
    assert watch.earlier("1h", "q", NOW) == {}


def test_counts_of_a_span_are_added_and_what_waits_is_what_did_at_its_end():
    assert in_sum([{1: 2, WAITING: 9}, {1: 1, 2: 1}, {WAITING: 4}]) == {1: 3, 2: 1, WAITING: 4}
    both = earlier([{1: 3, 2: 1, WAITING: 4}, {1: 5, 3: 2, ACTIVE: 6}, {}], 3_600, is_known=True)
    assert both is not None
    assert (both.completed, both.failed, both.waiting, both.active, both.seconds) == (8, 3, 4, 6, 3_600)
    one = earlier([{1: 3}, {}], 3_600, is_known=False)
    assert one is not None
    assert (one.completed, one.waiting, one.active) == (3, None, None)
    assert earlier([{}, {}], 3_600, is_known=True) is None
    assert earlier([], 3_600, is_known=True) is None


async def test_a_series_without_history_is_compared_with_nothing(make_runtime):
    @processor(queue=QueueOptions(concurrency=1))
    async def double(n: int) -> int:
        return 2 * n

    async with make_runtime() as runtime:
        runtime.register(double)
        await runtime.sync_processors()
        for span in SHAPES:
            assert (await admin(runtime).series(span)).earlier is None
