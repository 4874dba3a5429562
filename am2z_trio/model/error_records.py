"""Errors on their way between processes: an error as a record, and the error that a record stands for.

Bounded, and whatever the error's own attributes are: a user's class may have any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, cast

import msgspec

from am2z_trio.concurrency.groups import is_presentable

from .codec import NIL
from .errors import AM2ZError, BusinessError, ParallelError, ProcessorExecutionError, known_name
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

ENGINE: Final = AM2ZError.__module__
"""Where the engine's own classes are; all others are users'."""


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
        own, code = cls.__module__ == ENGINE, cls.__dict__.get("code")
        if not own:
            names.append(known_name(cast("type[AM2ZError]", cls)))
        # A code of the engine's stands for a class of the engine's.
        if isinstance(code, str) and (own or AM2ZError.by_code[code].__module__ != ENGINE):
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
    return next(one for one in cls.__mro__ if one.__module__ == ENGINE)


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
