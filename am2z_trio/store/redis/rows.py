"""Script answers and messages to records."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, Final, TypeVar, cast

import msgspec

from am2z_trio.model.codec import NIL, RecordDecoder
from am2z_trio.model.errors import AM2ZError, ValidationError
from am2z_trio.model.integrity import MISSING
from am2z_trio.model.logs import Log
from am2z_trio.model.options import QueueOptions
from am2z_trio.model.records import (
    UNREADABLE,
    WIRE_VERSION,
    Author,
    BulkAnswer,
    ClaimAnswer,
    DeadJob,
    Enqueue,
    EnqueueAnswer,
    FailedJob,
    Grant,
    JobSpec,
    JobView,
    QueueInfo,
    QueueStats,
    RenewAnswer,
    SettleAnswer,
    Settled,
    SpecHead,
    Standing,
    StateRecord,
    TickAnswer,
    Unreadable,
)
from am2z_trio.model.transitions import TERMINAL, UNDER_WAY, Terminal

logger: Final = Log("am2z_trio.store")
T = TypeVar("T")


_decode_head: Final = RecordDecoder[SpecHead](SpecHead)
_decode_options: Final = RecordDecoder[QueueOptions](QueueOptions)
_decode_spec: Final = RecordDecoder[JobSpec](JobSpec)

_QUEUED: Final = EnqueueAnswer(status="queued")
_REFUSALS: Final = {
    b"orphan": EnqueueAnswer(status="orphan"),
    b"stopped": EnqueueAnswer(status="stopped"),
    b"unfounded": EnqueueAnswer(status="unfounded"),
    b"unknown": EnqueueAnswer(status="unknown"),
}
_APPLIED: Final = {
    outcome.encode(): SettleAnswer(status="applied", outcome=outcome)
    for outcome in ("completed", "failed", "cancelled", "retry", "released", "conflicted", "parked")
}
_UNSETTLED: Final = {
    b"gone": SettleAnswer(status="gone"),
    b"fenced": SettleAnswer(status="fenced"),
    b"unfounded": SettleAnswer(status="unfounded"),
}


def text(data: bytes) -> str:
    """A name or id that anybody may have written. What is no text survives the way back (`as_argument`)."""
    return data.decode("utf-8", "surrogateescape")


def count(data: bytes) -> int:
    """A stored number that only informs; 0 for one that is spoilt."""
    try:
        return int(data)
    except ValueError:
        return 0


def beat_answer(lost: int, wait: int, found: TickAnswer | None, held: int, schedule: int) -> RenewAnswer:
    return RenewAnswer(
        lost=bool(lost),
        wait=wait / 1000,
        found=found,
        held=held,
        schedule_in=None if schedule < 0 else schedule / 1000,
    )


def queue_stats(
    waiting: int,
    active: int,
    completed: int,
    failed: int,
    later: int,
    cancelled: int,
    paused: int,
    dead: int,
    workers: int,
    retried: int,
    stalled: int,
    fenced: int,
    conflicts: int,
    expired: int,
) -> QueueStats:
    return QueueStats(
        waiting=0 if paused else waiting,
        paused=waiting if paused else 0,
        active=active,
        completed=completed,
        failed=failed,
        delayed=later,
        cancelled=cancelled,
        dead=dead,
        workers=workers,
        retried=retried,
        stalled=stalled,
        fenced=fenced,
        conflicts=conflicts,
        expired=expired,
    )


def queue_info(queue: bytes, processor: bytes, options: bytes, workers: int, known: int) -> QueueInfo | None:
    try:
        info = QueueInfo(
            queue=queue.decode(),
            processor=processor.decode(),
            workers=workers,
            known=bool(known),
        )
    except UnicodeDecodeError as error:
        logger.warning("the record of queue %r cannot be read: %s", queue, error)
        return None
    if not processor:
        # Its record has gone, or was set aside; whoever serves it announces it anew.
        return None
    try:
        return msgspec.structs.replace(info, options=_decode_options(options))
    except AM2ZError as error:
        # A newer version may have options that this one refuses.
        logger.warning("the options of queue %s cannot be read: %s", info.queue, error)
        return info


def enqueue_answers(jobs: Sequence[Enqueue], found: list[Any]) -> list[EnqueueAnswer]:
    return [enqueue_answer(job.spec.id, row) for job, row in zip(jobs, found, strict=True)]


def enqueue_answer(job: str, row: list[Any]) -> EnqueueAnswer:
    if not row:
        return _QUEUED
    if row[0] == b"handed":
        promised = tuple(row[3].decode().split("\n")) if len(row) > 3 else ()
        return EnqueueAnswer(status="queued", token=row[1].decode(), left=row[2], promised=promised)
    if len(row) == 1:
        return _REFUSALS[row[0]]
    if len(row) == 3 and row[0] == b"taken":
        other: Any = text(row[1])
        return EnqueueAnswer(status="taken", other=other, processor=text(row[2]))
    if len(row) == 2:
        return EnqueueAnswer(status="full", waiting=int(row[1]))
    return EnqueueAnswer(status="dup", settled=settled(job, *row))


def bulk_answer(row: list[Any]) -> BulkAnswer:
    accepted, *refused = row
    return BulkAnswer(accepted=accepted, refused=enqueue_answer("", *refused) if refused else None)


def grant(
    id: bytes,
    token: bytes,
    spec: bytes | None,
    attempt: int = 1,
    deliveries: int = 1,
    remaining: int = -1,
    state: list[bytes] | bytes = b"",
    errors: bytes = b"",
    conflicts: int = 0,
) -> Grant:
    # A record that has lost its spec is as unreadable as one that is spoilt.
    read = _decode_spec(spec or b"")
    if read.version > WIRE_VERSION:
        raise ValidationError(f"it is of version {read.version}")
    if read.id.encode() != id:
        raise ValidationError(f"it is the record of job {read.id!r}")
    return Grant(
        spec=read,
        token=token.decode(),
        attempt=attempt,
        deliveries=deliveries,
        remaining=None if remaining < 0 else remaining / 1000,
        errors=errors,
        conflicts=conflicts,
        stored=None if state == b"" else state_record(cast("list[bytes]", state)),
    )


def claim_answer(answer: list[Any]) -> ClaimAnswer:
    kind = answer[0]
    if kind != b"ok":
        return ClaimAnswer(grants=[], lost=kind == b"lost", stale=kind == b"stale")
    due = answer[1]
    grants: list[Grant] = []
    unreadable: list[Unreadable] = []
    newer: list[Unreadable] = []
    rest = iter(answer[2:])
    for first in rest:
        # A plain job's is no array of its own.
        is_plain = type(first) is not list
        row = (first, next(rest), next(rest)) if is_plain else cast("Sequence[Any]", first)
        try:
            grants.append(grant(*row))
        except ValidationError as error:
            version = version_of(row[2])
            if version > WIRE_VERSION:
                reason, kind = f"they are of version {version}, this node reads {WIRE_VERSION}", newer
            else:
                reason, kind = error.message, unreadable
            deliveries = row[4] if len(row) > 3 else 1
            kind.append(
                Unreadable(id=text(row[0]), token=row[1].decode(), reason=reason, deliveries=deliveries)
            )
    return ClaimAnswer(
        grants=grants, unreadable=unreadable, newer=newer, next_due=None if due < 0 else due / 1000
    )


def version_of(spec: bytes | None) -> int:
    """The version of a spec that cannot be read; 0 for one that is none."""
    try:
        return _decode_head(spec or b"").version
    except ValidationError:
        return 0


_HELD: Final = Standing(status="held")


def standing(status: bytes, cancel: bytes | None = None) -> Standing:
    if status == b"held":
        return _HELD if cancel is None else Standing(status="held", cancel=text(cancel))
    return Standing(status="settled" if status == b"settled" else "lost")


def settle_answers(found: list[Any]) -> list[SettleAnswer]:
    return [settle_answer(row) for row in found]


def settle_answer(row: bytes | list[Any]) -> SettleAnswer:
    if isinstance(row, bytes):
        return _APPLIED[row]
    status = row[0]
    if status == b"replay":
        return SettleAnswer(status="replay", outcome=text(row[1]))
    if status == b"conflict":
        return SettleAnswer(status="conflict", current=state_record(row[1]))
    return _UNSETTLED[status]


def settled(job: str, status: bytes, reason: bytes, result: bytes) -> Settled | None:
    name = text(status)
    if name not in TERMINAL:
        return None
    return Settled(job, cast(Terminal, name), text(reason), msgspec.Raw(result) if result else NIL)


def dead_job(job: str, row: list[bytes]) -> DeadJob:
    spec, attempt, stalls, failed, reason, result, processor, session = row
    try:
        read = _decode_spec(spec)
    except ValidationError:
        read = None
    outcome = settled(job, b"failed", reason, result)
    assert outcome is not None
    return DeadJob(
        spec=read,
        attempt=count(attempt),
        stalls=count(stalls),
        failed=count(failed),
        settled=outcome,
        processor=text(processor),
        session=text(session),
    )


def job_view(job: str, row: list[bytes]) -> JobView:
    status, attempt, deliveries, stalls, progress, reason, result, digest, processor, session = row
    name: Any = text(status)
    outcome = settled(job, status, reason, result)
    if outcome is None and name not in UNDER_WAY:
        name = "failed"
        outcome = Settled(job, "failed", f"{UNREADABLE}: its status is none", NIL)
    try:
        done = float(progress)
    except ValueError:
        done = 0.0
    return JobView(
        id=job,
        status=name,
        attempt=count(attempt),
        deliveries=count(deliveries),
        stalls=count(stalls),
        progress=done if isfinite(done) else 0.0,
        settled=outcome,
        input=text(digest),
        processor=text(processor),
        session=text(session),
    )


def tick_answer(
    lost: int, reaped: int, more: int, failed: list[tuple[bytes, bytes, bytes, int]]
) -> TickAnswer:
    return TickAnswer(
        lost=bool(lost),
        reaped=reaped,
        more=bool(more),
        failed=[
            FailedJob(id=id, processor=processor, session=session, attempt=attempt)
            for *texts, attempt in sorted(failed)
            for id, processor, session in (map(text, texts),)
        ],
    )


def author(by: bytes) -> Author:
    """Who wrote a state, as the scripts put it down."""
    node, token, job = [*text(by).split("\n", 2), "", ""][:3]
    return Author(node=node, job=job, token=token)


def state_record(row: Sequence[bytes]) -> StateRecord:
    """Read a row of `read_state.lua`. Not verified: one that was tampered with fails its reader alone."""
    if not row:
        return StateRecord()
    try:
        if len(row) == 2:
            return StateRecord(version=int(row[0]), updated=count(row[1]))
        version, updated, sha, blob, created, by = row
        return StateRecord(
            version=int(version),
            checksum=sha.decode("ascii", "replace") or MISSING,
            blob=blob,
            created=count(created),
            updated=count(updated),
            by=author(by),
        )
    except ValueError:
        return StateRecord(checksum=MISSING)
