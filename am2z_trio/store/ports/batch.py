"""How much goes with one call of a store, whoever calls."""

from __future__ import annotations

from typing import Final

BATCH: Final = 100
"""Most jobs, nodes, queues or events that one call carries, or touches of its own accord: enough to share the
call's own cost among them, few enough that no script holds the store for long."""
