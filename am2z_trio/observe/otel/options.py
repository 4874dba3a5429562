"""What a runtime is given, and what is in it to choose."""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from am2z_trio.model.arguments import Options
from am2z_trio.model.checks import keep, require, require_number
from am2z_trio.model.tracing import Tracer

from .meters import Meters
from .tracer import NodeTracer


class OpenTelemetry(Options, frozen=True, kw_only=True):
    """`QueueRuntime(otel=OpenTelemetry())`: spans and metrics of what the runtime sends, runs and settles.

    One may be given to any number of runtimes. A bad or misspelt option is a `ConfigurationError`.
    """

    ratio: float = 1.0
    """Share of the traces that begin here which are sampled, 0 to 1. What is part of a trace already, or was
    sent by somebody who is, is sampled if that is; the provider's own sampler may sample less of it."""
    trace_parenting: bool = False
    """Whether what has sent a job is the parent of its runs, so that all of it is one trace. By default each
    run is a trace of its own that links to it, as the conventions have it: it may be much later, and many."""
    create_spans: bool = True
    """Whether each of the jobs that are sent together has a span `create`, and runs that refer to that one.
    Otherwise they refer to the one span `send` of all."""
    settle_spans: bool = False
    """Whether calls that settle jobs have spans."""
    tracer_provider: TracerProvider | None = None
    """`None`: the global one, as it is when the runtime is entered."""
    meter_provider: MeterProvider | None = None
    """`None`: the global one, as it is when the runtime is entered."""

    def __post_init__(self) -> None:
        field, rule = "OpenTelemetry.ratio", "must be a number from 0 to 1"
        ratio = require_number(field, self.ratio, rule=rule)
        require(0 <= ratio <= 1, field, ratio, rule)
        keep(self, "ratio", ratio)
        for name in ("trace_parenting", "create_spans", "settle_spans"):
            value: object = getattr(self, name)
            require(isinstance(value, bool), f"OpenTelemetry.{name}", value, "must be True or False")
        for name, makes in (("tracer_provider", "get_tracer"), ("meter_provider", "get_meter")):
            given: object = getattr(self, name)
            is_one = not isinstance(given, type) and callable(getattr(given, makes, None))
            rule = f"must have a {makes}(), as OpenTelemetry's have"
            require(given is None or is_one, f"OpenTelemetry.{name}", type(given).__name__, rule)

    def tracer(self, node: str, server: tuple[str, int | None] | None) -> Tracer:
        """For one node; called by the engine."""
        meters = Meters(self.meter_provider, server)
        return NodeTracer(
            node,
            server,
            meters,
            self.tracer_provider,
            ratio=self.ratio,
            parenting=self.trace_parenting,
            creates=self.create_spans,
            settles=self.settle_spans,
        )
