"""Why a job does not run, runs so long, or has ended as it has."""

from __future__ import annotations

from typing import Literal

import msgspec

from .stack import Frame

GateState = Literal["open", "shut", "unknown"]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One condition on a job's way to a worker's code."""

    name: str
    """Such as `due` or `paused`; a stable word."""
    state: GateState
    evidence: str
    """What is so, with the figures, as part of a sentence."""
    of: Literal["claim", "worker", "run"] = "claim"
    """Who decides by it: the store when a node claims; the nodes, which claim or do not; or whatever comes
    once it was granted."""
    moves_in: float | None = None
    """Seconds after which it opens by itself, where that is known."""


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """What a person may do."""

    action: str
    """A stable word: `cancel`, `resume`, `serve`, `undrain`, `wait`, `raise`, `retry`, `look`,
    `signal`."""
    target: str = ""
    """Of the action: a job, a queue, a node."""
    text: str
    """The command, or advice in a few words."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What stands between a job and its end."""

    job: str
    status: str
    """Empty: there is no record of it."""
    processor: str = ""
    session: str = ""
    at: int = 0
    """When this was so, in ms since the epoch by the store's clock."""
    verdict: str
    """One sentence that a person can act on."""
    blocked_by: str = ""
    """The name of the first gate that is shut."""
    granted_next: bool | None = None
    """Whether the next claim grants it by a node that has room for all that waits; `None`: that hangs on what
    was not looked at. False for one that does not wait."""
    parked: bool = False
    """It has begun, and waits without a worker for a time or a signal (`ctx.sleep`, `ctx.wait_for`)."""
    starts_in: float | None = None
    """Seconds after which what is shut opens by itself; `None` where it does not, or nobody knows."""
    where: Frame | None = None
    """The line at which a running job is, as its node has said it; `None` where nobody has."""
    gates: list[Gate] = []
    """In the order in which they are met; none for a job that is active or has ended."""
    remedies: list[Remedy] = []
