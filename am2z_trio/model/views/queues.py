"""Queues as they are shown: in a list, and one with what limits it and what is next; series for charts."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..records.queues import UNLIMITED, QueueLimits
from .samples import Sample

QueueState = Literal["paused", "unserved", "open", "held", "busy", "flowing", "idle"]
"""`unserved`: it has jobs, and no live node serves it; `open`: its processor's circuit is; `held`: jobs wait
since as many run as may; `busy`: nearly all of its capacity is taken; `idle`: it has nothing to do."""

Span = Literal["15m", "1h", "24h", "7d"]
"""How far a series looks back."""

BUSY: float = 0.9
"""Share of the capacity from which on a queue is busy."""


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in a list."""

    queue: str
    """Its processor's name."""
    waiting: int = 0
    delayed: int = 0
    active: int = 0
    dead: int = 0
    oldest: float = 0.0
    """Seconds that the job has waited which is first; 0 where none waits."""
    workers: int = 0
    """Live nodes that serve it."""
    slots: int = 0
    """Jobs of it that these run at a time."""
    most_active: int = 0
    """Jobs of it that all nodes together may run at a time; 0: as many as their slots."""
    paused: bool = False
    held: bool = False
    breaker_open: bool = False
    rate: float = 0.0
    """Jobs that have completed in a second, over the last minute."""

    @property
    def capacity(self) -> int:
        """How many may run at a time."""
        return min(self.most_active, self.slots) if self.most_active and self.slots else self.slots

    @property
    def load(self) -> float:
        """How much of that is taken, of 1; by those that run while nobody serves it, all of it."""
        return min(1.0, self.active / self.capacity) if self.capacity else float(self.active > 0)

    @property
    def state(self) -> QueueState:
        """In one word."""
        if self.paused:
            return "paused"
        if not self.workers and self.waiting + self.delayed:
            return "unserved"
        if self.breaker_open:
            return "open"
        if self.held:
            return "held"
        if self.capacity and self.load >= BUSY:
            return "busy"
        return "flowing" if self.active or self.waiting or self.rate else "idle"


class QueueHolding(msgspec.Struct, frozen=True, kw_only=True):
    """What pausing all queues, or resuming them, would be about."""

    queues: list[QueueRow]
    """Those that it would change, by their names: how they stand, without rates and slots."""
    already: int
    """Queues that are so already."""
    left: int
    """Queues that are left for another time, as they are more than one takes."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """A node that serves a queue."""

    node: str
    slots: int


class TurnRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a queue that is served in turn, and the job that it is up to."""

    session: str
    """Empty: jobs without one."""
    job: str
    at: int
    """When that job came, in ms since the epoch."""
    listed: int | None = None
    """Jobs in this line; `None`: they were not counted."""


class QueueShown(msgspec.Struct, frozen=True, kw_only=True):
    """A queue, looked at alone."""

    row: QueueRow
    limits: QueueLimits = UNLIMITED
    most_waiting: int = 0
    """Jobs that may wait for one more to be accepted; 0: any number."""
    starts: int | None = None
    """Starts that its rate limit counts now; `None`: nobody has looked, as none waits."""
    lanes: int = 0
    """Lines that are served in turn: one of each session, and one of the jobs without."""
    blocked: int = 0
    """Sessions whose jobs wait, and of which as many run as may."""
    nodes: list[Serving] = []
    """Those that serve it."""
    seen: int | None = None
    """When somebody served it last, or began to: ms since the epoch."""
    circuit: str = "closed"
    circuit_until: int = 0
    next: list[TurnRow] = []
    """What begins next, a job of each line: the first lines."""


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened in a span, in all queues of a series together, in sum."""

    seconds: int
    completed: int = 0
    failed: int = 0
    """For good, timeouts included."""
    waits: tuple[int, ...]
    """The waiting times by bucket."""
    waiting: int | None = None
    """At its end, as is the next. `None`: nobody knows, as nothing was counted then of a queue that has jobs
    now."""
    active: int | None = None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened, slot by slot, in some queues together. Where nothing was counted a slot is empty."""

    span: Span
    at: int
    """When the first slot began, in ms since the epoch."""
    seconds: int
    """How long each is."""
    samples: list[Sample]
    """All of them together."""
    ended: dict[str, list[int]] = {}
    """By processor: how many jobs of it have ended in each slot."""
    left_out: int = 0
    """Queues that were not looked at."""
    earlier: Earlier | None = None
    """The span before this one, as long and ending where it begins; `None`: nothing was counted then, or what
    was is not kept."""
