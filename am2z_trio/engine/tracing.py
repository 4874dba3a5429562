"""Calls a tracer for a node that was given one: what it raises is said once, and harms no job.

A node without one has none of this: the rooms that tell it something are classes of their own (`traced`, in
`submission`, `execution` and `work`), which take the place of those that tell nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

import msgspec

from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.limits import MAX_TRACE_BYTES
from am2z_trio.model.logs import Log
from am2z_trio.model.records import Bulk, Enqueue, Grant, SettleAnswer, Settlement
from am2z_trio.model.telling import trace_of
from am2z_trio.model.tracing import Group, Operation, Run, Sending, Tracer

T = TypeVar("T")

logger: Final = Log("am2z_trio.tracing")

_group: Final[ContextVar[Group | None]] = ContextVar("am2z jobs sent together", default=None)


class GuardedTracer:
    """A node's tracer, and the runs that it has not heard the end of."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._runs: dict[object, Run] = {}
        """By claim. As many as the node has claims, at most."""
        self._has_complained = False

    def _try(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            if not self._has_complained:
                self._has_complained = True
                logger.error(
                    "the tracer raised; jobs go on, and this is not said again", trace=trace_of(raised)
                )
            return None

    # --- jobs that are sent -----------------------------------------------------------------

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around a call that sends several jobs."""
        group = self._try(self._tracer.together)
        before = _group.set(group)
        try:
            yield
        finally:
            _group.reset(before)
            if group is not None:
                self._try(group.ended)

    def send(self, job: Enqueue) -> tuple[Enqueue, Sending | None]:
        """A job as it is to be sent, and what is to hear how that ends."""
        sending = self._try(lambda: self._tracer.send(job, _group.get()))
        return self._carrying(job, sending), sending

    def send_bulk(self, bulk: Bulk) -> tuple[Bulk, Sending | None]:
        """The same of jobs that are alike."""
        sending = self._try(lambda: self._tracer.send_bulk(bulk))
        like = self._carrying(bulk.like, sending)
        return bulk if like is bulk.like else msgspec.structs.replace(bulk, like=like), sending

    def _carrying(self, job: Enqueue, sending: Sending | None) -> Enqueue:
        trace = None if sending is None else self._try(lambda: sending.trace)
        if type(trace) is not str or not trace or len(trace) > MAX_TRACE_BYTES:
            return job
        return msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, trace=trace))

    # --- calls of the store -----------------------------------------------------------------

    def settle(self, queue: str, jobs: list[str]) -> Operation | None:
        """Ends of jobs are sent."""
        return self._try(lambda: self._tracer.settle(queue, jobs))

    def ended(self, operation: Operation | None, error: AM2ZError | None) -> None:
        """Something that was sent has arrived, or not."""
        if operation is not None:
            self._try(lambda: operation.ended(error))

    # --- runs -------------------------------------------------------------------------------

    def begin(self, claim: object, grant: Grant, waited: float, *, within: bool) -> None:
        """A claim is about to be run; from here on until `end` it is known."""
        run = self._try(lambda: self._tracer.process(grant, waited, within=within))
        if run is not None:
            self._runs[claim] = run

    def enter(self, claim: object) -> None:
        """The same, in the context of its own code."""
        run = self._runs.get(claim)
        if run is not None:
            self._try(run.enter)

    def ran(self, claim: object) -> None:
        """Its code has ended."""
        run = self._runs.get(claim)
        if run is not None:
            self._try(run.ran)

    def end(self, claim: object, settlement: Settlement | None, answer: SettleAnswer | None) -> None:
        """It is settled, or will not be."""
        run = self._runs.pop(claim, None)
        if run is not None:
            self._try(lambda: run.ended(settlement, answer))

    def close(self) -> None:
        """The node has ended, and with it the runs that were left to be lost."""
        for claim in list(self._runs):
            self.end(claim, None, None)
        self._try(self._tracer.close)
