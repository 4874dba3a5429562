"""One node's tracer: what the engine tells becomes spans where it is sampled, which is decided here."""

from __future__ import annotations

import random
import time
from typing import Final
from weakref import WeakValueDictionary

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TracerProvider,
    get_current_span,
    get_tracer,
    set_span_in_context,
)

from am2z_trio.model.records import Bulk, Enqueue, Grant, JobSpec, queue_name
from am2z_trio.model.tracing import Group, Sending

from . import names
from .meters import Attributes, Meters, server_attributes
from .operations import NANO, Processed, Sent, Settled
from .propagation import is_sampled, read, unsampled, write
from .together import MOST_LINKS, Together
from .versions import own_version


class NodeTracer:
    """See `model.tracing`: called by the engine, and by nobody else."""

    def __init__(
        self,
        node: str,
        server: tuple[str, int | None] | None,
        meters: Meters,
        provider: TracerProvider | None,
        *,
        ratio: float,
        parenting: bool,
        creates: bool,
        settles: bool,
    ) -> None:
        self._tracer = get_tracer("am2z_trio", own_version(), provider, names.SCHEMA)
        self._meters = meters
        self._ratio = ratio
        self._parenting = parenting
        self._creates = creates
        self._settles = settles
        self._about: Final[Attributes] = {
            names.SYSTEM: names.AM2Z,
            names.CLIENT_ID: node,
            **server_attributes(server),
        }
        self._running = WeakValueDictionary[str, Processed]()
        """Sampled runs by job, for as long as the engine holds them: for the calls that settle them."""

    # --- whether it is sampled --------------------------------------------------------------

    def _passed_on(self, context: SpanContext) -> SpanContext | None:
        """What is handed on of something that is not sampled; `None` for what is."""
        if context.is_valid:
            return None if is_sampled(context) else context
        return None if self._is_chosen() else unsampled()

    def _is_chosen(self) -> bool:
        """Of a trace that begins here."""
        return self._ratio >= 1 or random.random() < self._ratio

    # --- spans ------------------------------------------------------------------------------

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
    ) -> Span:
        """Begin the span of an operation."""
        told = {**self._about, names.OPERATION_NAME: operation, names.OPERATION_TYPE: operation, **about}
        if queue:
            told[names.DESTINATION] = queue
        name = f"{operation} {queue}" if queue else operation
        return self._tracer.start_span(name, context, kind, told, links, at)

    def of_job(self, spec: JobSpec) -> Attributes:
        """What is said of a job."""
        about: Attributes = {names.MESSAGE_ID: spec.id}
        if spec.session:
            about[names.CONVERSATION_ID] = spec.session
        if spec.parent:
            about[names.PARENT] = spec.parent
        if spec.schedule is not None:
            about[names.SCHEDULE] = spec.schedule.id
        return about

    # --- sent -------------------------------------------------------------------------------

    def together(self) -> Together:
        context = contexts.get_current()
        passed_on = self._passed_on(get_current_span(context).get_span_context())
        return Together(self, self._meters, context, passed_on, creates=self._creates)

    def send(self, job: Enqueue, group: Group | None) -> Sending:
        if isinstance(group, Together):
            return group.send(job)
        return self._send(job.queue, 1, self.of_job(job.spec))

    def send_bulk(self, bulk: Bulk) -> Sent:
        many = len(bulk.states)
        about: Attributes = {names.MESSAGE_COUNT: many} if many > 1 else {}
        if session := bulk.like.spec.session:
            about[names.CONVERSATION_ID] = session
        return self._send(bulk.like.queue, many, about)

    def _send(self, queue: str, many: int, about: Attributes) -> Sent:
        context = contexts.get_current()
        passed_on = self._passed_on(get_current_span(context).get_span_context())
        if passed_on is not None:
            return Sent(self._meters, queue, many, None, write(passed_on))
        span = self.start(names.SEND, queue, SpanKind.PRODUCER, context, about)
        return Sent(self._meters, queue, many, span, write(span.get_span_context()))

    # --- run --------------------------------------------------------------------------------

    def process(self, grant: Grant, waited: float, *, within: bool) -> Processed:
        queue = queue_name(grant.spec.processor)
        if within:
            return self._process_within(queue, grant)
        carried = read(grant.spec.trace)
        self._meters.consumed(queue)
        passed_on = self._passed_on(carried or INVALID_SPAN.get_span_context())
        if passed_on is not None:
            return Processed(self._meters, queue, None, NonRecordingSpan(passed_on))
        # Whatever is current here has to do with the node, and not with the job.
        parent, links = INVALID_SPAN, list[Link]()
        if carried is not None and self._parenting:
            parent = NonRecordingSpan(carried)
        elif carried is not None:
            links = [Link(carried)]
        span = self.start(
            names.PROCESS,
            queue,
            SpanKind.CONSUMER,
            set_span_in_context(parent),
            self._of_run(grant),
            links=links,
        )
        span.add_event(names.CLAIMED, timestamp=time.time_ns() - int(waited * NANO))
        run = Processed(self._meters, queue, span, span)
        if self._settles:
            self._running[grant.spec.id] = run
        return run

    def _process_within(self, queue: str, grant: Grant) -> Processed:
        """A part of the run in whose context we are."""
        context = contexts.get_current()
        around = get_current_span(context)
        passed_on = self._passed_on(around.get_span_context())
        if passed_on is not None:
            return Processed(None, queue, None, NonRecordingSpan(passed_on))
        span = self.start(names.PROCESS, queue, SpanKind.INTERNAL, context, self._of_run(grant))
        return Processed(None, queue, span, span)

    def _of_run(self, grant: Grant) -> Attributes:
        about = self.of_job(grant.spec)
        about[names.ATTEMPT] = grant.attempt
        about[names.DELIVERY] = grant.deliveries
        return about

    # --- settled ----------------------------------------------------------------------------

    def settle(self, queue: str, jobs: list[str]) -> Settled:
        span: Span | None = None
        runs = [run for job in jobs if (run := self._running.get(job)) is not None] if self._settles else []
        if runs:
            about: Attributes = {names.MESSAGE_COUNT: len(jobs)} if len(jobs) > 1 else {}
            links = [Link(run.context) for run in runs[:MOST_LINKS]]
            root = set_span_in_context(INVALID_SPAN)
            span = self.start(names.SETTLE, queue, SpanKind.CLIENT, root, about, links=links)
        return Settled(self._meters, queue, span)

    def close(self) -> None:
        self._running.clear()
