"""In which days and hours schedules come: held to a reading that looks at every one of their times."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from itertools import takewhile

import pytest

from am2z_trio import ConfigurationError, Cron, Every
from am2z_trio.policy.calendars import Hours, days_from, days_with
from am2z_trio.policy.cron import Timing, read, written
from am2z_trio.policy.zones import zone

SPRING = date(2026, 3, 27)
AUTUMN = date(2026, 10, 23)

TIMINGS: list[Timing] = [
    Every(30),
    Every(7 * 3600),
    Every(3600, phase=1800),
    *(
        Cron(text, tz)
        for text in (
            "30 2 * * *",
            "*/5 9-17 * * 1-5",
            "15,45 */2 * * *",
            "0 8 1 * *",
            "* * * * *",
            "0 0 30 2 1",
        )
        for tz in ("Europe/Berlin", "UTC", "Australia/Lord_Howe")
    ),
]


def times_of(timing: Timing, zone_name: str, first: date, days: int) -> list[datetime]:
    """All of them, by the wall clock."""
    begin, *_, end = days_from(zone_name, first, days)
    clock = zone(zone_name)
    return [
        clock.aware(at // 1000)
        for at in takewhile(lambda at: at < end * 1000, timing.instants(begin * 1000 - 1))
    ]


@pytest.mark.parametrize("tz", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
@pytest.mark.parametrize("first", [SPRING, AUTUMN])
def test_the_days_and_hours_are_those_of_all_its_times(tz, first):
    hours = Hours(tz, first, 5)
    for timing in TIMINGS:
        times = times_of(timing, tz, first, 5)
        assert set(days_with(timing.instants, tz, first, 5)) == {at.date() for at in times}
        passages = Counter((at.date(), at.hour) for at in {at.replace(minute=0, second=0) for at in times})
        if tz != "Australia/Lord_Howe":
            # There the clock is set in the midst of an hour, whose parts have offsets of their own.
            assert hours.of(timing.instants) == passages
        assert set(hours.of(timing.instants)) == set(passages)


def test_an_hour_that_is_left_out_is_not_there_and_one_that_comes_twice_is_told():
    spring, autumn = (
        Hours("Europe/Berlin", date(2026, 3, 29), 1),
        Hours("Europe/Berlin", date(2026, 10, 25), 1),
    )
    assert [hour for hour in range(24) if not spring.is_there(date(2026, 3, 29), hour)] == [2]
    assert all(autumn.is_there(date(2026, 10, 25), hour) for hour in range(24))
    by_hour = autumn.of(Every(600).instants)
    assert {hour for (_, hour), times in by_hour.items() if times == 2} == {2}
    assert {*autumn.of(Cron("30 2 * * *", "Europe/Berlin").instants).values()} == {1}


def test_a_year_of_what_comes_every_second_looks_at_few_of_its_times():
    asked = 0

    def instants(after: float):
        nonlocal asked
        for at in Cron("* * * * * *", "Europe/Berlin").instants(after):
            asked += 1
            yield at

    assert len(list(days_with(instants, "Europe/Berlin", date(2026, 1, 1), 365))) == 365
    assert asked < 365 * 20


def test_a_day_without_a_midnight_begins_when_the_clock_has_jumped():
    # Beirut leaves out the hour after midnight.
    begin, end = days_from("Asia/Beirut", date(2026, 3, 29), 1)
    assert timedelta(seconds=end - begin) == timedelta(hours=23)


@pytest.mark.parametrize("timing", [*TIMINGS, Every(0.25), Every(86400.5, phase=12345.678), Every(10**9)])
def test_what_is_written_is_read_as_it_was(timing):
    assert read(written(timing), timing.zone) == timing


@pytest.mark.parametrize(
    ("text", "timing"),
    [
        ("every 30", Every(30)),
        ("  EVERY 1.5 h", Every(5400)),
        ("every 2h+5m", Every(7200, phase=300)),
        ("@daily", Cron("0 0 * * *")),
    ],
)
def test_intervals_are_written_as_people_do(text, timing):
    assert read(text) == timing


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("every", "Every.seconds"),
        ("every x", "Every.seconds"),
        ("every -1 s", "Every.seconds"),
        ("every 0.01 s", "Every.seconds"),
        ("every 30 s + 40 s", "Every.phase"),
        ("every 30 s + x", "Every.phase"),
        ("61 * * * *", "Cron.text"),
        ("", "Cron.text"),
        ("\0" * 300, "Cron.text"),
        ("1--100000000 * * * *", "Cron.text"),
    ],
)
def test_what_is_no_time_names_the_field_and_the_rule(text, field):
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert caught.value.context["field"] == field
    assert caught.value.context["rule"]
