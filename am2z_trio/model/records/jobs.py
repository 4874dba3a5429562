"""A job: what has to be done, how it gets into the store, and how it is looked at there."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ..checks import MAX_SECONDS
from ..limits import MAX_CALLERS, MAX_CALLERS_BYTES
from ..options import Retention
from ..transitions import Status
from .names import plain_name
from .outcomes import Settled

LEFT_OUT: Final = "…"

Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]

NO_STATE: Final = msgspec.Raw(b"\xc0")
"""In `JobSpec.state`, nil: the job works on the stored state of its session."""


class Scheduled(msgspec.Struct, frozen=True, array_like=True):
    """Which run of which schedule a job is."""

    id: str
    """The schedule's."""
    at: int
    """The nominal time, in ms since the epoch: when it was to run, jitter and lateness apart."""
    missed: int = 0
    """How many earlier times it stands for beside its own, of which each was missed or gave way to it."""

    @property
    def instant(self) -> datetime:
        """The nominal time, UTC."""
        return datetime.fromtimestamp(self.at / 1000, UTC)


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
    """Whether what it returns becomes its session's state."""
    multiplier: Annotated[float, Meta(ge=1, le=1000)] | None = None
    """Overrides the processor's backoff multiplier."""
    callers: list[str] = []
    """Names of the processors above this one, the outermost first."""
    trace: object = ""
    """Who sent it, for whoever traces its run: a W3C traceparent, and behind a line's end its tracestate; at
    most `MAX_TRACE_BYTES`. Empty for none. Whatever else stands there is no reason not to run the job."""
    schedule: Scheduled | None = None
    """Of a job that a schedule has made."""


class SpecHead(msgspec.Struct, frozen=True, array_like=True):
    """What every version of a `JobSpec` begins with."""

    version: Annotated[int, Meta(ge=0)]


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


EarlyOutcome = tuple[str, str]
"""An outcome that somebody was told before it was recorded: a job, and the token with which it is settled as
completed. What is built on it is accepted once that is so."""


class Enqueue(msgspec.Struct, frozen=True, kw_only=True):
    """One job on its way into the store."""

    spec: JobSpec
    queue: str
    priority: int = 0
    """0 goes first; then 1 (most urgent) to 2,097,151."""
    lifo: bool = False
    """It stands before the others of its line that wait when it comes."""
    delay: Seconds = 0.0
    """Seconds before it may be claimed."""
    deadline: Seconds | None = None
    """Seconds from now after which it must not be started any more."""
    expires: Seconds | None = None
    """Seconds from now by which it must have begun for the first time, if it is to be run at all."""
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
    builds_on: tuple[EarlyOutcome, ...] = ()
    """What the run that calls it was told before it was recorded."""
    only_asked: bool = False
    """It is claimed, and given to nobody unasked: who would take it back from a worker that is gone must know
    whether that has begun it."""
    tags: tuple[str, ...] = ()
    sender: str = ""
    """Id of the job that submits it and does not wait for it: accepted while that runs, and once for all of
    its runs, also when its own record has gone. Empty for none."""
    under: str = ""
    """The node that sends it has begun it already, under this token, as it was promised with its parent
    (`Grant.promised`): the parent's token, `/`, and what no other part of that claim has. Empty: not so."""


class Labels(msgspec.Struct, frozen=True, array_like=True):
    """What a job is found by that neither its queue nor its session says: kept as long as its record, also
    when what it was given is not kept any more."""

    trace: str = ""
    """Of the trace that it was sent in: 32 hex digits, and empty where nobody records that trace."""
    schedule: str = ""
    """Id of the schedule that has made it."""
    tags: tuple[str, ...] = ()


def labels_of(job: Enqueue) -> Labels | None:
    """Those of a job; `None`: it has none."""
    spec = job.spec
    trace = _SAMPLED.match(spec.trace) if spec.trace and type(spec.trace) is str else None
    if trace is None and spec.schedule is None and not job.tags:
        return None
    return Labels(
        trace="" if trace is None else trace[1],
        schedule="" if spec.schedule is None else spec.schedule.id,
        tags=job.tags,
    )


_SAMPLED: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f][13579bdf]")
"""A traceparent of which the sender says that the trace is recorded."""


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs on their way into the store that are alike but for id and state; what they share is said once."""

    like: Enqueue
    """What they are. The id, state and input in it are nobody's; whether there is a state is true of all."""
    states: list[bytes]
    """Each job's, encoded."""
    prefix: str = ""
    first: int = 0
    """The ids, where the engine makes them: the prefix, and numbers from this one on, in hex."""
    chosen: list[str] = []
    """The ids, where somebody has chosen them."""
    inputs: list[str] = []
    """`Enqueue.input` of each whose id was chosen."""

    def job(self, number: int) -> Enqueue:
        """One of them, as if it came alone."""
        like, id, input = self.like, f"{self.prefix}{self.first + number:x}", ""
        if self.chosen:
            id, input = self.chosen[number], self.inputs[number]
        spec = msgspec.structs.replace(like.spec, id=id, state=msgspec.Raw(self.states[number]))
        return msgspec.structs.replace(like, spec=spec, input=input)


def debounce_name(job: Enqueue) -> str:
    """The key of a job that may give way to a later one: each session has its own."""
    key, session = plain_name(job.debounce), job.spec.session
    return f"{key}@{plain_name(session)}" if session else key


class EnqueueAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one job on its way in."""

    status: Literal["queued", "dup", "stopped", "full", "orphan", "taken", "unknown", "unfounded"]
    """`stopped`: its session is being stopped. `full`: too many wait. `orphan`: the job that called it, or
    sends it, has ended. `taken`: its id is that of another job. `unknown`: there is no job that it could
    join. `unfounded`: some of what it is built on has not been recorded. Nothing was accepted then."""
    waiting: int = 0
    """For `full`: how many wait."""
    other: Literal["", "session", "processor", "input"] = ""
    """For `taken`: what the other job has another one of."""
    processor: str = ""
    """For `taken`: whose job it is, where it is not another session's."""
    settled: Settled | None = None
    """For `dup`: the earlier outcome if the job has ended already."""
    token: str = ""
    """For `queued`: this node was given it at once (`handed_at_once`), under this token; else empty."""
    left: int = 0
    """Then as in `Handed`."""
    promised: tuple[str, ...] = ()
    """Then as in `Grant`."""


ACCEPTED: Final = frozenset({"queued", "dup"})
"""Answers that say: the store has the job."""


class BulkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of many jobs on their way in."""

    accepted: int
    """How many the store has now, of those it knew already, too: the first ones."""
    refused: EnqueueAnswer | None = None
    """Why it has not taken the next one; those behind it were not looked at."""


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
    processor: str = ""
    """Empty where its record has lost it."""
    session: str = ""
    """Empty for none."""
