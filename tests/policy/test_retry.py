"""Backoff and the decision to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import AM2ZError, ProcessorExecutionError, RetryPolicy, ValidationError
from am2z_trio.policy.retry import backoff_delay, wants_retry

POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 10),
    backoff=st.floats(0, 100),
    backoff_multiplier=st.floats(1, 100),
    max_backoff=st.floats(0, 1000),
    jitter=st.floats(0, 1),
)


def test_backoff_grows_by_the_multiplier_up_to_its_cap():
    policy = RetryPolicy(backoff=0.5, backoff_multiplier=2, max_backoff=3, jitter=0)
    assert [backoff_delay(policy, n, 0.9) for n in range(1, 6)] == [0.5, 1, 2, 3, 3]


def test_a_fixed_backoff_stays():
    policy = RetryPolicy(backoff=0.5, backoff_multiplier=1, jitter=0)
    assert {backoff_delay(policy, n, 0.9) for n in range(1, 100)} == {0.5}


@given(POLICIES, st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_within_its_bounds(policy: RetryPolicy, attempt: int, random: float):
    longest = backoff_delay(policy, attempt, 0.0)
    assert 0 <= longest * (1 - policy.jitter) * 0.999 <= backoff_delay(policy, attempt, random) * 1.001 + 1e-9
    assert backoff_delay(policy, attempt, random) <= longest <= policy.max_backoff


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (ProcessorExecutionError("x"), 1, True),
        (ProcessorExecutionError("x"), 3, False),
        (ProcessorExecutionError("x", retryable=False), 1, False),
        (ValidationError("x"), 1, False),
    ],
)
def test_retryable_errors_are_tried_again_until_the_attempts_are_used_up(
    error: AM2ZError, attempt: int, expected: bool
):
    assert wants_retry(RetryPolicy(max_attempts=3), error, attempt) is expected
