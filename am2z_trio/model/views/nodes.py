"""A node, as anybody may see it."""

from __future__ import annotations

from typing import Literal

import msgspec


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """One node that may claim jobs."""

    id: str
    status: Literal["serving", "draining", "unheard", "lost"]
    """`unheard`: nobody listens at its inbox, its connection is gone; `lost`: its lease is over, too, and
    others are about to get its jobs."""
    lease: float
    """Seconds until its lease is over; below 0: it is."""
    claims: int
    """Jobs that it holds."""
    host: str = ""
    """Empty, as all that follows is, for a node that has not said who it is."""
    pid: int = 0
    version: str = ""
    python: str = ""
    library: str = ""
    started: int = 0
    """When its runtime was entered: ms since 1970, by its own clock."""
    max_running: int | None = None
    concurrency: dict[str, int] = {}
    """By processor that it serves: jobs of it that may run there at a time. Some of them, of very many."""
    served: int = 0
    """How many processors it serves."""


class LostNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node from which jobs were taken, as it was taken for dead."""

    id: str
    at: int
    """When the last of them was, ms since the epoch by the store's clock."""
    jobs: int
    """How many wait, or run, elsewhere since."""
    processors: list[str] = []
    """Of which, in order."""


class LostNodes(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes that were lost of late, the last one first: those that held jobs."""

    nodes: list[LostNode]
    kept: bool = True
    """Whether there is a history of events, which is where they stand."""
    more: bool = False
    """Events that are further back were not looked at, as there are very many."""
