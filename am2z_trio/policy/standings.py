"""How a namespace stands: what findings are found in."""

from __future__ import annotations

import msgspec

from am2z_trio.model.records import QueuePressure, QueueStats, ServerFigures
from am2z_trio.model.views.health import Blocked

from .forecast import Forecast


class NodeStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How one node stands."""

    name: str
    silent_for: float | None = None
    """Seconds for which nobody has heard it, or it has not answered; `None`: it is heard."""
    is_heard: bool = True
    """Somebody listens at its inbox: where it is silent all the same, its event loop does not get on."""
    claims: int = 0
    version: str = ""
    loop_lag: float = 0.0
    """Seconds by which its event loop is late in one of a hundred times."""
    kept_by: str = ""
    """Where its code is when it is late, most often."""
    blocked: tuple[Blocked, ...] = ()
    """Where jobs have kept its event loop to themselves."""
    host: str = ""
    restarts: int = 0
    """How often nodes of its host have lately gone and come anew, for each that is there."""
    is_drained: bool = False
    """It was told to claim no more jobs."""


class QueueStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How one queue stands, with what is known of its past."""

    processor: str
    stats: QueueStats
    pressure: QueuePressure
    oldest: float | None = None
    """Seconds for which the job has waited that has waited longest."""
    usual_oldest: float | None = None
    """What that is usually."""
    held_for: float | None = None
    """Seconds for which it has been at its limit; `None`: it is not."""
    longest: float | None = None
    """Seconds for which the job has run that has run longest."""
    longest_job: str = ""
    usual_longest: float | None = None
    """What all but one of a hundred take."""
    integrity: int = 0
    """Jobs that have found a state's bytes changed, in the last hour."""


class ScheduleStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How one schedule stands."""

    id: str
    processor: str
    session: str = ""
    failed: bool = False
    """It is paused, as its last run has failed."""
    overdue: float | None = None
    """Seconds for which its next run has been due, beyond what is no miss; `None`: it is not."""
    passed_by: int = 0
    """Times that have been missed, in all."""
    is_served: bool = True
    """Whether its next run will find a node."""


class SessionStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How one session stands that is being stopped."""

    id: str
    stopping_for: float
    """Seconds, as far as was seen."""
    jobs: int = 0
    """Of it that have not ended."""
    nodes: tuple[str, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace at one time."""

    at: int
    """Ms since the epoch, by the store's clock."""
    queues: list[QueueStanding] = []
    nodes: list[NodeStanding] = []
    schedules: list[ScheduleStanding] = []
    sessions: list[SessionStanding] = []
    server: ServerFigures | None = None
    expected: Forecast | None = None
