"""Jobs that one caller sends together: each is created, and those of a queue are sent as one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.records import Enqueue, JobSpec

from . import names
from .meters import Attributes, Meters
from .operations import NANO, finish
from .propagation import write

MOST_LINKS: Final = 128
"""As many as an SDK keeps by default."""


class Spans(Protocol):
    """What makes spans."""

    def start(
        self,
        operation: str,
        queue: str,
        kind: SpanKind,
        context: Context,
        about: Attributes,
        *,
        links: list[Link] | None = None,
        at: int | None = None,
    ) -> Span: ...

    def of_job(self, spec: JobSpec) -> Attributes: ...


class Together:
    """All of them; `passed_on` is what they carry where they are not sampled."""

    def __init__(
        self, spans: Spans, meters: Meters, context: Context, passed_on: SpanContext | None, *, creates: bool
    ) -> None:
        self._spans = spans
        self._meters = meters
        self._context = context
        self._passed_on = passed_on
        self._creates = creates
        self._by_queue: dict[str, _OfQueue] = {}

    def send(self, job: Enqueue) -> _One:
        """One more of them."""
        found = self._by_queue.get(job.queue)
        if found is None:
            found = self._by_queue[job.queue] = _OfQueue(job.queue)
            if self._passed_on is None and not self._creates:
                found.span = self._start(found, SpanKind.PRODUCER)
        found.many += 1
        return _One(self._trace(found, job), found.on_ended)

    def _trace(self, sent: _OfQueue, job: Enqueue) -> str:
        if self._passed_on is not None:
            return write(self._passed_on)
        if sent.span is not None:
            return write(sent.span.get_span_context())
        about = self._spans.of_job(job.spec)
        created = self._spans.start(names.CREATE, job.queue, SpanKind.PRODUCER, self._context, about)
        created.end()
        if len(sent.created) < MOST_LINKS:
            sent.created.append(created.get_span_context())
        return write(created.get_span_context())

    def _start(self, sent: _OfQueue, kind: SpanKind) -> Span:
        links = [Link(context) for context in sent.created]
        return self._spans.start(
            names.SEND, sent.queue, kind, self._context, {}, links=links, at=sent.began_at
        )

    def ended(self) -> None:
        for sent in self._by_queue.values():
            self._meters.sent(sent.queue, sent.many, sent.seconds, sent.code)
            span = sent.span
            if span is None and self._passed_on is None:
                # Only now, since links are to be known from the beginning.
                span = self._start(sent, SpanKind.CLIENT)
            if span is not None:
                if sent.many > 1:
                    span.set_attribute(names.MESSAGE_COUNT, sent.many)
                finish(span, sent.code, sent.message, sent.began_at + int(sent.seconds * NANO))


class _OfQueue:
    """Those of one queue."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.many = 0
        self.created: list[SpanContext] = []
        self.span: Span | None = None
        self.code = self.message = ""
        """Of the last one that could not be sent."""
        self.began_at = time.time_ns()
        self._began = time.perf_counter()
        self._last: float | None = None

    @property
    def seconds(self) -> float:
        """Until the last one was sent, so far."""
        return (time.perf_counter() if self._last is None else self._last) - self._began

    def on_ended(self, error: AM2ZError | None) -> None:
        self._last = time.perf_counter()
        if error is not None:
            self.code, self.message = error.code, error.message


class _One:
    """One of them."""

    __slots__ = ("_on_ended", "trace")

    def __init__(self, trace: str, on_ended: Callable[[AM2ZError | None], None]) -> None:
        self.trace = trace
        self._on_ended = on_ended

    def ended(self, error: AM2ZError | None) -> None:
        self._on_ended(error)
