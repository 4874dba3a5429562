"""Every error a user can meet, with what a program needs to act on it.

An error says *what kind* it is (`code`, `category`), *how bad* (`severity`), *whether trying again
can help* (`retryable`), *about what* (`context`) and *because of what* (`cause`). The class carries
the defaults; an instance may override `retryable`. Errors cross process borders as `ErrorRecord`s:
the same class, code, message and context arrive, with the remote traceback as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import isfinite
from typing import Any, ClassVar, Literal, Self

from .limits import KIB, MAX_CODE_BYTES
from .telling import attempt, cut, text_of

Category = Literal[
    "validation",
    "configuration",
    "execution",
    "timeout",
    "cancelled",
    "network",
    "resource",
    "state",
    "business",
]
Severity = Literal["low", "medium", "high", "critical"]


class AM2ZError(Exception):
    """Root of the hierarchy; catch this to catch everything the engine raises on purpose."""

    code: str = "AM2Z_ERROR"
    category: Category = "execution"
    severity: Severity = "medium"
    retryable: bool = False

    by_code: ClassVar[dict[str, type[AM2ZError]]] = {}
    by_name: ClassVar[dict[str, type[AM2ZError]]] = {}

    def __init_subclass__(cls) -> None:
        # Known from now on by its name and, where it has one of its own, by its code. A class that is defined
        # again (a reloaded module) takes both over, but nobody the codes of the engine.
        attempt(partial(_make_known, cls), None)

    def __new__(cls, *args: Any, **_named: Any) -> Self:
        error = super().__new__(cls, *args)
        # A subclass need not call the constructor below: what is read of every error is there all the same.
        error.__dict__.update(
            message=text_of(args[0]) if args else "",
            context={},
            causes=(),
            partial_state=None,
            remote_traceback="",
        )
        return error

    def __init__(
        self,
        message: str,
        *,
        context: Mapping[str, Any] | None = None,
        cause: BaseException | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.context: dict[str, Any] = dict(context or {})
        if cause is not None:
            self.__cause__ = cause
        if retryable is not None:
            self.retryable = retryable
        self.causes: Sequence[AM2ZError] = ()
        """The errors of parts, for a composition's; they travel as themselves."""
        self.partial_state: Any = None
        """How far a chain had come when it failed."""
        self.remote_traceback = ""
        """Where it was raised on another node, as text; empty for an error of this process."""

    @property
    def cause(self) -> BaseException | None:
        """What made this happen; the same object as `__cause__`."""
        return self.__cause__


def _make_known(cls: type[AM2ZError]) -> None:
    AM2ZError.by_name[known_name(cls)] = cls
    code = cls.__dict__.get("code")
    if isinstance(code, str):
        known = AM2ZError.by_code.get(code)
        if known is None or known.__module__ != __name__:
            AM2ZError.by_code[str.__str__(code)] = cls


def known_name(cls: type[AM2ZError]) -> str:
    """By which a class is known to other processes."""
    return cut(f"{cls.__module__}:{cls.__qualname__}", 400)


AM2ZError.by_code[AM2ZError.code] = AM2ZError


class ConfigurationError(AM2ZError):
    """The program is set up wrongly; it names the field, the value and the rule."""

    code = "CONFIGURATION"
    category = "configuration"
    severity = "high"


class DuplicateProcessorError(ConfigurationError):
    """Two different processors were registered under one name in one call."""

    code = "DUPLICATE_PROCESSOR"


class ProcessorNotFoundError(ConfigurationError):
    """Nobody serves a processor of this name, on any node, nor has within the last day."""

    code = "PROCESSOR_NOT_FOUND"


class RuntimeStateError(ConfigurationError):
    """The runtime is not in the state the call needs: not entered, entered twice; or asked from elsewhere."""

    code = "RUNTIME_STATE"


class ValidationError(AM2ZError):
    """A value does not fit: wrong type, not encodable, or too large. Never retried."""

    code = "VALIDATION"
    category = "validation"
    severity = "low"


class PayloadTooLargeError(ValidationError):
    """An encoded state exceeds the size limit."""

    code = "PAYLOAD_TOO_LARGE"


class ProcessorExecutionError(AM2ZError):
    """The processor's own code raised; `cause` is what it raised."""

    code = "PROCESSOR_EXECUTION"
    retryable = True


class BusinessError(AM2ZError):
    """A processor says no for reasons of the user's own: nothing is broken, and trying again does not help.

    Raised in a processor it reaches its caller as itself, over Redis, too: with its class, message, `code`,
    `retryable` and `context`. Texts, numbers, truth values, `None`, times and lists and maps of them in the
    context arrive as they are, up to 8 KiB; anything else as text. It is retried only if it is `retryable`;
    circuit breakers do not count it; the log has it in one line; it becomes a dead letter, as any failure.

    Subclasses travel as themselves to whoever has imported a class of the same module and name, or with
    the same `code` of its own (give it one if it is defined in a script, whose module is `__main__`).
    Elsewhere the caller gets the nearest class above it that is known there, at last `BusinessError`. It is
    built without its constructor: attributes other than the above do not travel. The same holds for
    subclasses of every other error here.
    """

    code = "BUSINESS"
    category = "business"
    severity = "low"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        context: Mapping[str, Any] | None = None,
        cause: BaseException | None = None,
        retryable: bool | None = None,
    ) -> None:
        """`code`: for programs, a word such as `OUT_OF_STOCK`; the class's by default."""
        super().__init__(message, context=context, cause=cause, retryable=retryable)
        if code is not None:
            text = text_of(code, KIB)
            if not isinstance(code, str) or not 0 < len(text.encode()) <= MAX_CODE_BYTES:
                rule = f"must be a text of 1 to {MAX_CODE_BYTES} bytes"
                raise ConfigurationError(
                    f"BusinessError.code {rule}, not {text!r}", context={"field": "code"}
                )
            self.code = text


class ProcessorTimeoutError(AM2ZError):
    """The processor ran longer than its configured timeout and was cancelled."""

    code = "PROCESSOR_TIMEOUT"
    category = "timeout"
    retryable = True


class JobCancelledError(AM2ZError):
    """The job was cancelled: by `Job.cancel`, or because its caller went away."""

    code = "JOB_CANCELLED"
    category = "cancelled"
    severity = "low"


class DeadlineExceededError(JobCancelledError):
    """The job's deadline passed, before it began or while it ran: nobody waits for it, it is cancelled."""

    code = "DEADLINE_EXCEEDED"


class TotalTimeoutError(DeadlineExceededError):
    """The job had not ended in the time, from its submission on, that its caller gave it (`total_timeout`):
    `context["seconds"]`. It is cancelled, wherever it is."""

    code = "TOTAL_TIMEOUT"


class JobExpiredError(JobCancelledError):
    """The job was not begun in its time (`expires`), and has never been run."""

    code = "JOB_EXPIRED"


class NoWorkerError(AM2ZError):
    """Nobody served the job's processor for as long as its caller would wait for a worker
    (`wait_for_worker`): `context["seconds"]`. The job was taken back; it has not begun."""

    code = "NO_WORKER"
    category = "resource"
    severity = "high"
    retryable = True


class SessionStoppedError(JobCancelledError):
    """The job's session was stopped, or is being stopped."""

    code = "SESSION_STOPPED"


class CallDepthExceededError(AM2ZError):
    """Jobs have called jobs deeper than `max_call_depth`."""

    code = "CALL_DEPTH_EXCEEDED"
    severity = "high"


class JobStalledError(AM2ZError):
    """The job was lost with its worker more often than its queue allows."""

    code = "JOB_STALLED"
    severity = "high"


class JobNotFoundError(AM2ZError):
    """No record of this job: it was never enqueued, or its retention has passed."""

    code = "JOB_NOT_FOUND"


class ScheduleNotFoundError(AM2ZError):
    """No schedule of this id."""

    code = "SCHEDULE_NOT_FOUND"


class CircuitOpenError(AM2ZError):
    """The processor has failed so often that it is not called for a while; `context["wait"]` seconds."""

    code = "CIRCUIT_OPEN"
    category = "resource"
    retryable = True


class StepFailedError(AM2ZError):
    """A chain's step failed. `causes[0]` is its error, `partial_state` what the steps before had reached.

    The context names the step (`failed`) and those that have `completed`, with commas. It may be
    retried if the step's error may.
    """

    code = "STEP_FAILED"

    @property
    def failed(self) -> str:
        """Name of the processor that failed."""
        return str(self.context.get("failed", ""))

    @property
    def completed(self) -> list[str]:
        """Names of the processors that had completed, in order."""
        done = str(self.context.get("completed", ""))
        return done.split(", ") if done else []


class ParallelError(AM2ZError):
    """Parts of a parallel or batch failed. `causes` holds every failure, `cause` them as a group."""

    code = "PARALLEL"


class RouteNotFoundError(AM2ZError):
    """A route's key names none of its processors, and there is no fallback."""

    code = "ROUTE_NOT_FOUND"
    category = "validation"


class MergeConflictError(AM2ZError):
    """Two parts of a parallel changed the same place of the state differently."""

    code = "MERGE_CONFLICT"
    category = "state"


class StateConflictError(AM2ZError):
    """The session's state kept moving while the processor ran, beyond the bound on re-runs."""

    code = "STATE_CONFLICT"
    category = "state"
    retryable = True


class LockLostError(AM2ZError):
    """The session's lock was lost while its block ran: its lease passed. Nothing was written since."""

    code = "LOCK_LOST"
    category = "state"
    severity = "high"
    retryable = True


class StateIntegrityError(AM2ZError):
    """A stored state does not match its checksum; it was changed by something else."""

    code = "STATE_INTEGRITY"
    category = "state"
    severity = "critical"


class NetworkError(AM2ZError):
    """Redis cannot be reached, or the connection to it was lost before the call was sent."""

    code = "NETWORK"
    category = "network"
    severity = "high"
    retryable = True


class UnknownOutcomeError(NetworkError):
    """The connection was lost after the call was sent: it may have been applied, or not."""

    code = "UNKNOWN_OUTCOME"
    retryable = False


class AuthenticationError(NetworkError):
    """Redis refused the username or password."""

    code = "AUTHENTICATION"
    retryable = False


class UnsupportedServerError(NetworkError):
    """The server answers, but cannot hold a job safely: too old, evicting keys, a replica, or not Redis."""

    code = "UNSUPPORTED_SERVER"
    retryable = False


class ServerReplyError(AM2ZError):
    """Redis answered a command with an error; `context["reply"]` starts with Redis's own code."""

    code = "SERVER_REPLY"
    category = "network"
    severity = "high"


class AccessDeniedError(ServerReplyError):
    """Redis's access rules (ACL) refuse this user what the engine needs; `context["missing"]` names the rules
    that are missing, where they are known."""

    code = "ACCESS_DENIED"


class ResourceError(AM2ZError):
    """A limit was reached; the message names it and gives both figures."""

    code = "RESOURCE"
    category = "resource"
    retryable = True


def seconds_in(error: AM2ZError, name: str) -> float:
    """A number of seconds in the error's context, which may have travelled; 0 where there is none."""
    seconds = attempt(lambda: float(error.context[name]), 0.0)
    return seconds if isfinite(seconds) and seconds > 0 else 0.0
