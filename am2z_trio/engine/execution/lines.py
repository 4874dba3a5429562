"""Lines of users' code that are under way: places alone, no value of any variable."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable
from threading import get_ident
from types import CodeType, FrameType
from typing import Final

import msgspec

from am2z_trio.model.limits import KIB
from am2z_trio.model.telling import MOST_FUNCTION, MOST_PATH, attempt, cut, is_of_users, place_of
from am2z_trio.model.views.stack import Frame

MOST_BYTES: Final = 128 * KIB
"""Bytes of stacks after which further tasks are counted only; one task more may come."""

MOST_FRAMES: Final = 20
"""The innermost of a task."""

MOST_TEXT: Final = 200
"""Bytes of one source line, and of a task's name."""


def other_threads() -> dict[int, FrameType]:
    """The innermost frame of every other thread. Who keeps its own with them is in a cycle, in which whatever
    those are at stays until Python's collector finds it."""
    # As faulthandler and profilers do; it is documented.
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]
    del frames[get_ident()]
    return frames


def users_of(frames: Iterable[FrameType]) -> list[Frame]:
    """Those of users' code; `frames`: from the outside in."""
    return [_told(frame) for frame in [one for one in frames if _is_users(one)][-MOST_FRAMES:]]


def users_within(frame: FrameType | None, outermost: CodeType | None = None) -> list[Frame]:
    """Those of users' code in a thread whose innermost frame this is, from the outside in: what was called by
    `outermost`, if that is given, and nothing if it is not there."""
    found: list[FrameType] = []
    while frame is not None and len(found) < MOST_FRAMES and frame.f_code is not outermost:
        if _is_users(frame):
            found.append(frame)
        frame = frame.f_back
    if frame is None and outermost is not None:
        return []
    return [_told(one) for one in reversed(found)]


def with_lines(frames: list[Frame]) -> list[Frame]:
    """With the source lines, which are read from files."""
    return [msgspec.structs.replace(frame, text=_line(frame)) for frame in frames]


def bounded(frames: list[Frame]) -> list[Frame]:
    """As told by somebody else: no more of them, and none larger, than are told here."""
    return [
        Frame(
            file=cut(one.file, MOST_PATH),
            line=one.line,
            function=cut(one.function, MOST_FUNCTION),
            text=cut(one.text, MOST_TEXT),
        )
        for one in frames[-MOST_FRAMES:]
    ]


def _is_users(frame: FrameType) -> bool:
    return is_of_users(frame.f_code.co_filename)


def _told(frame: FrameType) -> Frame:
    file, line, function = place_of(frame)
    return Frame(file=file, line=line, function=function)


def _line(frame: Frame) -> str:
    return cut(attempt(lambda: linecache.getline(frame.file, frame.line).strip(), ""), MOST_TEXT)
