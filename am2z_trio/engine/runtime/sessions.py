"""The sessions of a runtime: opened, listed and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.sessions.session import Session
from am2z_trio.engine.states.manager import StateManager
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.callables import require_items
from am2z_trio.model.checks import require, require_seconds, require_seconds_or_inf
from am2z_trio.model.runtime_options import RuntimeOptions

from .jobs import JobMethods
from .processors import ProcessorMethods


class SessionMethods(JobMethods, ProcessorMethods):
    """What a runtime's user may do with sessions."""

    def __init__(self, options: RuntimeOptions) -> None:
        super().__init__(options)
        self.state = StateManager(self._running)
        """The sessions' states: `get`, `set`, `update`, `delete`, `lock`."""

    @asynccontextmanager
    async def session(
        self,
        id: str,
        *,
        processors: Iterable[Processor[Any]] = (),
        ttl: float | None = None,
    ) -> AsyncIterator[Session]:
        """Open a session around a block: `async with runtime.session("alice") as session`.

        Like a nursery: leaving the block waits for the jobs that were submitted through it; when the block
        fails or is cancelled, the session is stopped. When somebody else stops it, on whatever node, the
        block is cancelled and `SessionStoppedError` raised. A stop that this node has begun is waited for
        first. `processors` are registered if they are not yet; `ttl`: seconds after its last write at which
        the session's state expires, `inf` for never. Any number of blocks, on any nodes, may hold one session
        open.
        """
        id = require_session(id)
        if ttl is not None:
            ttl = require_seconds_or_inf("ttl", ttl, zero=False)
        wanted = [*require_items("processors", processors, "processors")]
        for one in wanted:
            require(isinstance(one, Processor), "processors", one, "must be processors (use @processor)")
        node = self._running()
        self.register(*(one for one in wanted if one.name not in self._registry.names()))
        async with node.opening.block(id, ttl) as hosted:
            session = Session(
                hosted,
                self.state,
                lambda: self._running().submissions,
                self._submit,
                self._submit_many,
                self.signal_session,
            )
            yield session
            await session.wait_submitted()

    async def stop_session(self, id: str, grace: float = 0.0) -> None:
        """Stop a session on every node: here this is one cancel of its scope.

        Running jobs are cancelled at their next checkpoint, after `grace` seconds in which they may end
        by themselves and nothing else begins; waiting ones end. All their callers get a
        `SessionStoppedError`. Returns when no job, claim or key of the session is left but its state, and
        no task of it on this node; nothing it ran can write any more. The session may then be used anew.
        """
        id = require_session(id)
        grace = require_seconds("grace", grace)
        await self._running().stops.stop(id, grace)

    async def get_active_sessions(self) -> list[str]:
        """Ids of the sessions on this node, idle ones included, or with jobs on any, in no order."""
        node = self._running()
        return list(dict.fromkeys([*node.sessions.ids(), *await node.store.active_sessions()]))

    async def clean_all_sessions(self) -> int:
        """Stop every active session, on all nodes; returns how many. Their states stay."""
        ids = await self.get_active_sessions()
        for id in ids:
            await self.stop_session(id)
        return len(ids)
