"""Series: what charts show, read once for all who look, and of what has not changed not again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

from am2z_trio.concurrency import current_host
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.records.samples import Figures, StoredSample, packed, unpacked
from am2z_trio.model.views.queues import Span
from am2z_trio.policy.series import SHAPES, in_sum, slotted
from am2z_trio.store.agreed import PERIOD
from am2z_trio.store.ports.samples import Width

_Key = tuple[Span, str]

LOOK_EVERY: Final = 5.0
"""Seconds for which what was read is new enough: nodes tell what they have counted every ten."""

SETTLED_AFTER: Final = 30.0
"""Seconds after its end in which a slot may still grow."""

PAGE: Final = 500
"""Samples that one call asks for."""


class SeriesWatch:
    """Reads the samples of queues, and remembers the slots that are over: packed, some sixty bytes each.

    Of each queue a look reads what may have grown, a page or two; the first one all that there is in the span
    and in the one before it, of which the sum is remembered, too.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._over: dict[_Key, dict[int, bytes]] = {}
        self._looked: dict[_Key, float] = {}
        self._seen: dict[_Key, dict[int, dict[int, int]]] = {}
        self._before: dict[_Key, tuple[int, Figures]] = {}

    async def slots(self, span: Span, queue: str, now: int) -> dict[int, Figures]:
        """The queue's slots of that span, by when they began; the empty ones are not there."""
        key: _Key = (span, queue)
        host = current_host()
        if host.now() - self._looked.get(key, -LOOK_EVERY) >= LOOK_EVERY:
            await self._look(span, queue, now)
            self._looked[key] = host.now()
        first = SHAPES[span].first(now)
        over = {at: unpacked(figures) for at, figures in self._over.get(key, {}).items() if at >= first}
        return {**over, **{at: figures for at, figures in self._seen.get(key, {}).items() if at >= first}}

    def earlier(self, span: Span, queue: str, now: int) -> Figures:
        """What the slots of the span before come to, by what the last look has read; empty where nothing was
        counted. Added up once for as long as these slots are the same."""
        key: _Key = (span, queue)
        shape = SHAPES[span]
        first, last = shape.earlier(now), shape.first(now)
        known = self._before.get(key)
        if known is None or known[0] != first:
            over = sorted(self._over.get(key, {}).items())
            known = first, in_sum(unpacked(one) for began, one in over if first <= began < last)
            self._before[key] = known
        return known[1]

    def forget(self, span: Span, queues: Sequence[str]) -> None:
        """Remember no other queues than these."""
        kept = {*queues}
        for key in [key for key in self._over if key[0] == span and key[1] not in kept]:
            self._over.pop(key, None)
            self._looked.pop(key, None)
            self._seen.pop(key, None)
            self._before.pop(key, None)

    async def _look(self, span: Span, queue: str, now: int) -> None:
        shape = SHAPES[span]
        key: _Key = (span, queue)
        first, width = shape.earlier(now), shape.width * 1000
        over = {at: figures for at, figures in self._over.get(key, {}).items() if at >= first}
        since = max([first, *(at + width for at in over)])
        seen = slotted(await self._read(queue, now, since, periods=shape.periods), shape.width)
        settled = now - round(SETTLED_AFTER * 1000)
        # Another look may have been under way: both have read the same.
        self._over[key] = over | {at: packed(f) for at, f in seen.items() if at + width <= settled}
        self._seen[key] = {at: figures for at, figures in seen.items() if at + width > settled}

    async def _read(self, queue: str, now: int, since: int, *, periods: bool) -> list[StoredSample]:
        if not periods:
            return await self._all(queue, "slot", now, since)
        found = await self._all(queue, "period", now, since)
        behind = found[-1].at + round(PERIOD * 1000) if found else since
        return found + await self._all(queue, "slot", now, behind)

    async def _all(self, queue: str, width: Width, now: int, since: int) -> list[StoredSample]:
        samples, found = self._runtime.node.store.samples, list[StoredSample]()
        within = max(1.0, (now - since) / 1000 + SETTLED_AFTER)
        while True:
            page = await samples.read(queue, width, within, since, PAGE)
            found += page
            if len(page) < PAGE:
                return found
            since = page[-1].at + 1


_watches: Final[WeakKeyDictionary[Runtime, SeriesWatch]] = WeakKeyDictionary()


def watch_of(runtime: Runtime) -> SeriesWatch:
    """The one of this runtime, for all who ask it."""
    found = _watches.get(runtime)
    if found is None:
        found = _watches[runtime] = SeriesWatch(runtime)
    return found
