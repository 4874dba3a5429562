"""What arrives in a node's inbox."""

from __future__ import annotations

from typing import Annotated, Final

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
    grant = Grant(
        spec=job.spec,
        token=answer.token,
        attempt=1,
        deliveries=1,
        remaining=job.deadline,
        promised=answer.promised,
    )
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


class Signalled(msgspec.Struct, frozen=True, array_like=True, tag="signal"):
    """Inbox message: there is a signal that the job waits for."""

    id: str
    token: str
    name: str = ""
    """Of the signal; empty where an older node has sent it, which does not say."""


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


NODE: Final = r"^[A-Za-z0-9_.~-]{1,96}\Z"
"""What a node's id looks like: a plain name and a random part."""

NOTHING: Final = msgspec.Raw(b"\xc0")


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    """Inbox message: another node wants to know something of this one, or to have it do something."""

    id: Annotated[str, msgspec.Meta(max_length=64)]
    """What the answer is to name."""
    inbox: Annotated[str, msgspec.Meta(pattern=NODE)]
    """The node that asks."""
    verb: Annotated[str, msgspec.Meta(max_length=32)]
    """One of those that `questions` lists. Of a newer node it may be another one: that is refused."""
    arguments: msgspec.Raw = NOTHING
    """What goes with the verb, as `questions` says."""


class Told(msgspec.Struct, frozen=True, array_like=True, tag="told"):
    """Inbox message: what a node answers."""

    id: Annotated[str, msgspec.Meta(max_length=64)]
    node: Annotated[str, msgspec.Meta(pattern=NODE)]
    payload: msgspec.Raw = NOTHING
    refusal: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    """Why it does not answer; empty if it does."""


InboxMessage = (
    Settled | Wake | Handed | CancelRequest | MayGoOn | Signalled | LockGranted | SessionStopped | Ask | Told
)
