"""What cases give a store and expect of it, in few words: a case shows only what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from am2z_trio.model.codec import NIL, checksum
from am2z_trio.model.records import (
    NO_STATE,
    NOBODY,
    WIRE_VERSION,
    Bulk,
    Commit,
    Enqueue,
    Grant,
    JobSpec,
    Settled,
    StateRecord,
    StateWrite,
)


def job(
    id: str = "j",
    queue: str = "q",
    *,
    session: str = "",
    origin: str = "",
    state: bytes | None = b"\x01",
    priority: int = 0,
    delay: float = 0.0,
    parent: str = "",
    depth: int = 0,
    **options: Any,
) -> Enqueue:
    """Make one job, of the processor that its queue is named after: a plain one, unless more is said of it.
    `state=None` works on the stored state. `options` are `Enqueue`'s."""
    spec = JobSpec(
        version=WIRE_VERSION,
        id=id,
        processor=queue,
        session=session,
        state=NO_STATE if state is None else msgspec.Raw(state),
        origin=origin,
        parent=parent,
        depth=depth,
    )
    return Enqueue(spec=spec, queue=queue, priority=priority, delay=delay, **options)


def bulk(like: Enqueue, many: int, first: int = 1) -> Bulk:
    """So many jobs like that one, whose ids the engine has made, `made-1` and so on; each one's state is its
    place."""
    states = [msgspec.msgpack.encode(number) for number in range(many)]
    return Bulk(like=like, states=states, prefix="made-", first=first)


def bulk_of(like: Enqueue, ids: Sequence[str], inputs: Sequence[str] = ()) -> Bulk:
    """Jobs like that one, whose ids somebody has chosen; each one's state is its place."""
    states = [msgspec.msgpack.encode(number) for number in range(len(ids))]
    given = list(inputs) or [f"input {number}" for number in range(len(ids))]
    like = msgspec.structs.replace(like, again=True, stays=True)
    return Bulk(like=like, states=states, chosen=list(ids), inputs=given)


def commit(text: str, expected: StateRecord | tuple[int, str] | None = (0, "")) -> Commit:
    """Make a commit of some bytes; `expected` as in `Commit`, or the state itself."""
    blob = msgspec.msgpack.encode(text)
    if isinstance(expected, StateRecord):
        expected = expected.mark
    return Commit(blob=blob, checksum=checksum(blob), expected=expected)


def version(number: int, text: str = "") -> StateRecord:
    """The state that `commit(text)` leaves as version `number`, without its times; no text: no state."""
    blob = msgspec.msgpack.encode(text) if text else b""
    return StateRecord(version=number, checksum=checksum(blob) if text else "", blob=blob)


def timeless(record: StateRecord | None) -> StateRecord | None:
    """A record without its times, and without who wrote it."""
    return record and msgspec.structs.replace(record, created=0, updated=0, by=NOBODY)


def settled(
    id: str, status: Literal["completed", "failed", "cancelled"], reason: str = "", result: bytes = b""
) -> Settled:
    """The message that tells of an end."""
    return Settled(id, status, reason, msgspec.Raw(result) if result else NIL)


def ids_of(grants: Sequence[Grant]) -> list[str]:
    """Whose grants they are, in their order."""
    return [grant.spec.id for grant in grants]


def write(seq: int, text: str, *, expected: StateRecord | None = None, lock: str = "") -> StateWrite:
    """The next state of session `s`, or its deletion."""
    blob = msgspec.msgpack.encode(text) if text else b""
    mark = None if expected is None else expected.mark
    sum = checksum(blob) if blob else ""
    return StateWrite(session="s", seq=seq, blob=blob, checksum=sum, expected=mark, lock=lock)
