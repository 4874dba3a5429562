"""The options of a runtime, each with its one default, documented and validated where it stands."""

from __future__ import annotations

from typing import TypedDict

from .arguments import Options
from .checks import (
    keep,
    require,
    require_count,
    require_number,
    require_seconds,
    require_seconds_or_inf,
    require_text,
)
from .codec import DEFAULT_MAX_BYTES
from .limits import MAX_NODE_BYTES


class ResourceLimits(Options, frozen=True, kw_only=True):
    """What one node takes on. Beyond it, it refuses with a `ResourceError` that gives both figures."""

    max_sessions: int | None = None
    """Sessions that may be open on this node at a time. One that nobody holds open and that has no job makes
    room; where there is none such, no more are opened, and a job of another one is run all the same: that
    session goes with its last job."""
    max_queue_size: int = 0
    """Jobs that may wait in a processor's queue, on all nodes together, for one more to be accepted
    from here; 0: any number."""
    max_memory_mb: float | None = None
    """Resident memory of this process, in MB, above which it accepts no jobs and claims none."""
    max_abandoned_threads: int = 100
    """Threads of plain functions whose jobs have ended before them, by a timeout or a cancellation. At so
    many this node is unhealthy and begins no plain function until one of them has returned."""

    def __post_init__(self) -> None:
        if self.max_sessions is not None:
            keep(self, "max_sessions", require_count("ResourceLimits.max_sessions", self.max_sessions))
        keep(
            self,
            "max_queue_size",
            require_count("ResourceLimits.max_queue_size", self.max_queue_size, least=0),
        )
        keep(
            self,
            "max_abandoned_threads",
            require_count("ResourceLimits.max_abandoned_threads", self.max_abandoned_threads, most=100_000),
        )
        if self.max_memory_mb is not None:
            field, rule = "ResourceLimits.max_memory_mb", "must be a number of MB, above 0"
            limit = require_number(field, self.max_memory_mb, rule=rule)
            require(limit > 0, field, limit, rule)
            keep(self, "max_memory_mb", limit)


class RuntimeOptions(Options, frozen=True, kw_only=True):
    """How one runtime (one node) behaves; the keyword arguments of both runtimes."""

    workers: bool = True
    """`False` makes a pure client: it submits and waits, and serves no queue."""
    prefix: str = "am2z"
    """Namespace of all keys: runtimes with different prefixes never meet."""
    node: str = ""
    """Name of this node in records and events; a random suffix is added. Default: the host's name."""
    lease: float = 10.0
    """Seconds a frozen node keeps its jobs, and one that is cut off without its connections being closed."""
    disconnect_grace: float = 1.0
    """Seconds for which this node may be without a connection before its jobs are given to others; a dead
    process is noticed so long after its death, up to a second later. From Redis a death and a lost connection
    look alike: with more patience, jobs run twice less often where connections break, and dead nodes' jobs
    wait longer. Beyond `lease` it has no effect."""
    shutdown_grace: float = 5.0
    """Seconds that leaving the runtime waits for running jobs before it cancels and releases them."""
    result_ttl: float = 3600.0
    """Seconds the record of an ended job is kept; so long a `job_id` that has completed is not run again."""
    state_ttl: float | None = None
    """Seconds after its last write at which a session's state expires; `None`: never."""
    state_history: int = 0
    """Newest states that are kept per session, for `runtime.state.history`."""
    session_idle: float = 60.0
    """Seconds for which a session stays on this node, with its workers, that nobody holds open and that has
    had no job; `inf`: until it is stopped, 0: no longer than it has one. Its state stays in any case. At
    `max_sessions` the one that has had none for longest makes room."""
    max_state_bytes: int = DEFAULT_MAX_BYTES
    """Largest encoded state accepted, in either direction."""
    max_conflicts: int = 10
    """How often a processor is run again because its session's state moved, before it fails. Jobs on the
    stored state take turns, so it is moved only by what takes none: a given state, `runtime.state`."""
    max_call_depth: int = 10
    """How deep jobs may call jobs; a job that nobody called is 0 deep."""
    max_running: int | None = None
    """Jobs that this node runs at a time, over all its processors; `None`: only theirs limit it."""
    limits: ResourceLimits = ResourceLimits()
    """What this node takes on."""

    def __post_init__(self) -> None:
        require(
            isinstance(self.workers, bool),
            "workers",
            self.workers,
            "must be True or False",
        )
        require(
            isinstance(self.prefix, str) and plain_prefix(self.prefix),
            "prefix",
            self.prefix,
            "must be 1 to 64 letters, digits, '_', '.' or '-'",
        )
        keep(self, "prefix", str.__str__(self.prefix))
        keep(self, "node", require_text("node", self.node, most=MAX_NODE_BYTES, empty=True))
        keep(self, "lease", require_seconds("lease", self.lease, zero=False))
        require(self.lease >= 1, "lease", self.lease, "must be at least 1 second")
        keep(self, "disconnect_grace", require_seconds("disconnect_grace", self.disconnect_grace))
        keep(self, "shutdown_grace", require_seconds("shutdown_grace", self.shutdown_grace))
        keep(self, "result_ttl", require_seconds("result_ttl", self.result_ttl, zero=False))
        if self.state_ttl is not None:
            keep(self, "state_ttl", require_seconds("state_ttl", self.state_ttl, zero=False))
        keep(self, "session_idle", require_seconds_or_inf("session_idle", self.session_idle))
        keep(self, "state_history", require_count("state_history", self.state_history, least=0, most=1000))
        keep(
            self,
            "max_state_bytes",
            require_count("max_state_bytes", self.max_state_bytes, most=256 * 1024 * 1024),
        )
        keep(self, "max_conflicts", require_count("max_conflicts", self.max_conflicts, least=0))
        keep(self, "max_call_depth", require_count("max_call_depth", self.max_call_depth, least=0, most=1000))
        if self.max_running is not None:
            keep(self, "max_running", require_count("max_running", self.max_running))
        require(isinstance(self.limits, ResourceLimits), "limits", self.limits, "must be ResourceLimits")


class NodeKeywords(TypedDict, total=False):
    """Keyword arguments of every runtime: the fields of `RuntimeOptions`, where they are described."""

    node: str
    shutdown_grace: float
    result_ttl: float
    state_ttl: float | None
    state_history: int
    session_idle: float
    max_state_bytes: int
    max_conflicts: int
    max_call_depth: int
    max_running: int | None
    limits: ResourceLimits


class SharedKeywords(NodeKeywords, total=False):
    """Those of one that shares its store with other processes."""

    prefix: str
    lease: float
    disconnect_grace: float


class RuntimeKeywords(SharedKeywords, total=False):
    """Those of one that may serve queues, or not."""

    workers: bool


def plain_prefix(text: str) -> bool:
    return 0 < len(text) <= 64 and all(c.isascii() and (c.isalnum() or c in "_.-") for c in text)
