"""Samples on Redis: a flush is one script, whatever it is of; so is a page of what is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from am2z_trio.model.records.samples import (
    Counted,
    QueueCounted,
    QueueFigures,
    StoredSample,
    packed,
    unpacked,
)
from am2z_trio.store.ports.samples import Width
from am2z_trio.wire.resp import Argument

from . import scripts
from .arguments import milliseconds
from .link import RedisLink

AT_ONCE: Final = 100
"""Queues that one call looks at."""


class RedisSamples:
    """`SampleStore` on a node's link."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def flush(self, seq: int, queues: Sequence[QueueFigures]) -> None:
        told: list[Argument] = []
        for one in queues:
            told += (one.queue, packed(one.figures))
        await self._link.eval(scripts.FLUSH, self._link.clock, self._link.node, seq, *told)

    async def read(
        self, queue: str, width: Width, within: float, since: int, most: int
    ) -> list[StoredSample]:
        args = (self._link.clock, queue, width, milliseconds(within), since, most)
        found = await self._link.eval(scripts.READ_SAMPLES, *args)
        return [StoredSample(at, unpacked(figures)) for at, figures in found]

    async def census(self, queues: Sequence[str]) -> Counted:
        nodes = sessions = 0
        found = list[QueueCounted]()
        for start in range(0, max(1, len(queues)), AT_ONCE):
            some = queues[start : start + AT_ONCE]
            (nodes, sessions), *rows = await self._link.eval(scripts.CENSUS, self._link.clock, *some)
            found += [QueueCounted(row[0] / 1000, *map(bool, row[1:])) for row in rows]
        return Counted(nodes, sessions, found)
