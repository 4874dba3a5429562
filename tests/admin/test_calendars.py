"""Times that are asked for before they are written down, other terms of a schedule, and the week ahead."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import ConfigurationError, Cron, Every, JobNotFoundError, Schedule, processor
from am2z_trio.admin import NotPermittedError
from tests.admin.test_service import audited, until_status
from tests.support.desks import admin

pytestmark = pytest.mark.anyio


@processor
async def report(n: int) -> int:
    return n


@processor
async def hold(n: int) -> int:
    await anyio.sleep_forever()
    return n


def at(monkeypatch: pytest.MonkeyPatch, desk: Any, moment: datetime) -> None:
    """Have it be that time for a desk."""
    monkeypatch.setattr(type(desk), "now", lambda _: round(moment.timestamp() * 1000))


async def test_what_something_would_do_is_told_with_what_the_clock_makes_of_it(make_runtime, monkeypatch):
    async with make_runtime() as runtime:
        desk = admin(runtime, "viewer")
        at(monkeypatch, desk, datetime(2026, 11, 27, 12, 6, tzinfo=UTC))
        told = await desk.what_if(Cron("30 2 * * *", "Europe/Berlin"), n=3)
        assert (told.when, told.words) == ("30 2 * * *", "At 02:30 every day, Europe/Berlin")
        assert [one.at.isoformat() for one in told.next] == [
            f"2026-11-{day}T02:30:00+01:00" for day in (28, 29, 30)
        ]
        assert [(one.at.isoformat(), one.note) for one in told.shifts] == [
            ("2027-03-28T03:00:00+02:00", "02:30 does not exist: runs when the clock jumps"),
            ("2027-10-31T02:30:00+02:00", "02:30 comes twice: runs at the first"),
        ]
        assert (told.first.isoformat(), len(told.days)) == ("2026-11-27", 366)
        weekdays = Counter(day.isoweekday() for day in (await desk.what_if(Cron("0 9 * * 1-5"))).days)
        assert set(weekdays) == {1, 2, 3, 4, 5}
        near = await desk.what_if(Cron("30 2 28 3 *", "Europe/Berlin"), n=1)
        assert near.next[0].note == "02:30 does not exist: runs when the clock jumps"
        assert (await desk.what_if(Every(3600, phase=60), n=0)).next == []


async def test_what_something_would_do_is_told_within_its_start_and_its_end(make_runtime, monkeypatch):
    async with make_runtime() as runtime:
        desk = admin(runtime, "viewer")
        at(monkeypatch, desk, datetime(2026, 11, 27, 12, 6, tzinfo=UTC))
        first, last = datetime(2026, 12, 1, 1, 30, tzinfo=UTC), datetime(2027, 4, 1, tzinfo=UTC)
        nightly = Cron("30 2 * * *", "Europe/Berlin")
        told = await desk.what_if(nightly, n=2, start=first, end=last)
        assert [one.at.isoformat()[:10] for one in told.next] == ["2026-12-01", "2026-12-02"]
        assert [one.at.isoformat()[:10] for one in told.shifts] == ["2027-03-28"]
        assert (told.days[0].isoformat(), told.days[-1].isoformat()) == ("2026-12-01", "2027-03-31")
        told = await desk.what_if(nightly, start=first, end=first)
        assert [one.at for one in told.next] == [first]
        assert len(told.days) == 1
        told = await desk.what_if(Every(60), end=datetime(2026, 11, 26, tzinfo=UTC))
        assert (told.next, told.days) == ([], [])


async def test_what_begins_as_calendars_end_is_told_to_come_no_more(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(report)
        desk, end = admin(runtime), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        for number, every in enumerate((Every(1e9), Every(3600))):
            plan = Schedule(f"far {number}", report, every, state=1, start=end)
            assert "comes no more" in (await desk.add_schedule(plan)).text
            assert await desk.schedule_times(plan.id) == []
        whens: list[Every | Cron] = [Every(1e9), Every(3600), Cron("30 2 * * *", "Europe/Berlin")]
        for when in whens:
            with pytest.raises(ConfigurationError, match="before the year 9,999"):
                await desk.what_if(when, start=end)
            # Who writes that it never ends is taken at their word.
            assert (await desk.what_if(when, end=end)).next


async def test_the_week_ahead_is_of_what_comes_and_is_the_principals(make_runtime, monkeypatch):
    async with make_runtime() as runtime:
        runtime.register(report, hold)
        boss = admin(runtime)
        add = boss.add_schedule
        await add(Schedule("nightly", report, Cron("30 2 * * *", "Europe/Berlin"), 1))
        await add(Schedule("often", report, Every(600), 1, session="team-a/1"))
        await add(Schedule("paused", report, Cron("0 5 * * *"), 1))
        ends = datetime(2026, 10, 26, tzinfo=UTC)
        await add(Schedule("over", hold, Cron("0 7 * * *"), 1, end=datetime(2099, 1, 1, tzinfo=UTC)))
        await boss.pause_schedule("paused")
        at(monkeypatch, boss, ends - timedelta(days=2))
        week = await boss.week_ahead("Europe/Berlin")
        assert [one.day.isoformat() for one in week.days] == [f"2026-10-{day}" for day in range(24, 31)]
        first, autumn = week.days[0].hours, week.days[1].hours
        # It is two o'clock on the first day; what comes before that has been.
        assert [one.state for one in first[:4]] == ["", "", "on", "on"]
        assert (first[2].count, sorted(first[2].schedules)) == (2, ["nightly", "often"])
        assert (autumn[2].state, autumn[3].state) == ("twice", "on")
        assert (first[8].schedules, first[5].schedules) == (["often"], ["often"])
        assert (week.looked_at, week.more) == (4, False)
        limited = await admin(runtime, sessions=("team-a/*",)).week_ahead()
        assert {id for day in limited.days for hour in day.hours for id in hour.schedules} == {"often"}
        cut = await boss.week_ahead(most=1)
        assert (cut.looked_at, cut.more) == (1, True)
        with pytest.raises(ConfigurationError, match="Berlin"):
            await boss.week_ahead("Europe/Berlim")
        at(monkeypatch, boss, datetime(2027, 3, 28, 0, 30, tzinfo=UTC))
        assert (await boss.week_ahead("Europe/Berlin")).days[0].hours[2].state == "missing"


async def test_other_terms_are_written_down_where_nobody_has_written_others_meanwhile(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(report)
        desk = admin(runtime)
        await desk.add_schedule(Schedule("hourly", report, Every(3600), 7, session="team-a/1"))
        done = await desk.amend_schedule(
            "hourly", rev=1, reason="too seldom", when=Every(60), overlap="queue"
        )
        assert done.done
        assert done.text.startswith("revision 2 is written down, and comes next at ")
        assert (await desk.amend_schedule("hourly", overlap="queue")).text.startswith("it is as it was")
        late = await desk.amend_schedule("hourly", rev=1, jitter=5.0)
        assert (late.done, late.text) == (False, "it has moved on: revision 2 is the newest")
        view = await desk.schedule("hourly")
        assert (view.when, view.overlap, view.session) == ("every 60 s", "queue", "team-a/1")
        with pytest.raises(ConfigurationError, match="jitter"):
            await desk.amend_schedule("hourly", jitter=-1.0)
        theirs = admin(runtime, "operator", sessions=("team-b/*",))
        assert (await theirs.amend_schedule("hourly", jitter=1.0)).text == "there is no schedule 'hourly'"
        assert await theirs.last_runs(["hourly"]) == {}
        with pytest.raises(NotPermittedError):
            await admin(runtime, "viewer").amend_schedule("hourly", jitter=1.0)
        entries = (await runtime.node.store.chronicle.audit_page()).entries[::-1]
        begun = next(one for one in entries if one.action == "amend_schedule")
        assert begun.reason == "too seldom"
        assert msgspec.msgpack.decode(begun.preview)["rev"] == 1


async def test_what_a_cancel_and_a_stop_would_do_is_told_to_whom_it_concerns(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(hold)
        job = await runtime.submit(hold, 1, session="team-a/1")
        await until_status(runtime, job.id, "active")
        viewer, others = admin(runtime, "viewer"), admin(runtime, sessions=("team-b/*",))
        told = await viewer.preview_cancel(job.id)
        assert ([row.job for row in told.running], told.nodes) == ([job.id], {runtime.node.id: 1})
        assert len((await viewer.preview_stop_session("team-a/1")).running) == 1
        with pytest.raises(JobNotFoundError):
            await others.preview_cancel(job.id)
        with pytest.raises(NotPermittedError):
            await others.preview_stop_session("team-a/1")
        assert await audited(runtime) == [("preview_stop_session", "team-a/1", "refused")]
        healths = await viewer.node_healths()
        assert [*healths] == [runtime.node.id]
        assert [one.figures.claims for one in healths.values() if one] == [1]
        await job.cancel("the test is over")
