"""Samples: what nodes have counted of a queue, slot by slot, and periods that slots are added up to."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from am2z_trio.model.records.agreed import FIRST_GAUGE
from am2z_trio.model.records.samples import (
    GAUGES,
    Counted,
    Figures,
    QueueFigures,
    StoredSample,
    packed,
    unpacked,
)
from am2z_trio.store.agreed import FLUSHED_FOR, PERIOD, PERIODS_KEPT, SLOT, SLOTS_KEPT
from am2z_trio.store.ports.samples import Width

from .census import Census
from .ledger import Ledger

SLOT_MS, PERIOD_MS = int(SLOT * 1000), int(PERIOD * 1000)

Kept = deque[tuple[int, bytes]]
"""When each began, and its figures, packed: a day has 8,640 slots."""


@dataclass(slots=True)
class _Series:
    """What is known of one queue."""

    slot: int = -1
    """When the slot that goes on began; -1: there is none."""
    figures: dict[int, int] = field(default_factory=dict[int, int])
    slots: Kept = field(default_factory=deque[tuple[int, bytes]])
    periods: Kept = field(default_factory=deque[tuple[int, bytes]])


class Samples:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._series: dict[str, _Series] = {}
        self._flushed: dict[str, tuple[int, float]] = {}
        """By node: the number of its last flush, and when that was; the last to flush is the last."""

    def flush(self, node: str, seq: int, queues: Sequence[QueueFigures], now: float) -> None:
        if self._flushed.get(node, (0, 0.0))[0] >= seq:
            return
        self._flushed.pop(node, None)
        self._flushed[node] = seq, now
        self._forget_old_numbers(now)
        slot = int(now - now % SLOT_MS)
        for told in queues:
            series = self._series.setdefault(told.queue, _Series())
            self._close(told.queue, series, slot, now)
            series.slot = slot
            for name, value in told.figures.items():
                series.figures[name] = series.figures.get(name, 0) + value

    def _forget_old_numbers(self, now: float) -> None:
        while True:
            node, (_, at) = next(iter(self._flushed.items()))
            if at >= now - FLUSHED_FOR * 1000:
                return
            del self._flushed[node]

    def _close(self, queue: str, series: _Series, slot: int, now: float) -> None:
        last = series.slots[-1][0] if series.slots else -1
        if series.slot < 0 or series.slot >= slot or series.slot <= last:
            return
        period = last - last % PERIOD_MS
        if series.slots and period < series.slot - series.slot % PERIOD_MS:
            _append(series.periods, period, _added_up(series.slots, period), now - PERIODS_KEPT * 1000)
        figures = packed(self._with_gauges(queue, series.figures))
        _append(series.slots, series.slot, figures, now - SLOTS_KEPT * 1000)
        series.slot, series.figures = -1, {}

    def _with_gauges(self, queue: str, figures: Figures) -> Figures:
        counts = self._ledger.queue(queue).counts
        there = [counts.get(status, 0) for status in ("waiting", "later", "active")]
        return {**figures, **dict(zip(range(FIRST_GAUGE, FIRST_GAUGE + len(GAUGES)), there, strict=True))}

    def read(
        self, queue: str, width: Width, within: float, since: int, most: int, now: float
    ) -> list[StoredSample]:
        series = self._series.get(queue)
        if series is None:
            return []
        is_slot = width == "slot"
        first = max(since, now - min(within, SLOTS_KEPT if is_slot else PERIODS_KEPT) * 1000)
        kept = series.slots if is_slot else series.periods
        found = [(at, data) for at, data in kept if at >= first][:most]
        if is_slot and len(found) < most and series.slot >= max(0, first):
            last = series.slots[-1][0] if series.slots else -1
            if series.slot > last:
                found.append((series.slot, packed(self._with_gauges(queue, series.figures))))
        return [StoredSample(at, unpacked(data)) for at, data in found]

    def forget(self, queue: str) -> None:
        """The queue is known no more."""
        self._series.pop(queue, None)


class NodeSamples:
    """`SampleStore` on a server, seen from a node."""

    def __init__(
        self,
        node: str,
        samples: Samples,
        census: Census,
        checkpoint: Callable[[], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._samples = samples
        self._census = census
        self._checkpoint = checkpoint
        self._now = now

    async def flush(self, seq: int, queues: Sequence[QueueFigures]) -> None:
        await self._checkpoint()
        self._samples.flush(self._node, seq, queues, self._now())

    async def read(
        self, queue: str, width: Width, within: float, since: int, most: int
    ) -> list[StoredSample]:
        await self._checkpoint()
        return self._samples.read(queue, width, within, since, most, self._now())

    async def census(self, queues: Sequence[str]) -> Counted:
        await self._checkpoint()
        return self._census.census(queues, self._now())


def _append(kept: Kept, at: int, figures: bytes, oldest: float) -> None:
    """What has had its time goes, but for what is yet to be added up with this one."""
    kept.append((at, figures))
    while kept[0][0] < min(oldest, at - at % PERIOD_MS):
        kept.popleft()


def _added_up(slots: Kept, period: int) -> bytes:
    """A period that is over: counts are added up, of gauges the largest counts."""
    sums: dict[int, int] = {}
    for at, data in reversed(slots):
        if at < period:
            break
        for name, value in unpacked(data).items():
            one = sums.get(name, 0)
            sums[name] = max(one, value) if name >= FIRST_GAUGE else one + value
    return packed(sums)
