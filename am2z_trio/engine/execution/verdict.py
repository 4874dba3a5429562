"""What the end of a run means: the error it is, whether it is tried again, and after how long.

What a user's policy says to that (`should_retry`, hooks) is asked here, and may raise whatever it likes.
"""

from __future__ import annotations

import random
import time
from typing import Final

import msgspec

from am2z_trio.model.checks import MAX_SECONDS
from am2z_trio.model.error_records import ErrorRecord, record_of
from am2z_trio.model.errors import (
    AM2ZError,
    CircuitOpenError,
    DeadlineExceededError,
    SessionStoppedError,
    seconds_in,
)
from am2z_trio.model.evolution import StateVersionError, UnknownFieldsError
from am2z_trio.model.limits import MAX_REASON_BYTES
from am2z_trio.model.logs import Log
from am2z_trio.model.moments import seconds_until
from am2z_trio.model.options import RetryPolicy
from am2z_trio.model.records import DEADLINE, SESSION_STOPPED, Grant
from am2z_trio.model.retry import Retry
from am2z_trio.model.telling import cut, trace_of
from am2z_trio.policy.retry import backoff_delay, wants_retry

from .attempt import Attempt
from .breakers import NO_REMEDY
from .failures import out_of_attempts, stopped_for, timed_out, too_late

logger: Final = Log("am2z_trio.jobs")

NEWER_LATER: Final = 30.0
"""Most seconds before a job of a newer version is granted again: doubling from one second."""

OTHERS: Final = 5
"""So often a job whose stored state has unknown fields is left to others: for half a minute."""


class Failed(msgspec.Struct, frozen=True):
    """For good."""

    error: ErrorRecord


class Retried(msgspec.Struct, frozen=True):
    """It failed, and is tried again."""

    error: ErrorRecord
    delay: float
    """Seconds until then."""
    asked: bool = False
    """Its code has asked for it: that is no failure."""


class Cancelled(msgspec.Struct, frozen=True):
    """Somebody has stopped it, or nobody waits for it any more."""

    error: ErrorRecord
    reason: str


class Released(msgspec.Struct, frozen=True):
    """It goes back to its queue: it is to be run elsewhere, or later."""

    left: ErrorRecord | None = None
    """Why this node leaves it to others; `None`: it was told to give it back."""
    delay: float = 0.0
    """Seconds before it is granted again, to whomever."""


class Parked(msgspec.Struct, frozen=True):
    """It goes on when what it waits for is there."""

    waits: str
    """Keys, a line each."""


Verdict = Failed | Retried | Cancelled | Released | Parked | None
"""Of a run that did not complete; `None`: its claim is lost, and nothing is to be said of it."""


def error_of_run(attempt: Attempt, error: AM2ZError | None, *, caught: bool, now: float) -> AM2ZError:
    """The error of a run that nobody has stopped: it failed with one, or the scope it ran under has `caught`
    its cancellation."""
    name, timeout = attempt.processor.name, attempt.timeout
    if error is None or caught:
        in_its_time = timeout is not None and timeout <= attempt.remaining
        error = timed_out(name, timeout) if timeout is not None and in_its_time else too_late(name)
    if now < attempt.deadline or isinstance(error, DeadlineExceededError):
        return error
    # Whatever it has failed with: once its deadline has passed, nobody waits for it any more.
    return too_late(name, error)


def judge(attempt: Attempt, error: AM2ZError | None, *, stopped: bool, now: float) -> Verdict:
    """What it means that a run has ended with this error, or because it was `stopped`."""
    if stopped:
        stop = attempt.claim.stop
        assert stop is not None
        if stop.kind == "cancelled":
            return cancelled(stopped_for(stop.reason))
        if stop.kind == "parked":
            return Parked(stop.reason)
        return None if stop.kind == "lost" else Released()
    assert error is not None
    if isinstance(error, DeadlineExceededError) and now >= attempt.deadline:
        # Not by any such error: one that it has called may have been cancelled for reasons of its own.
        return cancelled(error)
    left = left_to_newer(error, attempt)
    if left is not None:
        return left
    grant, policy = attempt.grant, attempt.policy_for(error)
    # Before any hook may change it.
    record = record_of(error)
    again = _is_retried(policy, error, grant)
    _tell_hooks(policy, error, grant, again=again)
    if not again:
        return Failed(record_of(out_of_attempts(grant, error)) if isinstance(error, Retry) else record)
    delay = backoff_delay(policy, grant.attempt, random.random())
    if isinstance(error, Retry):
        wait = delay if error.defer is None else seconds_until(error.defer, time.time())
        return Retried(record, wait, asked=True)
    if isinstance(error, CircuitOpenError):
        delay = max(delay, min(seconds_in(error, "wait"), MAX_SECONDS))
    return Retried(record, delay)


def left_to_newer(error: AM2ZError, attempt: Attempt) -> Released | None:
    """A run that met a state of a newer program is for the nodes of that. One that met fields which its type
    does not know is, too, for a while; nobody knows them, it may turn out. Such an error that a processor has
    made itself tells of no state, and is like any other."""
    claim, grant = attempt.claim, attempt.grant
    if claim.root is not claim:
        return None  # the whole job is left, and not a part of it
    waits = grant.deliveries - grant.attempt < OTHERS

    def leaves(one: BaseException) -> bool:
        if isinstance(one, StateVersionError):
            return "version" in one.context
        return waits and isinstance(one, UnknownFieldsError) and "fields" in one.context

    found = next((one for one in (error, *error.causes) if leaves(one)), None)
    if found is None:
        return None
    return Released(record_of(found), newer_delay(grant.deliveries - grant.attempt))


def newer_delay(times: int) -> float:
    """Seconds before a job that has been left to newer nodes so many times before is granted again: this node
    may be the only one for now."""
    return min(NEWER_LATER, 2.0 ** min(times, 10))


def cancelled(error: AM2ZError) -> Cancelled:
    """It was stopped, as this error says."""
    if isinstance(error, SessionStoppedError):
        reason = SESSION_STOPPED
    elif isinstance(error, DeadlineExceededError):
        reason = DEADLINE
    else:
        reason = cut(error.message, MAX_REASON_BYTES)
    return Cancelled(record_of(error), reason)


def falls_back(attempt: Attempt, error: AM2ZError) -> bool:
    """For good: the circuit is open, or no attempt is left. Never for a job that was cancelled, or that is
    left to others."""
    if attempt.processor.fallback is None or error.category in NO_REMEDY:
        return False
    if left_to_newer(error, attempt) is not None:
        return False
    if isinstance(error, CircuitOpenError):
        return True
    return not _is_retried(attempt.policy_for(error), error, attempt.grant)


def _is_retried(policy: RetryPolicy, error: AM2ZError, grant: Grant) -> bool:
    """Whether another attempt follows; a `should_retry` that raises is logged and means no."""
    try:
        return wants_retry(policy, error, grant.attempt)
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        logger.error("should_retry of %r raised", grant.spec.processor, trace=trace_of(raised))
        return False


def _tell_hooks(policy: RetryPolicy, error: AM2ZError, grant: Grant, *, again: bool) -> None:
    """A hook that raises is logged and changes nothing."""
    hook = policy.on_retry if again else policy.on_exhausted if grant.attempt >= policy.max_attempts else None
    if hook is None:
        return
    try:
        hook(error, grant.attempt)
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        logger.error("a hook of the retry policy of %r raised", grant.spec.processor, trace=trace_of(raised))
