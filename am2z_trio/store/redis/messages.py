"""What a node hears on its channels: messages for it, and events for all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from am2z_trio.model.codec import RecordDecoder
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.events import Event, EventGroup
from am2z_trio.model.logs import Log
from am2z_trio.model.records import (
    Ask,
    CancelRequest,
    Handed,
    InboxMessage,
    LockGranted,
    MayGoOn,
    SessionStopped,
    Settled,
    Signalled,
    Told,
    Wake,
)

from .rows import claim_answer

logger: Final = Log("am2z_trio.store")
T = TypeVar("T")


class Handoff(msgspec.Struct, frozen=True, array_like=True, tag="handed"):
    """`Handed` on its way."""

    queue: str
    left: int
    id: str
    token: str
    remaining: int
    """Milliseconds to the job's deadline; -1: none."""
    spec: msgspec.Raw
    promised: str = ""
    """Queues, a line each."""


decode_groups: Final = RecordDecoder[list[EventGroup]](list[EventGroup])
decode_group: Final = RecordDecoder[EventGroup](EventGroup)
Posted = (
    Settled | Wake | Handoff | CancelRequest | MayGoOn | Signalled | LockGranted | SessionStopped | Ask | Told
)
decode_inbox: Final = RecordDecoder[list[Posted]](list[Posted])
decode_message: Final = RecordDecoder[Posted](Posted)
_decode_batch: Final = RecordDecoder[list[msgspec.Raw]](list[msgspec.Raw])


def inbox(payload: bytes) -> list[InboxMessage]:
    """What a node is told by one message of its channel."""
    return [
        _handed(told) if isinstance(told, Handoff) else told
        for told in messages(payload, decode_inbox, decode_message)
    ]


def events(payload: bytes) -> Iterator[Event]:
    """What all nodes are told by one message. A group that cannot be read is dropped; the others are not."""
    for group in messages(payload, decode_groups, decode_group):
        try:
            yield from group.events()
        except ValidationError as error:
            logger.warning("a message that cannot be read was dropped: %s", error)


def _handed(told: Handoff) -> Handed:
    spec = bytes(told.spec)
    row = [told.id.encode("utf-8", "surrogateescape"), told.token.encode(), spec, 1, 1, told.remaining]
    answer = claim_answer([b"ok", -1, row])
    if told.promised:
        promised = tuple(told.promised.split("\n"))
        grants = [msgspec.structs.replace(grant, promised=promised) for grant in answer.grants]
        answer = msgspec.structs.replace(answer, grants=grants)
    return Handed(told.queue, told.left, answer)


def messages(payload: bytes, batch: RecordDecoder[list[T]], one: RecordDecoder[T]) -> list[T]:
    """The messages of a batch. One that cannot be read is dropped; the others are not."""
    try:
        return batch(payload)
    except ValidationError as error:
        found: list[T] = []
        try:
            parts = _decode_batch(payload)
        except ValidationError:
            logger.warning("a message that cannot be read was dropped: %s", error)
            return found
        for part in parts:
            try:
                found.append(one(part))
            except ValidationError as wrong:
                logger.warning("a message that cannot be read was dropped: %s", wrong)
        return found
