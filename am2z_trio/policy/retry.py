"""Whether a failed attempt is followed by another, and after how long."""

from __future__ import annotations

from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.options import RetryPolicy
from am2z_trio.model.retry import Retry


def backoff_delay(policy: RetryPolicy, attempt: int, random: float) -> float:
    """Seconds to wait after `attempt` (1 for the first) failed; `random` is drawn from [0, 1)."""
    # The exponent is capped: 2.0 ** 1024 overflows a float long after max_backoff has won.
    grown = policy.backoff * policy.backoff_multiplier ** min(attempt - 1, 64)
    return min(grown, policy.max_backoff) * (1.0 - policy.jitter * random)


def wants_retry(policy: RetryPolicy, error: AM2ZError, attempt: int) -> bool:
    """Whether the policy allows another attempt after `error` ended `attempt`.

    `should_retry` is user code: what it raises is the caller's to handle.
    """
    if attempt >= policy.max_attempts:
        return False
    if isinstance(error, Retry):
        return True
    if policy.should_retry is not None and error.category != "validation":
        return bool(policy.should_retry(error, attempt))
    return error.retryable
