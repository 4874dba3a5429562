"""One session on this node: a nursery that owns its jobs, so stopping it is one cancel of its scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from am2z_trio.concurrency import CancelScope, Host, Nursery

Start = Callable[..., Awaitable[Any]]


class SessionWorker:
    """A processor's part of a session on this node."""

    __slots__ = ("_host", "_idle", "pinned", "queue", "running")

    def __init__(self, host: Host, queue: str) -> None:
        self.queue = queue
        self.running = 0
        """Jobs of it that run now."""
        self.pinned = False
        """Asked for by itself, not only by a job: it keeps the session here."""
        self._host = host
        self._idle = host.event()

    def left(self) -> None:
        """One of its jobs has ended."""
        self.running -= 1
        if not self.running:
            self._idle.set()
            self._idle = self._host.event()

    async def wait_idle(self) -> None:
        """Wait until none of its jobs runs."""
        if self.running:
            await self._idle.wait()


class HostedSession:
    """One session on this node."""

    __slots__ = (
        "_bell",
        "_early",
        "_host",
        "_nursery",
        "_over",
        "_watchers",
        "cancel_scope",
        "closed",
        "holders",
        "id",
        "running",
        "seen_stop",
        "stopped",
        "workers",
    )

    def __init__(self, host: Host, id: str) -> None:
        self.id: Final = id
        self.cancel_scope: Final[CancelScope] = host.cancel_scope()
        """Cancelling it stops the session on this node: every job of it is cancelled."""
        self.workers: dict[str, SessionWorker] = {}
        """By queue, for every queue the session is served of."""
        self.holders = 0
        """How many blocks and callers keep it open."""
        self.running = 0
        self.seen_stop = 0
        """Number of the last stop before it was opened by a block; later ones are meant for it."""
        self.stopped = False
        """Stopped by `stop`, not by its own scope alone."""
        self.closed = False
        """It takes no more tasks: it is over, or cancelled."""
        self._host = host
        self._over = host.event()
        self._nursery: Nursery | None = None
        self._early: list[tuple[Start, tuple[Any, ...]]] = []
        self._bell = host.spot()
        self._watchers: list[Callable[[], None]] = []

    def start_soon(self, fn: Start, *args: Any) -> None:
        """Run a task in the session's nursery."""
        if self._nursery is None:
            self._early.append((fn, args))
        else:
            self._nursery.start_soon(fn, *args, name=f"session {self.id:.40}")

    def worker(self, queue: str) -> SessionWorker:
        """The session's worker for a queue, made on first use."""
        worker = self.workers.get(queue)
        if worker is None:
            worker = self.workers[queue] = SessionWorker(self._host, queue)
        return worker

    def enter(self, queue: str) -> SessionWorker:
        """A job of this queue begins to run here; whoever it is tells `leave` with what this returns."""
        worker = self.worker(queue)
        self.running += 1
        worker.running += 1
        return worker

    def leave(self, worker: SessionWorker) -> None:
        """A job has ended."""
        self.running -= 1
        worker.left()
        self._perhaps_over()

    def pin(self, queue: str) -> None:
        """Have a worker for this queue although it may have no jobs."""
        worker = self.worker(queue)
        if not worker.pinned:
            worker.pinned = True
            self.hold()

    def take_worker(self, queue: str) -> SessionWorker | None:
        """Take a worker away; a job that begins later gets a new one."""
        worker = self.workers.pop(queue, None)
        if worker is not None and worker.pinned:
            self.let_go()
        return worker

    def hold(self) -> None:
        """Keep the session here although it may have no jobs."""
        self.holders += 1

    def let_go(self) -> None:
        self.holders -= 1
        self._perhaps_over()

    def on_cancel(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when the session's scope has been cancelled."""
        self._watchers.append(watcher)

    def off_cancel(self, watcher: Callable[[], None]) -> None:
        """Call it no more."""
        self._watchers.remove(watcher)

    def stop(self) -> None:
        """Cancel every job of the session on this node, and the blocks that hold it open."""
        self.stopped = True
        self.cancel_scope.cancel()
        for watcher in self._watchers:
            watcher()

    async def wait_over(self) -> None:
        """Wait until no task of the session is left here."""
        await self._over.wait()

    @property
    def is_over(self) -> bool:
        return not self.running and not self.holders and not self._early

    def _perhaps_over(self) -> None:
        if self.is_over:
            self._bell.wake()

    async def run(self, forget: Callable[[HostedSession], None]) -> None:
        """Own the session's tasks until it is over; `forget` is called before new jobs could be lost."""
        try:
            with self.cancel_scope:
                async with self._host.open_nursery() as self._nursery:
                    try:
                        early, self._early = self._early, []
                        for fn, args in early:
                            self.start_soon(fn, *args)
                        while not self.is_over:
                            await self._bell.park()
                        forget(self)
                    finally:
                        self.closed = True
        finally:
            forget(self)
            self._over.set()
            if self.cancel_scope.cancel_called:
                for watcher in self._watchers:
                    watcher()
