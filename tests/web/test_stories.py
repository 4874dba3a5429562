"""What has happened to a job, as lines and as lanes: pure functions."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.admin.query import parse
from am2z_trio.model.events import Event
from am2z_trio.model.views.jobs import JobRow, TrailEntry
from am2z_trio.model.views.lives import CallRow, Calls
from am2z_trio.web.charts.life import LEFT, RIGHT, Span, life
from am2z_trio.web.pages.jobs import tokens
from am2z_trio.web.stories import happened, spans, told_by

ALONE = Calls(rows=[])

TRAIL = (
    TrailEntry(2_000, "retry", "a", 1, "TIMEOUT", "too long"),
    TrailEntry(5_000, "lost", "d", 2),
    TrailEntry(5_500, "refused", "d", 2, "88110"),
)
STORY = JobRow(
    id="j", status="completed", at=1_000, since=6_000, ended=8_000, attempt=2, deliveries=3, trail=TRAIL
)


def begun(*times: int) -> list[Event]:
    return [Event(name="job:started", at=at, node="a", job="j") for at in times]


def test_a_life_is_told_by_its_record_alone():
    found = spans(STORY, [], ALONE, 9_000)
    assert [(one.lane, one.begin, one.end, one.kind, one.unsure) for one in found] == [
        ("Attempt 1", 1_000, 2_000, "bad", True),
        ("Attempt 2", 2_000, 5_000, "off", True),
        ("Waits", 5_000, 6_000, "wait", False),
        ("Attempt 2", 6_000, 8_000, "ok", False),
    ]


def test_a_history_of_events_says_when_earlier_attempts_began():
    found = spans(STORY, begun(1_200, 4_000, 6_000), ALONE, 9_000)
    assert [(one.lane, one.begin, one.end, one.kind) for one in found] == [
        ("Waits", 1_000, 1_200, "wait"),
        ("Attempt 1", 1_200, 2_000, "bad"),
        ("Backs off", 2_000, 4_000, "later"),
        ("Attempt 2", 4_000, 5_000, "off"),
        ("Waits", 5_000, 6_000, "wait"),
        ("Attempt 2", 6_000, 8_000, "ok"),
    ]
    told = happened(STORY, begun(1_200, 4_000, 6_000))
    assert [one.title for one in told] == [
        *("Accepted", "Claimed", "Failed", "Claimed", "Lost with its node"),
        *("Late result refused", "Claimed", "Completed"),
    ]
    assert "token 88110 is not the newest: nothing was written" in told[5].text


def test_a_job_that_was_parked_is_told_so():
    parked = Event("job:parked", 2_000, "a", "j", data={"until": 9_000})
    events = [*begun(1_500), parked, *begun(6_000)]
    job = JobRow(id="j", status="completed", at=1_000, since=6_000, ended=8_000, deliveries=2)
    assert [(one.lane, one.begin, one.end, one.kind) for one in spans(job, events, ALONE, 9_000)] == [
        ("Waits", 1_000, 1_500, "wait"),
        ("Attempt 1", 1_500, 2_000, "off"),
        ("Parked", 2_000, 6_000, "later"),
        ("Attempt 1", 6_000, 8_000, "ok"),
    ]
    told = {one.title: one.text for one in happened(job, events)}
    assert told["Parked"] == "by a, until 1970-01-01 00:00:09 UTC"
    waits = JobRow(id="j", status="later", at=1_000, due=9_000)
    assert spans(waits, events[:2], ALONE, 4_000)[-1] == Span("Parked", 2_000, 4_000, "later")
    # What another node has said may be anything.
    odd = Event("job:parked", 2_000, "a", "j", data={"until": "late"})
    assert happened(waits, [odd])[-1].text == "by a"
    assert happened(waits, [msgspec.structs.replace(odd, data={"until": 2**60})])[-1].text == "by a"


def test_one_that_waits_or_runs_is_told_up_to_now():
    waits = JobRow(id="j", status="waiting", at=1_000)
    assert spans(waits, [], ALONE, 4_000) == [Span("Waits", 1_000, 4_000, "wait")]
    runs = JobRow(id="j", status="active", at=1_000, since=2_000, node="a")
    assert spans(runs, [], ALONE, 4_000)[-1] == Span("Attempt 1", 2_000, 4_000, "", "runs on a")
    off = JobRow(
        id="j",
        status="later",
        at=1_000,
        attempt=2,
        due=9_000,
        trail=(TrailEntry(2_000, "retry", "a", 1, "X"),),
    )
    assert spans(off, [], ALONE, 4_000)[-1] == Span("Backs off", 2_000, 4_000, "later")


def test_calls_have_a_lane_of_their_own():
    child = JobRow(
        id="c", status="completed", processor="price", parent="j", at=6_100, since=6_200, ended=7_000
    )
    calls = Calls(rows=[CallRow(id="j", level=0, row=STORY, asked=True), CallRow(id="c", level=1, row=child)])
    assert spans(STORY, [], calls, 9_000)[-1] == Span("Calls", 6_200, 7_000, "ok", "price")


def test_of_a_job_that_is_gone_its_events_are_told():
    events = [
        Event(name="job:enqueued", at=1, job="j"),
        Event(name="job:failed", at=2, job="j", node="a", data={"attempt": 3, "code": "X", "message": "no"}),
        Event(name="paid", at=3, job="j", data=[1]),
    ]
    assert [(one.title, one.text) for one in told_by(events)] == [
        ("Accepted", ""),
        ("Failed for good", "by a, attempt 3, X: no"),
        ("paid", ""),
    ]


MOMENT = st.integers(0, 2**45)


@given(
    st.lists(st.builds(Span, st.sampled_from("abc"), MOMENT, MOMENT, st.just("ok"), st.just("x" * 9))),
    MOMENT,
    MOMENT,
)
def test_whatever_the_times_are_nothing_is_drawn_outside(some, begin, end):
    drawn = life(some, begin, end)
    if drawn is None:
        return
    assert len(drawn.ticks) <= 12
    for bar in drawn.bars:
        assert LEFT <= bar.x <= RIGHT
        assert bar.x + bar.width <= RIGHT + 3
        assert bar.y + 20 <= drawn.height


def test_a_filter_is_shown_term_by_term_each_with_what_is_left_without_it():
    asked = parse('queue:charge -error:"a b"* age>5m alice input.order.id:7')
    assert [(one.name, one.value) for one in tokens(asked)] == [
        ("queue", "charge"),
        ("not error", '"a b"*'),
        ("age", "> 5m"),
        ("", "alice"),
        ("input.order.id", "7"),
    ]
    assert tokens(asked)[0].without == '-error:"a b"* age>5m alice input.order.id:7'
