"""A schedule as a request asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from am2z_trio.engine.schedules.plan import Schedule
from am2z_trio.model.evolution import of_version
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records.schedules import Missed, Overlap
from am2z_trio.policy.cron import Cron, Every, Timing

from .asked import misfit


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to run, when, and what is to become of times at which it cannot: the fields of `Schedule`,
    whose `when` is either `cron` and `tz`, or `every` and `phase`."""

    processor: str
    cron: str | None = None
    """`30 2 * * *`, by the wall clock of `tz`."""
    tz: str = "UTC"
    every: float | None = None
    """Seconds, counted from the epoch and `phase`."""
    phase: float = 0.0
    state: Any = None
    """What each run is given; `null`, in a session: its stored state."""
    state_version: int | None = None
    """Of which version of its form that is; else of 1, or where the processor is registered here its own."""
    session: str | None = None
    timeout: float | None = None
    """Seconds that one attempt may run."""
    options: JobOptions | None = None
    overlap: Overlap = "skip"
    """Where the last run has not ended when the next one is due."""
    missed: Missed = "once"
    """Of times that are more than `missed_after` late: one run for the last of them, for all, or none."""
    missed_after: float = 60.0
    """Seconds."""
    catch_up: int = 100
    """With `all`: so many of them, the newest."""
    jitter: float = 0.0
    """Seconds by which a run is put off at most."""
    start: datetime | None = None
    end: datetime | None = None
    limit: int | None = None
    """Runs in all."""
    pause_on_failure: bool = False
    history: int = 100
    note: str = ""
    reason: str = ""
    """For the audit."""


class TermsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a schedule comes, and what is to become of its times: what is left out stays as it is."""

    rev: int | None = None
    """The revision that was seen: where it is another one by now, nothing is done."""
    cron: str | UnsetType = UNSET
    tz: str = "UTC"
    """Of `cron`."""
    every: float | UnsetType = UNSET
    phase: float = 0.0
    """Of `every`."""
    overlap: Overlap | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET
    missed_after: float | UnsetType = UNSET
    catch_up: int | UnsetType = UNSET
    jitter: float | UnsetType = UNSET
    start: datetime | UnsetType | None = UNSET
    end: datetime | UnsetType | None = UNSET
    limit: int | UnsetType | None = UNSET
    pause_on_failure: bool | UnsetType = UNSET
    history: int | UnsetType = UNSET
    note: str | UnsetType = UNSET
    reason: str = ""
    """For the audit."""


class WhenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When something is to come: by `cron` and `tz`, or by `every` and `phase`."""

    cron: str | None = None
    tz: str = "UTC"
    every: float | None = None
    phase: float = 0.0
    n: int = 10
    """Times that are told."""
    start: datetime | None = None
    """Those before are left out, and"""
    end: datetime | None = None
    """those after."""


_SAID_APART: Final = frozenset(
    {
        "schedule_id",
        "processor",
        "cron",
        "tz",
        "every",
        "phase",
        "reason",
        "rev",
        "n",
        "state",
        "state_version",
    }
)


def plan_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Admin.add_schedule`. Raises `ValidationError` and `ConfigurationError`."""
    state = of_version(said["state"], said["state_version"])
    plan = Schedule(said["schedule_id"], said["processor"], _when(said), state, **_others(said))
    return {"plan": plan, "reason": said["reason"]}


def terms_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `Admin.amend_schedule`."""
    when = {} if said["cron"] is UNSET and said["every"] is UNSET else {"when": _when(said)}
    return {name: said[name] for name in ("schedule_id", "rev", "reason")} | when | _others(said)


def when_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `Admin.what_if`."""
    return {"when": _when(said)} | {name: said[name] for name in ("n", "start", "end")}


def _when(said: Mapping[str, Any]) -> Timing:
    cron: Any = None if said["cron"] is UNSET else said["cron"]
    every: Any = None if said["every"] is UNSET else said["every"]
    if (cron is None) == (every is None):
        raise misfit("cron", "or every must be given, and not both")
    return Cron(cron, said["tz"]) if every is None else Every(every, said["phase"])


def _others(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in _SAID_APART and value is not UNSET}
