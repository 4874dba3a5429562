"""What a store knows of one job that decides whether the next claim grants it, read in one step.

Times are milliseconds of the store's clock. Where something is looked at up to a bound, `None` says that
there was more.
"""

from __future__ import annotations

import msgspec

from ..options import QueueOptions
from ..transitions import Status
from .outcomes import Settled
from .queues import UNLIMITED, QueueLimits


class WaitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a job that is parked waits for."""

    name: str
    """Of the signals; empty: for a time."""
    since: int
    until: int | None = None


class LineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands among those of its queue that wait."""

    place: int | None = None
    """Entries before it, those that wait no more included."""
    ahead: int | None = None
    """Jobs of its own line before it that a claim with room for all would be granted."""
    same_turn: bool | None = None
    """Whether one of these takes the turn that it needs."""


class TurnFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The turn that a job takes to work on its session's stored state."""

    holder: str = ""
    """The active job that has it; empty: it is free."""
    holder_node: str = ""
    in_line: bool = False
    """The job has left its queue for the line of those that wait for it."""
    before: int = 0
    """Jobs before it in that line."""


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The job's session."""

    stopping: int | None = None
    """Until when its jobs are refused, and ended, since it is being stopped."""
    active: int = 0
    """Jobs of it that its queue's limit counts as active."""
    listed: int = 0
    """Entries in its line of this queue."""
    holders: list[str] = []
    """Some of these jobs, the longest ones first."""
    longest: int | None = None
    """Since when the first of them runs."""


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A node that serves the job's queue, or holds the job."""

    name: str
    lease: int | None = None
    """Until when its lease runs; `None`: it has none."""
    heard: bool = False
    """Somebody listens to its inbox."""
    claims: int = 0
    """Jobs of all queues that it holds."""
    parked: bool = False
    """It waits for work of this queue."""
    calls_only: bool = False
    """It takes none but those that other jobs wait for."""
    draining: bool = False
    """It has said that it claims no more."""
    full: str = ""
    """Why it claims none for now, as it has said itself."""


class BreakerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The circuit of the job's processor."""

    state: str = "closed"
    until: int = 0
    """Open: when it is tried again. Half-open: when the calls under way count as lost."""
    failures: int = 0


class ParentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The job that has called it."""

    id: str
    status: str = ""
    """Empty: nothing is known of it any more."""
    node: str = ""


class QueueFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The job's queue."""

    name: str
    options: QueueOptions | None = None
    """As it was announced last; `None`: nobody has, or they cannot be read."""
    limits: QueueLimits = UNLIMITED
    """What follows of these; where there are none, what the last claim has left."""
    unsettled: bool = False
    """The last claim was under other limits, and others may yet go on by these."""
    paused: bool = False
    waiting: int = 0
    later: int = 0
    due: int = 0
    """Of `later`, those that the next claim lets wait."""
    active: int = 0
    away: int = 0
    """Of `active`, those that wait for other jobs: limits do not count them."""
    back: int = 0
    """Of these, those that could go on, and do so before any that has not begun."""
    starts: int = 0
    """Starts that the rate limit counts."""
    first_start: int | None = None
    """When the first of them was."""
    lanes: int = 0
    """Lines that are served in turn: one of each session, and one of the jobs without."""
    holders: list[str] = []
    """Some of its active jobs, where as many are as may be, the longest ones first."""
    longest: int | None = None
    """Since when the first of them runs."""
    workers: int = 0
    """Live nodes that serve it."""
    seen: int | None = None
    """When somebody served it last, or began to."""
    announced: bool = False
    nodes: list[NodeFacts] = []
    """Some of those that serve it."""
    parked: int = 0
    """Nodes that wait for its work."""
    parked_for_calls: int = 0
    """Of these, those that take calls only."""


class JobFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A job, and all that decides what becomes of it next."""

    id: str
    now: int
    came: int | None = None
    """When it came, or was queued again as if for the first time."""
    began: int | None = None
    """Active, or ended: when its last run began, where it had one."""
    ended: int | None = None
    status: Status
    processor: str
    session: str = ""
    attempt: int = 1
    deliveries: int = 0
    stalls: int = 0
    progress: float = 0.0
    priority: int = 0
    depth: int = 0
    """How deep it is in calls; 0: nobody waits for it."""
    errors: bytes = b""
    """Encoded `AttemptError`s of the attempts before."""
    flaw: str = ""
    """Why it cannot be granted, whoever asks: its record is spoilt."""
    due: int | None = None
    left: str = ""
    """Delayed: why the node that had it last has left it to others."""
    waits: list[WaitFacts] = []
    """Parked: some of what it waits for, by their keys."""
    aside: bool = False
    """The rate limit has set it aside."""
    deadline: int | None = None
    expires: int | None = None
    """Until when it may begin for the first time, of one that has not."""
    cancel: str | None = None
    """Active: why somebody wants it cancelled."""
    away: bool = False
    """Active: it waits for other jobs, or for room to go on."""
    in_back: bool = False
    """Of these the latter."""
    calls: int | None = 0
    """Jobs that it has called, and that have not ended."""
    called: list[str] = []
    """Some of these."""
    settled: Settled | None = None
    """For one that has ended; without its result where it has completed."""
    dead_till: int | None = None
    """Until when it is kept as a dead letter."""
    holder: NodeFacts | None = None
    """The node that it is active on."""
    parent: ParentFacts | None = None
    turn: TurnFacts | None = None
    at_session: SessionFacts | None = None
    line: LineFacts | None = None
    """For one that waits in its queue."""
    queue: QueueFacts
    breaker: BreakerFacts = BreakerFacts()
