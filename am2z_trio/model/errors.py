"""Every error a user can meet, with what a program needs to act on it.

An error says *what kind* it is (`code`, `category`), *how bad* (`severity`), *whether trying again
can help* (`retryable`), *about what* (`context`) and *because of what* (`cause`). The class carries
the defaults; an instance may override `retryable`. Errors cross process borders as `ErrorRecord`s:
the same class, code, message and context arrive, with the remote traceback as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any, ClassVar, Final, Literal, Self, cast

import msgspec

from am2z_trio.concurrency.groups import is_presentable

from .limits import (
    KIB,
    MAX_CAUSE_DEPTH,
    MAX_CODE_BYTES,
    MAX_CONTEXT,
    MAX_ERROR_BYTES,
    MAX_PARTIAL_BYTES,
    MAX_TEXT_BYTES,
    MAX_TRACEBACK_BYTES,
)
from .telling import (
    RemoteNote,
    attempt,
    class_of,
    cut,
    cut_middle,
    described,
    frames_of,
    has_frames,
    text_of,
    trace_of,
)

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
    AM2ZError.by_name[_name_of(cls)] = cls
    code = cls.__dict__.get("code")
    if isinstance(code, str):
        known = AM2ZError.by_code.get(code)
        if known is None or known.__module__ != __name__:
            AM2ZError.by_code[str.__str__(code)] = cls


def _name_of(cls: type[AM2ZError]) -> str:
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


class BusinessError(AM2ZError):
    """A processor says no for reasons of the user's own: nothing is broken, and trying again does not help.

    Raised in a processor it reaches its caller as itself, over Redis, too: with its class, message, `code`,
    `retryable` and `context`. Texts, numbers, truth values, `None`, times and lists and maps of them in the
    context arrive as they are, up to 8 KiB; anything else as text. It is retried only if it is
    `retryable`; circuit breakers do not count it; it is logged and becomes a dead letter as any failure does.

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
    """The job's deadline passed, before it began or while it ran: its caller waits no longer, so the job is
    cancelled, wherever that is noticed first."""

    code = "DEADLINE_EXCEEDED"


class TotalTimeoutError(DeadlineExceededError):
    """The job had not ended in the time, from its submission on, that its caller gave it (`total_timeout`):
    `context["seconds"]`. It is cancelled, wherever it is."""

    code = "TOTAL_TIMEOUT"


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


class AccessDeniedError(ServerReplyError):
    """Redis's access rules (ACL) refuse this user what the engine needs; `context["missing"]` names the rules
    that are missing, where they are known."""

    code = "ACCESS_DENIED"


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
    known_as: list[str] = []
    """Codes and names of its class and of those above it, the nearest first, up to one of the engine's own;
    empty where that is its class, and `code` its code."""
    values: dict[str, msgspec.Raw] = {}
    """What of `context` is more than a text, encoded."""


def record_of(error: AM2ZError) -> ErrorRecord:
    """Describe `error` for another process, whatever its attributes are. Context values travel as text.

    Bounded: see `limits`. Never raises.
    """
    try:
        return _record_of(error, _Room(MAX_ERROR_BYTES, MAX_PARTIAL_BYTES), {id(error)})
    except KeyboardInterrupt:
        raise
    except BaseException:
        return indescribable(class_of(error))


def indescribable(name: str) -> ErrorRecord:
    """What stands for an error of which nothing but its class can be had."""
    return ErrorRecord(
        code=ProcessorExecutionError.code,
        message=f"an error that cannot be described: {name}",
        retryable=False,
        category=ProcessorExecutionError.category,
        severity=ProcessorExecutionError.severity,
        context={},
    )


def sound(error: AM2ZError) -> AM2ZError:
    """The error itself where all that is read of it is of its kind; otherwise what another process would
    get of it."""
    return error if attempt(lambda: _is_sound(error), False) else error_of(record_of(error))


def seconds_in(error: AM2ZError, name: str) -> float:
    """A number of seconds in the error's context, which may have travelled; 0 where there is none."""
    seconds = attempt(lambda: float(error.context[name]), 0.0)
    return seconds if isfinite(seconds) and seconds > 0 else 0.0


class _Room:
    """What is left of a record's bytes."""

    __slots__ = ("left", "partial")

    def __init__(self, left: int, partial: int) -> None:
        self.left = left
        self.partial = partial

    def take(self, text: str) -> str:
        self.left -= len(text.encode())
        return text

    def most(self, limit: int) -> int:
        return max(0, min(limit, self.left))


def _record_of(error: AM2ZError, room: _Room, above: set[int]) -> ErrorRecord:
    def read(name: str) -> Any:
        return attempt(lambda: getattr(error, name), None)

    cls = _own_class(type(error))
    room.take(" " * 100)
    message = room.take(text_of(read("message"), room.most(MAX_TEXT_BYTES)))
    cause = read("__cause__")
    told = "" if not isinstance(cause, BaseException) else _told(cause, room.most(MAX_TEXT_BYTES))
    room.take(told)
    values = _values_of(read("context"), room) if isinstance(error, BusinessError) else {}
    context = _context_of(read("context"), room)
    trace = room.take(_trace_of(error, cause, room.most(MAX_TRACEBACK_BYTES)))
    state = _encoded(read("partial_state"))
    if len(state) > room.partial:
        context["partial_state"] = f"left out: {len(state):,} bytes, the limit is {MAX_PARTIAL_BYTES:,}"
        state = b"\xc0"
    room.partial -= len(state)
    causes = _causes_of(read("causes"), room, above)
    return ErrorRecord(
        code=_word(read("code"), cls.code),
        message=message,
        retryable=attempt(lambda: bool(error.retryable), False),
        category=_word(read("category"), cls.category),
        severity=_word(read("severity"), cls.severity),
        context=context,
        cause=told,
        traceback=trace,
        causes=causes,
        partial=msgspec.Raw(state),
        known_as=attempt(partial(_known_as, error), list[str]()),
        values=values,
    )


def _known_as(error: AM2ZError) -> list[str]:
    names: list[str] = []
    for cls in type(error).__mro__:
        own, code = cls.__module__ == __name__, cls.__dict__.get("code")
        if not own:
            names.append(_name_of(cast("type[AM2ZError]", cls)))
        # A code of the engine's stands for a class of the engine's.
        if isinstance(code, str) and (own or AM2ZError.by_code[code].__module__ != __name__):
            names.append(cut(str.__str__(code), MAX_CODE_BYTES))
        if own:
            break
    return [] if names == [error.code] else names[-MAX_CONTEXT:]


def _values_of(context: object, room: _Room) -> dict[str, msgspec.Raw]:
    """What can travel as it is, until it is too much; all of it travels as text anyway."""
    values: dict[str, msgspec.Raw] = {}
    left = room.most(MAX_TEXT_BYTES)
    items: Any = attempt(lambda: tuple(islice(cast("Mapping[Any, Any]", context).items(), MAX_CONTEXT)), ())
    for name, value in items:
        data = b"" if type(value) is str else attempt(partial(msgspec.msgpack.encode, value), b"")
        if data and len(data) <= left and type(name) is str and name == text_of(name, 200):
            left -= len(data)
            room.left -= len(data)
            values[name] = msgspec.Raw(data)
    return values


def _trace_of(error: AM2ZError, cause: object, most: int) -> str:
    for one in (error, cause):
        remote = attempt(partial(getattr, one, "remote_traceback"), "")
        if type(remote) is str and remote:
            # It was raised elsewhere, and here again by who had called that.
            again = frames_of(error)
            if again and has_frames(remote):
                remote = f"{remote.rstrip()}\nIt was called here:\n\n{again}"
            return cut_middle(remote, most)
    # What was only made, for what a user's code has raised, has nothing to show.
    if isinstance(cause, BaseException) and attempt(lambda: error.__traceback__, None) is None:
        return trace_of(cause, most)
    return trace_of(error, most)


def noted(error: AM2ZError) -> AM2ZError:
    """The error with the tracebacks of other processes as notes, its causes' included: where Python shows it,
    it shows them. The same object, whose notes are added once."""
    todo: list[AM2ZError] = [error]
    seen = set[int]()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        attempt(partial(_note, one), None)
        todo += attempt(partial(tuple[AM2ZError], one.causes), ())
    return error


def _note(error: AM2ZError) -> None:
    if has_frames(error.remote_traceback) and not _is_noted(error):
        BaseException.add_note(error, RemoteNote(f"Where it was raised:\n\n{error.remote_traceback}"))


def _is_noted(error: AM2ZError) -> bool:
    return any(type(note) is RemoteNote for note in getattr(error, "__notes__", ()))


def _word(value: object, otherwise: str) -> str:
    return cut(str.__str__(value), MAX_CODE_BYTES) if isinstance(value, str) else otherwise


def _context_of(context: object, room: _Room) -> dict[str, str]:
    if not isinstance(context, Mapping):
        return {}
    entries = cast("Mapping[object, object]", context)
    items = attempt(lambda: tuple(islice(entries.items(), MAX_CONTEXT)), ())
    told: dict[str, str] = {}
    for name, value in items:
        told[text_of(name, 200)] = room.take(text_of(value, room.most(MAX_TEXT_BYTES)))
    return told


def _causes_of(causes: object, room: _Room, above: set[int]) -> list[ErrorRecord]:
    if type(causes) not in (tuple, list) or len(above) >= MAX_CAUSE_DEPTH:
        return []
    several = cast("Sequence[object]", causes)
    parts = [part for part in several if isinstance(part, AM2ZError) and id(part) not in above]
    records: list[ErrorRecord] = []
    for index, part in enumerate(parts):
        if room.left < KIB:
            left_out = AM2ZError(
                f"{len(parts) - index:,} more causes are left out: they are too large together"
            )
            records.append(msgspec.structs.replace(indescribable(""), message=left_out.message))
            break
        # Each may have its share of what is left, so that the first does not take it all.
        share = _Room(max(KIB, room.left // (len(parts) - index)), room.partial)
        given = share.left
        records.append(_record_of(part, share, above | {id(part)}))
        room.left -= given - share.left
        room.partial = share.partial
    return records


def _told(cause: BaseException, most: int) -> str:
    # One that has come from another process says what it stands for.
    return text_of(cause, most) if isinstance(cause, RemoteCause) else described(cause, most)


def _encoded(state: Any) -> bytes:
    return attempt(lambda: msgspec.msgpack.encode(state), b"\xc0")


def _is_sound(error: AM2ZError) -> bool:
    return (
        type(error.message) is str
        and type(error.context) is dict
        and type(error.retryable) is bool
        and all(type(word) is str for word in (error.code, error.category, error.severity))
        and type(error.causes) in (tuple, list)
        and is_presentable(error)
    )


def _own_class(cls: type[AM2ZError]) -> type[AM2ZError]:
    """The nearest class above it that is the engine's own."""
    return next(one for one in cls.__mro__ if one.__module__ == __name__)


def error_of(record: ErrorRecord) -> AM2ZError:
    """Rebuild an error from another process; an unknown code becomes a plain `AM2ZError`.

    A class that is not known here arrives as the nearest one above it that is, and so does a user's that
    cannot be made of what every error has.
    """
    known = (AM2ZError.by_name.get(name) or AM2ZError.by_code.get(name) for name in record.known_as)
    cls = next((one for one in known if one is not None), None)
    cls = cls or AM2ZError.by_code.get(record.code, AM2ZError)
    error = attempt(lambda: _rebuilt(cls, record), None)
    if error is not None and attempt(partial(_is_sound, error), False):
        return error
    return _rebuilt(_own_class(cls), record)


def _rebuilt(cls: type[AM2ZError], record: ErrorRecord) -> AM2ZError:
    error = cls.__new__(cls)
    # A subclass may have a constructor of its own; the record holds everything the root needs.
    AM2ZError.__init__(
        error,
        record.message,
        context=record.context,
        cause=RemoteCause(record.cause) if record.cause else None,
        retryable=record.retryable,
    )
    for name in ("code", "category", "severity"):
        if getattr(error, name) != getattr(record, name):
            setattr(error, name, getattr(record, name))
    for name, data in record.values.items():
        error.context[name] = attempt(partial(msgspec.msgpack.decode, data), error.context.get(name))
    error.remote_traceback = record.traceback
    if record.causes:
        first, *others = causes = [error_of(part) for part in record.causes]
        error.causes = tuple(causes)
        several = others or isinstance(error, ParallelError)
        error.__cause__ = ExceptionGroup(error.message, causes) if several else first
    if record.partial != NIL:
        error.partial_state = attempt(lambda: msgspec.msgpack.decode(record.partial), None)
    return error
