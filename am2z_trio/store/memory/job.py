"""A job's record: all that the server knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from am2z_trio.model.options import Retention
from am2z_trio.model.records import JobSpec, Settled
from am2z_trio.model.transitions import Status

from .line import Entry


@dataclass(slots=True)
class JobRecord:
    spec: JobSpec
    queue: str
    priority: int
    deadline: float
    max_stalled: int
    status: Status
    attempt: int = 1
    deliveries: int = 0
    stalls: int = 0
    progress: float = 0.0
    due: float = 0.0
    node: str = ""
    token: str = ""
    last_token: str = ""
    last_outcome: str = ""
    lost: tuple[str, str] = ("", "")
    """Token and node of the claim that was taken away, until somebody else is granted the job."""
    charged: list[str] = field(default_factory=list[str])
    """Tokens of the claims for which `stalls` were counted."""
    errors: bytes = b""
    cancel_reason: str | None = None
    outlived: float = inf
    """Until when the record of its parent is kept, which has ended before it."""
    settled: Settled | None = None
    forget_at: float = inf
    failed_at: float = 0.0
    on_complete: Retention | None = None
    on_fail: Retention | None = None
    input: str = ""
    """Digest of what it was given."""
    debounce: str = ""
    generation: int = 0
    """How often its id was used before."""
    turn: str = ""
    """The turn it takes; empty for none."""
    place: int = 0
    """Where it is in the line for its turn, once it has been there."""
    conflicts: int = 0
    stays: bool = False
    named: bool = False
    """Somebody has chosen its id, and may use it again."""
    away: bool = False
    """It waits for others, or for room to go on: limits do not count it."""
    aside: bool = False
    """A rate limit has set it aside once."""
    depth: int = 0
    """How deep it is in calls of other jobs; 0 if none waits for it."""
    children: dict[str, None] = field(default_factory=dict[str, None])
    origins: list[str] = field(default_factory=list[str])
    """Nodes that wait for the outcome: every one that has enqueued this id."""

    @property
    def entry(self) -> Entry:
        """What stands for it in a line."""
        return self.spec.id, self.generation
