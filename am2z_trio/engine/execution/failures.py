"""The errors that jobs fail with, made of whatever has ended their code; and how the log hears of them."""

from __future__ import annotations

from itertools import islice
from typing import Final, cast

from am2z_trio.concurrency.groups import leaves, parts_of
from am2z_trio.model.error_records import ErrorRecord, sound
from am2z_trio.model.errors import (
    AM2ZError,
    BusinessError,
    DeadlineExceededError,
    JobCancelledError,
    ParallelError,
    ProcessorExecutionError,
    ProcessorTimeoutError,
    SessionStoppedError,
    StateConflictError,
    StepFailedError,
)
from am2z_trio.model.limits import KIB, MAX_TEXT_BYTES
from am2z_trio.model.logs import Log, attributes
from am2z_trio.model.records import DEADLINE, SESSION_STOPPED, FailedJob, Grant
from am2z_trio.model.telling import (
    MOST_EXCEPTIONS,
    class_of,
    described,
    has_frames,
    members_of,
    text_of,
)

logger: Final = Log("am2z_trio.jobs")


def as_error(raised: BaseException, grant: Grant) -> AM2ZError:
    """What a job's code has raised, as its caller gets it."""
    while len(parts := parts_of(raised)) == 1:
        # What is alone in its nursery is itself: its class, its text, whether it may be retried.
        raised = parts[0]
    if issubclass(type(raised), AM2ZError):
        return sound(cast("AM2ZError", raised))
    name = class_of(raised)
    members = members_of(raised, KIB // 8)
    text = text_of(raised, MAX_TEXT_BYTES - KIB if not members else KIB)
    if members:
        text += f": {'; '.join(members)}"
    error = ProcessorExecutionError(
        f"{grant.spec.processor!r} raised {name}{': ' + text if text else ''}",
        context={"processor": grant.spec.processor, "job": grant.spec.id, "exception": name},
        cause=raised,
    )
    if members:
        error.causes = [_member(one, grant) for one in islice(leaves(raised), MOST_EXCEPTIONS)]
        error.retryable = all(one.retryable for one in error.causes)
    return error


def _member(raised: BaseException, grant: Grant) -> AM2ZError:
    """One of a group's exceptions, as its part of the error."""
    if issubclass(type(raised), AM2ZError):
        return sound(cast("AM2ZError", raised))
    return ProcessorExecutionError(
        described(raised).partition("\n")[0],
        context={"processor": grant.spec.processor, "exception": class_of(raised)},
        cause=raised,
    )


def left_open(grant: Grant, cause: BaseException | None) -> AM2ZError:
    """A job's code has ended inside a scope or a nursery of its own."""
    processor = grant.spec.processor
    return ProcessorExecutionError(
        f"{processor!r} has left a cancel scope or a nursery open, which was cancelled and closed",
        context={"processor": processor, "job": grant.spec.id},
        cause=cause,
    )


def cut_off(grant: Grant) -> AM2ZError:
    """A job's own nursery has ended without its code."""
    processor = grant.spec.processor
    return ProcessorExecutionError(
        f"{processor!r} was cancelled by its own ctx.nursery, or a task of it raised a "
        "cancellation that nobody had asked for",
        context={"processor": processor, "job": grant.spec.id},
    )


def out_of_attempts(grant: Grant, asked: AM2ZError) -> AM2ZError:
    """Code has asked to be run again (`Retry`) at the last attempt."""
    processor = grant.spec.processor
    return ProcessorExecutionError(
        f"{processor!r} asked to be run again at attempt {grant.attempt}, which was the last: "
        f"{asked.message}",
        context={"processor": processor, "job": grant.spec.id, "attempts": grant.attempt},
        cause=asked.cause,
    )


def timed_out(processor: str, timeout: float) -> AM2ZError:
    """The processor's own time was over."""
    return ProcessorTimeoutError(
        f"{processor!r} ran longer than its timeout of {timeout:g} s and was cancelled",
        context={"processor": processor, "timeout": timeout},
    )


def too_late(processor: str, cause: AM2ZError | None = None) -> AM2ZError:
    """Its caller's time was over."""
    return DeadlineExceededError(
        f"the deadline of the caller of {processor!r} passed while it ran",
        context={"processor": processor},
        cause=cause,
    )


def stopped_for(reason: str) -> JobCancelledError:
    """A job was cancelled."""
    if reason == SESSION_STOPPED:
        return SessionStoppedError("the job's session was stopped")
    if reason == DEADLINE:
        return DeadlineExceededError("the deadline of the job's caller passed")
    return JobCancelledError(reason)


def moved_too_often(grant: Grant) -> AM2ZError:
    """The state of a job's session was another one each time that it wanted to commit."""
    return StateConflictError(
        f"the state of session {grant.spec.session!r} moved {grant.conflicts + 1} times while "
        f"{grant.spec.processor!r} ran (max_conflicts)",
        context={"session": grant.spec.session, "conflicts": grant.conflicts + 1},
    )


def log_failure(job: FailedJob, code: str, message: str, *, trace: str = "", then: str = "") -> None:
    """Say that an attempt has failed: what a person has to know who has nothing but the log."""
    logger.warning(
        "job %s of %r%s failed at attempt %d%s: %s",
        job.id,
        job.processor,
        f" in session {job.session!r}" if job.session else "",
        job.attempt,
        then,
        message,
        trace=trace,
        about=attributes(
            job=job.id, processor=job.processor, session=job.session, attempt=job.attempt, code=code
        ),
    )


def log_attempt(grant: Grant, error: ErrorRecord, then: str = "") -> None:
    """`log_failure` of a job that was claimed here. A refusal is no defect: it is told in one line."""
    spec = grant.spec
    job = FailedJob(id=spec.id, processor=spec.processor, session=spec.session, attempt=grant.attempt)
    trace = error.traceback if has_frames(error.traceback) and not _is_refusal(error) else ""
    log_failure(job, error.code, error.message, trace=trace, then=then)


def _is_refusal(error: ErrorRecord) -> bool:
    """One, or what a composition says of parts that have failed by nothing else."""
    if error.code in (StepFailedError.code, ParallelError.code) and error.causes:
        return all(_is_refusal(one) for one in error.causes)
    return error.category == BusinessError.category
