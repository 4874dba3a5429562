"""A year of days as a drawing: where each day of a calendar stands, a week a column, Monday on top."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, NamedTuple

from am2z_trio.model.views.calendars import MOST_DAYS, WhatIf

STEP: Final = 13
"""From one cell to the next."""
LEFT: Final = 30
TOP: Final = 18


class Day(NamedTuple):
    """One cell."""

    x: int
    y: int
    kind: str
    """`on`: it comes on that day; `shift`: its clock is set at one of its times."""
    text: str


class Year(NamedTuple):
    """The drawing."""

    days: list[Day]
    months: list[tuple[int, str]]
    """Where each month begins, and its name."""
    width: int
    height: int


def year_of(told: WhatIf) -> Year:
    """The days from the first one on."""
    on, notes = set(told.days), {shift.at.date(): shift.note for shift in told.shifts}
    monday = told.first - timedelta(days=told.first.weekday())
    days, months = list[Day](), list[tuple[int, str]]()
    for number in range(MOST_DAYS):
        day = told.first + timedelta(days=number)
        x = LEFT + (day - monday).days // 7 * STEP
        if day.day == 1:
            months.append((x, f"{day:%b}"))
        days.append(Day(x, TOP + day.weekday() * STEP, _kind(day, on, notes), _text(day, on, notes)))
    return Year(days, months, days[-1].x + STEP, TOP + 7 * STEP)


def _kind(day: date, on: set[date], notes: dict[date, str]) -> str:
    return "shift" if day in notes else "on" if day in on else ""


def _text(day: date, on: set[date], notes: dict[date, str]) -> str:
    if day in notes:
        return f"{day:%a %d %b %Y}: {notes[day]}"
    return f"{day:%a %d %b %Y}{'' if day in on else ': it does not come'}"
