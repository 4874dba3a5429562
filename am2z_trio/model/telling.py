"""What an object of a user's says for itself, as text: bounded, and however the object behaves.

Its `__str__` may raise anything, `SystemExit` included; its notes, causes and groups may be of any
kind, size and depth. `KeyboardInterrupt` alone goes through: it is not the object's.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from am2z_trio.concurrency.groups import leaves, parts_of

from .limits import MAX_TEXT_BYTES, MAX_TRACEBACK_BYTES

T = TypeVar("T")
U = TypeVar("U")

MOST_EXCEPTIONS: Final = 20
"""Exceptions in a traceback that Python's own words are used for, links and groups counted."""

MOST_FRAMES: Final = 200
"""Frames of all of them."""

MOST_NOTES: Final = 10

# Read where Python keeps them: a class may put something else under these names.
_type_name: Final[Any] = type.__dict__["__name__"].__get__
_cause: Final[Any] = BaseException.__dict__["__cause__"].__get__
_context: Final[Any] = BaseException.__dict__["__context__"].__get__
_suppressed: Final[Any] = BaseException.__dict__["__suppress_context__"].__get__
_args: Final[Any] = BaseException.__dict__["args"].__get__
_traceback: Final[Any] = BaseException.__dict__["__traceback__"].__get__


def attempt(fn: Callable[[], T], otherwise: U) -> T | U:
    """What `fn` returns, a user's code that cannot wait; `otherwise` where it raises."""
    try:
        return fn()
    except KeyboardInterrupt:
        raise
    except BaseException:
        return otherwise


def class_of(value: object) -> str:
    """Name of its class."""
    return cut(_type_name(type(value)), 200)


def text_of(value: object, most: int = MAX_TEXT_BYTES) -> str:
    """What it says, as text that can travel."""
    try:
        text = value if type(value) is str else str.__str__(str(value))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = f"<a {class_of(value)} whose text cannot be had: {class_of(error)}>"
    return cut(text, most)


def cut(text: str, most: int) -> str:
    """The text's beginning in as many bytes, with a mark where it goes on."""
    # Half a surrogate pair, as file names have them, is no text on the wire.
    data = str.encode(text[:most], "utf-8", "backslashreplace")
    if len(text) <= most and len(data) <= most:
        return data.decode()
    mark = f" … [cut: it has {len(text):,} characters]"
    return data[: max(0, most - len(mark.encode()))].decode("utf-8", "ignore") + mark


def cut_middle(text: str, most: int) -> str:
    """The text's beginning and, more of it, its end."""
    if len(text) <= most // 4:
        return cut(text, most)
    if len(text) <= most:
        data = str.encode(text, "utf-8", "backslashreplace")
        if len(data) <= most:
            return data.decode()
    mark = f"\n… [cut: {len(text):,} characters in all] …\n"
    room = max(0, most - len(mark.encode()))
    head = str.encode(text[:room], "utf-8", "backslashreplace")[: room // 4]
    tail = str.encode(text[len(text) - room :], "utf-8", "backslashreplace")
    tail = tail[len(tail) - (room - room // 4) :]
    return head.decode("utf-8", "ignore") + mark + tail.decode("utf-8", "ignore")


def described(error: BaseException, most: int = MAX_TEXT_BYTES) -> str:
    """`module.Class: text`, and its notes: Python's last words about it."""
    text = text_of(error, most)
    name = attempt(lambda: _qualified(type(error)), class_of(error))
    lines = [f"{name}: {text}" if text else name]
    notes: object = attempt(lambda: error.__notes__, None)
    if type(notes) is list:
        lines += [text_of(note, most) for note in cast("list[object]", notes)[:MOST_NOTES]]
    return cut("\n".join(lines), most)


def trace_of(error: BaseException, most: int = MAX_TRACEBACK_BYTES) -> str:
    """Its traceback with those of its causes, as Python prints it; in short where it is a large one."""
    try:
        text = _whole(error) if _is_small(error) else _short(error)
    except KeyboardInterrupt:
        raise
    except BaseException as worse:
        text = f"{described(error)}\n[its traceback cannot be had: {class_of(worse)}]\n"
    return cut_middle(text, most)


def _qualified(cls: type[BaseException]) -> str:
    module, name = cls.__module__, cls.__qualname__
    if type(module) is not str or module in ("builtins", "__main__"):
        return cut(name, 200)
    return cut(f"{module}.{name}", 400)


def _whole(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _is_small(error: BaseException) -> bool:
    seen, frames, todo = set[int](), 0, [error]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        trace: TracebackType | None = _traceback(one)
        while trace is not None and frames <= MOST_FRAMES:
            frames, trace = frames + 1, trace.tb_next
        if any(type(said) is str and len(said) > MAX_TEXT_BYTES for said in _args(one)):
            return False
        parts = parts_of(one)
        if len(seen) > MOST_EXCEPTIONS or len(parts) > MOST_EXCEPTIONS or frames > MOST_FRAMES:
            return False
        links: tuple[BaseException | None, ...] = (_cause(one), _context(one), *parts)
        todo += [linked for linked in links if linked is not None]
    return True


def _short(error: BaseException) -> str:
    blocks: list[str] = []
    seen = set[int]()
    one: BaseException | None = error
    while one is not None and id(one) not in seen and len(blocks) < 4:
        seen.add(id(one))
        trace: TracebackType | None = _traceback(one)
        lines = [*traceback.format_tb(trace, 8), "  …\n", *traceback.format_tb(trace, -24)] if trace else []
        first = next(leaves(one))
        inside = "" if first is one else f"[the first of its group] {described(first)}\n"
        blocks.append(
            f"Traceback (most recent call last, in short):\n{''.join(lines)}{described(one)}\n{inside}"
        )
        one = _cause(one) or (None if _suppressed(one) else _context(one))
    if one is not None and id(one) not in seen:
        blocks.append("[there are earlier ones]\n")
    return "\nWhich was caused by:\n\n".join(blocks)
