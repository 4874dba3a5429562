"""The options of a runtime, each with its one default, documented and validated where it stands."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypedDict, cast

from .arguments import Options
from .callables import is_async_generator, require_function
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
from .tracing import Tracing

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any] | AsyncIterator[Any]]
"""Of the runtime: a context manager, or an async generator of it that yields once."""

MAX_EVENT_HISTORY: int = 10_000_000
"""Entries; Redis keeps them in memory."""


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


class ProcessOptions(Options, frozen=True, kw_only=True):
    """The processes of a node in which jobs of processors with `run_in="process"` run, one at a time in each.
    They are started when they are needed, and kept for the next job."""

    max_processes: int | None = None
    """Jobs that run in processes at a time, all processors together; a job that waits for another one
    (`ctx.call`) does not count. `None`: as many as this machine has processors."""
    max_jobs: int | None = None
    """Runs after which a process is replaced by a new one, for code that does not give memory back; `None`:
    never."""
    start_timeout: float = 60.0
    """Seconds for a process to start and to import its job's code. Not part of the job's own time."""
    cancel_grace: float = 0.5
    """Seconds that a job's code has to end by itself when it is to stop: `ctx.check_cancelled()` raises then,
    and code that awaits is cancelled. Its process is killed after them; 0: at once."""

    def __post_init__(self) -> None:
        for name, most in (("max_processes", 10_000), ("max_jobs", 2**53)):
            value = getattr(self, name)
            if value is not None:
                keep(self, name, require_count(f"ProcessOptions.{name}", value, most=most))
        patience = require_seconds("ProcessOptions.start_timeout", self.start_timeout, zero=False)
        keep(self, "start_timeout", patience)
        keep(self, "cancel_grace", require_seconds("ProcessOptions.cancel_grace", self.cancel_grace))

    @property
    def limit(self) -> int:
        """Jobs that run in processes at a time."""
        return self.max_processes or os.cpu_count() or 1


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
    recent: int = 1_000_000
    """Newest ended jobs that each queue lists, for whoever looks. The record of one that is none of them any
    more goes before `result_ttl` is over, a minute after its end at the earliest, so that what is kept has a
    bound whatever the rate; not where its id was chosen, its options say how long it is kept, a job has
    called it (`ctx.call`), or it is a dead letter. 0: none is listed, and all are kept for `result_ttl`."""
    state_ttl: float | None = None
    """Seconds after its last write at which a session's state expires; `None`: never."""
    state_history: int = 0
    """Newest states that are kept per session, for `runtime.state.history`."""
    event_history: int | None = None
    """Entries of the history of events, of all nodes together, for `runtime.events`: each is of all events of
    a name, queue and node of one step of the store, about 60 bytes, and its id for each job. 0: no node that
    is started from now on writes any. `None`: as it was said last, which is 0 at first."""
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
    blocked_after: float = 5.0
    """Seconds for which a job's code may keep the event loop to itself before that is told: in the log, once
    a minute for each place, and as a finding, `loop_blocked`. It is looked at four times a second. Code that
    goes on past its timeout is told at once."""
    limits: ResourceLimits = ResourceLimits()
    """What this node takes on."""
    processes: int | ProcessOptions = ProcessOptions()
    """The processes in which jobs with `run_in="process"` run; a number is `max_processes` of them."""
    job_logs: int = 0
    """Lines that are kept of what each job logs by `ctx.log`, with its record, for `runtime.job_logs`: the
    last ones, of INFO and above, 64 KiB at most; 0: none. They are what the job's code says: they may hold
    what it was given."""
    lifespan: Lifespan | None = None
    """What the processors of this node share (`Resource`): an async generator function, or another one that
    gives an async context manager, of the runtime. It is entered before the first job is claimed, and
    may use the runtime by then, but for what needs a worker here; what it yields is provided. Its end begins
    when no job runs any more, however the runtime ends, and may take 5 seconds. An error in it ends the
    runtime. Not entered with `workers=False`: nothing runs there."""
    otel: Tracing | None = None
    """Who is told of what is sent, run and settled here: an `am2z_trio.observe.otel.OpenTelemetry`; `None`:
    nobody, at no cost. Without it a node neither reads what traces jobs carry nor hands it on."""

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
        keep(self, "recent", require_count("recent", self.recent, least=0, most=100_000_000))
        if self.state_ttl is not None:
            keep(self, "state_ttl", require_seconds("state_ttl", self.state_ttl, zero=False))
        keep(self, "session_idle", require_seconds_or_inf("session_idle", self.session_idle))
        keep(self, "state_history", require_count("state_history", self.state_history, least=0, most=1000))
        if self.event_history is not None:
            keep(
                self,
                "event_history",
                require_count("event_history", self.event_history, least=0, most=MAX_EVENT_HISTORY),
            )
        keep(
            self,
            "max_state_bytes",
            require_count("max_state_bytes", self.max_state_bytes, most=256 * 1024 * 1024),
        )
        keep(self, "max_conflicts", require_count("max_conflicts", self.max_conflicts, least=0))
        keep(self, "max_call_depth", require_count("max_call_depth", self.max_call_depth, least=0, most=1000))
        keep(self, "blocked_after", require_seconds("blocked_after", self.blocked_after, zero=False))
        keep(self, "job_logs", require_count("job_logs", self.job_logs, least=0, most=10_000))
        self._require_limits()
        keep(self, "lifespan", _checked_lifespan(self.lifespan))
        require(
            # Its type is asked, not what was given: that may answer with anything.
            self.otel is None or callable(getattr(type(self.otel), "tracer", None)),
            "otel",
            type(self.otel).__name__,
            "must be an am2z_trio.observe.otel.OpenTelemetry(), or None",
        )

    def _require_limits(self) -> None:
        if self.max_running is not None:
            keep(self, "max_running", require_count("max_running", self.max_running))
        require(isinstance(self.limits, ResourceLimits), "limits", self.limits, "must be ResourceLimits")
        if isinstance(self.processes, ProcessOptions):
            return
        rule = "must be a number of processes, or ProcessOptions"
        require(isinstance(self.processes, int), "processes", self.processes, rule)
        keep(self, "processes", require_count("processes", self.processes, most=10_000))

    @property
    def process_options(self) -> ProcessOptions:
        """`processes` in full."""
        given = self.processes
        return given if isinstance(given, ProcessOptions) else ProcessOptions(max_processes=given)


class NodeKeywords(TypedDict, total=False):
    """Keyword arguments of every runtime: the fields of `RuntimeOptions`, where they are described."""

    node: str
    shutdown_grace: float
    result_ttl: float
    recent: int
    state_ttl: float | None
    state_history: int
    event_history: int | None
    session_idle: float
    max_state_bytes: int
    max_conflicts: int
    max_call_depth: int
    max_running: int | None
    blocked_after: float
    limits: ResourceLimits
    processes: int | ProcessOptions
    job_logs: int
    lifespan: Lifespan | None
    otel: Tracing | None


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


def _checked_lifespan(lifespan: Any) -> object:
    if lifespan is None:
        return None
    given: object = lifespan
    if callable(lifespan) and is_async_generator(lifespan):
        given = asynccontextmanager(cast("Callable[..., AsyncIterator[Any]]", lifespan))
    require_function("lifespan", given, "(runtime)")
    return given
