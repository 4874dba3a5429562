"""Every error a user can meet, with what a program needs to act on it.

An error says *what kind* it is (`code`, `category`), *how bad* (`severity`), *whether trying again
can help* (`retryable`), *about what* (`context`) and *because of what* (`cause`). The class carries
the defaults; an instance may override `retryable`. Errors cross process borders as `ErrorRecord`s:
the same class, code, message and context arrive, with the remote traceback as text.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec

Category = Literal[
    "validation",
    "configuration",
    "execution",
    "timeout",
    "cancelled",
    "network",
    "resource",
    "state",
]
Severity = Literal["low", "medium", "high", "critical"]


class AM2ZError(Exception):
    """Root of the hierarchy; catch this to catch everything the engine raises on purpose."""

    code: ClassVar[str] = "AM2Z_ERROR"
    category: ClassVar[Category] = "execution"
    severity: ClassVar[Severity] = "medium"
    retryable: bool = False

    by_code: ClassVar[dict[str, type[AM2ZError]]] = {}

    def __init_subclass__(cls) -> None:
        # A subclass with a code of its own travels as itself, one that inherits its code as its
        # parent. A class that is defined again (a reloaded module) takes its code over.
        if "code" in cls.__dict__:
            AM2ZError.by_code[cls.code] = cls

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
    """Nobody, on any node, has registered a processor of this name."""

    code = "PROCESSOR_NOT_FOUND"


class RuntimeStateError(ConfigurationError):
    """The runtime is not in the state the call needs: not entered yet, or entered twice."""

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
    """The job's deadline passed, before it began or while it ran: its caller waits no longer, so the job is
    cancelled, wherever that is noticed first."""

    code = "DEADLINE_EXCEEDED"


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
    """The server answers, but cannot hold a job safely: too old, evicting keys, or not Redis."""

    code = "UNSUPPORTED_SERVER"
    retryable = False


class ServerReplyError(AM2ZError):
    """Redis answered a command with an error; `context["reply"]` starts with Redis's own code."""

    code = "SERVER_REPLY"
    category = "network"
    severity = "high"


class ResourceError(AM2ZError):
    """A limit was reached; the message names it and gives both figures."""

    code = "RESOURCE"
    category = "resource"
    retryable = True


NIL: Final = msgspec.Raw(b"\xc0")


class RemoteCause(Exception):
    """Stands for an exception of another process: its class name and text."""


class ErrorRecord(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """An error as it travels."""

    code: str
    message: str
    retryable: bool
    category: str
    severity: str
    context: dict[str, str]
    cause: str = ""
    """`module.Class: text` of the cause, empty for none."""
    traceback: str = ""
    causes: list[ErrorRecord] = []
    partial: msgspec.Raw = NIL
    """An encoded state; nil for none."""


def text_of(value: object) -> str:
    """What it says, as text that can travel; also where its own `__str__` raises."""
    try:
        text = str(value)
    except Exception as error:
        text = f"<a {type(value).__name__} whose text cannot be had: {type(error).__name__}>"
    # Half a surrogate pair, as file names have them, is no text on the wire.
    return text.encode("utf-8", "backslashreplace").decode()


def record_of(error: AM2ZError) -> ErrorRecord:
    """Describe `error` for another process. Context values travel as text."""
    cause = error.__cause__
    return ErrorRecord(
        code=error.code,
        message=text_of(error.message),
        retryable=error.retryable,
        category=error.category,
        severity=error.severity,
        context={text_of(name): text_of(value) for name, value in error.context.items()},
        cause="" if cause is None else _described(cause),
        traceback=error.remote_traceback
        or text_of("".join(traceback.format_exception(cause if cause is not None else error))),
        causes=[record_of(part) for part in error.causes],
        partial=_encoded(error.partial_state),
    )


def _described(cause: BaseException) -> str:
    # One that has come from another process says what it stands for.
    if isinstance(cause, RemoteCause):
        return text_of(cause)
    return text_of("".join(traceback.format_exception_only(cause))).strip()


def _encoded(state: Any) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.msgpack.encode(state))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return NIL


def error_of(record: ErrorRecord) -> AM2ZError:
    """Rebuild an error from another process; an unknown code becomes a plain `AM2ZError`."""
    cls = AM2ZError.by_code.get(record.code, AM2ZError)
    error = cls.__new__(cls)
    # A subclass may have a constructor of its own; the record holds everything the root needs.
    AM2ZError.__init__(
        error,
        record.message,
        context=record.context,
        cause=RemoteCause(record.cause) if record.cause else None,
        retryable=record.retryable,
    )
    error.remote_traceback = record.traceback
    if record.causes:
        error.causes = tuple(error_of(part) for part in record.causes)
        several = isinstance(error, ParallelError)
        error.__cause__ = ExceptionGroup(error.message, error.causes) if several else error.causes[0]
    if record.partial != NIL:
        error.partial_state = msgspec.msgpack.decode(record.partial)
    return error
