"""What a processor gets to see and do besides its state."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec

from am2z_trio.concurrency import CancelScope

from .job_state import JobState


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about this run."""

    attempt: int
    """1 for the first."""
    deliveries: int
    """How often the job was handed to a worker, this time included."""
    started_at: datetime
    """When this attempt began, UTC."""
    node: str
    """The node it runs on."""


class JobRuntime:
    """The little of the runtime a processor may use."""

    __slots__ = ("emit",)

    def __init__(self, emit: Callable[[str, Any], None]) -> None:
        self.emit = emit


class Context:
    """One run of one job. Not to be used after the processor has returned."""

    __slots__ = (
        "_emit",
        "_report",
        "call_depth",
        "cancel_scope",
        "execution_id",
        "log",
        "meta",
        "processor",
        "session_id",
        "state",
    )

    def __init__(
        self,
        *,
        processor: str,
        session_id: str | None,
        execution_id: str,
        call_depth: int,
        meta: Meta,
        cancel_scope: CancelScope,
        state: JobState,
        log: logging.LoggerAdapter[logging.Logger],
        emit: Callable[[str, Any], None],
        report: Callable[[float], Awaitable[None]],
    ) -> None:
        self.processor = processor
        """Name of the processor that runs."""
        self.session_id = session_id
        """The job's session, or `None`."""
        self.execution_id = execution_id
        """The job's id: the same for every attempt."""
        self.call_depth = call_depth
        """How many jobs are above this one."""
        self.meta = meta
        self.cancel_scope = cancel_scope
        """Cancelled when the job is to stop; the processor then sees `Cancelled` at its next await."""
        self.state = state
        """The session's stored state: `await ctx.state.read()`, `await ctx.state.update(fn)`."""
        self.log = log
        """A logger that adds processor, job and session to each record."""
        self._emit = emit
        self._report = report

    @property
    def deadline(self) -> float:
        """When this run will be cancelled, on the host's clock; `inf` for never."""
        return self.cancel_scope.deadline

    @property
    def idempotency_key(self) -> str:
        """Same for every run of this job: give it to services that drop repeated requests."""
        return self.execution_id

    @property
    def runtime(self) -> JobRuntime:
        return JobRuntime(self._emit)

    def emit(self, event: str, data: Any = None) -> None:
        """Publish an event to every node that listens. Does not wait; delivery is at most once."""
        self._emit(event, data)

    async def update_progress(self, progress: float) -> None:
        """Record progress, 0 to 1 or any other number. Refused silently when the job was taken away."""
        await self._report(progress)
