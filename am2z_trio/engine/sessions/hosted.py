"""The sessions of one node: each a nursery that owns the session's jobs, as a task of the node's tree.

A session is here from its first job, or from being opened, until it has no job left and nobody holds
it open. Its jobs run as tasks of its nursery, so stopping it is one cancel of its scope.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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


class Sessions:
    """The sessions that are here now."""

    def __init__(self, host: Host, on_cancelled: Callable[[str], None]) -> None:
        """`on_cancelled(id)` is called when a session's scope was cancelled by nobody but its user."""
        self._host = host
        self._on_cancelled = on_cancelled
        self._by_id: dict[str, HostedSession] = {}
        self._nursery: Nursery | None = None
        self._stopping: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def own(self, nursery: Nursery | None) -> None:
        """The nursery that sessions are tasks of; `None` when it has ended."""
        self._nursery = nursery

    def ids(self) -> list[str]:
        """Those that somebody holds open, or that have jobs."""
        return [id for id, session in self._by_id.items() if not session.is_over]

    def held(self) -> list[str]:
        """Those that blocks or callers hold open."""
        return [id for id, session in self._by_id.items() if session.holders]

    def get(self, id: str) -> HostedSession | None:
        return self._by_id.get(id)

    def is_stopping(self, id: str) -> bool:
        """Whether no job of it may begin here."""
        session = self._by_id.get(id)
        return id in self._stopping or (session is not None and session.cancel_scope.cancel_called)

    @contextmanager
    def stopping(self, id: str) -> Iterator[None]:
        """While the block runs, this node is stopping the session: it begins no job of it."""
        self._stopping[id] = self._stopping.get(id, 0) + 1
        try:
            yield
        finally:
            self._stopping[id] -= 1
            if not self._stopping[id]:
                del self._stopping[id]

    @property
    def closed(self) -> bool:
        """The node takes no more sessions: it is cancelled, or at its end."""
        return self._nursery is None

    def open(self, id: str) -> HostedSession:
        """The session, made on first use. To be entered or held before the next await; not when `closed`."""
        session = self._by_id.get(id)
        if session is None or session.closed or session.cancel_scope.cancel_called:
            assert self._nursery is not None
            session = self._by_id[id] = HostedSession(self._host, id)
            self._nursery.start_soon(self._run, session, name=f"session {id:.40}")
        return session

    async def _run(self, session: HostedSession) -> None:
        await session.run(self._forget)
        if session.cancel_scope.cancel_called and not session.stopped:
            self._on_cancelled(session.id)

    def _forget(self, session: HostedSession) -> None:
        if self._by_id.get(session.id) is session:
            del self._by_id[session.id]
