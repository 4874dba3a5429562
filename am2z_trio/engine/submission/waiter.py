"""One submitted job, and whoever waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Literal, NamedTuple, Protocol

from am2z_trio.concurrency import Event, Host, Spot
from am2z_trio.model.errors import AM2ZError, DeadlineExceededError, TotalTimeoutError
from am2z_trio.model.records import EarlyOutcome, Enqueue, Settled


class Limits(NamedTuple):
    """How long a caller waits."""

    worker: float | None
    """Seconds, from when the job may start, for which nobody may serve its processor before it has begun."""
    till: float
    """When it waits no longer at all, by the host's clock; infinity: for ever."""
    total: float
    """`till`, in seconds since the job was submitted."""
    begins: float = inf
    """When the job is taken back unless it has begun, by the host's clock."""


class Listener(Protocol):
    """Whoever is told of an outcome: a spot, or one of many for which one task waits."""

    def wake(self, value: Any = None) -> None: ...


class _Watched:
    """In the place of the spot of who waits for a job to be accepted: somebody is called, too, and once."""

    __slots__ = ("_heard", "spot")

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard: Callable[[], None] | None = heard
        self.spot: Spot | None = None

    def wake(self) -> None:
        heard, self._heard = self._heard, None
        if heard is not None:
            heard()
        if self.spot is not None:
            self.spot.wake()


class Waiter:
    """One submitted job and whoever waits for it."""

    __slots__ = (
        "__weakref__",
        "_accepted",
        "_done",
        "_host",
        "_spot",
        "asked",
        "assumed",
        "due",
        "early",
        "gave_up",
        "history",
        "id",
        "in_doubt",
        "known",
        "limits",
        "look",
        "outcome",
        "request",
        "shared",
        "state",
        "unserved",
    )

    def __init__(
        self,
        host: Host,
        id: str,
        request: Enqueue | None,
        spot: Listener | None,
        asked: float,
        *,
        shared: bool,
        limits: Limits | None = None,
        assumed: bool = False,
    ) -> None:
        """`asked`: when, by the host's clock."""
        self.id = id
        self.request = request
        """`None` for a job that somebody else has submitted."""
        self.outcome: Settled | AM2ZError | None = None
        self.asked = asked
        self.due = asked if request is None else asked + request.delay
        """When it may start."""
        self.limits = limits
        self.assumed = assumed
        """Its processor was asked for by name, and known to be served some time ago."""
        self.early: list[EarlyOutcome] | None = None
        """Where to note that the outcome was told before it was recorded; `None`: it is to be recorded."""
        self.gave_up = False
        """Its own limit was over before its outcome had come."""
        self.unserved = 0.0
        """Seconds it was seen waiting while nobody served its processor."""
        self.shared = shared
        """Its id was chosen by the user: the job may be somebody else's, too."""
        self.state: Literal["in line", "being sent", "sent", "joined", "abandoned"] = "in line"
        self.in_doubt = False
        """The store may have taken the job, or may do so yet: a refusal is no verdict on it."""
        self.known = False
        """The store had the job already, from another caller or from an earlier run of this one."""
        self.history = ""
        """The store's history that it was sent into."""
        self.look = False
        """An outcome was heard of before the store had answered: read the record then."""
        self._host = host
        self._spot = spot
        self._done: Event | None = None
        self._accepted: Spot | _Watched | None = None

    @property
    def is_known(self) -> bool:
        """Whether the store has the job, as far as this node knows."""
        return self.state in ("sent", "joined")

    @property
    def is_call(self) -> bool:
        """Whether a job that runs on this node has called it."""
        return self.request is not None and self.request.spec.parent != ""

    @property
    def may_run_again(self) -> bool:
        """Whether the id may be used again once it has ended without completing."""
        return self.shared or (self.request is not None and self.request.again)

    @property
    def input(self) -> str:
        """Digest of what it was asked with, where that is to be that of the job."""
        return "" if self.request is None else self.request.input

    @property
    def till(self) -> float:
        """When its caller waits no longer, by the host's clock."""
        return inf if self.limits is None else self.limits.till

    def error_of(self, error: AM2ZError | None) -> AM2ZError | None:
        """The error of the outcome, as its caller is to see it. Its limit travels with the job as a
        deadline."""
        late = isinstance(error, DeadlineExceededError) and (self.gave_up or not self.known)
        return too_late(self) if late and self.till < inf else error

    def resolve(self, outcome: Settled | AM2ZError) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        if self._spot is not None:
            self._spot.wake(outcome)
        if self._done is not None:
            self._done.set()
        self.accept()

    def accept(self) -> None:
        """The store has the job."""
        if self._accepted is not None:
            self._accepted.wake()

    def wait_accepted(self) -> Awaitable[None]:
        """Wait until the store has answered; one task may, and does so at once."""
        accepted = self._host.spot()
        if isinstance(self._accepted, _Watched):
            self._accepted.spot = accepted
        else:
            self._accepted = accepted
        return accepted.park()

    def watch(self, heard: Callable[[], None]) -> None:
        """Have it called once: when the store has answered, or nobody waits for that any more."""
        watched = self._accepted = _Watched(heard)
        if self.is_known or self.outcome is not None:
            watched.wake()

    async def wait(self) -> Settled | AM2ZError:
        """Wait for the outcome; any number of tasks may."""
        if self.outcome is None:
            if self._done is None:
                self._done = self._host.event()
            await self._done.wait()
        assert self.outcome is not None
        return self.outcome


def too_late(waiter: Waiter) -> TotalTimeoutError:
    """The error of a job that has not ended in the time that its caller gave it."""
    assert waiter.request is not None
    assert waiter.limits is not None
    spec, total = waiter.request.spec, waiter.limits.total
    return TotalTimeoutError(
        f"the job of {spec.processor!r} had not ended {total:g} s after it was submitted (total_timeout)",
        context={"job": spec.id, "processor": spec.processor, "seconds": total},
    )
