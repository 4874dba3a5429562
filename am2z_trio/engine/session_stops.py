"""Stopping a session: its tasks here, its jobs in the store, and through the store those elsewhere."""

from __future__ import annotations

import logging
from typing import Final

from am2z_trio.concurrency import Event, Host, Nursery
from am2z_trio.model.errors import AM2ZError
from am2z_trio.store.ports import Store

from .results import Results
from .sessions import Sessions

logger: Final = logging.getLogger("am2z_trio.sessions")

REFUSE: Final = 10.0
"""Seconds for which a session that is being stopped refuses jobs, if whoever stops it dies meanwhile."""


class _Drain:
    """The store's part of one stop, under way."""

    def __init__(self, done: Event) -> None:
        self.done = done
        self.error: AM2ZError | None = None


class SessionStops:
    """The sessions that this node is stopping."""

    def __init__(self, host: Host, store: Store, sessions: Sessions, results: Results) -> None:
        self._host = host
        self._store = store
        self._sessions = sessions
        self._results = results
        self._drains: dict[str, _Drain] = {}
        self._nursery: Nursery | None = None

    def own(self, nursery: Nursery) -> None:
        """The nursery of the tasks that end jobs in the store: it outlives the sessions."""
        self._nursery = nursery

    async def stop(self, session: str, grace: float) -> None:
        """Stop a session; returns when no task of it is left here and no job of it anywhere.

        With a grace, running jobs may end by themselves for so many seconds; nothing else is begun.
        """
        if grace > 0:
            spared = await self._store.stop_session(session, running=False, refuse=grace + REFUSE)
            waiters = [self._results.watch(job) for job in spared]
            with self._host.cancel_scope(deadline=self._host.now() + grace):
                for waiter in waiters:
                    await waiter.wait()
            for waiter in waiters:
                self._results.unwatch(waiter)
        hosted = self._sessions.get(session)
        drain = self._begin(session)
        if hosted is not None:
            hosted.stop()
        await drain.done.wait()
        if drain.error is not None:
            raise drain.error
        if hosted is not None:
            await hosted.wait_over()

    def is_stopping(self, session: str) -> bool:
        """Whether this node is stopping the session itself."""
        return session in self._drains

    def on_cancelled(self, session: str) -> None:
        """The session's scope was cancelled here: what is left of it in the store ends, too."""
        self._begin(session)

    def _begin(self, session: str) -> _Drain:
        drain = self._drains.get(session)
        if drain is None:
            assert self._nursery is not None
            drain = self._drains[session] = _Drain(self._host.event())
            self._sessions.stopping.add(session)
            self._nursery.start_soon(self._drain, session, drain, name=f"stop session {session:.40}")
        return drain

    async def _drain(self, session: str, drain: _Drain) -> None:
        try:
            await self._store.stop_session(session, running=True, refuse=REFUSE)
        except AM2ZError as error:
            logger.warning("session %r could not be stopped in the store: %s", session, error)
            drain.error = error
        finally:
            del self._drains[session]
            self._sessions.stopping.discard(session)
            drain.done.set()
