"""What arrives in a node's inbox."""

from __future__ import annotations

import msgspec

from .claims import ClaimAnswer, Grant
from .jobs import Enqueue, EnqueueAnswer
from .outcomes import Settled


class Wake(msgspec.Struct, frozen=True, array_like=True, tag="wake"):
    """Inbox message: this queue has work, and this node was taken out of its parking lot."""

    queue: str


class Handed(msgspec.Struct, frozen=True):
    """Inbox message: a job of this queue was claimed for this node, which takes some unasked."""

    queue: str
    left: int
    """How many more it may be given; 0: it is parked no more, or that is not known."""
    answer: ClaimAnswer
    """As if it had claimed the job."""


def handed_at_once(job: Enqueue, answer: EnqueueAnswer) -> Handed:
    """What a node was given of that which it has sent itself."""
    grant = Grant(spec=job.spec, token=answer.token, attempt=1, deliveries=1, remaining=job.deadline)
    return Handed(job.queue, answer.left, ClaimAnswer(grants=[grant]))


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


InboxMessage = Settled | Wake | Handed | CancelRequest | MayGoOn | LockGranted | SessionStopped
