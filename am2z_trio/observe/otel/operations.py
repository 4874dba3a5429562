"""What is under way: jobs that are sent, runs, calls that settle. Each becomes a span, if it is sampled, and
counts in the metrics in any case."""

from __future__ import annotations

import time
from typing import Final

from opentelemetry import context as contexts
from opentelemetry.trace import Span, SpanContext, Status, StatusCode, format_trace_id, set_span_in_context

from am2z_trio.model.errors import (
    AM2ZError,
    DeadlineExceededError,
    JobCancelledError,
    SessionStoppedError,
)
from am2z_trio.model.limits import MAX_REASON_BYTES
from am2z_trio.model.logs import current_trace
from am2z_trio.model.records import DEADLINE, SESSION_STOPPED, SettleAnswer, Settlement
from am2z_trio.model.telling import cut

from . import names
from .meters import Meters

NANO: Final = 1_000_000_000

LOST: Final = frozenset({"fenced", "gone"})
"""Answers that say: the claim was not this node's any more."""


def finish(span: Span | None, code: str, message: str, at: int | None = None) -> None:
    """End a span; `code` is empty for what has gone well."""
    if span is None:
        return
    if code:
        span.set_attribute(names.ERROR_TYPE, code)
        span.set_status(Status(StatusCode.ERROR, cut(message, MAX_REASON_BYTES)))
    span.end(at)


class Sent:
    """Jobs on their way into the store, in one call."""

    __slots__ = ("_began", "_many", "_meters", "_queue", "_span", "trace")

    def __init__(self, meters: Meters, queue: str, many: int, span: Span | None, trace: str) -> None:
        self.trace = trace
        self._meters = meters
        self._queue = queue
        self._many = many
        self._span = span
        self._began = time.perf_counter()

    def ended(self, error: AM2ZError | None) -> None:
        code, message = ("", "") if error is None else (error.code, error.message)
        self._meters.sent(self._queue, self._many, time.perf_counter() - self._began, code)
        finish(self._span, code, message)


class Settled:
    """A call that settles jobs."""

    __slots__ = ("_began", "_meters", "_queue", "_span")

    def __init__(self, meters: Meters, queue: str, span: Span | None) -> None:
        self._meters = meters
        self._queue = queue
        self._span = span
        self._began = time.perf_counter()

    def ended(self, error: AM2ZError | None) -> None:
        code, message = ("", "") if error is None else (error.code, error.message)
        self._meters.settled(self._queue, time.perf_counter() - self._began, code)
        finish(self._span, code, message)


class Processed:
    """A run of a job. Its span ends when its code has, and is exported when it is settled."""

    __slots__ = ("__weakref__", "_began", "_meters", "_queue", "_ran_at", "_seconds", "_shown", "_span")

    def __init__(self, meters: Meters | None, queue: str, span: Span | None, shown: Span) -> None:
        """`meters`: `None` for a run within another one, which no queue has delivered. `shown`: what its code
        sees as the current span, sampled or not."""
        self._span = span
        self._meters = meters
        self._queue = queue
        self._shown = shown
        self._began = time.perf_counter()
        self._seconds: float | None = None
        self._ran_at: int | None = None

    @property
    def context(self) -> SpanContext:
        return self._shown.get_span_context()

    def enter(self) -> None:
        # Nobody detaches it: it is gone with the context of the run.
        contexts.attach(set_span_in_context(self._shown))
        if self.context.is_valid:
            current_trace.set(format_trace_id(self.context.trace_id))

    def ran(self) -> None:
        self._seconds = time.perf_counter() - self._began
        self._ran_at = time.time_ns()

    def ended(self, settlement: Settlement | None, answer: SettleAnswer | None) -> None:
        if self._ran_at is None:
            self.ran()
        is_lost = settlement is None or (answer is not None and answer.status in LOST)
        code, message = (names.FENCED, "") if settlement is None else _error_of(settlement)
        if self._meters is not None:
            self._meters.processed(self._queue, self._seconds or 0.0, code)
        if self._span is None:
            return
        if settlement is not None:
            outcome = (
                "conflicted" if answer is not None and answer.status == "conflict" else settlement.outcome
            )
            self._span.set_attribute(names.OUTCOME, outcome)
            if outcome == "retry":
                delay = {names.RETRY_DELAY: settlement.delay}
                self._span.add_event(names.RETRY, delay, self._ran_at)
        if is_lost:
            self._span.add_event(names.FENCED)
        finish(self._span, code, message, self._ran_at)


def _error_of(settlement: Settlement) -> tuple[str, str]:
    """Code and message of the error that a run has ended with; both empty for none."""
    if settlement.outcome in ("failed", "retry"):
        code, _, message = settlement.reason.partition("\n")
        return code, message
    if settlement.outcome != "cancelled":
        return "", ""
    kind: type[AM2ZError] = {SESSION_STOPPED: SessionStoppedError, DEADLINE: DeadlineExceededError}.get(
        settlement.reason, JobCancelledError
    )
    return kind.code, settlement.reason
