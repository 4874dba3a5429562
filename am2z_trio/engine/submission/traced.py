"""Jobs on their way out, of a node that has a tracer: each carries its trace, and how it was sent is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from am2z_trio.concurrency import Host
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.result import Done, ProcessorResult
from am2z_trio.engine.tracing import GuardedTracer
from am2z_trio.model.errors import AM2ZError, JobCancelledError
from am2z_trio.model.records import Bulk, BulkAnswer, Enqueue
from am2z_trio.model.tracing import Sending
from am2z_trio.store.ports import Store

from .directory import Directory
from .in_flight import InFlight
from .outgoing import ABANDONED
from .preparation import Preparation
from .request import Asked, SubmitRequest
from .submissions import Submissions
from .waiter import Limits, Listener, Waiter

S = TypeVar("S")


class TracedInFlight(InFlight):
    """Tells of each job that is sent. Called in the task, and so in the context, of who sends it."""

    def __init__(
        self,
        host: Host,
        store: Store,
        tracer: GuardedTracer,
        *,
        before_send: Callable[[], Awaitable[None]],
        may_send: Callable[[], bool],
    ) -> None:
        super().__init__(host, store, before_send=before_send, may_send=may_send)
        self._tracer: Final = tracer

    def submit(
        self,
        request: Enqueue,
        spot: Listener | None = None,
        *,
        shared: bool = False,
        limits: Limits | None = None,
        assumed: bool = False,
        alone: bool = False,
    ) -> Waiter:
        sending: Sending | None = None
        if not request.joins:
            request, sending = self._tracer.send(request)
        waiter = super().submit(request, spot, shared=shared, limits=limits, assumed=assumed, alone=alone)
        if sending is not None:
            waiter.watch(lambda: self._tracer.ended(sending, _error_of(waiter)))
        return waiter

    async def send_bulk(self, bulk: Bulk) -> BulkAnswer:
        bulk, sending = self._tracer.send_bulk(bulk)
        error: AM2ZError | None = JobCancelledError(ABANDONED)
        try:
            answer = await super().send_bulk(bulk)
            error = None
        except AM2ZError as refused:
            error = refused
            raise
        finally:
            self._tracer.ended(sending, error)
        return answer


def _error_of(waiter: Waiter) -> AM2ZError | None:
    """Why the store does not have its job."""
    if isinstance(waiter.outcome, AM2ZError):
        return waiter.outcome
    return JobCancelledError(ABANDONED) if waiter.state == "abandoned" else None


class TracedSubmissions(Submissions):
    """Tells which jobs are sent together."""

    def __init__(
        self,
        host: Host,
        in_flight: InFlight,
        directory: Directory,
        preparation: Preparation,
        tracer: GuardedTracer,
    ) -> None:
        super().__init__(host, in_flight, directory, preparation)
        self._tracer: Final = tracer

    async def execute_many(
        self, processor: Processor[S] | str, states: Iterable[S], request: SubmitRequest
    ) -> list[ProcessorResult[S]]:
        with self._tracer.together():
            return await super().execute_many(processor, states, request)

    async def execute_each(
        self, many: int, asked: Callable[[int], Asked], done: Done, caller_survives: Callable[[], bool]
    ) -> None:
        with self._tracer.together():
            await super().execute_each(many, asked, done, caller_survives)
