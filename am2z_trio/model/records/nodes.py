"""A node: who it is, its lease, and what it finds when it looks after what all nodes share."""

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
    schedule_in: float | None = None
    """Seconds until the next schedule is due, if it was asked to look; `None`: not known, or never."""


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who a node is, as it says itself."""

    host: str
    pid: int
    version: str
    """Of this package."""
    python: str
    library: str
    """The async library it runs on: `trio` or `asyncio`."""
    started: int
    """When its runtime was entered: ms, by its own clock."""
    max_running: int | None = None
    concurrency: dict[str, int] = {}
    """By processor that it serves: jobs of it that may run here at a time. The first ones, of very many."""
    served: int = 0
    """How many processors it serves."""
    draining: bool = False
    """It claims no more jobs."""
    full: str = ""
    """Why it claims none for now, though it is not drained: in words. Empty while it does."""


class NodeStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One node as the store sees it."""

    id: str
    lease: float
    """Seconds until its lease is over, below 0 if it is; claims of such a node are about to go to others."""
    is_heard: bool
    """Whether anybody listens at its inbox."""
    claims: int
    """How many jobs it holds."""
    info: NodeInfo | None = None
    """`None`: it has not said, or not in a way this version can read."""
