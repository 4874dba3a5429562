"""Runs of a node that has a tracer: each is told, from before its code is called to its settlement."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from am2z_trio.concurrency import CancelScope
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.engine.states.job_state import JobState
from am2z_trio.engine.tracing import GuardedTracer
from am2z_trio.model.records import Settlement

from .executor import Executor


class TracedExecutor(Executor):
    """Tells of each run. What becomes of one that the store is to hear of, `work.traced` tells."""

    __slots__ = ("_tracer",)

    def __init__(self, tracer: GuardedTracer, *parts: Any) -> None:
        """`parts`: what every executor is made of."""
        super().__init__(*parts)
        self._tracer = tracer

    async def run(
        self, claim: Claim, definition: Definition, *, stored: JobState | None = None
    ) -> Settlement | None:
        self._begin(claim)
        return await super().run(claim, definition, stored=stored)

    def run_plain(
        self, claim: Claim, definition: Definition, scope: CancelScope
    ) -> Awaitable[Settlement | None]:
        self._begin(claim)
        return super().run_plain(claim, definition, scope)

    def _begin(self, claim: Claim) -> None:
        """Here is the context of whoever runs it: a job, for one that is run within it."""
        waited = self._now() - claim.since
        self._tracer.begin(claim, claim.grant, waited, within=claim.root is not claim)

    async def _run(self, claim: Claim, definition: Definition, stored: JobState | None) -> Settlement | None:
        return await self._told(claim, super()._run(claim, definition, stored))

    async def _run_plain(self, claim: Claim, definition: Definition, scope: CancelScope) -> Settlement | None:
        return await self._told(claim, super()._run_plain(claim, definition, scope))

    async def _told(self, claim: Claim, run: Awaitable[Settlement | None]) -> Settlement | None:
        """Here is the run's own context."""
        tracer, settlement, returned = self._tracer, None, False
        tracer.enter(claim)
        try:
            settlement = await run
            returned = True
        finally:
            tracer.ran(claim)
            # What is broken off is settled by whoever has broken it off.
            if claim.root is not claim or (returned and settlement is None):
                tracer.end(claim, settlement, None)
        return settlement
