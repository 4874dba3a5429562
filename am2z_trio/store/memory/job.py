"""A job's record: all that the server knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from am2z_trio.model.options import Retention
from am2z_trio.model.records import JobSpec, Labels, Settled, WaitFacts
from am2z_trio.model.transitions import Status
from am2z_trio.model.views.jobs import MOST_TRAIL, TrailEntry, cut
from am2z_trio.store.agreed import BOUNDS

from .line import Entry
from .mail import JobWaits


@dataclass(slots=True)
class JobRecord:
    spec: JobSpec
    queue: str
    priority: int
    deadline: float
    max_stalled: int
    expires: float
    """Until when it may begin for the first time; for ever, once it has."""
    status: Status
    at: float = 0.0
    """When it came, or came again as if for the first time."""
    since: float = 0.0
    """When its last run began; of one that has ended in a line, 0."""
    ended: float = 0.0
    attempt: int = 1
    deliveries: int = 0
    stalls: int = 0
    progress: float = 0.0
    reported: bool = False
    """Whether any progress was."""
    logs: str = ""
    """What it has logged."""
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
    labels: Labels | None = None
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
    trail: list[TrailEntry] = field(default_factory=list[TrailEntry])
    revived: bool = False
    """It was a dead letter once."""
    away: bool = False
    """It waits for others, or for room to go on: limits do not count it."""
    aside: bool = False
    """A rate limit has set it aside once."""
    depth: int = 0
    """How deep it is in calls of other jobs; 0 if none waits for it."""
    children: dict[str, None] = field(default_factory=dict[str, None])
    promised: list[str] = field(default_factory=list[str])
    """Queues of jobs that its node may begin which it calls: they are counted as active there."""
    sent: set[str] = field(default_factory=set[str])
    """What it has submitted, and does not wait for."""
    called: dict[str, None] = field(default_factory=dict[str, None])
    """What it had called when it ended."""
    waits: JobWaits | None = None
    """What it waits for, and has waited for, beside jobs; and the signals to it."""
    signals: list[str] = field(default_factory=list[str])
    """Which signals to it were the last ones."""
    origins: list[str] = field(default_factory=list[str])
    """Nodes that wait for the outcome: every one that has enqueued this id."""

    def note(self, now: float, what: str, node: str, told: str = "") -> None:
        """Something that does not happen where all goes well; `told` is a code, a line's end and a text."""
        code, end, text = told.partition("\n")
        code, text = (code, text) if end else ("", told)
        self.trail.append(TrailEntry(int(now), what, node, self.attempt, cut(code), cut(text)))
        if len(self.trail) > MOST_TRAIL:
            del self.trail[1]

    @property
    def parked_for(self) -> tuple[WaitFacts, ...]:
        """Some of what it waits for, by their keys; nothing where it is not parked."""
        if self.waits is None or self.status != "later" or self.last_outcome != "parked":
            return ()
        return tuple(
            WaitFacts(
                name=wait.name,
                since=int(wait.since),
                until=None if wait.until == inf else int(wait.until),
            )
            for _, wait in sorted(self.waits.open.items())[: BOUNDS.named]
        )

    @property
    def left_to_others(self) -> str:
        """Why the node that had it last has left it to others; empty if it has not."""
        last = self.trail[-1] if self.trail else None
        return last.text if last is not None and last.what == "released" else ""

    @property
    def entry(self) -> Entry:
        """What stands for it in a line."""
        return self.spec.id, self.generation
