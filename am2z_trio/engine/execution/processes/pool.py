"""How many jobs run in processes of a node at a time, and which process is next.

A process is started when a job needs one, and kept for the next: first for one whose code it has imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from am2z_trio.concurrency import Host, Nursery, TaskStatus
from am2z_trio.concurrency.capacity import Capacity
from am2z_trio.engine.processors.imported import Place
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.model.errors import AM2ZError, RuntimeStateError
from am2z_trio.model.logs import Log
from am2z_trio.model.runtime_options import ProcessOptions

if TYPE_CHECKING:
    # Loaded by the first process, not by whoever imports the package.
    from .process import Child

logger: Final = Log("am2z_trio.node")


class Room(Capacity):
    """Room for jobs in processes. Whoever would claim some hears when there is room again."""

    def __init__(self, host: Host, limit: int) -> None:
        super().__init__(host, limit)
        self.on_free: Callable[[], None] = lambda: None

    def release(self) -> None:
        was_full = not self.free
        super().release()
        if was_full and self.free:
            self.on_free()


class Pool:
    """The processes of one node."""

    def __init__(self, host: Host, options: ProcessOptions, max_state_bytes: int) -> None:
        self.options = options
        self.most = options.limit
        self.room = Room(host, self.most)
        """One for each job that runs in a process, and waits for no other job."""
        self._host = host
        self._max_state_bytes = max_state_bytes
        self._all: dict[Child, None] = {}
        self._idle: list[Child] = []
        self._nursery: Nursery | None = None

    def __len__(self) -> int:
        return len(self._all)

    @property
    def pids(self) -> list[int]:
        """Of its processes, the oldest first."""
        return [child.pid for child in self._all]

    async def run(self, *, task_status: TaskStatus) -> None:
        """Own the processes until cancelled; none of them is there when this returns."""
        try:
            async with self._host.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await self._host.event().wait()
        finally:
            self._nursery = None

    # --- for one job ------------------------------------------------------------------------

    async def take(self, definition: Definition, place: Place) -> Child:
        """A process that can run a job of this processor at once. Give it back."""
        name, host = definition.processor.name, self._host
        child = self._next(name, place) or await self._start()
        if child.knows(name, place):
            return child
        try:
            patience = self.options.start_timeout
            with host.cancel_scope(deadline=host.now() + patience) as scope:
                await child.load(name, place, self._max_state_bytes)
        except AM2ZError:
            self.give_back(child)
            raise
        except BaseException:
            await child.end()
            raise
        if scope.cancelled_caught:
            from .process import crashed

            await child.end()
            raise crashed(name, f"was not ready within {patience:g} s (start_timeout)", {"seconds": patience})
        return child

    def _next(self, name: str, place: Place) -> Child | None:
        self._idle = [child for child in self._idle if child.is_well]
        for child in reversed(self._idle):
            if child.knows(name, place):
                self._idle.remove(child)
                return child
        return self._idle.pop() if self._idle else None

    async def _start(self) -> Child:
        if self._nursery is None:
            raise RuntimeStateError("the runtime is being left: no process is started any more")
        child: Child = await self._nursery.start(self._live, name="am2z process")
        return child

    async def _live(self, *, task_status: TaskStatus) -> None:
        from .process import started

        child = await started(self._host, self._max_state_bytes)
        self._all[child] = None
        try:
            await child.live(task_status=task_status)
        finally:
            del self._all[child]

    def give_back(self, child: Child) -> None:
        """A job needs it no more. It is kept, unless it has run as many as it is to, or there are enough."""
        if not child.is_well:
            return
        worn = self.options.max_jobs is not None and child.jobs >= self.options.max_jobs
        if worn or len(self._all) > self.most or self._nursery is None:
            child.hang_up()
            if self._nursery is not None:
                self._nursery.start_soon(child.end)
        else:
            self._idle.append(child)
