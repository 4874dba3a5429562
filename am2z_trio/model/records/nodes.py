"""A node's lease, and what it finds when it looks after what all nodes share."""

from __future__ import annotations

import msgspec


class FailedJob(msgspec.Struct, frozen=True, kw_only=True):
    """Which job has failed, and at which attempt."""

    id: str
    processor: str
    session: str = ""
    attempt: int = 1


class TickAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a tick found."""

    lost: bool
    """This node was reaped (or Redis was emptied): its claims are void, it must register again."""
    reaped: int = 0
    """Jobs of dead nodes this call returned to their queues or failed."""
    more: bool = False
    """Dead nodes have more jobs, or more states have expired: call again at once."""
    failed: list[FailedJob] = []
    """Those of them that have failed for good, as they were lost once too often (`STALLED`); by id."""


class RenewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How a node's lease stands."""

    lost: bool
    """It is gone: this node was reaped, or Redis was emptied. It must join again."""
    found: TickAnswer | None = None
    """What it has found, if it was its turn to look after what all nodes share."""
    wait: float = 1.0
    """Seconds after which to renew again, at the latest."""
    held: int = 0
    """How many claims it holds as the store sees it."""
