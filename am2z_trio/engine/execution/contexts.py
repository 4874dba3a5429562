"""What a job's code may ask of the node it runs on: the context of a run."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from threading import get_ident
from typing import Any, Final

import anyio.from_thread

from am2z_trio.concurrency import CancelScope
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.processors.context import Context, Meta
from am2z_trio.model.logs import JobLog, attributes
from am2z_trio.model.options import require_number
from am2z_trio.model.records import JobSpec
from am2z_trio.store.ports import Store

from .attempt import Attempt
from .calls import Calls, Run

logger: Final = logging.getLogger("am2z_trio.jobs")
"""As a user's code gets it."""


class Contexts:
    """Makes the contexts of one node's jobs."""

    __slots__ = ("_calls", "_emitter", "_node", "_store")

    def __init__(self, node: str, emitter: Emitter, store: Store, calls: Calls) -> None:
        self._node = node
        self._emitter = emitter
        self._store = store
        self._calls = calls

    def of(self, attempt: Attempt, scope: CancelScope, run: Run) -> Context:
        """Of a run under this scope; `run` runs what it calls inline."""
        grant, claim = attempt.grant, attempt.claim
        spec = grant.spec
        assert attempt.stored is not None
        return Context(
            processor=spec.processor,
            session_id=spec.session or None,
            execution_id=spec.id,
            call_depth=spec.depth,
            callers=spec.callers,
            meta=Meta(
                attempt=grant.attempt,
                deliveries=grant.deliveries,
                started_at=datetime.fromtimestamp(attempt.started, UTC),
                node=self._node,
            ),
            cancel_scope=scope,
            state=attempt.stored,
            log=JobLog(logger, attributes(processor=spec.processor, job=spec.id, session=spec.session)),
            emit=self._emit_of(spec),
            report=self._report_of(claim.root),
            call=partial(self._calls.call, run, claim),
            call_each=partial(self._calls.call_each, claim),
        )

    def _emit_of(self, spec: JobSpec) -> Callable[[str, Any], None]:
        loop, emitter = get_ident(), self._emitter

        def emit(event: str, data: Any = None) -> None:
            if get_ident() != loop:
                # Everything of a node lives in its event loop.
                anyio.from_thread.run_sync(emitter.emit_for_user, event, data, spec)
            else:
                emitter.emit_for_user(event, data, spec)

        return emit

    def _report_of(self, root: Claim) -> Callable[[float], Awaitable[None]]:
        async def report(progress: float) -> None:
            grant = root.grant
            await self._store.report(grant.spec.id, grant.token, require_number("progress", progress))

        return report
