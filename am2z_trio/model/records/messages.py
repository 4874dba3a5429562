"""What arrives in a node's inbox."""

from __future__ import annotations

import msgspec

from .outcomes import Settled


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
