"""What an SDK of OpenTelemetry has seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from am2z_trio.observe.otel import OpenTelemetry


class Place(NamedTuple):
    """Where a span is."""

    trace: str
    span: str


class Told(NamedTuple):
    """A span, as another process can tell of it."""

    name: str
    kind: str
    place: Place
    parent: Place | None
    links: list[Place]


class Seen:
    """Providers, and what has come of them."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def otel(self, **options: Any) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        return [*self.exporter.get_finished_spans()]

    def names(self) -> list[str]:
        return sorted(f"{span.kind.name} {span.name}" for span in self.spans)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def metrics(self) -> dict[str, list[Any]]:
        """The points of each."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: [*metric.data.data_points]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def told(span: ReadableSpan) -> Told:
    context, parent = span.context, span.parent
    assert context is not None
    return Told(
        span.name,
        span.kind.name,
        Place(f"{context.trace_id:032x}", f"{context.span_id:016x}"),
        None if parent is None else Place(f"{parent.trace_id:032x}", f"{parent.span_id:016x}"),
        [Place(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links],
    )


def parts(spans: Iterable[Told], *, by_links: bool) -> list[set[Place]]:
    """What is connected: by parents, or by these and links."""
    found: list[set[Place]] = []
    for span in spans:
        near = {span.place, *([span.parent] if span.parent else []), *(span.links if by_links else [])}
        apart = [one for one in found if not one & near]
        found = [*apart, near.union(*(one for one in found if one & near))]
    return found
