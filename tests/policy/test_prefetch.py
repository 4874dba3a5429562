"""How many jobs are claimed ahead."""

from __future__ import annotations

from am2z_trio.policy.prefetch import MOST, MOST_IN_A_ROW, Prefetch


def measured(*, run: float, round_trip: float) -> Prefetch:
    prefetch = Prefetch()
    for _ in range(200):
        prefetch.ran(run)
        prefetch.claimed(round_trip)
    return prefetch


def test_nothing_is_claimed_ahead_before_a_job_was_measured():
    prefetch = Prefetch()
    prefetch.claimed(1.0)
    assert prefetch.ahead(100) == 0


def test_short_work_is_claimed_ahead_up_to_the_bound():
    assert measured(run=0.00001, round_trip=0.001).ahead(1) == 100
    assert measured(run=0.000001, round_trip=0.01).ahead(100) == MOST


def test_a_session_has_several_jobs_at_its_turn_where_they_are_short():
    assert Prefetch().in_a_row == 1
    assert measured(run=0.00001, round_trip=0.001).in_a_row == MOST_IN_A_ROW
    assert measured(run=0.000249, round_trip=0.001).in_a_row == 4
    assert measured(run=0.01, round_trip=0.001).in_a_row == 1


def test_as_many_as_finish_during_one_round_trip():
    assert measured(run=0.01, round_trip=0.001).ahead(100) == 10


def test_long_work_is_never_claimed_ahead():
    assert measured(run=60, round_trip=0.001).ahead(100) == 0


def test_one_long_job_ends_it_at_once():
    prefetch = measured(run=0.0001, round_trip=0.001)
    assert prefetch.ahead(10) > 0
    prefetch.ran(10)
    assert prefetch.ahead(10) == 0
