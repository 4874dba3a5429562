"""What a job's code may ask of the node it runs on: the context of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from threading import get_ident
from typing import Any, Final

import anyio.from_thread

from am2z_trio.concurrency import CancelScope
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.processors.context import CallRequest, Context
from am2z_trio.engine.processors.result import Done
from am2z_trio.engine.processors.run_facts import Meta
from am2z_trio.model.checks import require_number
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.logs import JobLog, attributes
from am2z_trio.model.records import Wait
from am2z_trio.store.ports import Store

from .attempt import Attempt
from .calls import Calls, Run
from .job_logs import JobLogs
from .waits import Waits

logger: Final = logging.getLogger("am2z_trio.jobs")
"""As a user's code gets it."""


class Contexts:
    """Makes the contexts of one node's jobs."""

    __slots__ = ("_calls", "_emitter", "_logs", "_node", "_store", "_waits")

    def __init__(
        self,
        node: str,
        emitter: Emitter,
        store: Store,
        calls: Calls,
        waits: Waits,
        logs: JobLogs | None = None,
    ) -> None:
        """`logs`: where what jobs log is kept, if it is."""
        self._logs = logs
        self._node = node
        self._emitter = emitter
        self._store = store
        self._calls = calls
        self._waits = waits

    async def keep_logs(self) -> None:
        """Have the lines that jobs have logged so far kept soon, if they are at all."""
        if self._logs is not None:
            await self._logs.flush_soon()

    def of(self, attempt: Attempt, scope: CancelScope, run: Run) -> Context:
        """Of a run under this scope; `run` runs what it calls inline."""
        grant = attempt.grant
        spec = grant.spec
        meta = Meta(
            attempt=grant.attempt,
            deliveries=grant.deliveries,
            started_at=datetime.fromtimestamp(attempt.started, UTC),
            node=self._node,
        )
        assert attempt.stored is not None
        return Context(
            spec,
            meta,
            attempt.stored,
            _Services(attempt.claim, run, self._calls, self._waits, self._emitter, self._store),
            cancel_scope=scope,
            log=JobLog(
                logger,
                {
                    **attributes(processor=spec.processor, job=spec.id, session=spec.session),
                    "attempt": grant.attempt,
                    "node": self._node,
                },
                # Of one that is run within another, as the lines of that.
                None if self._logs is None else partial(self._logs.note, attempt.claim.root.grant),
            ),
        )


class _Services:
    """What one run asks of its node, in the name of its job."""

    __slots__ = ("_calls", "_claim", "_emitter", "_host", "_loop", "_run", "_store", "_waits")

    def __init__(
        self, claim: Claim, run: Run, calls: Calls, waits: Waits, emitter: Emitter, store: Store
    ) -> None:
        self._claim = claim
        self._host = calls.host
        self._run = run
        self._calls = calls
        self._waits = waits
        self._emitter = emitter
        self._store = store
        self._loop = get_ident()

    def now(self) -> float:
        now = self._host.now
        return now() if get_ident() == self._loop else anyio.from_thread.run_sync(now)

    def emit(self, event: str, data: Any = None) -> None:
        emit, spec = self._emitter.emit_for_user, self._claim.grant.spec
        if get_ident() != self._loop:
            # Everything of a node lives in its event loop.
            anyio.from_thread.run_sync(emit, event, data, spec)
        else:
            emit(event, data, spec)

    async def report(self, progress: float) -> None:
        grant = self._claim.root.grant
        done = float(require_number("progress", progress))
        await self._store.report(grant.spec.id, grant.token, done)

    async def call(self, request: CallRequest, context: Context) -> Any:
        try:
            return await self._calls.call(self._run, self._claim, request, context)
        finally:
            self._waits.called(self._claim)

    async def send(self, request: CallRequest) -> str:
        return await self._calls.send(self._claim, request)

    async def call_each(self, many: int, call_of: Callable[[int], CallRequest], done: Done) -> None:
        try:
            await self._calls.call_each(self._claim, many, call_of, done)
        finally:
            self._waits.called(self._claim)

    async def wait(self, key: str, name: str, seconds: float | None) -> bytes | None:
        wait = Wait(key=f"{self._claim.path}{key}", name=name, seconds=seconds)
        answer = await self._waits.wait(self._claim, wait)
        return answer.value if answer.status == "signalled" else None

    def codec(self, kind: Any) -> StateCodec[Any]:
        return self._waits.codec(kind)
