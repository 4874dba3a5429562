"""When schedules come: the times of one that may be no more than an idea, and the week ahead of all."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

import msgspec


class Coming(msgspec.Struct, frozen=True, kw_only=True):
    """A time at which a schedule comes, or would but for its clock."""

    at: datetime
    """By the wall clock of the schedule's zone, with its offset then."""
    note: str = ""
    """What the setting of the clock makes of it."""


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """When something comes that was written as a schedule's time, whether there is such a schedule or not."""

    when: str
    """As it was written, in the form in which it is kept."""
    words: str
    zone: str
    """By whose clock the days are told."""
    now: datetime
    next: list[Coming]
    """The next times: none where there are none."""
    shifts: list[Coming]
    """Those within a year that meet a setting of the clock."""
    first: date
    days: list[date]
    """Within the `MOST_DAYS` days from the first one on, those on which it comes."""


MOST_DAYS = 366


class HourAhead(msgspec.Struct, frozen=True, kw_only=True):
    """One hour of one day, by the wall clock of a zone."""

    state: Literal["", "on", "twice", "missing"] = ""
    """`twice`: the hour comes twice on that day, and some schedule in both; `missing`: there is no such
    hour."""
    count: int = 0
    """Schedules that come in it."""
    schedules: list[str] = []
    """Ids of some of these."""


class DayAhead(msgspec.Struct, frozen=True, kw_only=True):
    """One day by the hour."""

    day: date
    hours: list[HourAhead]
    """Twenty-four of them, from midnight on."""


class WeekAhead(msgspec.Struct, frozen=True, kw_only=True):
    """When schedules come in the next seven days, today first."""

    zone: str
    days: list[DayAhead]
    looked_at: int
    """Schedules that it is of: those that come first."""
    more: bool = False
    """There are others behind these."""
