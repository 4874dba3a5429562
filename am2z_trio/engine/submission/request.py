"""What a caller says about a job, and its checks."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Any

import msgspec

from am2z_trio.engine.processors.processor import Processor
from am2z_trio.model.checks import require, require_seconds, require_text
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.ids import chosen_id
from am2z_trio.model.limits import MAX_SESSION_BYTES
from am2z_trio.model.moments import seconds_until
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records import EarlyOutcome, Grant

from .waiter import Limits


class SubmitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says about a job, apart from processor and state."""

    session: str | None = None
    timeout: float | None = None
    options: JobOptions | None = None
    job_id: str | None = None
    """What the user gave, and in full once it is checked."""
    parent: Grant | None = None
    """The running job that calls, if one does."""
    root: str = ""
    """The job in the store that it is part of."""
    key: str = ""
    """Which of its calls this is."""
    sends: bool = False
    """The job that calls does not wait for it: it has a life of its own, and is there once for all runs."""
    by_key: bool = False
    """Of one that is sent: its key alone says which it is, whatever it is given."""
    commits: bool = True
    """Whether what it returns is committed in its session, where it has a state and no option says it."""
    wait_for_worker: float | None = None
    total_timeout: float | None = None
    waits: bool = True
    """Whether the caller waits for its outcome."""
    builds_on: tuple[EarlyOutcome, ...] = ()
    """What the run that calls was told before it was recorded."""
    early: list[EarlyOutcome] | None = None
    """Where to note that its outcome is told before it is recorded; `None`: it is not."""
    caller_survives: Callable[[], bool] | None = None
    """Asked when the call is cancelled: whether the job that calls will be run again, and call again."""
    under: str = ""
    """The token under which this node may begin it at once; empty: it may not."""


Asked = tuple[Processor[Any] | str, Any, SubmitRequest]
"""Processor, state, and the rest of what a caller says about a job."""


def require_session(session: object) -> str:
    """A session id is any text that is not empty, up to 16 KiB of it."""
    return require_text("session", session, most=MAX_SESSION_BYTES)


def checked(name: str, state: object, request: SubmitRequest) -> SubmitRequest:
    """What is asked, in exact types."""
    if state is None and request.session is None:
        raise ConfigurationError(
            f"{name!r} was given neither a state nor a session whose stored state it could work on"
        )
    session, timeout, job_id = request.session, request.timeout, request.job_id
    if session is not None:
        session = require_session(session)
    if timeout is not None:
        timeout = require_seconds("timeout", timeout, zero=False)
    require(
        request.options is None or isinstance(request.options, JobOptions),
        "options",
        request.options,
        "must be JobOptions",
    )
    if job_id is not None:
        job_id = chosen_id(job_id, session)
    if session is request.session and timeout is request.timeout and job_id is request.job_id:
        return request
    return msgspec.structs.replace(request, session=session, timeout=timeout, job_id=job_id)


def limits_of(request: SubmitRequest, chosen: JobOptions, began: float) -> Limits | None:
    """How long the caller of a job waits, which was asked for at this time; `None`: for ever."""
    worker, total = request.wait_for_worker, request.total_timeout
    worker = chosen.wait_for_worker if worker is None else require_seconds("wait_for_worker", worker)
    total = chosen.total_timeout if total is None else require_seconds("total_timeout", total, zero=False)
    expires = inf if chosen.expires is None else began + seconds_until(chosen.expires, time.time())
    if worker is None and total is None and expires == inf:
        return None
    return Limits(worker, inf if total is None else began + total, inf if total is None else total, expires)


def require_nobody_waits(options: JobOptions | None) -> None:
    """Of jobs whose outcomes nobody is there to hear, options say nothing of a caller."""
    worker = None if options is None else options.wait_for_worker
    rule = "must be None: it says how long a caller waits, and nobody waits for these jobs"
    require(worker is None, "options.wait_for_worker", worker, rule)
