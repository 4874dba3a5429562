"""Metrics for Prometheus, by the extra `prometheus`: collectors, which are read when somebody asks.

Nothing of prometheus-client is called for a job: a node counts by itself (`engine.figures`), and a collector
makes series of that, in whatever thread asks for them.

```python
prometheus_client.REGISTRY.register(PrometheusCollector(runtime))   # this node
```

* `node` - one node's figures; `cluster` - what all nodes share, from one exporter alone
* `families` - the series that there are, with their labels: nothing that a job brings is one
* `exposition` - what an answer to `/metrics` holds
"""

from __future__ import annotations

from .cluster import ClusterCollector
from .exposition import Exposition, exposition
from .node import PrometheusCollector

__all__ = ["PrometheusCollector", "ClusterCollector", "Exposition", "exposition"]
