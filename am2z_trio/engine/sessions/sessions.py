"""The sessions that are here now: each is a task of the node's tree.

A session is here from its first job, or from being opened, until it is stopped, or until nobody holds it open
and it has had no job for some time; where there are as many as may be, the one that has had none for longest
makes room for another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Final

from am2z_trio.concurrency import UNTOUCHED, Host, Nursery
from am2z_trio.model.errors import ResourceError

from .hosted import HostedSession

SHARED: Final = ""
"""The session of the jobs that name none. It is always here, and counts for none."""


class Sessions:
    """The sessions of one node."""

    def __init__(
        self, host: Host, on_cancelled: Callable[[str], None], *, idle: float, most: int | None
    ) -> None:
        """`on_cancelled(id)` is called when a session's scope was cancelled by nobody but its user. `idle`:
        seconds for which one that has nothing to do stays; `most`: how many are to be here."""
        self._host = host
        self._look_at = host.look_at
        self._on_cancelled = on_cancelled
        self._idle = idle
        self._most = most
        self._by_id: dict[str, HostedSession] = {}
        self._resting: OrderedDict[HostedSession, float] = OrderedDict()
        """Those that have nothing to do, since when; the longest first."""
        self.closed = True
        """The node takes no more sessions: it is cancelled, or at its end."""
        self._nursery: Nursery | None = None
        self._shared: HostedSession | None = None
        self._stopping: dict[str, int] = {}
        self._ends_next_at = inf
        self._bell = host.spot()

    def __len__(self) -> int:
        return len(self._by_id)

    def own(self, nursery: Nursery | None) -> None:
        """The nursery that sessions are tasks of; `None` when it has ended."""
        self._nursery, self.closed = nursery, nursery is None
        if nursery is not None:
            self._shared = HostedSession(self._host, SHARED, self)
            nursery.start_soon(self._shared.run, name="no session")
            nursery.start_soon(self._end_resting, name="idle sessions")

    def ids(self) -> list[str]:
        """Those that are here."""
        return list(self._by_id)

    def get(self, id: str) -> HostedSession | None:
        return self._by_id.get(id)

    @property
    def shared(self) -> HostedSession | None:
        """That of the jobs that name none; `None` before there is any."""
        return self._shared

    def is_stopping(self, id: str) -> bool:
        """Whether no job of it may begin here."""
        if self._stopping and id in self._stopping:
            return True
        session = self._by_id.get(id)
        if session is None:
            return False
        scope = session.cancel_scope
        return self._look_at(scope) != UNTOUCHED and scope.cancel_called

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

    def require_room_for(self, id: str) -> None:
        """Raise `ResourceError` if one more session would be too many here, and none can make room."""
        if self._most is None or len(self) < self._most or id in self._by_id or self._resting:
            return
        raise ResourceError(
            f"{len(self)} sessions are open on this node, the limit is {self._most} (max_sessions)",
            context={"sessions": len(self), "limit": self._most},
        )

    def open(self, id: str) -> HostedSession:
        """The session, made on first use. To be given a job or held before the next await; not once the
        node takes no more."""
        session = self._by_id.get(id) if id else self._shared
        if session is None or session.closed or session.cancel_scope.cancel_called:
            assert self._nursery is not None
            if self._most is not None and len(self) >= self._most and self._resting:
                self._end(next(iter(self._resting)))
            session = self._by_id[id] = HostedSession(self._host, id, self)
            self._nursery.start_soon(session.run, name=f"session {id:.40}")
        return session

    def on_over(self, session: HostedSession) -> None:
        """No task of it is left."""
        self._forget(session)

    def on_cancelled(self, session: HostedSession) -> None:
        """Its scope was cancelled by nobody but its user."""
        if session.id:
            self._on_cancelled(session.id)

    def _forget(self, session: HostedSession) -> None:
        self._resting.pop(session, None)
        if self._by_id.get(session.id) is session:
            del self._by_id[session.id]

    # --- those that have nothing to do ----------------------------------------------------------

    def on_rest(self, session: HostedSession, *, rests: bool) -> None:
        """It has nothing to do any more; or it has again."""
        if not session.id:
            return
        if not rests:
            self._resting.pop(session, None)
        elif not self._idle or not session.stays or (self._most is not None and len(self) > self._most):
            self._end(session)
        else:
            now = self._host.now()
            self._resting[session] = now
            if now + self._idle < self._ends_next_at:
                self._bell.wake()

    def dismiss(self, session: HostedSession) -> None:
        """It was stopped elsewhere: it is here for as long as a job of it runs, and no longer."""
        session.stays = False
        if session in self._resting:
            self._end(session)

    def _end(self, session: HostedSession) -> None:
        """It is here no more: whoever uses it next opens it anew."""
        self._forget(session)
        session.end()

    async def _end_resting(self) -> None:
        while True:
            now = self._host.now()
            while self._resting:
                session, since = next(iter(self._resting.items()))
                if since + self._idle > now:
                    break
                self._end(session)
            first = next(iter(self._resting.values()), inf)
            self._ends_next_at = first + self._idle
            with self._host.cancel_scope(deadline=self._ends_next_at):
                await self._bell.park()
