"""A session that a block holds open: let in, held, and left or stopped with the block's end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.submission.preparation import Preparation
from am2z_trio.model.errors import RuntimeStateError, SessionStoppedError
from am2z_trio.store.ports import StateStore

from .hosted import HostedSession
from .sessions import Sessions
from .stopping import SessionStops

SESSION_EXIT_TIMEOUT: Final = 2.0
"""Seconds that a failing block waits for the end of its session's tasks."""


class SessionOpening:
    """Opens sessions on this node."""

    def __init__(
        self,
        host: Host,
        sessions: Sessions,
        stops: SessionStops,
        preparation: Preparation,
        states: StateStore,
        emitter: Emitter,
    ) -> None:
        self._host = host
        self._sessions = sessions
        self._stops = stops
        self._preparation = preparation
        self._states = states
        self._emitter = emitter

    @asynccontextmanager
    async def block(self, id: str, ttl: float | None) -> AsyncIterator[HostedSession]:
        """Hold a session open around a block. One that fails stops it; when anybody else stops it, the block
        is cancelled and `SessionStoppedError` raised."""
        host, stops = self._host, self._stops
        hosted = await self._open(id)
        self._emitter.emit("session:opened", session=id)
        block = host.cancel_scope()
        cancel_block = block.cancel
        hosted.on_cancel(cancel_block)
        try:
            if ttl is not None:
                await self._states.set_ttl(id, ttl)
            with block:
                yield hosted
        except BaseException:
            stops.stop_nowait(hosted)
            # Like a nursery's, its tasks end before the block is left. Bounded: the store may be away,
            # and the block may be part of a job of this very session.
            with host.cancel_scope(deadline=host.now() + SESSION_EXIT_TIMEOUT, shield=True):
                await stops.wait_stopped(id)
            raise
        finally:
            hosted.off_cancel(cancel_block)
            hosted.let_go()
            self._emitter.emit("session:closed", session=id)
        if block.cancelled_caught:
            # Whoever has stopped it may have opened it anew by now: it is not stopped once more.
            await hosted.wait_over()
            if hosted.stopped:
                raise SessionStoppedError(f"session {id!r} was stopped", context={"session": id})
            await stops.wait_stopped(id)

    async def _open(self, id: str) -> HostedSession:
        """The session, held; after the end of a stop that is under way here."""
        number = await self._stops.last_stop(id)
        self.require_room(id)
        hosted = self._sessions.open(id)
        if not hosted.holders:
            hosted.seen_stop = number
        hosted.hold()
        return hosted

    def require_room(self, id: str) -> None:
        """Raise the error that says why the session cannot be opened here now."""
        if self._preparation.closed or self._sessions.closed:
            raise RuntimeStateError("the runtime is stopping: it opens no more sessions")
        if self._sessions.is_stopping(id):
            raise SessionStoppedError(
                f"session {id!r} is being stopped: it can be opened anew when that is over",
                context={"session": id},
            )
        self._sessions.require_room_for(id)
