"""What travels: between engine and store, and between nodes.

Records are frozen and compared by value. Those that are stored or sent (`array_like`) only ever
grow at the end, so that a node reads what an older or newer one wrote. Times on the wire are
whole milliseconds of the store's clock; durations are seconds.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from .errors import ErrorRecord
from .limits import MAX_CALLERS, MAX_CALLERS_BYTES, MAX_REASON_BYTES
from .options import MAX_SECONDS, QueueOptions, Retention
from .telling import cut
from .transitions import Status, Terminal

LEFT_OUT: Final = "…"

_LINE_END: Final = "\n"

WIRE_VERSION: Final = 1
"""Goes up when a record changes so that an older reader would misread it."""

SESSION_STOPPED: Final = "session stopped"
"""Why the store ended a job whose session was stopped: its caller's error is `SessionStoppedError`."""

DEADLINE: Final = "deadline"
"""Why a job was cancelled whose caller waits no longer: its caller's error is `DeadlineExceededError`."""

DEBOUNCED: Final = "a later job took its place (debounce)"
"""Why the store ended a job that had not begun when another one of the same key came."""

PARENT_ENDED: Final = "the job that called it has ended"
"""Why the store ended a job, or asked for it to end, whose parent was over."""

STALLED: Final = "the job was lost with its worker more often than its queue allows (max_stalled_count)"
"""What is said of a job that the store ended as lost."""

UNREADABLE: Final = "its record cannot be read"
"""How the reason begins for which the store ended a job that something else has spoilt."""

CHILD_TTL: Final = 7 * 24 * 3600.0
"""Seconds the outcome of a child is kept for its parent, which may be run again; less once that ends."""

DEAD_TTL: Final = 7 * 24 * 3600.0
"""Seconds a job that has failed for good is kept as a dead letter, unless its options say otherwise."""

DEAD_COUNT: Final = 1000
"""Dead letters of one queue that are kept, the newest."""

ANNOUNCED_FOR: Final = 7 * 24 * 3600.0
"""Seconds for which a queue without jobs is known after the last announcement; see `ANNOUNCE_EVERY`."""

ANNOUNCED_LATELY: Final = 24 * 3600.0
"""Seconds for which a queue is known by name after somebody served it last: over a night without workers, or
a deployment that went wrong. See `QueueInfo.known`."""

ANNOUNCE_EVERY: Final = 3600.0
"""Seconds after which a node announces again what it serves."""

KEPT: Final = 60.0
"""Seconds an ended job's record is kept whatever its options say: its callers may not have heard of it yet,
and a repeated submission must find it."""

NO_STATE: Final = msgspec.Raw(b"\xc0")
"""In `JobSpec.state`, nil: the job works on the stored state of its session."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


def plain_name(text: str) -> str:
    """Spell any text so that it can stand in a key: itself where harmless, else `~` + a digest.

    Injective up to SHA-256 collisions, and user text can never shape a key: `~` is not a plain
    character, so no plain name equals a digest.
    """
    if _PLAIN.match(text):
        return text
    return "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def queue_name(processor: str, session: str | None = None) -> str:
    """Name a processor's shared queue, or its queue for one session."""
    if session is None:
        return plain_name(processor)
    return f"{plain_name(processor)}@{plain_name(session)}"


def turn_of(spec: JobSpec) -> str:
    """The turn that a job takes with others to work on its session's state; empty: it takes none.

    Jobs that nobody called take turns in their session, and those that one job has called among themselves:
    so no job waits for one that waits for it.
    """
    if not spec.session:
        return ""
    if spec.parent:
        return f"/{spec.parent}"
    return "" if spec.depth else plain_name(spec.session)


class JobSpec(msgspec.Struct, frozen=True, array_like=True):
    """What has to be done: written once at enqueue, never changed.

    Its bounds are looked at where it is read: they are those within which it is made.
    """

    version: Annotated[int, Meta(ge=1)]
    id: Annotated[str, Meta(min_length=1)]
    processor: Annotated[str, Meta(min_length=1)]
    session: str
    """Session id; empty for a job without one."""
    state: msgspec.Raw
    """The encoded input, or `NO_STATE`."""
    origin: str
    """Node whose inbox hears the outcome; empty for nobody."""
    timeout: Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | None = None
    """Overrides the processor's timeout, in seconds."""
    attempts: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    """Overrides the processor's retry policy: how many attempts in all."""
    backoff: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] | None = None
    """Overrides the processor's first backoff, in seconds."""
    depth: Annotated[int, Meta(ge=0, le=2**31)] = 0
    """How many jobs are above this one."""
    parent: str = ""
    """Id of the job that called this one; empty for none."""
    commits: bool = True
    """Whether what it returns becomes its session's state; what a child returns is its parent's affair."""
    multiplier: Annotated[float, Meta(ge=1, le=1000)] | None = None
    """Overrides the processor's backoff multiplier."""
    callers: list[str] = []
    """Names of the processors above this one, the outermost first."""


def callers_below(spec: JobSpec) -> list[str]:
    """`callers` of a job that this one calls; where they are too many or too long, `…` stands for some in the
    midst."""
    first, *others = (*spec.callers, spec.processor)
    room = MAX_CALLERS_BYTES - len(first.encode())
    kept: list[str] = []
    while others and len(kept) < MAX_CALLERS and (room := room - len(others[-1].encode())) >= 0:
        kept.append(others.pop())
    left_out = [LEFT_OUT] if others else []
    return [first, *left_out, *reversed(kept)]


class SpecHead(msgspec.Struct, frozen=True, array_like=True):
    """What every version of a `JobSpec` begins with."""

    version: Annotated[int, Meta(ge=0)]


class Enqueue(msgspec.Struct, frozen=True, kw_only=True):
    """One job on its way into the store."""

    spec: JobSpec
    queue: str
    priority: int = 0
    """0 goes first; then 1 (most urgent) to 2,097,151."""
    delay: float = 0.0
    """Seconds before it may be claimed."""
    deadline: float | None = None
    """Seconds from now after which it must not be started any more."""
    max_stalled: int = 3
    """How often it may be lost with its worker before it fails for good."""
    max_size: int = 0
    """Most jobs that may wait in the queue for it to be accepted; 0: any number."""
    again: bool = False
    """A known job of this id that has ended without completing is run again."""
    stays: bool = False
    """It is not cancelled when nobody waits for it any more; counts with `again` only."""
    joins: bool = False
    """Only a job that is known is meant: none is made."""
    input: str = ""
    """Digest of what it is given: a known job with another one is not the same; empty: not compared."""
    debounce: str = ""
    """A job of this queue and session with the same key that has not begun gives way to this one; empty: none
    does."""
    on_complete: Retention | None = None
    on_fail: Retention | None = None


def debounce_name(job: Enqueue) -> str:
    """The key of a job that may give way to a later one: each session has its own."""
    key, session = plain_name(job.debounce), job.spec.session
    return f"{key}@{plain_name(session)}" if session else key


class EnqueueAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one job on its way in."""

    status: Literal["queued", "dup", "stopped", "full", "orphan", "taken", "unknown"]
    """`stopped`: its session is being stopped. `full`: too many wait. `orphan`: the job that called it
    has ended. `taken`: its id is that of another job. `unknown`: there is no job that it could join. Nothing
    was accepted then."""
    waiting: int = 0
    """For `full`: how many wait."""
    other: Literal["", "session", "processor", "input"] = ""
    """For `taken`: what the other job has another one of."""
    processor: str = ""
    """For `taken`: whose job it is, where it is not another session's."""
    settled: Settled | None = None
    """For `dup`: the earlier outcome if the job has ended already."""


class StateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session's state as the store holds it: bytes, and the mark that the next write compares."""

    version: int = 0
    """Grows by one with every write and deletion, and never goes back; 0: never written."""
    checksum: str = ""
    """SHA-256 of `blob`, hex; empty where there is no state: never written, deleted or expired."""
    blob: bytes = b""
    created: int = 0
    """When this state was first written, in ms since the epoch by the store's clock."""
    updated: int = 0
    """When it was last written."""

    @property
    def mark(self) -> tuple[int, str]:
        """Version and checksum: equal marks are equal states. Versions alone repeat where a server
        lost the end of its history."""
        return self.version, self.checksum

    @property
    def exists(self) -> bool:
        return self.checksum != ""


class StateWrite(msgspec.Struct, frozen=True, kw_only=True):
    """The next state of a session, or its deletion."""

    session: str
    seq: int
    """This write's number among those of its node, which only grow. The same number again is the
    same write; a smaller one than the session has seen of this node is a late duplicate."""
    blob: bytes
    """Empty: delete."""
    checksum: str
    expected: tuple[int, str] | None = None
    """The mark the state must still have; `None` for any."""
    ttl: float | None = None
    """Seconds after its last write at which this session's state expires, from now on; `inf`: never;
    `None`: as it is."""
    lock: str = ""
    """Token of the lock it is written under, which must still be held; empty for none."""


class WriteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one write."""

    status: Literal["applied", "conflict", "fenced", "stale"]
    """`fenced`: the lock is not held any more. `stale`: a late duplicate; nothing was written."""
    current: StateRecord | None = None
    """`applied`: what it became, without its bytes. `conflict`: what is there."""


class LockAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request for a lock."""

    fence: int | None
    """The fencing number if the lock was granted, which is greater than any before."""
    wait: float = 0.0
    """Otherwise: seconds until the present holder's lease ends. The request has its place in line."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed job: run it, and settle it with this token."""

    spec: JobSpec
    token: str
    """Fencing token: only the newest grant's token is accepted by any later write."""
    attempt: int
    """1 for the first."""
    deliveries: int
    """How often it was claimed, this time included; above `attempt` after releases and crashes."""
    remaining: float | None
    """Seconds until the job's deadline; `None` for no deadline."""
    stored: StateRecord | None = None
    """The session's state, for a job that works on it; otherwise `None`."""
    errors: bytes = b""
    """Encoded `AttemptError`s of the attempts before; empty for none."""
    conflicts: int = 0
    """How often this attempt was run in vain, as the session's state had moved when it was done."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the store sees one claim that its node believes to hold."""

    status: Literal["held", "settled", "lost"]
    """`settled`: with this very token. `lost`: it was taken away, or ended by others, or its record is
    gone."""
    cancel: str | None = None
    """For `held`: why somebody wants the job cancelled."""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """What limits a queue, on all nodes together. Zeros: nothing does."""

    starts: int = 0
    """Jobs that may be started within any `per` seconds."""
    per: float = 0.0
    set_aside: bool = False
    """What may not be started yet is delayed until it may, instead of staying where it is."""
    most_active: int = 0
    """Jobs that may be active at a time."""
    per_session: int = 0
    """Jobs of one session that may be active at a time."""


FREE: Final = Flow()


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """A circuit breaker's answer."""

    allowed: bool
    state: str
    """`closed`, `open` or `half-open`."""
    wait: float = 0.0
    """Seconds until it may be asked again, where it is not allowed."""


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed job whose spec this version cannot read."""

    id: str
    token: str
    reason: str
    deliveries: int = 1


class ClaimAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim brought."""

    grants: list[Grant]
    unreadable: list[Unreadable] = []
    """To be failed, since running them is no option."""
    newer: list[Unreadable] = []
    """Written by a newer version: to be left for a node that can read them."""
    next_due: float | None = None
    """Seconds until the next delayed job of this queue may be claimed."""
    lost: bool = False
    """This node's lease is gone: nothing was granted; it must register again."""
    stale: bool = False
    """A newer claim of this node was seen: this is a late duplicate, nothing was granted."""


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A new state for the job's session, applied with the settlement or not at all."""

    blob: bytes
    checksum: str
    expected: tuple[int, str] | None
    """The mark the state must still have; `None` for any."""
    turn: str = ""
    """The turn it must not take away from another job that has it; empty: none."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How one claimed job ended."""

    id: str
    token: str
    outcome: Literal["completed", "failed", "retry", "cancelled", "released", "conflicted"]
    """`conflicted`: it was run in vain; it goes back, to be run when it is its turn."""
    result: bytes = b""
    """An encoded `ResultRecord`, for `completed`, `failed` and `cancelled`; for `retry`, what the next
    attempt is granted as `errors`."""
    reason: str = ""
    """For `cancelled`: why, in a few words. For `failed` and `retry`: what the event is to say, see
    `reason_of_failure`. For `conflicted`: the turn it takes from now on."""
    delay: float = 0.0
    """Seconds before it may be claimed again, for `retry` and `released`."""
    commit: Commit | None = None


def reason_of_failure(error: ErrorRecord) -> str:
    """An error's code and message as a settlement has them, with a line's end between them."""
    return f"{error.code.partition(_LINE_END)[0]}{_LINE_END}{cut(error.message, MAX_REASON_BYTES)}"


def told_of_failure(attempt: int, reason: str) -> dict[str, Any]:
    """What the event of a failed attempt says."""
    code, between, message = reason.partition(_LINE_END)
    return {"attempt": attempt, "code": code, "message": message} if between else {"attempt": attempt}


class SettleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one settlement."""

    status: Literal["applied", "replay", "fenced", "gone", "conflict"]
    outcome: str = ""
    """What the job became: for `applied` and `replay`."""
    current: StateRecord | None = None
    """For `conflict`: the state as it is now. The claim is kept."""


class AttemptError(msgspec.Struct, frozen=True, array_like=True):
    """Why an earlier attempt failed."""

    attempt: int
    at: int
    """When, in ms since the epoch by the worker's clock."""
    error: ErrorRecord


class ResultRecord(msgspec.Struct, frozen=True, array_like=True):
    """What a job's caller gets to hear."""

    version: int
    state: msgspec.Raw
    """The encoded output; `nil` when the job failed."""
    error: ErrorRecord | None
    attempt: int
    started: int
    """When the last attempt began, in ms since the epoch by the worker's clock."""
    execution_time: float
    """How long the last attempt's code ran, in seconds."""
    node: str
    """The node that ran it."""
    earlier: list[AttemptError] = []
    """Why the attempts before failed, the last twenty."""


class Settled(msgspec.Struct, frozen=True, array_like=True, tag="settled"):
    """Inbox message: a job this node waits for has ended. The record says the same; it is the truth."""

    id: str
    status: Terminal
    reason: str
    """Set when the store itself ended the job: `deadline`, `stalled`, or why it was cancelled."""
    result: msgspec.Raw
    """An encoded `ResultRecord`; `nil` when the store itself ended the job."""
    omitted: bool = False
    """The result is too large for a message (32 kB): it is to be read from the record, and is nil here."""


class Wake(msgspec.Struct, frozen=True, array_like=True, tag="wake"):
    """Inbox message: this queue has work, and this node was taken out of its parking lot."""

    queue: str


class CancelRequest(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """Inbox message: stop running this job."""

    id: str
    token: str
    reason: str


class MayGoOn(msgspec.Struct, frozen=True, array_like=True, tag="go on"):
    """Inbox message: the job counts as active again; it had stepped aside, and has asked to step back."""

    id: str
    token: str


class LockGranted(msgspec.Struct, frozen=True, array_like=True, tag="granted"):
    """Inbox message: the lock that was asked for under this token has been handed on to it."""

    token: str
    fence: int


class SessionStopped(msgspec.Struct, frozen=True, array_like=True, tag="stopped"):
    """Message to all nodes: the session was stopped; all its jobs have ended."""

    session: str
    number: int
    """Of this stop; later ones, of any session, have greater ones."""
    by: str
    """The node that has stopped it, which is not told."""


InboxMessage = Settled | Wake | CancelRequest | MayGoOn | LockGranted | SessionStopped


class DeadJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has failed for good, with what is needed to look at it and to run it again."""

    spec: JobSpec | None
    """`None` where it cannot be read."""
    attempt: int
    stalls: int
    failed: int
    """When, in ms since the epoch by the store's clock."""
    settled: Settled
    processor: str
    session: str


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as anyone may look at it."""

    id: str
    status: Status
    attempt: int
    deliveries: int
    stalls: int
    progress: float
    settled: Settled | None = None
    """For a job that has ended."""
    input: str = ""
    """Digest of what it was given, where its id was chosen."""


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
    session: str = ""
    options: QueueOptions = QueueOptions()
    """Whoever submits by name alone goes by them."""
    workers: int = 0
    """Live nodes that serve it. The store's, as is the next."""
    known: bool = True
    """Whether it can be asked for by name: somebody serves it, or has within `ANNOUNCED_LATELY`, and not
    unregistered it as the last one."""


class RenewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How a node's lease stands."""

    lost: bool
    """It is gone: this node was reaped, or Redis was emptied. It must join again."""
    look: bool = False
    """It is this node's turn to look after what all nodes share: to `tick`."""
    wait: float = 1.0
    """Seconds after which to renew again, at the latest."""


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
