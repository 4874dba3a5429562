"""Calendars: when something would come, before it is written down, and when everything comes that is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice, takewhile
from typing import Final

from am2z_trio.concurrency import current_host
from am2z_trio.engine.schedules.plan import ms_of
from am2z_trio.model.checks import require, require_count, require_text
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.schedules import MAX_SCHEDULE_ID_BYTES, ScheduleView
from am2z_trio.model.views.calendars import MOST_DAYS, Coming, DayAhead, HourAhead, WeekAhead, WhatIf
from am2z_trio.policy.calendars import HOURS, Hours, Instants, days_with
from am2z_trio.policy.cron import Cron, Every, Timing, read, written
from am2z_trio.policy.zones import zone_of

from .schedules import ScheduleDesk

MOST_NEXT: Final = 200
"""Times that are told one by one."""

MOST_SHIFTS: Final = 200

WEEK: Final = 7

YEAR: Final = 9_999
"""In which calendars end: nothing is shown that begins then."""

MOST_NAMED: Final = 5
"""Schedules of one hour that are named."""


class CalendarDesk(ScheduleDesk):
    """What an operator asks of times."""

    async def what_if(
        self, when: Timing, *, n: int = 10, start: datetime | None = None, end: datetime | None = None
    ) -> WhatIf:
        """When something comes that is written so: the next `n` times, a year by its days, and what the
        settings of the clock in it do; of these what is within `start` and `end`, which count themselves."""
        await self._require_view("what_if")
        require(isinstance(when, Cron | Every), "when", when, "must be a Cron or an Every")
        n = require_count("n", n, least=0, most=MOST_NEXT)
        for name, given in (("start", start), ("end", end)):
            if given is not None:
                ms_of(name, given)
        require(start is None or start.year < YEAR, "start", start, f"must be before the year {YEAR:,}")
        now = datetime.fromtimestamp(self.now() / 1000, UTC)
        after = now if start is None or start <= now else start - timedelta(milliseconds=1)
        comes = takewhile(lambda at: end is None or at <= end, when.next(n, after=after) if n else ())
        notes = {one.at: one.note for one in when.year(after=now) if _is_within(one.at, start, end)}
        clock = zone_of(when.zone)
        today = clock.wall(self.now() // 1000).date()
        return WhatIf(
            when=written(when),
            words=when.explain(),
            zone=when.zone,
            now=now,
            next=[Coming(at=at, note=notes.get(at, "")) for at in comes],
            shifts=[Coming(at=at, note=note) for at, note in islice(notes.items(), MOST_SHIFTS)],
            first=today,
            days=list(days_with(partial(_within, when.instants, start, end), when.zone, today, MOST_DAYS)),
        )

    async def week_ahead(self, zone: str = "UTC", *, most: int = 200, first: str = "") -> WeekAhead:
        """In which hours of the next seven days, by the clock of a zone, schedules come: those `most` that
        come first. Where several come in an hour, the one whose id is `first` is named before the others."""
        await self._require_view("week_ahead")
        most = require_count("most", most, most=1_000)
        first = require_text("first", first, most=MAX_SCHEDULE_ID_BYTES, empty=True)
        name = zone_of(require_text("zone", zone, most=MAX_NAME_BYTES)).name
        now = self.now()
        hours = Hours(name, zone_of(name).wall(now // 1000).date(), WEEK)
        views = await self.schedules(limit=most + 1)
        by_hour: dict[tuple[date, int], list[tuple[str, int]]] = {}
        for view in views[:most]:
            instants = _instants_of(view)
            if instants is None:
                continue
            for place, passages in hours.of(partial(_from_now, instants, now)).items():
                there = by_hour.setdefault(place, [])
                there.insert(0 if view.id == first else len(there), (view.id, passages))
            await current_host().checkpoint()
        return WeekAhead(
            zone=name,
            days=[
                DayAhead(day=day, hours=[_hour(hours, day, hour, by_hour) for hour in range(HOURS)])
                for day in hours.days
            ],
            looked_at=min(most, len(views)),
            more=len(views) > most,
        )


def _instants_of(view: ScheduleView) -> Instants | None:
    """When a schedule comes; `None`: not as it stands, or this node cannot tell."""
    if view.next is None:
        return None
    try:
        timing = read(view.when, view.tz)
    except ConfigurationError:
        return None
    return partial(_within, timing.instants, view.start, view.end)


def _within(instants: Instants, start: datetime | None, end: datetime | None, after: float) -> Iterator[int]:
    """Its times after one, within its start and its end."""
    if start is not None:
        after = max(after, start.timestamp() * 1000 - 1)
    if end is None:
        return instants(after)
    last = end.timestamp() * 1000
    return takewhile(lambda at: at <= last, instants(after))


def _is_within(at: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= at) and (end is None or at <= end)


def _from_now(instants: Instants, now: int, after: float) -> Iterator[int]:
    return instants(max(after, now))


def _hour(
    hours: Hours, day: date, hour: int, by_hour: dict[tuple[date, int], list[tuple[str, int]]]
) -> HourAhead:
    if not hours.is_there(day, hour):
        return HourAhead(state="missing")
    found = by_hour.get((day, hour), [])
    if not found:
        return HourAhead()
    twice = any(passages > 1 for _, passages in found)
    return HourAhead(
        state="twice" if twice else "on", count=len(found), schedules=[id for id, _ in found[:MOST_NAMED]]
    )
