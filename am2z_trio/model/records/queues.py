"""Queues and sessions: what limits them, what is known of them, and how many jobs they have."""

from __future__ import annotations

from typing import Final

import msgspec

from ..options import QueueOptions, RateLimit


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


def limits_of(options: QueueOptions) -> QueueLimits:
    """What a queue of these options is limited by."""
    limiter = options.limiter
    if options.rate_limit_rpm is not None:
        limiter = RateLimit(max=options.rate_limit_rpm, duration=60)
    return QueueLimits(
        starts=0 if limiter is None else limiter.max,
        per=0 if limiter is None else limiter.duration,
        delays_excess=limiter is not None and not limiter.bounce_back,
        most_active=options.global_concurrency or 0,
        per_session=options.session_concurrency or 0,
    )


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
    retried: int = 0
    """Attempts that failed and were followed by another, since the queue was made; so are the next ones."""
    stalled: int = 0
    """Runs that were lost with their node, as it seemed; also where it has come back."""
    fenced: int = 0
    """Outcomes that were refused, as the job was somebody else's by then."""
    conflicts: int = 0
    """Outcomes that were refused, as the session's state had moved."""
    expired: int = 0
    """Jobs that were cancelled since their deadline, or their `expires`, had passed before they began."""

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
    begins: tuple[str, ...] = ()
    """Queues of the jobs that its jobs call first, at once and on what they are given themselves, where this
    node says so of what it serves: it may be promised them with one of these (`Grant.promised`)."""
    workers: int = 0
    """Live nodes that serve it. The store's, as is the next."""
    known: bool = True
    """Whether it can be asked for by name: somebody serves it, or has within `ANNOUNCED_LATELY`, and not
    unregistered it as the last one."""
