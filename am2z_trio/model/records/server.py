"""What holds the namespace: the server's own figures, and what holds its queues up."""

from __future__ import annotations

import msgspec

from .facts import BreakerFacts


class ServerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A server, as it describes itself. 0 and empty texts: it does not say."""

    kind: str
    """`redis`, `valkey`, or `memory` for none."""
    version: str = ""
    used: int = 0
    """Bytes in use."""
    limit: int = 0
    """`maxmemory`, in bytes; 0: none is set."""
    system: int = 0
    """Bytes of memory that its machine has."""
    policy: str = ""
    """What it does when memory is full (`maxmemory-policy`)."""
    aof: bool = False
    """Whether it writes every change to disk (`appendonly`)."""
    snapshot_failed: bool = False
    """Its last snapshot, or its last write of the append-only file, has failed."""
    replicas: list[int] = []
    """Seconds since each of its replicas was heard last."""
    ahead: float = 0.0
    """Seconds by which its clock is ahead of this machine's; below 0: behind it."""
    round_trip: float = 0.0
    """Seconds that the question took: `ahead` is no more exact than that."""
    records: int = 0
    """Keys of its database, of all namespaces."""
    commands: int = 0
    """That it does in a second now, of everybody."""
    clients: int = 0
    """Connections to it."""
    saved: int = 0
    """When its last snapshot was made: ms since the epoch."""
    unsaved: int = 0
    """Changes since then."""
    evicted: int = 0
    """Keys that it has dropped since it was started, as memory was full."""
    uptime: int = 0
    """Seconds since it was started."""


class ScriptFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What scripts have cost a server since it was started, of everybody; all zero where it does not say."""

    calls: int = 0
    seconds: float = 0.0
    """Of its time, in sum."""
    p99: float | None = None
    """Seconds that all but one of a hundred calls have taken at most, by the command that calls most of them.
    `None`: it does not say, as servers before Redis 7.0 do not, and those whose `latency-tracking` is off."""


class QueuePressure(msgspec.Struct, frozen=True, kw_only=True):
    """What holds a queue up. Times are ms since the epoch, by the store's clock."""

    queue: str
    at: int
    """When this was so."""
    held: bool = False
    """As many jobs of it are active as may be, and others wait."""
    seen: int | None = None
    """When somebody served it last, or began to."""
    breaker: BreakerFacts = BreakerFacts()
