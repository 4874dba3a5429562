"""A context as a plain `def` can use it: what is awaited elsewhere waits in the function's thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import anyio.from_thread

from am2z_trio.engine.states.job_state import JobState
from am2z_trio.model.options import JobOptions

from .processor import Processor

S = TypeVar("S")


class SyncState:
    """`ctx.state` for a plain `def`."""

    __slots__ = ("_state",)

    def __init__(self, state: JobState) -> None:
        self._state = state

    def read(self, type: Any = None) -> Any:
        """As `ctx.state.read`."""
        return anyio.from_thread.run(self._state.read, type)

    def update(self, fn: Callable[[Any], Any], type: Any = None) -> Any:
        """As `ctx.state.update`. `fn` is called in the event loop: it is not to compute for long."""
        return anyio.from_thread.run(self._state.update, fn, type)


class SyncContext:
    """What of a context is awaited. A wait ends when the job is to stop. Not for the event loop, and not for
    threads of the function's own."""

    __slots__ = ("_call", "_update_progress", "state")

    def __init__(
        self,
        call: Callable[..., Coroutine[Any, Any, Any]],
        update_progress: Callable[[float], Coroutine[Any, Any, None]],
        state: JobState,
    ) -> None:
        self._call = call
        self._update_progress = update_progress
        self.state = SyncState(state)
        """The session's stored state."""

    def call(
        self,
        processor: Processor[S] | str,
        state: S | None = None,
        *,
        key: str | None = None,
        session: str | None = None,
        timeout: float | None = None,
        options: JobOptions | None = None,
    ) -> S:
        """As `ctx.call`."""
        call = partial(self._call, key=key, session=session, timeout=timeout, options=options)
        returned: S = anyio.from_thread.run(call, processor, state)
        return returned

    def update_progress(self, progress: float) -> None:
        """As `ctx.update_progress`."""
        anyio.from_thread.run(self._update_progress, progress)
