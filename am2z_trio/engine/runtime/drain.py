"""Waiting until the work is done: nothing waits, nothing runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from am2z_trio.engine.claim import running_job
from am2z_trio.engine.node.node import Node
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.model.checks import require, require_seconds_or_inf
from am2z_trio.model.errors import RuntimeStateError
from am2z_trio.model.records import QueueStats, queue_name

from .stats import FigureMethods

SOONEST: Final = 0.005
LATEST: Final = 1.0
"""Seconds between two looks at the queues, at least and at most."""

PART: Final = 8
"""Of the time that was waited so far, which part passes until the next look."""


class DrainMethods(FigureMethods):
    """What a runtime's user may wait for."""

    async def drain(
        self, *processors: Processor[Any] | str, delayed: bool = False, timeout: float | None = 60.0
    ) -> None:
        """Wait until the queues are empty: no job of these processors (of all, without any) waits, is due or
        runs, on any node. For tests, and for scripts that submit and then end.

        With `delayed` also those that are due later are waited for: delayed ones, and those that are to be
        tried again. Jobs may come as before, and what others submit is waited for, too. (A *node* that is to
        claim no more and end what it runs is drained by `control.drain`, or by leaving the runtime's block.)

        Raises `TimeoutError` after `timeout` seconds (`None`: never), which says what is left, and
        `RuntimeStateError` within a job of this node, which would wait for itself. The store is looked at now
        and then: an eighth of the time that was waited passes between two looks, a second at most. Changes
        nothing; may be cancelled.
        """
        node = self._running()
        require(isinstance(delayed, bool), "delayed", delayed, "must be True or False")
        limit = None if timeout is None else require_seconds_or_inf("timeout", timeout)
        names = list(map(name_of, processors))
        if running_job() is not None:
            raise RuntimeStateError("a job that waits until no job runs waits for itself")
        began = node.host.now()
        while left := await self._left(names, delayed):
            waited = self._running().host.now() - began
            if limit is not None and waited >= limit:
                raise TimeoutError(f"after {limit:g} s there are jobs left: {_told(left)}")
            pause = min(max(waited / PART, SOONEST), LATEST)
            await node.host.sleep(pause if limit is None else min(pause, limit - waited))

    async def _left(self, names: list[str], delayed: bool) -> Mapping[str, QueueStats]:
        """Of the processors, those with jobs that are waited for."""
        stats, node = await self.get_queue_stats(), self._running()
        left = dict[str, QueueStats]()
        for name in names or stats:
            one = stats.get(name) or (await node.store.stats([queue_name(name)]))[0]
            later = one.delayed > 0 and (delayed or await _due(node, name))
            if one.waiting or one.paused or one.active or later:
                left[name] = one
        return left


async def _due(node: Node, name: str) -> bool:
    """Whether the first of its jobs that are delayed might be claimed by now."""
    queue, inspection = queue_name(name), node.store.inspection
    page = await inspection.page(queue, "later", 0, 1)
    (pressure,) = await inspection.pressure([queue])
    return any(row.due <= pressure.at for row in page.rows)


def _told(left: Mapping[str, QueueStats]) -> str:
    return "; ".join(f"{name}: {', '.join(_counts(one))}" for name, one in left.items())


def _counts(one: QueueStats) -> list[str]:
    counts = {"waiting": one.waiting, "active": one.active, "delayed": one.delayed, "paused": one.paused}
    said = [f"{count} {what}" for what, count in counts.items() if count]
    return said if one.workers else [*said, "and nobody serves it"]
