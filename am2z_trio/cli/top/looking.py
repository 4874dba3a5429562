"""One look at a namespace after the other: its queues, its nodes, and what needs a person."""

from __future__ import annotations

import time
from typing import Final

import anyio
import msgspec

from am2z_trio.admin import Admin
from am2z_trio.concurrency.groups import Block, unwrapped
from am2z_trio.model.views.findings import Finding
from am2z_trio.model.views.samples import Census

from .nodes import NodeRow, node_row
from .rows import LOOK_BACK, QueueRow, row_of

MOST_ASKED: Final = 1_000
"""Queues that are asked for what has happened in them."""

MOST_FINDINGS: Final = 3
"""That are shown: `am2z findings` lists all."""

NODES_EVERY: Final = 2.0
"""Seconds for which what nodes have said is good: each of them is asked."""

FINDINGS_EVERY: Final = 5.0
"""Seconds for which findings are good."""

JOBS_DEEP: Final = 3
"""Down to jobs a tree is asked for."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace at a moment."""

    at: int
    """In ms since the epoch, by the clock of who looks."""
    rate: float
    """Jobs completed per second, in all queues."""
    failed: float
    """Per second."""
    waiting: int
    active: int
    live_nodes: int
    sessions: int
    """Those that have jobs which have not ended."""
    findings: list[Finding]
    """The worst first, three at most."""
    queues: list[QueueRow]
    nodes: list[NodeRow]
    """By their ids."""


class Looker:
    """Asks, and no more often than it must."""

    def __init__(self, admin: Admin, *, around: bool) -> None:
        """`around`: nodes and findings are looked at, too."""
        self._admin = admin
        self._around = around
        self._findings: tuple[float, list[Finding]] | None = None
        self._nodes: tuple[float, list[NodeRow]] | None = None

    async def look(self) -> Look:
        """How it is now; nodes and findings, as they were some seconds ago at most. Raises `NetworkError`
        where Redis cannot be reached."""
        census = await self._admin.census()
        rows = list[QueueRow]()
        # Redis is out of reach of all of these at once: of their errors one is raised.
        with unwrapped(Block()):
            async with anyio.create_task_group() as tasks:
                if self._around:
                    tasks.start_soon(self._look_at_findings)
                    tasks.start_soon(self._look_at_nodes)
                tasks.start_soon(self._look_at_queues, census, rows)
        return Look(
            at=time.time_ns() // 1_000_000,
            rate=sum(row.rate for row in rows),
            failed=sum(row.failed for row in rows),
            waiting=sum(now.waiting for now in census.queues.values()),
            active=sum(now.active for now in census.queues.values()),
            live_nodes=census.nodes,
            sessions=census.sessions,
            findings=self._findings[1] if self._findings else [],
            queues=rows,
            nodes=self._nodes[1] if self._nodes else [],
        )

    async def _look_at_queues(self, census: Census, rows: list[QueueRow]) -> None:
        async def one(name: str) -> None:
            samples = await self._admin.samples(name, since=LOOK_BACK)
            rows.append(row_of(name, census.queues[name], samples))

        # What waits is known already: of very many queues those are asked about that have something to tell.
        names = sorted(census.queues, key=lambda name: (-census.queues[name].waiting, name))
        async with anyio.create_task_group() as tasks:
            for name in names[:MOST_ASKED]:
                tasks.start_soon(one, name)

    async def _look_at_findings(self) -> None:
        if not _is_good(self._findings, FINDINGS_EVERY):
            self._findings = anyio.current_time(), (await self._admin.findings())[:MOST_FINDINGS]

    async def _look_at_nodes(self) -> None:
        if _is_good(self._nodes, NODES_EVERY):
            return
        admin = self._admin
        nodes = await admin.nodes()
        if not nodes:
            self._nodes = anyio.current_time(), []
            return
        healths = await admin.node_healths()
        trees = {tree.node: tree for tree in (await admin.tree(depth=JOBS_DEEP)).nodes}
        rows = [node_row(node, healths.get(node.id), trees.get(node.id)) for node in nodes]
        self._nodes = anyio.current_time(), rows


def _is_good(known: tuple[float, object] | None, seconds: float) -> bool:
    return known is not None and anyio.current_time() - known[0] < seconds
