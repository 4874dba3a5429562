"""How an end is written down: verdicts become settlements. Nothing here decides, and nothing is told."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any, Final

import msgspec

from am2z_trio.engine.claim import Claim
from am2z_trio.model import codec
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.error_records import ErrorRecord, record_of
from am2z_trio.model.errors import PayloadTooLargeError, ValidationError
from am2z_trio.model.evolution import StateVersionError
from am2z_trio.model.limits import KIB, MAX_HISTORY_BYTES
from am2z_trio.model.records import (
    SESSION_STOPPED,
    WIRE_VERSION,
    AttemptError,
    Grant,
    ResultRecord,
    Settlement,
    Unreadable,
    reason_of_failure,
    turn_of,
)
from am2z_trio.model.telling import cut

from .attempt import Attempt
from .failures import stopped_for
from .verdict import Cancelled, Failed, Parked, Released, Retried, Verdict, newer_delay

KEPT_ERRORS: Final = 20
"""Errors of earlier attempts that are kept with a job."""

_decode_errors: Final = codec.RecordDecoder[list[AttemptError]](list[AttemptError])


class Encoded:
    """What a job has returned that was encoded where it has run."""

    __slots__ = ("blob",)

    def __init__(self, blob: bytes) -> None:
        self.blob = blob


class Settlements:
    """The settlements of one node's jobs."""

    __slots__ = ("_node",)

    def __init__(self, node: str) -> None:
        self._node = node

    # --- of a run ---------------------------------------------------------------------------

    def completed(self, attempt: Attempt, output: Any) -> Settlement:
        """Its code has returned: a state, or `None` for the one it was given. Raises `ValidationError` for
        what cannot be kept, or was changed in place."""
        if output is None:
            output = attempt.unchanged()
        grant, stored = attempt.grant, attempt.stored
        spec = grant.spec
        try:
            elsewhere = type(output) is Encoded
            blob = output.blob if elsewhere else attempt.definition.codec.encode_exactly(output)
        except ValidationError as error:
            raise _refused(grant, error) from error
        result = ResultRecord(
            WIRE_VERSION,
            msgspec.Raw(blob),
            None,
            grant.attempt,
            int(attempt.started * 1000),
            attempt.claim.ended - attempt.claim.began,
            self._node,
            _earlier(grant) if grant.errors else [],
        )
        return Settlement(
            id=spec.id,
            token=grant.token,
            outcome="completed",
            result=codec.encode_record(result),
            commit=None if stored is None else stored.commit(blob),
        )

    def of(self, attempt: Attempt, verdict: Verdict) -> Settlement | None:
        """Its code has not returned what can be kept; `None` settles nothing."""
        grant = attempt.grant
        if verdict is None:
            return None
        if isinstance(verdict, Released):
            if verdict.left is None:
                return released(attempt.claim)
            told = reason_of_failure(verdict.left)
            return self._left(grant.spec.id, grant.token, told, verdict.delay)
        if isinstance(verdict, Parked):
            return Settlement(id=grant.spec.id, token=grant.token, outcome="parked", reason=verdict.waits)
        if isinstance(verdict, Retried):
            failed = AttemptError(grant.attempt, int(time.time() * 1000), verdict.error)
            return Settlement(
                id=grant.spec.id,
                token=grant.token,
                outcome="retry",
                reason=reason_of_failure(verdict.error),
                delay=verdict.delay,
                result=_history([*_earlier(grant), failed]),
            )
        result = self._failure(grant, verdict.error, attempt.started, attempt.taken)
        return _ended(grant, verdict, result)

    # --- of a job whose code has not run, or not to any end ----------------------------------

    def unrun(self, claim: Claim, verdict: Failed | Cancelled) -> Settlement:
        """Whatever its code has done counts for nothing."""
        result = self._failure(claim.grant, verdict.error, time.time(), 0.0)
        return _ended(claim.grant, verdict, result)

    def session_stopped(self, claim: Claim) -> Settlement:
        """The session was stopped here while the job ran: it ends, and does not go back."""
        return self._cancelled(claim, SESSION_STOPPED)

    def unbegun(self, claim: Claim) -> Settlement | None:
        """How to settle a job that is to stop, or whose session is, before its code has begun; `None`
        if the claim is lost."""
        stop = claim.stop
        if stop is None:
            return self._cancelled(claim, SESSION_STOPPED)
        if stop.kind == "lost":
            return None
        return released(claim) if stop.kind == "released" else self._cancelled(claim, stop.reason)

    def _cancelled(self, claim: Claim, reason: str) -> Settlement:
        return self.unrun(claim, Cancelled(record_of(stopped_for(reason)), reason))

    def indescribable(self, claim: Claim, error: ErrorRecord) -> Settlement:
        """How a job ends of which nothing else can be said: constant in size, whatever its history."""
        now = int(time.time() * 1000)
        result = ResultRecord(WIRE_VERSION, codec.NIL, error, claim.grant.attempt, now, 0.0, self._node)
        return _ended(claim.grant, Failed(error), codec.encode_record(result))

    def refuse(self, job: Unreadable) -> Settlement:
        """A record that cannot be read must not come back for ever: fail it."""
        error = ValidationError(f"the job's record cannot be read: {job.reason}", context={"job": job.id})
        record = record_of(error)
        result = self._failure(None, record, time.time(), 0.0)
        told = reason_of_failure(record)
        return Settlement(id=job.id, token=job.token, outcome="failed", reason=told, result=result)

    def leave_to_newer(self, job: Unreadable) -> Settlement:
        """Give a job that a newer version has written back, for a node that can read it. Not at once: this
        one may be the only one for now."""
        told = f"{StateVersionError.code}\n{job.reason}"
        return self._left(job.id, job.token, told, newer_delay(job.deliveries - 1))

    @staticmethod
    def _left(job: str, token: str, told: str, delay: float) -> Settlement:
        return Settlement(id=job, token=token, outcome="released", reason=told, delay=delay)

    def _failure(
        self, grant: Grant | None, error: ErrorRecord, started: float, execution_time: float
    ) -> bytes:
        """The result of a job that has none; the grant of one that cannot be read is not there either."""
        attempt, earlier = (0, []) if grant is None else (grant.attempt, _earlier(grant))
        at = int(started * 1000)
        return codec.encode_record(
            ResultRecord(WIRE_VERSION, codec.NIL, error, attempt, at, execution_time, self._node, earlier)
        )


def encoded(grant: Grant, states: StateCodec[Any], output: Any) -> bytes:
    """What a job has returned, as it is kept."""
    try:
        return states.encode_exactly(output)
    except ValidationError as error:
        raise _refused(grant, error) from error


def _refused(grant: Grant, error: ValidationError) -> ValidationError:
    kind = PayloadTooLargeError if isinstance(error, PayloadTooLargeError) else ValidationError
    return kind(f"what {grant.spec.processor!r} returned: {error.message}", context=error.context)


def released(claim: Claim) -> Settlement:
    """Hand the job back to the front of its queue; no attempt is used."""
    return Settlement(id=claim.grant.spec.id, token=claim.grant.token, outcome="released")


def conflicted(claim: Claim) -> Settlement:
    """It was run in vain, as its session's state had moved: hand it back, to be run in its turn."""
    spec = claim.grant.spec
    return Settlement(id=spec.id, token=claim.grant.token, outcome="conflicted", reason=turn_of(spec))


def _ended(grant: Grant, verdict: Failed | Cancelled, result: bytes) -> Settlement:
    id, token = grant.spec.id, grant.token
    if isinstance(verdict, Cancelled):
        return Settlement(id=id, token=token, outcome="cancelled", reason=verdict.reason, result=result)
    told = reason_of_failure(verdict.error)
    return Settlement(id=id, token=token, outcome="failed", reason=told, result=result)


def _earlier(grant: Grant) -> list[AttemptError]:
    """The errors of earlier attempts, as far as they can be read."""
    if not grant.errors:
        return []
    try:
        return _decode_errors(grant.errors)
    except ValidationError:
        return []


def _history(errors: list[AttemptError]) -> bytes:
    """The errors of earlier attempts, encoded: the last ones, each within its share of the room."""
    kept = errors[-KEPT_ERRORS:]
    kept[-1] = msgspec.structs.replace(kept[-1], error=_in_short(kept[-1].error))
    encoded = codec.encode_record(kept)
    while len(encoded) > MAX_HISTORY_BYTES and kept:
        # Another version may have written longer ones.
        kept = kept[1:]
        encoded = codec.encode_record(kept)
    return encoded


def _in_short(error: ErrorRecord) -> ErrorRecord:
    """Without what is long, where it takes more than its share."""
    error = msgspec.structs.replace(error, traceback="")
    if len(codec.encode_record(error)) <= MAX_HISTORY_BYTES // KEPT_ERRORS:
        return error
    return msgspec.structs.replace(
        error,
        message=cut(error.message, KIB),
        cause=cut(error.cause, KIB // 2),
        context={name: cut(value, 100) for name, value in islice(error.context.items(), 4)},
        causes=[],
        partial=codec.NIL,
        values={},
    )
