"""How an action on many jobs goes on: pure steps from record to record."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.admin import bulk
from am2z_trio.admin.bulk import FAILURES, PASSES, STEP, Became, Step
from am2z_trio.model.codec import RecordDecoder, encode_record
from am2z_trio.model.views.bulks import BulkRecord
from am2z_trio.model.views.jobs import JobRow

NOW = 1_800_000_000_000


def record(**fields: Any) -> BulkRecord:
    given: dict[str, Any] = {
        "id": "b1",
        "action": "retry",
        "query": "status:dead",
        "who": "ada",
        "role": "admin",
        "face": "cli",
        "began": NOW,
        "most": 10_000,
    }
    return BulkRecord(**{**given, **fields})


def step(became: str = "", cursor: str = "more", looked_at: int = 0) -> Step:
    kinds: dict[str, Became] = {"d": "done", "s": "skipped", "f": "failed"}
    return Step(
        [(f"j{n}", kinds[one], "why" * (one == "f")) for n, one in enumerate(became)], cursor, looked_at, 9
    )


STEPS = st.builds(step, st.text("dsf", max_size=6), st.sampled_from(["", "more"]))


@given(st.lists(STEPS, max_size=30), st.integers(0, 40))
def test_everything_is_counted_once_and_no_more_is_done_than_was_agreed(steps: list[Step], most: int):
    now = record(most=most)
    done = list[tuple[str, Became, str]]()
    for one in steps:
        if now.state != "runs":
            break
        became = one.became[: bulk.step_size(now)]
        done += became
        now = bulk.after_step(now, one._replace(became=became), NOW)
    assert (now.done, now.skipped, now.failed) == tuple(
        sum(became == kind for _, became, _ in done) for kind in ("done", "skipped", "failed")
    )
    assert now.done <= most
    assert now.passes <= PASSES
    # What is kept of it can be read.
    assert RecordDecoder[BulkRecord](BulkRecord)(encode_record(now)) == now


def test_it_looks_through_all_places_until_it_finds_nothing_more_to_do():
    now = bulk.after_step(record(), step("dd", cursor=""), NOW)
    assert (now.state, now.passes, now.acted) == ("runs", 1, 0)
    now = bulk.after_step(now, step("s", cursor=""), NOW)
    assert (now.state, now.done, now.skipped) == ("done", 2, 1)


def test_it_ends_where_it_finds_ever_more():
    now, passes = record(), 0
    while now.state == "runs":
        now, passes = bulk.after_step(now, step("d", cursor=""), NOW), passes + 1
    assert passes == PASSES


def test_the_first_failures_are_kept_and_the_others_counted():
    now = bulk.after_step(record(), step("f" * (FAILURES + 50)), NOW)
    assert (now.failed, len(now.failures), now.failures[0].job) == (FAILURES + 50, FAILURES, "j0")


def test_one_is_tried_first_and_the_others_wait_for_it():
    now = record(probe="asked")
    assert bulk.step_size(now) == 1
    assert bulk.after_step(now, step("s"), NOW).probe == "asked"
    now = bulk.after_step(now, step("d", cursor=""), NOW)
    assert (now.state, now.probe, now.probed) == ("runs", "waits", "j0")
    assert bulk.after_probe(now, JobRow("j0", "active"), NOW) is None
    assert bulk.after_probe(now, JobRow("j0", "later"), NOW) is None
    passed = bulk.after_probe(now, JobRow("j0", "completed"), NOW)
    assert passed is not None
    assert (passed.state, passed.probe, bulk.step_size(passed)) == ("runs", "passed", STEP)
    stopped = bulk.after_probe(now, JobRow("j0", "failed"), NOW)
    assert stopped is not None
    assert (stopped.state, "j0, which was tried first, was failed again" in stopped.note) == ("stopped", True)


def test_a_rate_is_kept_by_small_steps_and_pauses():
    assert bulk.step_size(record()) == STEP
    assert bulk.step_size(record(most=7)) == 7
    assert bulk.step_size(record(most=7, done=7)) == 0
    slow = record(rate=0.5)
    assert (bulk.step_size(slow), bulk.pause_after(slow, 1)) == (1, 2.0)
    fast = record(rate=2_000.0)
    assert (bulk.step_size(fast), bulk.pause_after(fast, STEP)) == (STEP, 0.25)


def test_who_carries_it_on_is_known_for_a_while():
    mine = bulk.carried(record(), "a", NOW)
    assert not bulk.is_anothers(mine, "a", NOW)
    assert bulk.is_anothers(mine, "b", NOW)
    assert not bulk.is_anothers(mine, "b", NOW + bulk.LEASE_MS)
    assert not bulk.is_anothers(bulk.ended(mine, "stopped", NOW), "b", NOW)


def test_what_came_since_and_what_is_being_done_already_is_left_alone():
    old = JobRow("j", "failed", at=NOW - 5, ended=NOW - 1)
    assert bulk.is_meant(record(), old)
    assert not bulk.is_meant(record(), msgspec.structs.replace(old, at=NOW + 1))
    assert not bulk.is_meant(record(), msgspec.structs.replace(old, ended=NOW + 1))
    cancel = record(action="cancel")
    assert bulk.is_meant(cancel, JobRow("j", "active", at=NOW - 5))
    assert not bulk.is_meant(cancel, JobRow("j", "active", at=NOW - 5, cancel="unwanted"))
