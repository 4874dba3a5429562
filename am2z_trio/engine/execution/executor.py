"""A claimed job in, a settlement out: decode, run under a cancel scope, decide. Writes nothing."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable
from itertools import islice
from math import inf
from threading import get_ident
from typing import Any, Final, cast

import anyio.from_thread
import msgspec

from am2z_trio.concurrency import CancelScope, Host
from am2z_trio.concurrency.contexts import OwnContext, in_context
from am2z_trio.concurrency.groups import is_not_the_codes_own, is_presentable, leaves, parts_of, unwrapped
from am2z_trio.engine.claim import Claim, running
from am2z_trio.engine.processors.context import CallRequest, Context, Meta
from am2z_trio.engine.processors.registry import Registered
from am2z_trio.engine.states.access import NodeStates
from am2z_trio.engine.states.job_state import JobState
from am2z_trio.model import codec
from am2z_trio.model.errors import (
    AM2ZError,
    CircuitOpenError,
    DeadlineExceededError,
    ErrorRecord,
    JobCancelledError,
    PayloadTooLargeError,
    ProcessorExecutionError,
    ProcessorTimeoutError,
    SessionStoppedError,
    StateConflictError,
    ValidationError,
    indescribable,
    record_of,
    seconds_in,
    sound,
)
from am2z_trio.model.integrity import verified
from am2z_trio.model.limits import KIB, MAX_HISTORY_BYTES, MAX_REASON_BYTES, MAX_TEXT_BYTES
from am2z_trio.model.logs import JobLog, Log, attributes
from am2z_trio.model.options import MAX_SECONDS, RetryPolicy
from am2z_trio.model.records import (
    DEADLINE,
    NO_STATE,
    SESSION_STOPPED,
    WIRE_VERSION,
    AttemptError,
    FailedJob,
    Grant,
    ResultRecord,
    Settlement,
    Unreadable,
    reason_of_failure,
    turn_of,
)
from am2z_trio.model.telling import (
    MOST_EXCEPTIONS,
    class_of,
    cut,
    described,
    has_frames,
    members_of,
    text_of,
    trace_of,
)
from am2z_trio.policy.retry import backoff_delay, wants_retry

from .breakers import NO_REMEDY, Circuits
from .calls import Calls
from .job_nursery import JobNursery
from .threads import Threads

logger: Final = Log("am2z_trio.jobs")

job_logger: Final = logging.getLogger("am2z_trio.jobs")
"""The same as a user's code gets it."""

Emit = Callable[[str, Any, Grant], None]
Report = Callable[[Grant, float], Awaitable[None]]

KEPT_ERRORS: Final = 20
"""Errors of earlier attempts that are kept with a job."""

NEWER_LATER: Final = 30.0
"""Most seconds before a job of a newer version is granted again: doubling from one second."""

_decode_errors: Final = codec.RecordDecoder[list[AttemptError]](list[AttemptError])

ONE_ATTEMPT: Final = RetryPolicy(max_attempts=1)


class Executor:
    """Runs claimed jobs of one node."""

    __slots__ = (
        "_calls",
        "_circuits",
        "_emit",
        "_host",
        "_node",
        "_now",
        "_own",
        "_report",
        "_states",
        "threads",
    )

    def __init__(
        self,
        host: Host,
        node: str,
        states: NodeStates,
        circuits: Circuits,
        own: OwnContext,
        threads: Threads,
        calls: Calls,
        *,
        emit: Emit,
        report: Report,
    ) -> None:
        self._host = host
        self._now = host.now
        self._node = node
        self._states = states
        self._emit = emit
        self._report = report
        self._calls = calls
        self._circuits = circuits
        self._own = own
        self.threads = threads

    async def run(
        self, claim: Claim, registered: Registered, *, stored: JobState | None = None
    ) -> Settlement | None:
        """Run the job once and return how to settle it; `None` if the claim is lost.

        Cancellation from above passes through: the caller hands the job back then. So does
        `KeyboardInterrupt`, which ends the node; nothing else that a user's code, values, types or hooks
        raise does, whatever they raise and wherever. `stored`: the session's state as an enclosing job
        sees it, for one that is run inline.
        """
        try:
            # Whatever runs a user's code, its types and hooks included, runs in there.
            plain_within = claim.root is not claim and not registered.processor.is_async
            run = self._run_in_line if plain_within else self._run
            return await in_context(self._own.copy(), run(claim, registered, stored))
        except BaseException as raised:
            return self._untold(claim, raised)

    def run_plain(
        self, claim: Claim, registered: Registered, scope: CancelScope
    ) -> Awaitable[Settlement | None]:
        """`run` for a job of a plain processor without a session, under a scope that other jobs share.

        What the scope raises where it is cancelled passes through: who has entered the scope leaves it
        then, and asks `cut_short`.
        """
        return in_context(self._own.copy(), self._run_plain(claim, registered, scope))

    async def _run_plain(self, claim: Claim, registered: Registered, scope: CancelScope) -> Settlement | None:
        try:
            running.set(claim)
            claim.began = began = self._now()
            claim.called = 0
            started = time.time()
            grant = claim.grant
            timeout, remaining = _limits(claim, registered)
            claim.is_limited = is_limited = timeout is not None or remaining < inf
            state: Any = None
            output: Any = None
            error: AM2ZError | None = None
            try:
                state = _input_state(grant, registered)
                if remaining > 0:
                    claim.scope = scope
                    if is_limited:
                        scope.deadline = began + (remaining if timeout is None else min(timeout, remaining))
                    output = await registered.processor.fn(state)
            except BaseException as raised:
                left_open = self._host.leave_inner(scope)
                if is_not_the_codes_own(raised, self._host):
                    raise
                error = _left_open(grant, raised) if left_open else _as_error(raised, grant)
            finally:
                # Whatever is meant for this job and comes later must not reach the next one.
                claim.scope = None
                if is_limited:
                    scope.deadline = inf
                claim.ended = self._now()
            if error is None and remaining > 0:
                taken = claim.ended - began
                settlement: Settlement | None = None
                refused: AM2ZError | None = None
                try:
                    if output is None:
                        output = _unchanged(grant, registered, state)
                    settlement = self._completed(grant, registered, output, None, started, taken)
                except AM2ZError as why:
                    refused = why
                if self._host.leave_inner(scope):
                    error = _left_open(grant, refused)
                elif refused is None:
                    return settlement
                else:
                    return self._failed(grant, registered, refused, started, taken, stopped=False)
            return self._not_completed(claim, registered, error, started, caught=False)
        except BaseException as raised:
            return self._untold(claim, raised)

    def cut_short(
        self, claim: Claim, registered: Registered, raised: BaseException | None, *, caught: bool
    ) -> Settlement | None:
        """How to settle a plain job when the scope it ran under was left, `raised` came out of that, and
        whether the scope has caught its own cancellation."""
        try:
            error = None if raised is None else _as_error(raised, claim.grant)
            started = time.time() - (claim.ended - claim.began)
            tell = partial(self._not_completed, claim, registered, error, started, caught=caught)
            return self._own.copy().run(tell)
        except BaseException as worse:
            return self._untold(claim, worse)

    def _not_completed(
        self,
        claim: Claim,
        registered: Registered,
        error: AM2ZError | None,
        started: float,
        *,
        caught: bool,
    ) -> Settlement | None:
        """How to settle a plain job that has ended with this error; without one, it was cancelled."""
        name = registered.processor.name
        timeout, remaining = _limits(claim, registered)
        stopped = claim.stop is not None
        if error is None or (caught and not stopped):
            error = _deadline_error(name, timeout, remaining)
        if not stopped:
            error = self._in_time(claim.began + remaining, error, name)
        return self._unfinished(claim, registered, error, remaining, started, stopped=stopped)

    def _untold(self, claim: Claim, raised: BaseException) -> Settlement:
        """Whatever else comes out of running a job: a failure of the job that says no more than its class."""
        claim.scope = None
        if is_not_the_codes_own(raised, self._host):
            raise raised
        claim.ended = self._now()
        name = claim.grant.spec.processor
        logger.error("a job of %r cannot be told how it ended", name, trace=trace_of(raised))
        return self._indescribable(claim, raised)

    async def _run_in_line(
        self, claim: Claim, registered: Registered, stored: JobState | None
    ) -> Settlement | None:
        """Run a plain function within another job, when there is a thread for it: to wait is no run."""
        room, grant = self.threads.room(registered), claim.grant
        deadline = inf if grant.remaining is None else claim.since + grant.remaining
        taken = False
        claim.scope = scope = self._host.cancel_scope(deadline=deadline)
        try:
            with scope:
                if claim.stop is None:
                    await room.acquire()
                    taken = True
            claim.scope = None
            return await self._run(claim, registered, stored)
        finally:
            if taken:
                room.release()

    async def _run(self, claim: Claim, registered: Registered, stored: JobState | None) -> Settlement | None:
        running.set(claim.root)
        claim.began = began = self._now()
        claim.called = 0
        started = time.time()
        grant = claim.grant
        spec = grant.spec
        processor = registered.processor
        timeout, remaining = _limits(claim, registered)
        budget = inf if timeout is None else timeout
        scope = self._host.cancel_scope(deadline=began + min(budget, remaining))
        output: Any = None
        error: AM2ZError | None = None
        state: Any = None
        if stored is None and (spec.session or processor.takes_context):
            stored = JobState(self._states, grant, processor.state_type)
        claim.scope = scope
        try:
            state = _input_state(grant, registered)
            with scope:
                if claim.stop is not None or remaining <= 0:
                    # Too late: its code is not begun.
                    scope.cancel()
                    await self._host.checkpoint()
                if processor.breaker is not None:
                    await self._circuits.enter(processor)
                try:
                    output = await self._call(registered, state, stored, claim, scope, started)
                except BaseException as raised:
                    self._close_what_is_left(scope, grant, raised)
                    raise
                self._close_what_is_left(scope, grant, None)
        except BaseException as raised:
            if is_not_the_codes_own(raised, self._host):
                raise
            error = _as_error(raised, grant)
        finally:
            claim.scope = None
        claim.ended = self._now()

        stopped = claim.stop is not None and (scope.cancelled_caught or error is not None)
        if not stopped:
            if scope.cancelled_caught:
                error = _deadline_error(processor.name, timeout, remaining)
            if error is not None:
                error = self._in_time(began + remaining, error, processor.name)
            if processor.breaker is not None:
                await self._circuits.tell(processor, error)
            if error is not None and _falls_back(grant, registered, error):
                scope = self._host.cancel_scope(deadline=began + remaining)
                output, error = await self._fall_back(claim, registered, stored, scope, started, error)
                if error is not None:
                    error = self._in_time(began + remaining, error, processor.name)
                stopped = claim.stop is not None and error is not None
        if error is None and not stopped:
            try:
                if output is None:
                    output = _unchanged(grant, registered, state)
                return self._completed(grant, registered, output, stored, started, claim.ended - began)
            except AM2ZError as refused:
                error = refused
        return self._unfinished(claim, registered, error, remaining, started, stopped=stopped)

    def _close_what_is_left(self, scope: CancelScope, grant: Grant, raised: BaseException | None) -> None:
        """Close what a job has left open inside this scope, and fail it for that; one that is cancelled
        ends as every other one does."""
        if not self._host.sees_scopes or not self._host.leave_inner(scope):
            return
        if raised is None or not is_not_the_codes_own(raised, self._host):
            raise _left_open(grant, raised)

    def _unfinished(
        self,
        claim: Claim,
        registered: Registered,
        error: AM2ZError | None,
        remaining: float,
        started: float,
        *,
        stopped: bool,
    ) -> Settlement | None:
        """How to settle a job that has ended with this error, or because it was `stopped`."""
        if stopped:
            assert claim.stop is not None
            if claim.stop.kind != "cancelled":
                return None if claim.stop.kind == "lost" else released(claim)
            error = _stopped(claim.stop.reason)
        assert error is not None
        late = isinstance(error, DeadlineExceededError) and self._now() >= claim.began + remaining
        taken = claim.ended - claim.began
        return self._failed(claim.grant, registered, error, started, taken, stopped=stopped or late)

    def _in_time(self, deadline: float, error: AM2ZError, processor: str) -> AM2ZError:
        """Whatever a job has failed with: once its deadline has passed, nobody waits for it any more."""
        if self._now() < deadline or isinstance(error, DeadlineExceededError):
            return error
        return _deadline_error(processor, None, 0.0, error)

    async def _fall_back(
        self,
        claim: Claim,
        registered: Registered,
        stored: JobState | None,
        scope: CancelScope,
        started: float,
        error: AM2ZError,
    ) -> tuple[Any, AM2ZError | None]:
        """Run the fallback, within the time the job has left. Stopped meanwhile, the error stays."""
        fallback = registered.processor.fallback
        assert fallback is not None
        stored = stored or JobState(self._states, claim.grant, registered.processor.state_type)
        context = self._context(claim, stored, scope, started)
        why = cut(error.message, KIB)
        logger.warning("%r falls back to %r: %s", registered.processor.name, fallback.name, why)
        claim.scope = scope
        try:
            # The state anew: the processor may have changed what it was given before it failed.
            state = _input_state(claim.grant, registered)
            request = CallRequest(fallback, state, "fallback", None, None, None, inline=True)
            with scope:
                if claim.stop is not None:
                    scope.cancel()
                return await self._calls.call(self.run, claim, request, context), None
        except AM2ZError as raised:
            # Both are told: why it fell back, and why that did not help.
            worse = sound(raised)
            worse.causes = (*worse.causes, error)
            return None, worse
        finally:
            claim.scope = None
        return None, error

    async def _call(
        self,
        registered: Registered,
        state: Any,
        stored: JobState | None,
        claim: Claim,
        scope: CancelScope,
        started: float,
    ) -> Any:
        processor = registered.processor
        arguments: tuple[Any, ...] = (state,)
        context: Context | None = None
        returned: Any = None
        if processor.takes_context:
            assert stored is not None
            context = self._context(claim, stored, scope, started)
            arguments = (state, context)
        if not processor.is_async:
            # Abandoning the thread is the only way to answer on time; its result is dropped.
            returned = await self.threads.run(processor.name, partial(processor.fn, *arguments))
            if not isawaitable(returned):
                return returned
        # What a plain function has returned may be an async one's, which runs here.
        if context is None:
            return await (processor.fn(*arguments) if processor.is_async else returned)
        output, ended = None, False
        with unwrapped():
            async with self._host.open_nursery() as nursery:
                context.own(JobNursery(self._host, nursery))
                try:
                    output = await (processor.fn(*arguments) if processor.is_async else returned)
                except BaseException as raised:
                    self._close_what_is_left(nursery.cancel_scope, claim.grant, raised)
                    if self._host.is_stray(raised) or not is_presentable(raised):
                        # The nursery would take it for its own, or fall over it.
                        raise _as_error(raised, claim.grant)  # noqa: B904
                    raise
                self._close_what_is_left(nursery.cancel_scope, claim.grant, None)
                ended = True
        if not ended:
            raise ProcessorExecutionError(
                f"{processor.name!r} was cancelled by its own ctx.nursery, or a task of it raised a "
                "cancellation that nobody had asked for",
                context={"processor": processor.name, "job": claim.grant.spec.id},
            )
        return output

    def _context(
        self,
        claim: Claim,
        stored: JobState,
        scope: CancelScope,
        started: float,
    ) -> Context:
        grant = claim.grant
        spec = grant.spec
        loop = get_ident()

        def emit(event: str, data: Any = None) -> None:
            if get_ident() != loop:
                # Everything of a node lives in its event loop.
                anyio.from_thread.run_sync(self._emit, event, data, grant)
            else:
                self._emit(event, data, grant)

        async def report(progress: float) -> None:
            await self._report(claim.root.grant, progress)

        return Context(
            processor=spec.processor,
            session_id=spec.session or None,
            execution_id=spec.id,
            call_depth=spec.depth,
            callers=spec.callers,
            meta=Meta(
                attempt=grant.attempt,
                deliveries=grant.deliveries,
                started_at=datetime.fromtimestamp(started, UTC),
                node=self._node,
            ),
            cancel_scope=scope,
            state=stored,
            log=JobLog(
                job_logger,
                attributes(processor=spec.processor, job=spec.id, session=spec.session),
            ),
            emit=emit,
            report=report,
            call=partial(self._calls.call, self.run, claim),
            call_each=partial(self._calls.call_each, claim),
        )

    def _completed(
        self,
        grant: Grant,
        registered: Registered,
        output: Any,
        stored: JobState | None,
        started: float,
        execution_time: float,
    ) -> Settlement:
        spec = grant.spec
        try:
            blob = registered.codec.encode_exactly(output)
        except ValidationError as error:
            too_large = isinstance(error, PayloadTooLargeError)
            raise (PayloadTooLargeError if too_large else ValidationError)(
                f"what {spec.processor!r} returned: {error.message}", context=error.context
            ) from error
        return Settlement(
            id=spec.id,
            token=grant.token,
            outcome="completed",
            result=self._result(grant, msgspec.Raw(blob), None, started, execution_time),
            commit=None if stored is None else stored.commit(blob),
        )

    def _failed(
        self,
        grant: Grant,
        registered: Registered,
        error: AM2ZError,
        started: float,
        execution_time: float,
        *,
        stopped: bool,
    ) -> Settlement:
        spec = grant.spec
        record = record_of(error)
        result = self._result(grant, codec.NIL, record, started, execution_time)
        if stopped:
            # Not by the error: one that it has called may have been cancelled for reasons of its own.
            return Settlement(
                id=spec.id, token=grant.token, outcome="cancelled", reason=_reason_of(error), result=result
            )
        policy = _retry_policy(grant, registered)
        again = _retries(policy, error, grant)
        _tell_hooks(policy, error, grant, again)
        if again:
            delay = backoff_delay(policy, grant.attempt, random.random())
            if isinstance(error, CircuitOpenError):
                delay = max(delay, min(seconds_in(error, "wait"), MAX_SECONDS))
            _log_failure(grant, record, f", and is tried again in {delay:.3g} s")
            failed = AttemptError(grant.attempt, int(time.time() * 1000), record)
            errors = _history([*_earlier(grant), failed])
            told = reason_of_failure(record)
            return Settlement(
                id=spec.id, token=grant.token, outcome="retry", reason=told, delay=delay, result=errors
            )
        _log_failure(grant, record)
        return _has_failed(grant, record, result)

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
        grant = claim.grant
        result = self._result(grant, codec.NIL, record_of(_stopped(reason)), time.time(), 0.0)
        return Settlement(
            id=grant.spec.id, token=grant.token, outcome="cancelled", reason=reason, result=result
        )

    def _indescribable(self, claim: Claim, raised: BaseException) -> Settlement:
        """How a job ends of which nothing else can be said. Constant in size, and takes nothing from what
        was raised but its class's name."""
        grant = claim.grant
        error = indescribable(class_of(raised))
        result = ResultRecord(
            WIRE_VERSION,
            codec.NIL,
            error,
            grant.attempt,
            int(time.time() * 1000),
            0.0,
            self._node,
        )
        return _has_failed(grant, error, codec.encode_record(result))

    def refuse(self, job: Unreadable) -> Settlement:
        """A record that cannot be read must not come back for ever: fail it."""
        error = ValidationError(f"the job's record cannot be read: {job.reason}", context={"job": job.id})
        record = record_of(error)
        result = self._result(None, codec.NIL, record, time.time(), 0.0)
        told = reason_of_failure(record)
        return Settlement(id=job.id, token=job.token, outcome="failed", reason=told, result=result)

    def leave_to_newer(self, job: Unreadable) -> Settlement:
        """Give a job that a newer version has written back, for a node that can read it. Not at once: this
        one may be the only one for now."""
        delay = min(NEWER_LATER, 2.0 ** min(job.deliveries - 1, 10))
        return Settlement(id=job.id, token=job.token, outcome="released", delay=delay)

    def conflict_exhausted(self, claim: Claim) -> Settlement:
        """The state moved once too often: fail the job."""
        grant = claim.grant
        error = StateConflictError(
            f"the state of session {grant.spec.session!r} moved {grant.conflicts + 1} times while "
            f"{grant.spec.processor!r} ran (max_conflicts)",
            context={"session": grant.spec.session, "conflicts": grant.conflicts + 1},
        )
        record = record_of(error)
        _log_failure(grant, record)
        result = self._result(grant, codec.NIL, record, time.time(), 0.0)
        return _has_failed(grant, record, result)

    def _result(
        self,
        grant: Grant | None,
        state: msgspec.Raw,
        error: ErrorRecord | None,
        started: float,
        execution_time: float,
    ) -> bytes:
        return codec.encode_record(
            ResultRecord(
                WIRE_VERSION,
                state,
                error,
                0 if grant is None else grant.attempt,
                int(started * 1000),
                execution_time,
                self._node,
                [] if grant is None or not grant.errors else _earlier(grant),
            )
        )


def _has_failed(grant: Grant, error: ErrorRecord, result: bytes) -> Settlement:
    told = reason_of_failure(error)
    return Settlement(id=grant.spec.id, token=grant.token, outcome="failed", reason=told, result=result)


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


def _log_failure(grant: Grant, error: ErrorRecord, then: str = "") -> None:
    spec = grant.spec
    job = FailedJob(id=spec.id, processor=spec.processor, session=spec.session, attempt=grant.attempt)
    trace = error.traceback if has_frames(error.traceback) else ""
    log_failure(job, error.code, error.message, trace=trace, then=then)


def _earlier(grant: Grant) -> list[AttemptError]:
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


def released(claim: Claim) -> Settlement:
    """Hand the job back to the front of its queue; no attempt is used."""
    return Settlement(id=claim.grant.spec.id, token=claim.grant.token, outcome="released")


def conflicted(claim: Claim) -> Settlement:
    """It was run in vain, as its session's state had moved: hand it back, to be run in its turn."""
    spec = claim.grant.spec
    return Settlement(id=spec.id, token=claim.grant.token, outcome="conflicted", reason=turn_of(spec))


def _input_state(grant: Grant, registered: Registered) -> Any:
    if grant.spec.state != NO_STATE:
        return registered.codec.decode(grant.spec.state)
    session = grant.spec.session
    if grant.stored is None or not grant.stored.exists:
        raise ValidationError(
            f"session {session!r} has no stored state yet; give one to the first execute",
            context={"session": session},
        )
    return registered.codec.decode(verified(grant.stored, session).blob)


def _unchanged(grant: Grant, registered: Registered, state: Any) -> Any:
    """The state of a job that has returned `None`: what it was given, which it must have left alone."""
    given = _input_state(grant, registered)
    if registered.codec.encode(state) != registered.codec.encode(given):
        processor = grant.spec.processor
        raise ValidationError(
            f"{processor!r} has changed its state in place and returned None, which says that nothing "
            "changes: return the state, or leave it as it is",
            context={"processor": processor, "job": grant.spec.id},
        )
    return given


def _limits(claim: Claim, registered: Registered) -> tuple[float | None, float]:
    """The job's timeout, and the seconds that its deadline leaves it from its beginning on."""
    grant = claim.grant
    timeout = registered.processor.timeout if grant.spec.timeout is None else grant.spec.timeout
    return timeout, inf if grant.remaining is None else claim.since + grant.remaining - claim.began


def _stopped(reason: str) -> JobCancelledError:
    if reason == SESSION_STOPPED:
        return SessionStoppedError("the job's session was stopped")
    if reason == DEADLINE:
        return DeadlineExceededError("the deadline of the job's caller passed")
    return JobCancelledError(reason)


def _reason_of(error: AM2ZError) -> str:
    if isinstance(error, SessionStoppedError):
        return SESSION_STOPPED
    return DEADLINE if isinstance(error, DeadlineExceededError) else cut(error.message, MAX_REASON_BYTES)


def _as_error(raised: BaseException, grant: Grant) -> AM2ZError:
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
        context={
            "processor": grant.spec.processor,
            "job": grant.spec.id,
            "exception": name,
        },
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


def _left_open(grant: Grant, cause: BaseException | None) -> AM2ZError:
    processor = grant.spec.processor
    return ProcessorExecutionError(
        f"{processor!r} has left a cancel scope or a nursery open, which was cancelled and closed",
        context={"processor": processor, "job": grant.spec.id},
        cause=cause,
    )


def _deadline_error(
    processor: str, timeout: float | None, remaining: float, cause: AM2ZError | None = None
) -> AM2ZError:
    if timeout is not None and timeout <= remaining:
        return ProcessorTimeoutError(
            f"{processor!r} ran longer than its timeout of {timeout:g} s and was cancelled",
            context={"processor": processor, "timeout": timeout},
        )
    return DeadlineExceededError(
        f"the deadline of the caller of {processor!r} passed while it ran",
        context={"processor": processor},
        cause=cause,
    )


def _retry_policy(grant: Grant, registered: Registered) -> RetryPolicy:
    """The processor's policy with the job's own numbers in it."""
    spec = grant.spec
    policy = registered.processor.retry
    if spec.attempts is None and spec.backoff is None:
        return policy or ONE_ATTEMPT
    # When to try again says nothing of how often.
    base = policy or msgspec.structs.replace(RetryPolicy(), max_attempts=1)
    backoff = base.backoff if spec.backoff is None else spec.backoff
    return msgspec.structs.replace(
        base,
        max_attempts=base.max_attempts if spec.attempts is None else spec.attempts,
        backoff=backoff,
        max_backoff=max(base.max_backoff, backoff),
        backoff_multiplier=base.backoff_multiplier if spec.multiplier is None else spec.multiplier,
    )


def _falls_back(grant: Grant, registered: Registered, error: AM2ZError) -> bool:
    """For good: the circuit is open, or no attempt is left. Never for a job that was cancelled."""
    if registered.processor.fallback is None or error.category in NO_REMEDY:
        return False
    return isinstance(error, CircuitOpenError) or not _retries(_retry_policy(grant, registered), error, grant)


def _retries(policy: RetryPolicy, error: AM2ZError, grant: Grant) -> bool:
    """Whether another attempt follows; a `should_retry` that raises is logged and means no."""
    try:
        return wants_retry(policy, error, grant.attempt)
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        logger.error("should_retry of %r raised", grant.spec.processor, trace=trace_of(raised))
        return False


def _tell_hooks(policy: RetryPolicy, error: AM2ZError, grant: Grant, again: bool) -> None:
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
