"""How a job has ended: what its caller gets, and what a processor gets of the jobs it calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from am2z_trio.model.error_records import noted
from am2z_trio.model.errors import AM2ZError

S = TypeVar("S")


class ResultMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """How a job went."""

    job_id: str
    """In full: `@alice/order-17` for `job_id="order-17"` in session `alice`."""
    processor: str
    session_id: str | None = None
    attempt: int = 0
    """The attempt that decided; 0 if none was made."""
    node: str = ""
    """The node it ran on; empty if it never ran."""
    earlier_errors: list[AM2ZError] = []
    """Why the attempts before failed, in order; the last twenty."""
    started_at: datetime | None = None
    """When the last attempt began, UTC, by that node's clock."""
    waited_for_worker: float = 0.0
    """Seconds it was seen waiting while nobody served its processor, looked at about once a second; 0:
    somebody did, as far as was seen."""


class ProcessorResult(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """A job's final outcome."""

    success: bool
    state: S | None
    """The new state; `None` on failure."""
    error: AM2ZError | None
    """Why it failed; `None` on success."""
    execution_time: float
    """Seconds the last attempt's code ran; 0 if it never ran."""
    metadata: ResultMetadata

    def unwrap(self) -> S:
        """Return the state, or raise the error, with the remote traceback as a note."""
        if self.error is not None:
            raise noted(self.error)
        return self.state  # type: ignore[return-value]


Done = Callable[[int, ProcessorResult[Any]], bool]
"""Told how one of many jobs has ended, by its number; answers whether the others are still waited for."""


def failed_result(
    error: AM2ZError, *, processor: str, session: str | None, job_id: str = ""
) -> ProcessorResult[Any]:
    """The result of a job that could not even be submitted."""
    return ProcessorResult(
        success=False,
        state=None,
        error=error,
        execution_time=0.0,
        metadata=ResultMetadata(job_id=job_id, processor=processor, session_id=session),
    )
