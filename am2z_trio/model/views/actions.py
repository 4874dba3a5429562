"""What became of an action, and what of a job is shown when it is looked at alone."""

from __future__ import annotations

from typing import Any

import msgspec

from .jobs import JobRow


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an action. Where things have moved on since whoever asked had looked, it is not done,
    and the text says what is so now."""

    done: bool
    text: str
    """One sentence."""
    job: str = ""
    """The id in full of the job that it has made."""


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What may be seen of something that a user has given, or got."""

    value: Any = None
    hidden: int = 0
    """Values that may not be seen: left out, or `[hidden]` where what is around them is shown."""
    cut: bool = False
    """It has more values than are looked at."""
    kept: bool = True
    """Whether there is any: an input goes when its job has ended, unless it is a dead letter."""


class Waited(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a job that was waited for."""

    job: str
    ended: bool
    """Else the time was over before."""
    success: bool = False
    code: str = ""
    """Of its error, of one that has failed or was cancelled."""
    message: str = ""
    output: Payload = Payload(kept=False)
    """What it has returned, of one that has completed."""


class JobShown(msgspec.Struct, frozen=True, kw_only=True):
    """A job, looked at alone."""

    row: JobRow
    input: Payload
    output: Payload
    """What it has returned, of one that has completed."""
    calls: list[str]
    """Ids of the jobs that it has called, at most 1,000."""
    traceback: str = ""
    """Of its error."""
