"""How a processor says that it is to be run again, and when: no failure, but an attempt all the same."""

from __future__ import annotations

from datetime import datetime

from .errors import AM2ZError
from .moments import When, require_when
from .telling import text_of


class Retry(AM2ZError):
    """Raised by a processor: run this job again, later.

    ```
    raise Retry(defer=30)                       # in 30 seconds; or a timedelta, or a datetime
    raise Retry("the bank is closed", defer=opens_at)
    raise Retry()                               # when the retry policy's backoff says
    ```

    This run counts as an attempt, as with arq and Celery: the job is run `max_attempts` times at most (by the
    job's `attempts`, or its processor's `RetryPolicy`; where neither says how often, as often as
    `RetryPolicy()` does). At the last attempt it fails with a `ProcessorExecutionError` that says so, or its
    fallback is run. `should_retry` is not asked; `on_retry` and `on_exhausted` are told. It is logged as no
    failure, and no circuit breaker counts it; `job:retrying`, `explain` and `earlier_errors` have its text,
    under the code `RETRY`.
    """

    code = "RETRY"
    category = "business"
    severity = "low"
    retryable = True
    defer: float | datetime | None = None
    """Seconds until the next attempt, or the moment at which it may begin; `None`: as the backoff says."""

    def __init__(self, reason: str = "", *, defer: When | None = None) -> None:
        """`reason`: for whoever looks at the job. Raises `ConfigurationError` for a `defer` that is none, a
        `datetime` without a time zone included."""
        super().__init__(text_of(reason) or "it asked to be run again")
        if defer is not None:
            self.defer = require_when("Retry.defer", defer)
