"""One claimed job: what runs it, waits in it, stops it or settles it has this in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Final, Literal, Protocol

import msgspec

from am2z_trio.concurrency import CancelScope, Event
from am2z_trio.concurrency.capacity import Capacity
from am2z_trio.model.records import EarlyOutcome, Grant, SettleAnswer, Settlement


class Stop(msgspec.Struct, frozen=True):
    """Why a job is to stop before its code has returned."""

    kind: Literal["cancelled", "released", "parked", "lost"]
    """`cancelled` is settled as such, `released` goes back to its queue, and `parked` when what it waits for
    is there; `lost` writes nothing, the claim is not ours any more."""
    reason: str
    """For `parked`: the keys of its waits, a line each."""
    asked: float | None = None
    """When this node heard of it, by the host's clock, where somebody has asked for it."""


class Newer(Protocol):
    """Where it is noted which jobs are for the nodes of a newer program."""

    def left(self, why: str) -> None:
        """One was left to them."""
        ...


class Holder(Protocol):
    """Whoever has claimed a job, and has to hear how it gets on."""

    @property
    def queue(self) -> str:
        """The queue that the job is of."""
        ...

    @property
    def newer(self) -> Newer:
        """Its jobs that are for the nodes of a newer program."""
        ...

    @property
    def stops_when_cut_off(self) -> bool:
        """Whether its jobs must not go on while others may be given them."""
        ...

    @property
    def on_wait(self) -> Callable[[], None]:
        """To be called when the code of a job waits for the first time: others may begin."""
        ...

    def away(self, claim: Claim, uncalled: str = "") -> AbstractAsyncContextManager[None]:
        """Around waiting for other jobs: this one takes no room then, here or in the limits of its queue.

        `uncalled`: one of them that the store takes for a job that nobody waits for.
        """
        ...

    async def stay_aside(self, claim: Claim) -> None:
        """The limits of the queue do not count a job that waits for others."""
        ...

    def look_back(self, claim: Claim, settlement: Settlement | None) -> None:
        """The job's code, or that of one within it, has run."""
        ...

    def on_settled(self, claim: Claim, settlement: Settlement, answer: SettleAnswer) -> None:
        """The store has answered."""
        ...


class Claim:
    """One claimed job. `scope` exists while its code runs."""

    __slots__ = (
        "began",
        "builds_on",
        "called",
        "caller",
        "calls",
        "counts",
        "ended",
        "grant",
        "has_waited",
        "holder",
        "is_limited",
        "is_running",
        "may_begin",
        "may_go_on",
        "part_of",
        "path",
        "promised",
        "room",
        "scope",
        "since",
        "started",
        "stop",
    )

    def __init__(self, grant: Grant, holder: Holder, since: float) -> None:
        self.grant = grant
        self.holder = holder
        self.since = since
        self.scope: CancelScope | None = None
        self.is_running = False
        self.is_limited = False
        """Whether its code has a timeout or a deadline, of itself or of its caller."""
        self.may_go_on: Event | None = None
        """Set when the limits of its queue let it go on."""
        self.stop: Stop | None = None
        self.calls = 0
        """Jobs it waits for now."""
        self.called = 0
        """Jobs it has called in this run."""
        self.builds_on: tuple[EarlyOutcome, ...] = ()
        """Outcomes that this run was told before they were recorded."""
        self.promised = grant.promised
        """Queues of which a job may be begun at once that it calls."""
        self.may_begin: tuple[str, ...] = ()
        """Tokens under which those may be that it has called."""
        self.part_of: Claim | None = None
        """The job in the store that it is run inline in, if it is."""
        self.caller: Claim | None = None
        """The job that runs it inline, if one does."""
        self.path = ""
        """Where in its root an inline call is."""
        self.room: Capacity | None = None
        """What limits how many such jobs this node runs, if anything does."""
        self.counts = False
        """Whether it takes up room there now."""
        self.began = self.ended = since
        """When its code ran last, by the host's clock."""
        self.started = 0.0
        """When it got its turn last, by the clock on the wall; 0: nobody has looked at that."""
        self.has_waited = False
        """Whether its code has let other tasks have a turn since it was begun."""

    @property
    def root(self) -> Claim:
        """The job in the store that this is part of: itself, unless it is run inline."""
        return self.part_of or self

    def take_promised(self, queue: str) -> str:
        """It calls a job in this queue: the token under which that may be begun at once, or an empty one."""
        if queue not in self.promised:
            # It has begun otherwise, and all that was promised is over.
            self.promised = ()
            return ""
        token, place = f"{self.grant.token}/{len(self.promised)}", self.promised.index(queue)
        self.promised = self.promised[:place] + self.promised[place + 1 :]
        self.may_begin = (*self.may_begin, token)
        return token

    def drop_promises(self) -> None:
        """Some of what it has called was sent: nothing else is begun at once."""
        self.promised = self.may_begin = ()

    def cancel(self, stop: Stop) -> None:
        """Stop the job at its next checkpoint, or before it starts. The first reason stays."""
        if self.stop is None:
            self.stop = stop
        if self.scope is not None:
            self.scope.cancel()

    def on_wait(self) -> None:
        """Its code waits for the first time since it was begun."""
        self.has_waited = True
        self.holder.on_wait()

    def settled(self, settlement: Settlement, answer: SettleAnswer) -> None:
        self.holder.on_settled(self, settlement, answer)


running: Final[ContextVar[Claim | None]] = ContextVar("am2z running job", default=None)
"""The job whose code runs in this task, or in the one that has started it."""


current_node: Final[ContextVar[str]] = ContextVar("am2z node", default="")
"""Id of the node whose job, or handler of events, runs in this task."""


def running_job() -> Claim | None:
    """The job in whose code we are; `None` outside of jobs, and in what a job has left behind."""
    claim = running.get()
    return claim if claim is not None and claim.is_running else None


@asynccontextmanager
async def aside(waits: bool = True, uncalled: str = "") -> AsyncIterator[None]:
    """Around waiting for a job's outcome, if it `waits`: a job that does so takes no room meanwhile.

    `uncalled` is the job it waits for, if the store does not know that another job has called it.
    """
    claim = running_job() if waits else None
    if claim is None:
        yield
    else:
        async with claim.holder.away(claim, uncalled):
            yield
