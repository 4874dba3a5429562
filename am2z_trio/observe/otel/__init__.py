"""Spans and metrics of OpenTelemetry, as its conventions for messaging have them (extra `otel`).

```python
from am2z_trio import QueueRuntime
from am2z_trio.observe.otel import OpenTelemetry

runtime = QueueRuntime(otel=OpenTelemetry(ratio=0.1))
```

| span | kind | when |
|---|---|---|
| `send {queue}` | PRODUCER | a job of `execute`, `submit`, `ctx.call`; up to 250 of `submit_many` at a time |
| `create {queue}` | PRODUCER | a job of `execute_many`, `parallel`, `batch` |
| `send {queue}` | CLIENT | all of these that are of one queue |
| `process {queue}` | CONSUMER | a processor's code, per attempt |
| `process {queue}` | INTERNAL | the same of a call with `inline=True` |
| `settle {queue}` | CLIENT | a call that settles jobs, if `settle_spans` |

A job carries the context of what has sent it (`JobSpec.trace`), so that all of it is connected over
processes: `process` links to it, or is its child (`trace_parenting`). There are no spans of receiving: claims
are prefetched. Whether a trace is sampled is decided before any span is made, once: what is not sampled costs
a few comparisons, and all that it leads to is not sampled either.

* `options` - `OpenTelemetry`, what a runtime is given
* `tracer` - one node's: what the engine tells becomes spans; `operations` - what they are about;
  `together` - jobs that are sent together
* `meters` - its metrics
* `propagation` - a span's context as the text that jobs carry
* `names` - of spans' attributes and of metrics

What the user's SDK raises, or its exporter, is logged once and harms no job.
"""

from __future__ import annotations

try:
    from .options import OpenTelemetry
except ImportError as missing:  # pragma: no cover
    raise ImportError("am2z_trio.observe.otel needs opentelemetry-api: the extra `otel`") from missing

__all__ = ["OpenTelemetry"]
