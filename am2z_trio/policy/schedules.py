"""What a schedule does when its time has come: from its record and the store's clock, the next step.

A step is decided here and done by the store, if the record still says the same. Times are ms. An instant is
*due* when its jitter is over, too; *late* when that was more than `missed_after` ago. What waits for the last
run to end is as late as it was when it began to wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from math import inf
from typing import Final, NamedTuple

from msgspec.structs import replace

from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.records import Firing, ScheduleRecord, ScheduleSpec, job_of_instant

from .cron import Timing, newest, timing_of

MOST_COUNTED: Final = 1_000
"""Instants that are looked at when many have been missed: of more, so many are counted."""

AT_ONCE: Final = 100
BYTES_AT_ONCE: Final = 1024 * 1024
"""Jobs of one step, and bytes of their states, but for one job more."""

LOOK_AGAIN: Final = 1_000
"""After so many ms a schedule looks again whether its last run has ended."""

PAUSED_BY_FAILURE: Final = "its last run has failed"
REPLACED: Final = "its schedule's next run replaces it"


def timing(spec: ScheduleSpec) -> Timing:
    """When it comes. Raises `ConfigurationError` where this node cannot tell."""
    return timing_of(spec.cron, spec.tz, spec.every, spec.phase)


def jitter_of(spec: ScheduleSpec, at: int) -> int:
    """By how many ms this instant is put off: the same on every node."""
    most = round(spec.jitter * 1000)
    if not most:
        return 0
    return int.from_bytes(hashlib.sha256(f"{spec.id}\0{at}".encode()).digest()[:8]) % (most + 1)


def instants(spec: ScheduleSpec, after: float) -> Iterator[int]:
    """Its nominal times after one, within its start and end."""
    if spec.start is not None:
        after = max(after, spec.start - 1)
    for at in timing(spec).instants(after):
        if spec.end is not None and at > spec.end:
            return
        yield at


@contextmanager
def _calendar(spec: ScheduleSpec) -> Iterator[None]:
    """Around its times: anybody may have written one that no calendar knows."""
    try:
        yield
    except (OverflowError, ValueError) as error:
        raise ConfigurationError(
            f"schedule {spec.id!r} is about a time that no calendar knows: {error}",
            context={"schedule": spec.id},
        ) from error


def first_after(spec: ScheduleSpec, now: float, fired: int = 0) -> tuple[int | None, float]:
    """The next nominal time after one, and when it is due; `None` and never, where there is none. Raises
    `ConfigurationError` where this node cannot tell."""
    if spec.limit is not None and fired >= spec.limit:
        return None, inf
    with _calendar(spec):
        at = next(instants(spec, now), None)
    return at, inf if at is None else at + jitter_of(spec, at)


class _Due(NamedTuple):
    """Instants that have come."""

    late: list[int]
    on_time: list[int]


def decide(record: ScheduleRecord, now: int) -> Firing | None:
    """The step that is to be taken; `None`: none, at this time. Raises `ConfigurationError` where this node
    cannot tell."""
    spec, expected = record.spec, record.next
    if spec is None or expected is None or record.paused is not None:
        return None
    if spec.pause_on_failure and record.last is not None and record.last.status == "failed":
        return Firing(
            record=record, looks_at_last=True, next=expected, held=record.held, pause=PAUSED_BY_FAILURE
        )
    found = _due(spec, expected, record.held, now)
    if not (found.late or found.on_time):
        return None
    missed, run, merged = _by_missed(spec, found)
    if spec.limit is not None:
        run = run[: max(0, spec.limit - record.fired)]
    step = Firing(record=record, missed=missed, looks_at_last=spec.overlap != "allow")
    if not run:
        return _go_on(step, spec, max(found.late + found.on_time))
    if spec.overlap == "allow":
        return _run(step, spec, run[: at_once(spec)], merged)
    catches_up = spec.missed == "all" and run[0] in found.late
    if record.last is not None and record.last.status == "busy":
        if spec.overlap == "skip" and not catches_up:
            return _go_on(replace(step, skipped=run), spec, run[-1])
        cancel = REPLACED if spec.overlap == "cancel" else ""
        held = now if record.held is None else record.held
        return replace(step, next=run[0], due=now + LOOK_AGAIN, held=held, cancel=cancel)
    if spec.overlap == "skip" or catches_up:
        return _run(step, spec, run[:1], merged)
    # Those that have waited are one.
    step = replace(step, missed=missed + len(run) - 1)
    return _run(step, spec, run[-1:], merged + len(run) - 1)


def _due(spec: ScheduleSpec, expected: int, held: int | None, now: int) -> _Due:
    until = now if spec.end is None else min(now, spec.end)
    with _calendar(spec):
        came, _ = newest(timing(spec), expected, until, MOST_COUNTED)
    came = [at for at in came if spec.start is None or at >= spec.start]
    for index, at in enumerate(came):
        # One after the other: none comes before an earlier one that is put off.
        if at + jitter_of(spec, at) > now:
            came = came[:index]
            break
    seen, patience = now if held is None else held, spec.missed_after * 1000
    late = [at for at in came if seen - (at + jitter_of(spec, at)) > patience]
    return _Due(late, came[len(late) :])


def _by_missed(spec: ScheduleSpec, found: _Due) -> tuple[int, list[int], int]:
    """How many instants are passed by as it is too late for them, what is to run, and for how many others the
    first of these stands."""
    if not found.late or spec.missed == "skip":
        return len(found.late), found.on_time, 0
    if spec.missed == "once":
        *others, last = found.late + found.on_time
        return len(others), [last], len(others)
    kept = found.late[len(found.late) - min(spec.catch_up, len(found.late)) :]
    return len(found.late) - len(kept), kept + found.on_time, 0


def _run(step: Firing, spec: ScheduleSpec, run: list[int], merged: int) -> Firing:
    jobs = [job_of_instant(spec, at, merged if index == 0 else 0) for index, at in enumerate(run)]
    return _go_on(replace(step, jobs=jobs), spec, run[-1])


def _go_on(step: Firing, spec: ScheduleSpec, after: int) -> Firing:
    """The first one after what has been dealt with is the next."""
    at, due = first_after(spec, after, step.record.fired + len(step.jobs))
    return replace(step, next=at, due=due)


def at_once(spec: ScheduleSpec) -> int:
    """How many of its jobs go with one step."""
    return max(1, min(AT_ONCE, BYTES_AT_ONCE // len(bytes(spec.job.spec.state))))


def upcoming(record: ScheduleRecord, n: int) -> list[int]:
    """The next nominal times of a schedule that is left alone."""
    spec = record.spec
    if spec is None or record.next is None:
        return []
    left = n if spec.limit is None else min(n, spec.limit - record.fired)
    with _calendar(spec):
        return list(islice(instants(spec, record.next - 1), max(0, left)))
