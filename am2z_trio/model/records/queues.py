"""Queues and sessions: what limits them, what is known of them, and how many jobs they have."""

from __future__ import annotations

from typing import Final

import msgspec

from ..options import QueueOptions


class QueueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What limits a queue, on all nodes together. Zeros: nothing does."""

    starts: int = 0
    """Jobs that may be started within any `per` seconds."""
    per: float = 0.0
    delays_excess: bool = False
    """What may not be started yet is delayed until it may, instead of staying where it is."""
    most_active: int = 0
    """Jobs that may be active at a time."""
    per_session: int = 0
    """Jobs of one session that may be active at a time."""


UNLIMITED: Final = QueueLimits()


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """A circuit breaker's answer."""

    allowed: bool
    state: str
    """`closed`, `open` or `half-open`."""
    wait: float = 0.0
    """Seconds until it may be asked again, where it is not allowed."""


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one processor's queue, read in one step."""

    waiting: int = 0
    active: int = 0
    completed: int = 0
    failed: int = 0
    delayed: int = 0
    paused: int = 0
    cancelled: int = 0
    dead: int = 0
    """Dead letters: failed jobs that are kept to be looked at, retried or dropped."""
    workers: int = 0
    """Live nodes that serve it; a killed one counts until that is noticed, some seconds at most."""

    @property
    def jobs(self) -> int:
        """Jobs that have not ended, and dead letters."""
        return self.waiting + self.active + self.delayed + self.paused + self.dead


class SessionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """A session's jobs that have not ended."""

    waiting: int = 0
    active: int = 0
    delayed: int = 0


class ForgetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why a queue was not forgotten; it was, where it was known and the others are 0."""

    known: bool
    jobs: int = 0
    """Jobs that have not ended, and dead letters."""
    workers: int = 0
    """Live nodes that serve it."""


class QueueInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A queue that somebody serves, or submits to."""

    queue: str
    processor: str
    options: QueueOptions = QueueOptions()
    """Whoever submits by name alone goes by them."""
    workers: int = 0
    """Live nodes that serve it. The store's, as is the next."""
    known: bool = True
    """Whether it can be asked for by name: somebody serves it, or has within `ANNOUNCED_LATELY`, and not
    unregistered it as the last one."""
