"""Stopping a session: its tasks here, its jobs in the store, and through the store those elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from am2z_trio.concurrency import Event, Host, Nursery
from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.store.ports import Store

from .hosted import HostedSession
from .sessions import Sessions

logger: Final = Log("am2z_trio.sessions")

REFUSAL_TTL: Final = 10.0
"""Seconds for which a session that is being stopped refuses jobs, if whoever stops it dies meanwhile."""

MOST: Final = 1000
"""Sessions that one look asks for."""


class _Drain:
    """The store's part of one stop, under way."""

    def __init__(self, done: Event) -> None:
        self.done = done
        self.error: AM2ZError | None = None


class _Look:
    """Somebody asks for the number of a session's last stop."""

    def __init__(self) -> None:
        self.is_late = False
        """Another stop of it has begun meanwhile."""


class SessionStops:
    """The sessions that this node is stopping."""

    def __init__(
        self,
        host: Host,
        store: Store,
        sessions: Sessions,
        in_flight: InFlight,
        emitter: Emitter,
    ) -> None:
        self._host = host
        self._store = store
        self._sessions = sessions
        self._in_flight = in_flight
        self._emitter = emitter
        self._drains: dict[str, _Drain] = {}
        self._nursery: Nursery | None = None
        self._looks: dict[str, set[_Look]] = {}
        """By session: those that are under way."""
        self._asked = 0

    def own(self, nursery: Nursery) -> None:
        """The nursery of the tasks that end jobs in the store: it outlives the sessions."""
        self._nursery = nursery

    async def stop(self, session: str, grace: float) -> None:
        """Stop a session; returns when no task of it is left here and no job of it anywhere.

        With a grace, running jobs may end by themselves for so many seconds; nothing else is begun.
        Cancelled, the session is stopped all the same, without further grace; nobody waits for it then.
        """
        try:
            if grace > 0:
                with self._sessions.stopping(session):
                    await self._spare(session, grace)
        finally:
            hosted = self._sessions.get(session)
            drain = self._begin(session)
            if hosted is not None:
                hosted.stop()
        await drain.done.wait()
        if drain.error is not None:
            raise drain.error
        if hosted is not None:
            await hosted.wait_over()

    async def _spare(self, session: str, grace: float) -> None:
        """End what waits, and give what runs some time."""
        spared = await self._store.stop_session(session, running=False, refuse=grace + REFUSAL_TTL)
        waiters = [self._in_flight.watch(job) for job in spared]
        try:
            with self._host.cancel_scope(deadline=self._host.now() + grace):
                # One may have ended before it was watched.
                await self._in_flight.looking.look_at(waiters)
                for waiter in waiters:
                    await waiter.wait()
        finally:
            for waiter in waiters:
                self._in_flight.unwatch(waiter)

    def on_stopped(self, session: str, number: int) -> None:
        """It was stopped from elsewhere. Its jobs hear of it one by one, so this is for who holds it open;
        where nobody does, it is here no longer than they are."""
        hosted = self._sessions.get(session)
        if hosted is None or session in self._drains or number <= (hosted.seen_stop or 0):
            return
        hosted.seen_stop = number
        if hosted.holders:
            hosted.stop()
        else:
            self._sessions.dismiss(hosted)

    async def last_stop(self, session: str) -> int:
        """The number of the session's last stop, after the end of any that is under way here: what is opened
        now is not hit by it any more."""
        while True:
            await self.wait_stopped(session)
            with self._looking(session) as look:
                (number,) = await self._store.stops([session])
            if not look.is_late:
                return number

    @contextmanager
    def _looking(self, session: str) -> Iterator[_Look]:
        look, looks = _Look(), self._looks.setdefault(session, set())
        looks.add(look)
        try:
            yield look
        finally:
            looks.remove(look)
            if not looks:
                del self._looks[session]

    async def look(self) -> None:
        """Ask for stops that nobody has told of; with very many sessions they take turns."""
        here = self._sessions.ids()
        first = self._asked if self._asked < len(here) else 0
        some = [hosted for id in here[first : first + MOST] if (hosted := self._sessions.get(id)) is not None]
        self._asked = first + MOST
        if some:
            numbers = await self._store.stops([hosted.id for hosted in some])
            for hosted, number in zip(some, numbers, strict=True):
                if hosted.seen_stop is None:
                    # A stop before it came here is none of it.
                    hosted.seen_stop = number
                elif self._sessions.get(hosted.id) is hosted:
                    self.on_stopped(hosted.id, number)

    def stop_nowait(self, hosted: HostedSession) -> None:
        """Begin to stop a session whose block has failed here. Whoever else holds it open hears of it."""
        if not hosted.cancel_scope.cancel_called:
            self._begin(hosted.id)
            hosted.stop()

    async def wait_stopped(self, session: str) -> None:
        """Wait until no stop of the session that was begun here is under way; one with grace apart.

        What is opened then is not hit by it any more.
        """
        while True:
            drain, hosted = self._drains.get(session), self._sessions.get(session)
            if drain is not None:
                await drain.done.wait()
            elif hosted is not None and hosted.cancel_scope.cancel_called:
                await hosted.wait_over()
            else:
                return

    async def wait_idle(self) -> None:
        """Wait until nothing is being stopped in the store."""
        for drain in list(self._drains.values()):
            await drain.done.wait()

    def on_cancelled(self, session: str) -> None:
        """The session's scope was cancelled here: what is left of it in the store ends, too."""
        self._begin(session)

    def _begin(self, session: str) -> _Drain:
        drain = self._drains.get(session)
        if drain is None:
            assert self._nursery is not None
            for look in self._looks.get(session, ()):
                look.is_late = True
            drain = self._drains[session] = _Drain(self._host.event())
            self._nursery.start_soon(self._drain, session, drain, name=f"stop session {session:.40}")
        return drain

    async def _drain(self, session: str, drain: _Drain) -> None:
        try:
            with self._sessions.stopping(session):
                await self._store.stop_session(session, running=True, refuse=REFUSAL_TTL)
            self._emitter.emit("session:stopped", session=session)
        except AM2ZError as error:
            logger.warning("session %r could not be stopped in the store: %s", session, error)
            drain.error = error
        finally:
            del self._drains[session]
            drain.done.set()
