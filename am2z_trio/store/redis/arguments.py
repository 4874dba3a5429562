"""Records to script arguments."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from am2z_trio.model.codec import encode_record
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.events import Event, EventGroup
from am2z_trio.model.limits import MAX_KEPT_EVENT_BYTES
from am2z_trio.model.options import Retention
from am2z_trio.model.records import (
    NO_STATE,
    Bulk,
    EarlyOutcome,
    Enqueue,
    JobSpec,
    Labels,
    QueueLimits,
    Settlement,
    debounce_name,
    labels_of,
    plain_name,
    turn_of,
)
from am2z_trio.wire.resp import Argument

from . import agreed


class MoreOfJob(NamedTuple):
    """What is to be said of a job that is not plain."""

    processor: Argument
    session: Argument
    skey: Argument
    priority: Argument
    delay: Argument
    deadline: Argument
    max_stalled: Argument
    turn: Argument
    most: Argument
    parent: Argument
    depth: Argument
    again: Argument
    debounce: Argument
    keep: Argument
    outcomes: Argument
    only_asked: Argument
    labels: Argument
    under: Argument


class ManyJobs(NamedTuple):
    """What jobs that are alike have in common; then follows what is to be said of one that is not plain."""

    queue: Argument
    origin: Argument
    head: Argument
    """Their specs: before the id, between id and state, and after the state."""
    middle: Argument
    tail: Argument
    prefix: Argument
    first: Argument
    """The number that the first one's id ends with, in hex; empty: each brings its id."""
    more: Argument


class MoreOfSettlement(NamedTuple):
    """What is to be said of a job's end that is not the usual one, or that commits a state."""

    reason: Argument
    delay: Argument
    turn: Argument
    version: Argument
    sha: Argument
    new_sha: Argument
    blob: Argument
    outcomes: Argument


def of_enqueue(job: Enqueue) -> tuple[Argument, ...]:
    """What `enqueue.lua` takes of one job."""
    spec = job.spec
    if not spec.id.isascii():
        require_text(spec.id)
    if spec.session:
        require_text(spec.session)
    head = (spec.id, job.queue, encode_record(spec), spec.origin)
    plain = (
        spec.processor == job.queue
        and not (spec.parent or spec.depth or spec.state == NO_STATE)
        and not (job.priority or job.delay or job.max_size or job.again or job.joins or job.debounce)
        and job.deadline is None
        and job.expires is None
        and job.max_stalled == agreed.MAX_STALLED
        and job.on_complete is None
        and job.on_fail is None
        and not (job.builds_on or job.only_asked or job.sender or job.lifo)
    )
    labels = labels_of(job) if job.tags or spec.trace or spec.schedule else None
    if not plain or labels is not None:
        return (*head, "+", *_more(job, labels))
    if spec.session:
        return (*head, "@", spec.session, plain_name(spec.session))
    return (*head, "")


def of_bulk(bulk: Bulk) -> tuple[Argument, ...]:
    """What `enqueue.lua` takes of many jobs that are alike."""
    like = msgspec.structs.replace(bulk.like, input="")
    _, queue, _, origin, more, *what = of_enqueue(like)
    head, middle, tail = _around(like.spec)
    if not bulk.chosen:
        many = ManyJobs(queue, origin, head, middle, tail, bulk.prefix, bulk.first, more)
        return ("", *many, *what, *bulk.states)
    for id in bulk.chosen:
        require_text(id)
    many = ManyJobs(queue, origin, head, middle, tail, "", "", more)
    inputs = bulk.inputs if like.again else [""] * len(bulk.chosen)
    each: Iterator[tuple[Argument, ...]] = zip(bulk.chosen, bulk.states, inputs, strict=True)
    return ("", *many, *what, *chain.from_iterable(each))


def of_settlement(settlement: Settlement) -> tuple[Argument, ...]:
    """What `settle.lua` takes of one job."""
    id, commit = settlement.id, settlement.commit
    head = (
        id if id.isascii() else as_argument(id),
        settlement.token,
        settlement.outcome,
        settlement.result,
    )
    if commit is None and not (settlement.reason or settlement.delay or settlement.builds_on):
        return (*head, "=" if settlement.told else "")
    reason, delay, told = settlement.reason, milliseconds(settlement.delay), _outcomes(settlement.builds_on)
    if commit is None:
        return (*head, "+", *MoreOfSettlement(reason, delay, "", "", "", "", "", told))
    version, sha = ("", "") if commit.expected is None else commit.expected
    turn, new_sha, blob = f"={commit.turn}", commit.checksum, commit.blob
    return (*head, "+", *MoreOfSettlement(reason, delay, turn, version, sha, new_sha, blob, told))


def of_limits(limits: QueueLimits) -> tuple[Argument, ...]:
    """A queue's limits, as `claim.lua` takes them."""
    delays = 1 if limits.delays_excess else 0
    return limits.starts, milliseconds(limits.per), delays, limits.most_active, limits.per_session


def of_events(events: Sequence[Event]) -> list[tuple[bytes, bytes]]:
    """Events as they are told, with the time of one that says none, and as they are written down; nothing
    where that is the same."""
    now = int(time.time() * 1000)
    groups = map(EventGroup.of, events)
    timed = (group if group.at else msgspec.structs.replace(group, at=now) for group in groups)
    try:
        return [(told, _in_short(group, told)) for group in timed for told in (encode_record(group),)]
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise ValidationError(f"the event's data cannot be sent: {error}") from error


def _in_short(group: EventGroup, encoded: bytes) -> bytes:
    if len(encoded) <= MAX_KEPT_EVENT_BYTES:
        return b""
    short = group.in_short()
    return b"" if short is group else encode_record(short)


def milliseconds(seconds: float) -> int:
    """Upwards: nothing must come due before its time."""
    return -int(-seconds * 1000 // 1)


def require_text(name: str) -> None:
    """Half a surrogate pair is no text; say so instead of failing inside the wire."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(f"{name!r} is not valid Unicode text: {error.reason}") from error


def as_argument(id: str) -> Argument:
    """An id that anybody may have written, as the bytes that it was."""
    return id if id.isascii() else id.encode("utf-8", "surrogateescape")


def _around(spec: JobSpec) -> tuple[bytes, bytes, bytes]:
    """A spec's bytes before its id, between its id and its state, and after its state."""
    version, id, processor, session, state, *others = map(encode_record, msgspec.structs.astuple(spec))
    parts = (version, id, processor, session, state, *others)
    whole = encode_record(spec)
    opening = whole[: len(whole) - sum(map(len, parts))]
    return opening + version, processor + session, b"".join(others)


def _more(job: Enqueue, labels: Labels | None) -> MoreOfJob:
    spec = job.spec
    return MoreOfJob(
        processor=spec.processor,
        session=spec.session,
        skey=plain_name(spec.session) if spec.session else "",
        priority=job.priority,
        delay=milliseconds(job.delay),
        deadline=_deadline(job),
        max_stalled=job.max_stalled,
        turn="" if spec.state != NO_STATE else "=" if spec.parent else f"={turn_of(spec)}",
        most=job.max_size,
        parent=job.sender or spec.parent,
        depth="-" if job.sender else spec.depth or "",
        again=_again(job),
        debounce=debounce_name(job) if job.debounce else "",
        keep=_keep(job),
        outcomes=_outcomes(job.builds_on),
        only_asked="<" if job.lifo else 1 if job.only_asked else "",
        labels="" if labels is None else encode_record(labels),
        under=job.under,
    )


def _deadline(job: Enqueue) -> Argument:
    """When it must have ended, and before that begun."""
    ends = None if job.deadline is None else max(0, milliseconds(job.deadline))
    if job.expires is not None:
        return f"{milliseconds(job.expires)}<{'' if ends is None else ends}"
    return -1 if ends is None else ends


def _outcomes(told: Sequence[EarlyOutcome]) -> Argument:
    return encode_record([part for outcome in told for part in outcome]) if told else ""


def _again(job: Enqueue) -> str:
    if job.again:
        return f"{secrets.token_hex(4)}{int(job.stays)}{job.input}"
    return "=" if job.joins else ""


def _keep(job: Enqueue) -> str:
    """How long its record is kept, as the scripts read it."""
    if job.on_complete is None and job.on_fail is None:
        return ""
    numbers: list[int] = []
    for own in (job.on_complete or Retention(), job.on_fail or Retention()):
        numbers.append(-1 if own.age is None else milliseconds(own.age))
        numbers.append(-1 if own.count is None else own.count)
    return " ".join(map(str, numbers))
