"""A claim: what is granted with it, how it stands, and how it is settled."""

from __future__ import annotations

from typing import Literal

import msgspec

from .jobs import EarlyOutcome, JobSpec
from .states import StateRecord


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
    promised: tuple[str, ...] = ()
    """Queues in each of which this node may begin one job at once that this one calls: the store counts it as
    active from the grant on. The call that makes it says under which token it was begun (`Enqueue.under`).
    It is promised no more then, nor where it is called without having been begun, or when this claim ends."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the store sees one claim that its node believes to hold."""

    status: Literal["held", "settled", "lost"]
    """`settled`: with this very token. `lost`: it was taken away, or ended by others, or its record is
    gone."""
    cancel: str | None = None
    """For `held`: why somebody wants the job cancelled."""


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
    outcome: Literal["completed", "failed", "retry", "cancelled", "released", "conflicted", "parked"]
    """`conflicted`: it was run in vain; it goes back, to be run when it is its turn. `parked`: it goes back
    when what it waits for is there (`Wait`)."""
    result: bytes = b""
    """An encoded `ResultRecord`, for `completed`, `failed` and `cancelled`; for `retry`, what the next
    attempt is granted as `errors`."""
    reason: str = ""
    """For `cancelled`: why, in a few words. For `failed` and `retry`: what the event is to say, see
    `reason_of_failure`. For `released`: the same of why it is left to others; empty: it was asked back.
    For `conflicted`: the turn it takes from now on. For `parked`: the keys of what it waits for, a line
    each."""
    delay: float = 0.0
    """Seconds before it may be claimed again, for `retry` and `released`."""
    commit: Commit | None = None
    builds_on: tuple[EarlyOutcome, ...] = ()
    """What its run was told before it was recorded."""
    told: bool = False
    """Who has called it on this very node knows how it ends, so this node need not hear of it: where it alone
    is to, nobody does. Only of one that says no more than its result."""


class SettleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one settlement."""

    status: Literal["applied", "replay", "fenced", "gone", "unfounded", "conflict"]
    """`unfounded`: some of what it is built on has not been recorded. The claim is kept."""
    outcome: str = ""
    """What the job became: for `applied` and `replay`."""
    current: StateRecord | None = None
    """For `conflict`: the state as it is now. The claim is kept."""
