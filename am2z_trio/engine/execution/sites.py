"""Where the code of jobs runs that is not run in the event loop: threads, processes, interpreters.

Who claims, delivers or runs a job asks its processor's site, and knows no more of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from am2z_trio.concurrency import Host, TaskStatus
from am2z_trio.concurrency.capacity import Both, Capacity
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.model.runtime_options import RuntimeOptions

from .interpreters import Interpreters
from .processes.pool import Pool
from .processes.runs import ProcessRuns
from .threads import Threads


class Site(Protocol):
    """One of them, on one node."""

    @property
    def openings(self) -> float:
        """How many more jobs may be claimed for it."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether no job may begin there, not even one that has its place."""
        ...

    def waits(self, claim: Claim) -> bool:
        """Whether the job needs a `seat`."""
        ...

    def seat(self, claim: Claim, definition: Definition) -> AbstractAsyncContextManager[None]:
        """Around a run of the job: what it needs is there then. To wait for that is no run: neither its
        timeout nor an attempt begins. Stopped meanwhile, or too late, its code is not to be begun."""
        ...


class Sites:
    """All sites of one node."""

    __slots__ = ("_by_name", "_process_room", "capacity", "interpreters", "processes", "threads")

    def __init__(self, host: Host, node: str, options: RuntimeOptions) -> None:
        self.capacity = Capacity(host, options.max_running)
        """Limits how many jobs this node runs, wherever."""
        self.threads = Threads(host, options.limits.max_abandoned_threads)
        pool = Pool(host, options.process_options, options.max_state_bytes)
        self.processes = ProcessRuns(host, node, pool)
        self.interpreters = Interpreters()
        self._process_room = Both(host, pool.room, self.capacity) if self.capacity.is_limited else pool.room
        self._by_name: Mapping[str, Site] = {
            "thread": self.threads,
            "process": self.processes,
            # Each has a thread.
            "interpreter": self.threads,
        }

    def of(self, processor: Processor[Any]) -> Site:
        """Of a processor that is not `in_loop`."""
        return self._by_name[processor.run_in]

    def capacity_of(self, processor: Processor[Any]) -> Capacity:
        """What limits such jobs on this node, beside their own queue's concurrency."""
        return self._process_room if processor.run_in == "process" else self.capacity

    async def run(self, *, task_status: TaskStatus) -> None:
        """Own what is outside of the event loop; when this returns, no process is left."""
        try:
            await self.processes.pool.run(task_status=task_status)
        finally:
            self.interpreters.close()

    def on_free(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when there is room again for jobs in processes."""
        self.processes.pool.room.on_free = tell
