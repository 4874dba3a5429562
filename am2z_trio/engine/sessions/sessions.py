"""The sessions that are here now: each is a task of the node's tree.

A session is here from its first job, or from being opened, until it has no job left and nobody holds
it open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from am2z_trio.concurrency import Host, Nursery

from .hosted import HostedSession


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
