"""What an object of a user's says for itself, as text: bounded, and however the object behaves.

Its `__str__` may raise anything, `SystemExit` included; its notes, causes and groups may be of any
kind, size and depth. `KeyboardInterrupt` alone goes through: it is not the object's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType, TracebackType
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

MOST_PATH: Final = 800
"""Bytes of a file's name, where a place in code is told; and"""

MOST_FUNCTION: Final = 200
"""of a function's."""

OWN: Final = "am2z_trio"
"""Name of this package: exceptions of it need no frames of it."""

OWN_ROOMS: Final = (
    *(
        "admin",
        "concurrency",
        "contrib",
        "embedded",
        "engine",
        "model",
        "observe",
        "policy",
        "store",
        "sync",
        "web",
        "wire",
    ),
)
"""Where the engine's own code is. Its command line's processors are as good as a user's, and what `testing`
raises is about a user's code."""

_ENGINE: Final = tuple(f"{Path(__file__).parents[1] / room}{os.sep}" for room in OWN_ROOMS)


def _places_of(names: Iterable[str]) -> tuple[str, ...]:
    specs = [importlib.util.find_spec(name) for name in names]
    return tuple(f"{Path(spec.origin).parent}{os.sep}" for spec in specs if spec is not None and spec.origin)


_HOSTS: Final = (
    *_places_of(("trio", "anyio", "outcome", "asyncio", "concurrent")),
    threading.__file__,
    contextlib.__file__,
)
"""What lies between the engine and the code that it calls."""


class RemoteNote(str):
    """A note that shows where an error was raised on another node."""

    __slots__ = ()


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
        lines += [
            text_of(note, most)
            for note in cast("list[object]", notes)[:MOST_NOTES]
            if type(note) is not RemoteNote
        ]
    return cut("\n".join(lines), most)


def trace_of(error: BaseException, most: int = MAX_TRACEBACK_BYTES) -> str:
    """Its traceback with those of its causes, as Python prints it; in short where it is a large one.

    Frames of the engine are left out where there are others, and always in an error of its own: what is to
    be seen is the code that it was called by, or that it has called.
    """
    try:
        text = _whole(error) if _is_small(error) else _short(error)
    except KeyboardInterrupt:
        raise
    except BaseException as worse:
        text = f"{described(error)}\n[its traceback cannot be had: {class_of(worse)}]\n"
    return cut_middle(text, most)


def members_of(error: BaseException, most: int = 200) -> list[str]:
    """What the members of a group say, one line of so many bytes each; empty for what is no group."""
    if not parts_of(error):
        return []
    inside = list(leaves(error))
    told = [described(one, most).partition("\n")[0] for one in inside[:MOST_EXCEPTIONS]]
    return [*told, f"and {len(inside) - len(told):,} more"] if len(inside) > len(told) else told


def frames_of(error: BaseException) -> str:
    """Where it was raised and passed on in code that is not the engine's, as Python prints it."""
    return attempt(lambda: "".join(_some_of(_traceback(error), error)), "")


def is_of_users(file: str) -> bool:
    """Whether code of this file is neither the engine's nor the async library's."""
    return not file.startswith(_ENGINE + _HOSTS)


def place_of(frame: FrameType) -> tuple[str, int, str]:
    """File, line and function at which a frame is, of bounded length."""
    code = frame.f_code
    return cut(code.co_filename, MOST_PATH), frame.f_lineno or 0, cut(code.co_qualname, MOST_FUNCTION)


def has_frames(trace: str) -> bool:
    """Whether such a text shows any place in code."""
    return '  File "' in trace


def _qualified(cls: type[BaseException]) -> str:
    module, name = cls.__module__, cls.__qualname__
    if type(module) is not str or module in ("builtins", "__main__"):
        return cut(name, 200)
    return cut(f"{module}.{name}", 400)


def _whole(error: BaseException) -> str:
    own = _is_own(error)
    told = traceback.TracebackException.from_exception(error)
    todo: list[tuple[traceback.TracebackException | None, BaseException | None]] = [(told, error)]
    while todo:
        one, raised = todo.pop()
        if one is None or raised is None:
            continue
        kept = _of_interest(one.stack, own=own or _is_own(raised))
        # Without any, Python's words go without their headline.
        one.stack = traceback.StackSummary.from_list(kept) if kept else None  # type: ignore[assignment]
        todo += [(one.__cause__, _cause(raised)), (one.__context__, _context(raised))]
        todo += zip(one.exceptions or (), parts_of(raised), strict=False)
    return "".join(told.format())


def _is_own(error: BaseException) -> bool:
    return any(cls.__module__.startswith(f"{OWN}.") for cls in type(error).__mro__)


def _of_interest(frames: Iterable[traceback.FrameSummary], *, own: bool) -> list[traceback.FrameSummary]:
    frames = list(frames)
    first = next((i for i, one in enumerate(frames) if not one.filename.startswith(_ENGINE + _HOSTS)), None)
    if first is not None:
        return [one for one in frames[first:] if not one.filename.startswith(_ENGINE)]
    return [] if own else frames


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
        lines = _some_of(_traceback(one), one)
        inside = "".join(f"[of its group] {member}\n" for member in members_of(one))
        blocks.append(
            f"Traceback (most recent call last, in short):\n{''.join(lines)}{described(one)}\n{inside}"
        )
        one = _cause(one) or (None if _suppressed(one) else _context(one))
    if one is not None and id(one) not in seen:
        blocks.append("[there are earlier ones]\n")
    return "\nWhich was caused by:\n\n".join(blocks)


def _some_of(trace: TracebackType | None, error: BaseException) -> list[str]:
    own = _is_own(error)
    frames = _of_interest(traceback.extract_tb(trace, MOST_FRAMES), own=own)
    last = _of_interest(traceback.extract_tb(trace, -MOST_FRAMES), own=own)
    if len(frames) > 32:
        return [*_lines_of(frames[:8]), "  …\n", *_lines_of(last[-24:])]
    return _lines_of(frames)


def _lines_of(frames: list[traceback.FrameSummary]) -> list[str]:
    return traceback.StackSummary.from_list(frames).format()
