"""Where a coroutine waits: its frames from the outside in, through whatever it awaits."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final, cast

from .contexts import in_context

DEEPEST: Final = 1000
"""Frames after which nothing more is looked for."""

_DRIVER: Final = cast(Any, in_context).__code__
_WRAPPERS: Final = ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper")
"""What is awaited in the name of something else, and does not say of what."""


def frames_of(awaited: object) -> Iterator[FrameType]:
    """The frames of a coroutine that is suspended; of one that runs, or has ended, as many as Python tells.

    Nothing is changed, and nothing of the values in them is read.
    """
    for _ in range(DEEPEST):
        frame, following = _step(awaited)
        if frame is not None:
            yield frame
        if following is None:
            return
        awaited = following


def _step(awaited: Any) -> tuple[FrameType | None, object]:
    """Its own frame, and what it awaits."""
    if isinstance(awaited, CoroutineType):
        return awaited.cr_frame, awaited.cr_await
    if isinstance(awaited, GeneratorType):
        frame: FrameType | None = awaited.gi_frame
        if awaited.gi_code is _DRIVER and frame is not None:
            # It drives a coroutine step by step, which Python does not take for awaiting it.
            return frame, frame.f_locals.get("coroutine")
        return frame, cast(Any, awaited).gi_yieldfrom
    if isinstance(awaited, AsyncGeneratorType):
        return awaited.ag_frame, awaited.ag_await
    if type(awaited).__name__ in _WRAPPERS:
        kinds = (AsyncGeneratorType, CoroutineType)
        found: list[object] = [one for one in gc.get_referents(awaited) if isinstance(one, kinds)]
        return None, found[0] if found else None
    return None, None
