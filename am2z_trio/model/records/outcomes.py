"""What is told of a job that has ended, or of an attempt that has failed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..error_records import ErrorRecord
from ..limits import MAX_REASON_BYTES
from ..telling import cut
from ..transitions import Terminal

_LINE_END: Final = "\n"


def reason_of_failure(error: ErrorRecord) -> str:
    """An error's code and message as a settlement has them, with a line's end between them."""
    return f"{error.code.partition(_LINE_END)[0]}{_LINE_END}{cut(error.message, MAX_REASON_BYTES)}"


def told_of_failure(attempt: int, reason: str) -> dict[str, Any]:
    """What the event of a failed attempt says."""
    code, between, message = reason.partition(_LINE_END)
    return {"attempt": attempt, "code": code, "message": message} if between else {"attempt": attempt}


class AttemptError(msgspec.Struct, frozen=True, array_like=True):
    """Why an earlier attempt failed."""

    attempt: int
    at: int
    """When, in ms since the epoch by the worker's clock."""
    error: ErrorRecord


class ResultRecord(msgspec.Struct, frozen=True, array_like=True):
    """What a job's caller gets to hear."""

    version: int
    state: msgspec.Raw
    """The encoded output; `nil` when the job failed."""
    error: ErrorRecord | None
    attempt: int
    started: int
    """When the last attempt began, in ms since the epoch by the worker's clock."""
    execution_time: float
    """How long the last attempt's code ran, in seconds."""
    node: str
    """The node that ran it."""
    earlier: list[AttemptError] = []
    """Why the attempts before failed, the last twenty."""


class Settled(msgspec.Struct, frozen=True, array_like=True, tag="settled"):
    """Inbox message: a job this node waits for has ended. The record says the same; it is the truth."""

    id: str
    status: Terminal
    reason: str
    """Set when the store itself ended the job: `deadline`, `stalled`, or why it was cancelled."""
    result: msgspec.Raw
    """An encoded `ResultRecord`; `nil` when the store itself ended the job."""
    omitted: bool = False
    """The result is too large for a message (32 kB): it is to be read from the record, and is nil here."""
