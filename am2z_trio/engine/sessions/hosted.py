"""One session on this node: a nursery that owns its workers, so stopping it is one cancel of its scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from am2z_trio.concurrency import UNTOUCHED, CancelScope, Event, Host, Nursery, Spot
from am2z_trio.engine.claim import Claim


class SessionWorker(Protocol):
    """What works in a session for one processor: something to run and to cancel."""

    processor: str
    queue: str
    closed: bool
    """It takes no more jobs."""
    pinned: bool
    """Asked for by itself, not only by a job: it keeps the session here."""
    running: int
    """Jobs of it that run now, or are about to."""
    completed: int
    failed: int
    """Jobs of it that have ended so."""

    async def run(self) -> None:
        """Its task: until it is closed and its last job has ended, or until it is cancelled."""
        ...

    def begin(self) -> Awaitable[None]:
        """The same, to be awaited at once."""
        ...

    def close(self) -> None:
        """Take no more jobs; end when those that run have."""
        ...

    def task_of(self, claim: Claim) -> object:
        """The host's task that runs this job; `None` if none does."""
        ...

    async def wait_over(self) -> None:
        """Wait until it has ended."""
        ...


class Home(Protocol):
    """Where a session is, and what hears how it gets on."""

    def on_rest(self, session: HostedSession, *, rests: bool) -> None:
        """It has nothing to do any more; or it has again."""
        ...

    def on_over(self, session: HostedSession) -> None:
        """No task of it is left."""
        ...

    def on_cancelled(self, session: HostedSession) -> None:
        """Its scope was cancelled by nobody but its user, and no task of it is left."""
        ...


class HostedSession:
    """One session on this node; `""` is that of all jobs that name none."""

    __slots__ = (
        "_bell",
        "_busy",
        "_early",
        "_home",
        "_host",
        "_is_over",
        "_nursery",
        "_over",
        "_watchers",
        "cancel_scope",
        "closed",
        "holders",
        "id",
        "seen_stop",
        "since",
        "stays",
        "stopped",
        "workers",
    )

    def __init__(self, host: Host, id: str, home: Home) -> None:
        self.id: Final = id
        self.cancel_scope: Final[CancelScope] = host.cancel_scope()
        """Cancelling it stops the session on this node: every worker and every job of it is cancelled."""
        self.since = host.now()
        """When it came here."""
        self.workers: dict[str, SessionWorker] = {}
        """By queue: those that are here."""
        self.holders = 0
        """How many blocks and callers keep it open."""
        self.seen_stop: int | None = None
        """Number of the last stop before it was opened by a block, or else before it was asked for first:
        later ones are meant for it. `None`: nobody has asked yet."""
        self.stopped = False
        """Stopped by `stop`, not by its own scope alone."""
        self.closed = False
        """It takes no more workers: it is over, or cancelled."""
        self.stays = True
        """It stays here for some time when it has nothing to do; not once it was stopped elsewhere."""
        self._busy = 0
        """Workers that have jobs."""
        self._host = host
        self._home = home
        self._is_over = False
        self._over: Event | None = None
        self._nursery: Nursery | None = None
        self._early: tuple[SessionWorker, ...] = ()
        self._bell: Spot | None = None
        """Where its task waits for the end when the worker that it began with has ended."""
        self._watchers: tuple[Callable[[], None], ...] = ()

    # --- its workers --------------------------------------------------------------------------

    def add(self, worker: SessionWorker) -> None:
        """Run a worker: the one that the session begins with in the session's own task, any other in one of
        its own. Not when `closed`."""
        self.workers[worker.queue] = worker
        if self._nursery is None:
            self._early += (worker,)
        else:
            self._start(worker)

    def _first(self) -> SessionWorker:
        """Take the worker that it begins with."""
        (worker,), self._early = self._early, ()
        return worker

    def _start(self, worker: SessionWorker) -> None:
        self.start_soon(worker.run, name=f"{worker.queue} worker")

    def start_soon(self, async_fn: Callable[[], Awaitable[None]], name: str) -> None:
        """Start a task of the session's nursery: for its workers, once they run."""
        assert self._nursery is not None
        self._nursery.start_soon(async_fn, name=name)

    def forget(self, worker: SessionWorker) -> None:
        """It has ended."""
        if self.workers.get(worker.queue) is worker:
            del self.workers[worker.queue]
        if worker.pinned:
            self.let_go()

    def pin(self, worker: SessionWorker) -> None:
        """Keep the worker, and the session with it, although it may have no jobs."""
        if not worker.pinned:
            worker.pinned = True
            self.hold()

    def take_worker(self, queue: str) -> SessionWorker | None:
        """Close a worker; a job that begins later gets a new one."""
        worker = self.workers.pop(queue, None)
        if worker is not None:
            worker.close()
        return worker

    # --- whether it has anything to do ----------------------------------------------------------

    def begins(self) -> None:
        """A worker that had no job has been given one."""
        self._busy += 1
        if self._busy == 1 and not self.holders:
            self._home.on_rest(self, rests=False)

    def rests(self) -> None:
        """A worker has no job left."""
        self._busy -= 1
        self._perhaps_rest()

    def hold(self) -> None:
        """Keep the session here although it may have no jobs."""
        self.holders += 1
        self.stays = True
        if self.holders == 1 and not self._busy:
            self._home.on_rest(self, rests=False)

    def let_go(self) -> None:
        """Keep it here no more."""
        self.holders -= 1
        self._perhaps_rest()

    def _perhaps_rest(self) -> None:
        if not (self._busy or self.holders or self.closed) and (
            self._host.look_at(self.cancel_scope) == UNTOUCHED or not self.cancel_scope.cancel_called
        ):
            self._home.on_rest(self, rests=True)

    # --- its end ------------------------------------------------------------------------------

    def on_cancel(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when the session's scope has been cancelled."""
        self._watchers += (watcher,)

    def off_cancel(self, watcher: Callable[[], None]) -> None:
        """Call it no more."""
        self._watchers = tuple(other for other in self._watchers if other is not watcher)

    def stop(self) -> None:
        """Cancel every job of the session on this node, and the blocks that hold it open."""
        self.stopped = True
        self.cancel_scope.cancel()
        for watcher in self._watchers:
            watcher()

    def end(self) -> None:
        """End it where it has nothing to do: nobody hears of that."""
        self.closed = True
        for worker in self.workers.values():
            worker.close()
        if self._bell is not None:
            self._bell.wake()

    async def wait_over(self) -> None:
        """Wait until no task of the session is left here."""
        if not self._is_over:
            if self._over is None:
                self._over = self._host.event()
            await self._over.wait()

    async def run(self) -> None:
        """Own the session's workers until it is ended or cancelled."""
        try:
            with self.cancel_scope:
                async with self._host.open_nursery() as self._nursery:
                    try:
                        # There may be very many sessions, and hardly any has another worker: nothing is kept
                        # here that it could do without.
                        for _ in range(1, len(self._early)):
                            self._start(self._early[-1])
                            self._early = self._early[:-1]
                        if self._early:
                            await self._first().begin()
                        if not self.closed:
                            self._bell = self._host.spot()
                            await self._bell.park()
                        self._nursery.cancel_scope.cancel()
                    finally:
                        self.closed = True
        finally:
            self._is_over = True
            if self._over is not None:
                self._over.set()
            if self.cancel_scope.cancel_called:
                for watcher in self._watchers:
                    watcher()
            self._home.on_over(self)
        if self.cancel_scope.cancel_called and not self.stopped:
            self._home.on_cancelled(self)
