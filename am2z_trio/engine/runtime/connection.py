"""`runtime.connection`: how the node stands with its store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from am2z_trio.engine.node.node import Node
from am2z_trio.model.errors import AM2ZError

PATIENCE: Final = 2.0
"""Seconds the store may take to answer a health check."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this node can do its work."""

    healthy: bool
    connections: dict[str, str]
    """Each connection's state: `ready`, `disconnected` or `error`."""
    reason: str = ""
    """Why it is not healthy, in a few words."""
    round_trip: float | None = None
    """Seconds the store took to answer; `None` if it did not."""


class ConnectionManager:
    """Over Redis, two multiplexed connections per node: `commands` asks, `pushes` hears outcomes, wake-ups,
    cancellations and events.

    Nothing blocks on them, so there is nothing to pool; the lease has a connection of its own in a thread,
    so that a busy event loop does not lose it. Events: `connection:connected`, `connection:ready`,
    `connection:lost`, `connection:reconnecting`; their data says which one (`connection`), which
    `attempt` it is, and the `error`.
    """

    def __init__(self, node: Callable[[], Node | None]) -> None:
        """`node` is there while the runtime is entered."""
        self._node = node

    async def check_health(self) -> Health:
        """Ask the store, and look whether this node could claim a job now. Never raises for an answer
        of "no"; takes at most two seconds."""
        node = self._node()
        if node is None:
            return Health(healthy=False, connections={}, reason="the runtime is not running")
        began = node.host.now()
        error = ""
        with node.host.cancel_scope(deadline=began + PATIENCE) as patience:
            try:
                await node.store.ping()
            except AM2ZError as refused:
                error = refused.message
        if patience.cancelled_caught:
            error = f"the store did not answer within {PATIENCE:g} s"
        connections = node.store.connections
        if not error:
            error = next(
                (f"{name} is {state}" for name, state in connections.items() if state != "ready"), ""
            )
        reason = error or node.why_it_cannot_claim()
        return Health(
            healthy=not reason,
            connections=connections,
            reason=reason,
            round_trip=None if error else node.host.now() - began,
        )
