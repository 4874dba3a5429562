"""How a node is: whether it lives, whether it is ready for work, why not, and in which figures."""

from __future__ import annotations

import msgspec


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that keeps a node from being ready, or alive."""

    code: str
    """One of those that `policy.health` lists."""
    text: str
    """A sentence for people."""
    since: float | None = None
    """Seconds for which it has been so, where that is known."""
    value: float | None = None
    """The figure that is beyond its limit."""
    limit: float | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A line of code that was under way while the event loop was late."""

    file: str
    line: int
    function: str
    seen: int
    """In how many looks; at most ten a second."""


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """A line at which jobs of a processor have kept the event loop to themselves (`blocked_after`)."""

    processor: str
    file: str
    line: int
    function: str
    times: int
    """By so many jobs."""
    longest: float
    """Seconds that one of them was seen to keep it."""
    ago: float
    """Seconds since one was seen to."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is judged by."""

    uptime: float = 0.0
    loop_silent: float = 0.0
    """Seconds for which the event loop has owed a sign of life; 0: it owes none."""
    loop_lag_p50: float = 0.0
    """Of the last minute: seconds that the event loop took to do what it was asked, at the median"""
    loop_lag_p99: float = 0.0
    """and in all but one of a hundred times."""
    kept_by: list[Place] = []
    """What the loop was at when it was late, the most frequent first: ten at most."""
    blocked: list[Blocked] = []
    """Where jobs have kept it to themselves for too long, in the last hour, the worst first: ten at most."""
    store_silent: float = 0.0
    """Seconds since the store last answered."""
    round_trip: float | None = None
    """Seconds it took to answer just now; `None`: it did not."""
    lease_left: float | None = None
    """Seconds until this node's lease is over; `None` for a pure client."""
    memory_mb: float = 0.0
    memory_limit_mb: float | None = None
    claims: int = 0
    """Jobs it holds."""
    running: int = 0
    """Those of them whose code runs."""


class NodeHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One node's own judgement."""

    node: str
    live: bool
    """Its event loop gets on; if not, starting the process anew is what helps."""
    ready: bool
    """It claims jobs now, if there are any; of a pure client: it may submit some."""
    reasons: list[Reason] = []
    """Why not; empty if it is both."""
    figures: Figures = Figures()
