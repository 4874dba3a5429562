"""When cron texts come: held to a reading that looks at every minute, where clocks are set, too."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from am2z_trio import ConfigurationError, Cron, Every
from am2z_trio.policy.cron import Timing, newest
from am2z_trio.policy.zones import zone
from tests.support.calendar import in_ms, minutes, utc

TEXTS = (
    "*/7 * * * *",
    "30 * * * *",
    "30 2 * * *",
    "0,30 1,2,3 * * *",
    "15 */2 * * *",
    "*/20 2 * * *",
    "0 2 * * SUN#1",
    "45 1 L * *",
    "5 0 1 * *",
    "0 3 10-20/3 * MONL",
)

SETTINGS_OF_CLOCKS = {
    "Europe/Berlin": ((2025, 3, 30), (2025, 10, 26)),
    "America/New_York": ((2025, 3, 9), (2025, 11, 2)),
    "Australia/Lord_Howe": ((2025, 4, 6), (2025, 10, 5)),
    "Africa/Casablanca": ((2025, 2, 23), (2025, 4, 6)),
    "Asia/Kathmandu": ((2025, 1, 31),),
    "UTC": ((2025, 3, 30),),
}


def between(timing: Timing, start: datetime, end: datetime) -> list[int]:
    last = end.timestamp() * 1000
    return [*takewhile(lambda at: at < last, timing.instants(start.timestamp() * 1000 - 1))]


@pytest.mark.parametrize("tz", SETTINGS_OF_CLOCKS)
@pytest.mark.parametrize("text", TEXTS)
def test_around_the_setting_of_clocks_it_comes_as_a_look_at_every_minute_says(text: str, tz: str) -> None:
    for day in SETTINGS_OF_CLOCKS[tz]:
        start = utc(*day) - timedelta(hours=30)
        end = start + timedelta(hours=60)
        assert between(Cron(text, tz), start, end) == in_ms(minutes(text, tz, start, end))


@settings(max_examples=60)
@given(
    tz=st.sampled_from([*SETTINGS_OF_CLOCKS]),
    which=st.integers(0, 1),
    offset=st.integers(-26 * 60, 26 * 60),
    minute=st.sampled_from(["*", "*/15", "0", "30", "10,50", "59"]),
    hour=st.sampled_from(["*", "*/3", "0", "1", "2", "1,2", "0-5/2", "23"]),
)
def test_wherever_one_begins_to_look_it_goes_on_the_same(
    tz: str, which: int, offset: int, minute: str, hour: str
) -> None:
    days = SETTINGS_OF_CLOCKS[tz]
    start = utc(*days[min(which, len(days) - 1)]) + timedelta(minutes=offset)
    end, text = start + timedelta(hours=30), f"{minute} {hour} * * *"
    assert between(Cron(text, tz), start, end) == in_ms(minutes(text, tz, start, end))


def test_a_fixed_time_that_does_not_exist_comes_when_the_clock_jumps():
    (at,) = Cron("30 2 * * *", "Europe/Berlin").next(after=utc(2025, 3, 29, 12))
    assert at == utc(2025, 3, 30, 1)
    assert (at.hour, at.minute) == (3, 0)


def test_several_times_that_do_not_exist_come_once():
    found = Cron("0,10,20 2,3 * * *", "Europe/Berlin").next(3, after=utc(2025, 3, 29, 12))
    assert found == [utc(2025, 3, 30, 1), utc(2025, 3, 30, 1, 10), utc(2025, 3, 30, 1, 20)]


def test_a_fixed_time_that_comes_twice_comes_at_the_first():
    cron = Cron("30 2 * * *", "Europe/Berlin")
    first, second = cron.next(2, after=utc(2025, 10, 25, 12))
    assert [first, second] == [utc(2025, 10, 26, 0, 30), utc(2025, 10, 27, 1, 30)]
    assert (first.isoformat(), second.isoformat()[-6:]) == ("2025-10-26T02:30:00+02:00", "+01:00")
    # Also for who looks between the two.
    assert cron.next(after=utc(2025, 10, 26, 0, 45)) == [utc(2025, 10, 27, 1, 30)]
    assert cron.next(after=utc(2025, 10, 26, 1, 10)) == [utc(2025, 10, 27, 1, 30)]


def test_six_fields_begin_with_the_second():
    found = Cron("*/20 0 12 * * *", "UTC").next(4, after=utc(2025, 1, 1))
    assert [at.second for at in found] == [0, 20, 40, 0]
    # Where they are fixed times, the clock's setting is dealt with as for five.
    assert Cron("15 30 2 * * *", "Europe/Berlin").next(after=utc(2025, 3, 29, 12)) == [utc(2025, 3, 30, 1)]


def test_what_seldom_comes_is_found_at_once():
    began = time.perf_counter()
    found = Cron("30 2 29 2 MON", "Europe/Berlin").next(1, after=utc(2025, 1, 1))
    assert found == [utc(2025, 2, 3, 1, 30)]
    assert Cron("*/30 * 29 2 *", "Europe/Berlin").next(2, after=utc(2025, 1, 1)) == [
        utc(2028, 2, 28, 23),
        utc(2028, 2, 28, 23, 30),
    ]
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("text", "plain"),
    [("@daily", "0 0 * * *"), (" @Hourly ", "0 * * * *"), ("0 0 * * mon", "0 0 * * MON")],
)
def test_a_text_is_kept_in_one_spelling(text: str, plain: str) -> None:
    assert Cron(text).text == plain


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "must be a text of 1 to 256 bytes"),
        ("* * * *", "these are 4"),
        ("@reboot", "must be 5 fields"),
        ("x" * 257, "must be a text of 1 to 256 bytes"),
        ("60 * * * *", "minute '60' must be 0 to 59"),
        ("* 24 * * *", "hour '24' must be 0 to 23"),
        ("* * 0 * *", "day of month '0' must be 1 to 31"),
        ("* * * 13 *", "month '13' must be 1 to 12 or JAN to DEC"),
        ("* * * * 8", "day of week '8' must be 0 to 7 or SUN to SAT"),
        ("* * * * MON#6", "day of week 'MON#6'"),
        ("* * L-3 * *", "day of month 'L-3'"),
        ("1--100000000 * * * *", "minute '1--100000000'"),
        ("0-99999999999999999999 * * * *", "minute '0-99999999999999999999'"),
        ("*/99999999999999999999 * * * *", "behind '/' must be a number from 1 to 59"),
        ("*/0 * * * *", "behind '/'"),
        ("5-1 * * * *", "must not end before it begins"),
        ("1,,2 * * * *", "minute ''"),
        ("\u0661 * * * *", "must be 5 fields"),
        ("* * * * *\x00", "must be 5 fields"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6 *", "never comes"),
    ],
)
def test_a_bad_text_is_one_error_that_names_field_and_rule(text: str, rule: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Cron(text)
    assert rule in caught.value.message
    assert caught.value.context["field"] == "Cron.text"


@given(st.text(alphabet="0123456789*/,-#LWMON @\n", max_size=40))
def test_any_text_is_refused_or_comes(text: str) -> None:
    try:
        cron = Cron(text)
    except ConfigurationError:
        return
    first, second = islice(cron.instants(0), 2)
    assert 0 < first < second
    assert cron.explain()


@pytest.mark.parametrize("tz", ["Berlin", "", "../../etc/passwd", "/etc/localtime", "Europe", "\x00"])
def test_a_bad_zone_is_one_error(tz: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Cron("* * * * *", tz)
    assert caught.value.context["field"] == "Cron.tz"


def test_a_zone_that_is_nearly_right_is_told():
    with pytest.raises(ConfigurationError, match="did you mean 'Europe/Berlin'"):
        Cron("* * * * *", "Europe/Berln")


def test_a_schedule_is_told_in_words():
    assert Cron("30 2 * * *", "Europe/Berlin").explain() == "At 02:30 every day, Europe/Berlin"
    assert Every(30).explain() == "Every 30 seconds"
    assert Every(3600, 60).explain() == "Every 3600 seconds, 60 s past"


def test_a_year_tells_what_becomes_of_times_that_meet_a_setting_of_the_clock():
    told = Cron("30 2 * * *", "Europe/Berlin").year(after=utc(2025, 1, 1))
    assert [(one.at, one.note) for one in told] == [
        (utc(2025, 3, 30, 1), "02:30 does not exist: runs when the clock jumps"),
        (utc(2025, 10, 26, 0, 30), "02:30 comes twice: runs at the first"),
    ]
    told = Cron("*/30 * * * *", "Australia/Lord_Howe").year(after=utc(2025, 1, 1))
    assert [one.note for one in told] == [
        "01:30 comes twice: runs both times",
        "02:00 does not exist: no run then",
    ]
    assert Cron("30 12 * * *", "Europe/Berlin").year(after=utc(2025, 1, 1)) == []
    assert Cron("30 2 * * *").year() == []


def test_an_interval_does_not_drift():
    assert [*islice(Every(30).instants(0), 3)] == [30_000, 60_000, 90_000]
    assert [*islice(Every(30, phase=5).instants(29_999.5), 2)] == [35_000, 65_000]
    assert [*islice(Every(0.7).instants(10**12), 2)] == [10**12 + 300, 10**12 + 1000]


@given(
    seconds=st.floats(0.1, 10**6),
    share=st.floats(0, 0.999),
    after=st.floats(0, 10**13),
)
def test_an_interval_is_the_same_wherever_one_begins_to_look(
    seconds: float, share: float, after: float
) -> None:
    every = Every(seconds, share * seconds)
    first, second = islice(every.instants(after), 2)
    assert first > after
    assert next(every.instants(first)) == second
    assert next(every.instants(first - 1)) == first
    assert first - after <= second - first


@pytest.mark.parametrize(
    "bad", [{"seconds": 0}, {"seconds": 0.01}, {"seconds": 5, "phase": 5}, {"seconds": 5, "phase": -1}]
)
def test_a_bad_interval_is_one_error(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="Every"):
        Every(**bad)


def test_an_interval_ends_where_calendars_do():
    end = datetime(9999, 12, 30, 23, 30, tzinfo=UTC)
    assert Every(3600).next(5, after=end) == [datetime(9999, 12, 31, tzinfo=UTC)]
    assert Every(10**9).next(5, after=end) == []


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ConfigurationError, match="after"):
        Every(5).next(after=datetime(2025, 1, 1))


@settings(max_examples=50)
@given(
    text=st.sampled_from(["* * * * *", "0 * * * *", "* 3 * * *", "0 0 1 * *", "* * * 1 * *"]),
    since=st.integers(0, 40 * 86_400_000),
    most=st.integers(100, 200),
)
def test_the_newest_are_those_of_all(text: str, since: int, most: int) -> None:
    cron, until = Cron(text), 40 * 86_400_000
    found, more = newest(cron, since, until, most)
    every = [*takewhile(lambda at: at <= until, cron.instants(since - 1))]
    assert found == every[-most:]
    assert more == (len(every) > most)


def test_without_the_extra_an_interval_works_and_a_cron_says_what_to_install(monkeypatch):
    for name in ("cronsim", "tzdata"):
        monkeypatch.setitem(sys.modules, name, None)
    assert Every(30).next(2, after=utc(2025, 1, 1))[1] == utc(2025, 1, 1, 0, 1)
    with pytest.raises(ConfigurationError, match=r"pip install 'am2z-trio\[cron\]'"):
        Cron("* * * * *")


def test_a_zone_needs_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tzdata", None)
    zone.cache_clear()
    with pytest.raises(ConfigurationError, match=r"pip install 'am2z-trio\[cron\]'"):
        Cron("* * * * *", "Europe/Berlin")
    zone.cache_clear()
    assert Cron("* * * * *").tz == "UTC"


def test_next_is_now_by_default():
    assert Cron("* * * * *").next()[0] > datetime.now(UTC)
