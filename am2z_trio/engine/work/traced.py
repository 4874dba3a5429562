"""Settlements of a node that has a tracer: each call is told, and what becomes of the runs it settles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.engine.tracing import GuardedTracer
from am2z_trio.model.errors import AM2ZError, UnknownOutcomeError
from am2z_trio.model.records import SettleAnswer
from am2z_trio.model.tracing import Operation
from am2z_trio.store.ports import Store

from .settler import Entry, Settler


class TracedSettler(Settler):
    """Tells of each call, and of each run when the store has answered."""

    def __init__(
        self, host: Host, store: Store, in_flight: InFlight, node: str, tracer: GuardedTracer
    ) -> None:
        super().__init__(host, store, in_flight, node)
        self._tracer: Final = tracer

    def _operation(self, batch: Sequence[Entry]) -> Operation | None:
        queues = {claim.holder.queue for claim, _ in batch if claim is not None}
        queue = queues.pop() if len(queues) == 1 else ""
        return self._tracer.settle(queue, [settlement.id for _, settlement in batch])

    async def _settle(self, batch: Sequence[Entry]) -> list[SettleAnswer]:
        operation = self._operation(batch)
        error: AM2ZError | None = UnknownOutcomeError("the call was broken off")
        try:
            answers = await super()._settle(batch)
            error = None
        except AM2ZError as refused:
            error = refused
            raise
        finally:
            self._tracer.ended(operation, error)
        return answers

    def _begin(self, batch: Sequence[Entry], told: Told) -> GiveUp | None:
        operation = self._operation(batch)

        def heard(answer: Any) -> None:
            self._tracer.ended(operation, answer if isinstance(answer, AM2ZError) else None)
            told(answer)

        return super()._begin(batch, heard)

    def _settled(self, batch: Sequence[Entry], answers: Sequence[SettleAnswer]) -> None:
        # Before its claim hears of it: that may be run anew at once.
        for (claim, settlement), answer in zip(batch, answers, strict=True):
            self._tracer.end(claim, settlement, answer)
        super()._settled(batch, answers)
