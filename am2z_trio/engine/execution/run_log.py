"""What the log hears of runs, one line each: begun, and how it has ended, where that is no failure.

Asked for, each costs what a line costs; otherwise a job costs one look at the logger's level.
"""

from __future__ import annotations

from typing import Final

from am2z_trio.model.logs import Log, attributes
from am2z_trio.model.records import Grant

runs: Final = Log("am2z_trio.jobs.runs")


def log_started(grant: Grant) -> None:
    """Its code is about to be called."""
    _log(grant, "started")


def log_completed(grant: Grant, seconds: float) -> None:
    """Its code has returned what can be kept."""
    _log(grant, f"completed in {seconds:.3g} s")


def log_cancelled(grant: Grant, reason: str) -> None:
    """Somebody has stopped it, or nobody waits for it any more."""
    _log(grant, "was cancelled", reason)


def log_asked_again(grant: Grant, why: str, delay: float) -> None:
    """Its code has asked for another attempt."""
    _log(grant, f"is to be run again in {delay:.3g} s, as it asked", why)


def log_released(grant: Grant) -> None:
    """It is run elsewhere, or later."""
    _log(grant, "goes back to its queue")


def log_parked(grant: Grant) -> None:
    """It is run again when what it waits for is there."""
    _log(grant, "is parked")


def _log(grant: Grant, what: str, why: str = "") -> None:
    spec = grant.spec
    runs.info(
        "job %s of %r%s %s at attempt %d%s",
        spec.id,
        spec.processor,
        f" in session {spec.session!r}" if spec.session else "",
        what,
        grant.attempt,
        f": {why}" if why else "",
        about=attributes(job=spec.id, processor=spec.processor, session=spec.session, attempt=grant.attempt),
    )
