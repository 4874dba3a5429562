"""The sessions of one node: each a nursery that owns the session's jobs, as a task of the node's tree.

A session is here from its first job, or from being opened, until it has no job left and nobody holds
it open. Its jobs run as tasks of its nursery, so stopping it is one cancel of its scope.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from am2z_trio.concurrency import CancelScope, Host, Nursery

Start = Callable[..., Awaitable[Any]]


class HostedSession:
    """One session on this node."""

    __slots__ = (
        "_bell",
        "_early",
        "_host",
        "_idle",
        "_nursery",
        "_over",
        "_watchers",
        "cancel_scope",
        "holders",
        "id",
        "running",
        "stopped",
        "workers",
    )

    def __init__(self, host: Host, id: str) -> None:
        self.id: Final = id
        self.cancel_scope: Final[CancelScope] = host.cancel_scope()
        """Cancelling it stops the session on this node: every job of it is cancelled."""
        self.workers: dict[str, int] = {}
        """Queue → jobs of it that run here now, for every queue the session is served of."""
        self.holders = 0
        """How many blocks and callers keep it open."""
        self.running = 0
        self.stopped = False
        """Stopped by `stop`, not by its own scope alone."""
        self._host = host
        self._over = host.event()
        self._nursery: Nursery | None = None
        self._early: list[tuple[Start, tuple[Any, ...]]] = []
        self._bell = host.spot()
        self._watchers: list[Callable[[], None]] = []
        self._idle = host.event()

    def start_soon(self, fn: Start, *args: Any) -> None:
        """Run a task in the session's nursery."""
        if self._nursery is None:
            self._early.append((fn, args))
        else:
            self._nursery.start_soon(fn, *args, name=f"session {self.id:.40}")

    def enter(self, queue: str) -> None:
        """A job of this queue begins to run here."""
        self.running += 1
        self.workers[queue] = self.workers.get(queue, 0) + 1

    def leave(self, queue: str) -> None:
        self.running -= 1
        if queue in self.workers:
            self.workers[queue] -= 1
        self._idle.set()
        self._perhaps_over()

    def hold(self) -> None:
        """Keep the session here although it may have no jobs."""
        self.holders += 1

    def let_go(self) -> None:
        self.holders -= 1
        self._perhaps_over()

    def on_cancel(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when the session's scope has been cancelled."""
        self._watchers.append(watcher)

    def stop(self) -> None:
        """Cancel every job of the session on this node, and the blocks that hold it open."""
        self.stopped = True
        self.cancel_scope.cancel()
        for watcher in self._watchers:
            watcher()

    async def wait_over(self) -> None:
        """Wait until no task of the session is left here."""
        await self._over.wait()

    async def wait_idle(self, queue: str) -> None:
        """Wait until no job of this queue runs here, and take its worker away."""
        while self.workers.get(queue, 0) > 0:
            self._idle = self._host.event()
            await self._idle.wait()
        self.workers.pop(queue, None)

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
                    early, self._early = self._early, []
                    for fn, args in early:
                        self.start_soon(fn, *args)
                    while not self.is_over:
                        await self._bell.park()
                    forget(self)
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
        self.stopping: set[str] = set()
        """Sessions that this node is stopping in the store."""

    def __len__(self) -> int:
        return len(self._by_id)

    def own(self, nursery: Nursery | None) -> None:
        """The nursery that sessions are tasks of; `None` when it has ended."""
        self._nursery = nursery

    def ids(self) -> list[str]:
        return list(self._by_id)

    def get(self, id: str) -> HostedSession | None:
        return self._by_id.get(id)

    def is_stopping(self, id: str) -> bool:
        """Whether no job of it may begin here."""
        session = self._by_id.get(id)
        return id in self.stopping or (session is not None and session.cancel_scope.cancel_called)

    def open(self, id: str) -> HostedSession:
        """The session, made on first use. To be entered or held before the next await."""
        session = self._by_id.get(id)
        if session is None or session.cancel_scope.cancel_called:
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
