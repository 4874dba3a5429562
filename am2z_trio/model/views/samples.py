"""What happened in a queue: slot by slot, and summed up for as long as somebody looks back."""

from __future__ import annotations

import msgspec


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One slot of one queue, all nodes together. Where nothing was counted there is none."""

    at: int
    """When it began, in ms since the epoch by the store's clock. What is told in it has happened in it, or up
    to ten seconds before."""
    seconds: int
    """How long it is."""
    started: int = 0
    """Jobs whose code has begun, runs that are tried again included."""
    completed: int = 0
    failed: int = 0
    """For good, but for those of `timeout`."""
    timeout: int = 0
    """For good, as they ran longer than they may."""
    cancelled: int = 0
    """While a node had them, but for those of `deadline`."""
    deadline: int = 0
    """Cancelled, since nobody waited any more."""
    lost: int = 0
    """Runs that came to nothing, as the node had lost its claim."""
    retried: int = 0
    fenced: int = 0
    """Outcomes that the store has refused, as the job was somebody else's by then."""
    conflicts: int = 0
    """Outcomes that the store has refused, as the session's state had moved."""
    integrity: int = 0
    """Jobs that found the bytes of their session's state changed."""
    waited: float = 0.0
    """Seconds from when jobs were made to when they began, in sum: of first attempts, and of ids that the
    engine has made."""
    ran: float = 0.0
    """Seconds that runs have taken, in sum."""
    waits: tuple[int, ...]
    """The waiting times by bucket (`policy.buckets`)."""
    runs: tuple[int, ...]
    """The running times by bucket."""
    waiting: int = 0
    """At the end of the slot; where slots are added up, at the most."""
    delayed: int = 0
    active: int = 0

    @property
    def ended(self) -> int:
        """Jobs that a node has brought to an end, whichever."""
        return self.completed + self.failed + self.timeout + self.cancelled + self.deadline


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue goes, over the last `seconds`."""

    processor: str
    seconds: float
    completed: float = 0.0
    """Jobs per second, as are the next two."""
    failed: float = 0.0
    """Timeouts included."""
    retried: float = 0.0
    wait_p50: float | None = None
    """Seconds, as are the others; `None` where none has begun or run."""
    wait_p95: float | None = None
    run_p50: float | None = None
    run_p95: float | None = None
    run_p99: float | None = None


class QueueNow(msgspec.Struct, frozen=True, kw_only=True):
    """One queue as it is now, on all nodes together."""

    waiting: int = 0
    delayed: int = 0
    active: int = 0
    dead: int = 0
    """Dead letters."""
    oldest: float = 0.0
    """Seconds that the job has waited which came first, or was due first; 0 where none waits. Of sessions,
    the first few that are to be served are looked at."""
    workers: int = 0
    """Live nodes that serve it."""
    paused: bool = False
    held: bool = False
    """Jobs wait since as many are active as may be."""
    breaker_open: bool = False
    """The processor's circuit is open."""


class ScheduleNow(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule as it is now."""

    late: float = 0.0
    """Seconds for which its next run has been due, without having come."""
    missed: int = 0
    """Times that were passed by, as it was too late for them, since it was made."""
    paused: bool = False


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace as it is now."""

    nodes: int
    """Those that have workers and a lease."""
    sessions: int
    """Those that have jobs which have not ended."""
    queues: dict[str, QueueNow]
    """By processor."""
    schedules: dict[str, ScheduleNow] = {}
    """By id, or by its digest where that is odd; of more than a thousand, those that are due first."""
