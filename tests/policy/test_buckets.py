"""One table of durations: what is added is found again, a quantile is in its bucket."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.policy.buckets import (
    BOUNDS,
    BUCKETS,
    RECOMMENDED,
    Histogram,
    cumulated,
    merged,
    quantile,
    since,
)

SECONDS = st.floats(0, 20_000, allow_nan=False)
MANY = st.lists(SECONDS, max_size=60)
SHARES = st.floats(0, 1)


def of(durations: list[float]) -> Histogram:
    made = Histogram()
    for seconds in durations:
        made.add(seconds)
    return made


def bucket_of(seconds: float) -> tuple[float, float]:
    index = bisect_left(BOUNDS, seconds)
    return BOUNDS[index - 1] if index else 0.0, BOUNDS[min(index, len(BOUNDS) - 1)]


def test_the_table_has_24_bounds_that_only_grow_and_all_that_are_recommended():
    assert len(BOUNDS) == 24
    assert BUCKETS == 25
    assert (BOUNDS[0], BOUNDS[-1]) == (0.0001, 7200.0)
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert set(RECOMMENDED) <= set(BOUNDS)
    # As the conventions for messaging.process.duration and messaging.client.operation.duration write them.
    assert RECOMMENDED == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


@pytest.mark.parametrize("index", range(len(BOUNDS)))
def test_a_bound_lies_within_its_own_bucket(index: int):
    assert of([BOUNDS[index]]).counts[index] == 1
    assert of([BOUNDS[index] * 1.0001]).counts[index + 1] == 1


@given(MANY)
def test_each_duration_is_in_one_bucket_and_in_the_sum(durations: list[float]):
    made = of(durations)
    assert sum(made.counts) == len(durations)
    assert made.total == pytest.approx(sum(durations))
    for bound, count in zip(BOUNDS, cumulated(made.counts), strict=False):
        assert count == sum(seconds <= bound for seconds in durations)
    assert cumulated(made.counts)[-1] == len(durations)


@given(MANY, MANY)
def test_what_is_merged_is_as_if_it_had_been_added_to_one(one: list[float], other: list[float]):
    assert merged(of(one).counts, of(other).counts) == of([*one, *other]).counts


@given(MANY, MANY)
def test_a_difference_is_what_came_between(before: list[float], after: list[float]):
    counted = of(before)
    seen = [*counted.counts]
    for seconds in after:
        counted.add(seconds)
    assert since(seen, counted.counts) == of(after).counts


@given(MANY.filter(bool), SHARES)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(durations: list[float], share: float):
    found = quantile(of(durations).counts, share)
    assert found is not None
    ordered = sorted(durations)
    # The share may fall between two of them: it is one of both buckets, or between.
    at = share * len(ordered)
    lower = ordered[max(0, min(len(ordered) - 1, int(at - 1e-9) if at else 0))]
    upper = ordered[max(0, min(len(ordered) - 1, int(at + 1e-9)))]
    low, high = bucket_of(lower)[0], bucket_of(upper)[1]
    assert min(low, BOUNDS[-1]) - 1e-9 <= found <= high + 1e-9


@given(MANY.filter(bool), SHARES, SHARES)
def test_quantiles_only_grow(durations: list[float], one: float, other: float):
    counts = of(durations).counts
    low, high = quantile(counts, min(one, other)), quantile(counts, max(one, other))
    assert low is not None
    assert high is not None
    assert low <= high + 1e-12


def test_a_quantile_of_nothing_is_none_and_of_what_is_beyond_the_last_bound_is_that():
    assert quantile([0] * BUCKETS, 0.5) is None
    assert quantile(of([9_000.0]).counts, 0.99) == 7200.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile([0] * BUCKETS, 1.5)


def test_a_duration_before_its_beginning_counts_as_none_at_all():
    made = of([-3.0, float("nan")])
    assert made.counts[0] == 2
    assert made.total == 0
