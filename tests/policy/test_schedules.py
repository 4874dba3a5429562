"""What a schedule does when its time has come."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.model.records import LastRun, ScheduleRecord, ScheduleSpec
from am2z_trio.policy.schedules import LOOK_AGAIN, PAUSED_BY_FAILURE, decide, first_after, jitter_of, upcoming
from am2z_trio.testing.conformance import job

MINUTE = 60_000


def record(next: int | None = 10 * MINUTE, last: str = "", **changes: Any) -> ScheduleRecord:
    """A schedule that comes every minute."""
    known = {name: changes.pop(name) for name in ("held", "fired", "paused") if name in changes}
    spec = ScheduleSpec(id="s", job=job("s/s"), every=60.0, **changes)
    run: Any = LastRun(job="s/s/1", at=1, status=last) if last else None  # type: ignore[arg-type]
    return ScheduleRecord(name="s", spec=spec, mark="m", rev=1, next=next, last=run, **known)


def times(firing: Any) -> list[tuple[int, int]]:
    """When its jobs are of, in minutes, and what each stands for."""
    return [(job.spec.schedule.at // MINUTE, job.spec.schedule.missed) for job in firing.jobs]


def test_before_its_time_nothing_is_done():
    assert decide(record(), 10 * MINUTE - 1) is None
    assert decide(record(paused=""), 20 * MINUTE) is None
    assert decide(record(next=None), 20 * MINUTE) is None


def test_at_its_time_it_runs_and_the_next_one_is_set():
    firing = decide(record(), 10 * MINUTE + 3)
    assert firing is not None
    assert (times(firing), firing.next, firing.due, firing.missed) == ([(10, 0)], 11 * MINUTE, 11 * MINUTE, 0)
    assert firing.jobs[0].spec.id == "s/s/600000"


def test_of_missed_times_one_run_stands_for_all():
    firing = decide(record(), 20 * MINUTE + 5)
    assert firing is not None
    assert (times(firing), firing.next, firing.missed) == ([(20, 10)], 21 * MINUTE, 10)


def test_missed_times_are_all_run_the_oldest_first():
    firing = decide(record(missed="all", overlap="allow", catch_up=3), 20 * MINUTE + 5)
    assert firing is not None
    # Up to 60 s late is not missed.
    assert times(firing) == [(17, 0), (18, 0), (19, 0), (20, 0)]
    assert (firing.missed, firing.next) == (7, 21 * MINUTE)


def test_missed_times_are_passed_by():
    firing = decide(record(missed="skip", overlap="allow"), 20 * MINUTE)
    assert firing is not None
    assert (times(firing), firing.missed, firing.next) == ([(19, 0), (20, 0)], 9, 21 * MINUTE)
    firing = decide(record(missed="skip", missed_after=1), 20 * MINUTE + 5_000)
    assert firing is not None
    assert (times(firing), firing.missed, firing.next) == ([], 11, 21 * MINUTE)


def test_more_missed_times_than_are_looked_at_are_counted_to_that_number():
    firing = decide(record(next=0), 100_000 * MINUTE)
    assert firing is not None
    assert (times(firing), firing.missed) == ([(100_000, 999)], 999)


def test_caught_up_one_after_the_other_where_none_may_overlap():
    late = record(missed="all", catch_up=3)
    firing = decide(late, 20 * MINUTE)
    assert firing is not None
    assert (times(firing), firing.next, firing.missed) == ([(16, 0)], 17 * MINUTE, 6)
    assert firing.due <= 20 * MINUTE + 5
    busy = decide(msgspec.structs.replace(record(17 * MINUTE, "busy", missed="all")), 20 * MINUTE + 6)
    assert busy is not None
    assert (busy.jobs, busy.next, busy.due) == ([], 17 * MINUTE, 20 * MINUTE + 6 + LOOK_AGAIN)


def test_while_the_last_run_goes_on_a_time_is_skipped():
    firing = decide(record(last="busy"), 10 * MINUTE)
    assert firing is not None
    assert (firing.jobs, firing.skipped, firing.next) == ([], [10 * MINUTE], 11 * MINUTE)
    assert firing.looks_at_last


@pytest.mark.parametrize(("overlap", "cancels"), [("queue", False), ("cancel", True)])
def test_while_the_last_run_goes_on_a_time_waits_and_later_ones_are_one_with_it(
    overlap: str, cancels: bool
) -> None:
    firing = decide(record(last="busy", overlap=overlap), 10 * MINUTE + 7)
    assert firing is not None
    assert (firing.jobs, firing.skipped, firing.next) == ([], [], 10 * MINUTE)
    assert (firing.due, firing.held) == (10 * MINUTE + 7 + LOOK_AGAIN, 10 * MINUTE + 7)
    assert bool(firing.cancel) == cancels
    # What waits is not late, however long.
    waits = record(last="ended", overlap=overlap, held=firing.held, missed="skip")
    firing = decide(waits, 15 * MINUTE + 30_000)
    assert firing is not None
    assert (times(firing), firing.next, firing.held) == ([(15, 5)], 16 * MINUTE, None)


def test_runs_may_overlap():
    firing = decide(record(last="busy", overlap="allow"), 10 * MINUTE)
    assert firing is not None
    assert (times(firing), firing.looks_at_last) == ([(10, 0)], False)


def test_after_a_failure_it_is_paused():
    firing = decide(record(last="failed", pause_on_failure=True), 10 * MINUTE)
    assert firing is not None
    assert (firing.pause, firing.jobs, firing.next) == (PAUSED_BY_FAILURE, [], 10 * MINUTE)
    firing = decide(record(last="failed"), 10 * MINUTE)
    assert firing is not None
    assert times(firing) == [(10, 0)]


def test_it_ends_at_its_limit_and_at_its_end():
    firing = decide(record(limit=3, fired=2), 10 * MINUTE)
    assert firing is not None
    assert (times(firing), firing.next) == ([(10, 0)], None)
    firing = decide(record(end=10 * MINUTE), 30 * MINUTE)
    assert firing is not None
    assert (times(firing), firing.next) == ([(10, 0)], None)
    firing = decide(record(limit=3, fired=0, overlap="allow", missed="all"), 30 * MINUTE)
    assert firing is not None
    assert (times(firing), firing.next) == ([(10, 0), (11, 0), (12, 0)], None)
    spec = record(start=5 * MINUTE + 1, end=7 * MINUTE).spec
    assert spec is not None
    assert first_after(spec, 0)[0] == 6 * MINUTE
    assert first_after(spec, 7 * MINUTE)[0] is None


def test_jitter_is_the_same_everywhere_and_puts_off_what_keeps_its_name():
    spec = record(jitter=30.0).spec
    assert spec is not None
    put_off = [jitter_of(spec, minute * MINUTE) for minute in range(1_000)]
    assert 0 <= min(put_off) < 1_000
    assert 29_000 < max(put_off) <= 30_000
    at, due = first_after(spec, 9 * MINUTE)
    assert (at, due) == (10 * MINUTE, 10 * MINUTE + put_off[10])
    assert decide(record(jitter=30.0), int(due) - 1) is None
    firing = decide(record(jitter=30.0), int(due))
    assert firing is not None
    assert times(firing) == [(10, 0)]


def test_the_next_times_end_with_its_limit():
    assert upcoming(record(limit=5, fired=3), 10) == [10 * MINUTE, 11 * MINUTE]
    assert upcoming(record(end=12 * MINUTE), 10) == [10 * MINUTE, 11 * MINUTE, 12 * MINUTE]


@given(
    overlap=st.sampled_from(["skip", "queue", "cancel", "allow"]),
    missed=st.sampled_from(["once", "all", "skip"]),
    last=st.sampled_from(["", "busy", "ended", "failed"]),
    steps=st.lists(st.integers(1, 15 * MINUTE), min_size=1, max_size=20),
    catch_up=st.integers(0, 20),
    jitter=st.integers(0, 50),
)
def test_no_time_runs_twice_or_out_of_order_and_each_is_accounted_for(
    overlap: Any, missed: Any, last: str, steps: list[int], catch_up: int, jitter: int
) -> None:
    options: dict[str, Any] = {
        "overlap": overlap,
        "missed": missed,
        "catch_up": catch_up,
        "jitter": float(jitter),
    }
    now, known, ran, passed = 10 * MINUTE, record(**options), list[int](), 0
    for step in steps:
        now += step
        for _ in range(100):
            stands = last if not ran else "busy" if len(ran) % 3 == 0 else "ended"
            run: Any = LastRun(job="j", at=1, status=stands) if stands else None  # type: ignore[arg-type]
            known = msgspec.structs.replace(known, last=run)
            firing = decide(known, now)
            if firing is None:
                break
            ran += [job.spec.schedule.at for job in firing.jobs if job.spec.schedule]
            passed += len(firing.skipped) + firing.missed
            known = msgspec.structs.replace(known, next=firing.next, held=firing.held)
            if firing.due > now:
                break
    assert ran == sorted(set(ran))
    assert known.next is not None
    assert len(ran) + passed == known.next // MINUTE - 10
