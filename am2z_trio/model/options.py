"""The options of jobs and processors, each with its one default, documented and validated where it stands.

Options are frozen. A bad one is refused when it is made, by a `ConfigurationError` that names the
field, the value and the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal, cast

import msgspec

from .arguments import Options
from .callables import gives_coroutine, require_function
from .checks import exact_int, keep, require, require_count, require_number, require_seconds, require_text
from .errors import AM2ZError
from .limits import MAX_KEY_BYTES, MAX_NAME_BYTES, MAX_TAG_BYTES, MAX_TAGS
from .moments import When, require_when

MAX_PRIORITY: Final = 2**21 - 1
"""A queue's order is priority x 2^32 + arrival in one double, which is exact up to 2^53."""


class RetryPolicy(Options, frozen=True, kw_only=True):
    """When to try again, and how long to wait before.

    The wait before attempt *n* + 1 is `backoff` x `backoff_multiplier` ** (*n* - 1), at most
    `max_backoff`, then reduced at random by up to the share `jitter`.
    """

    max_attempts: int = 3
    """Attempts in all, the first included."""
    backoff: float = 1.0
    """Seconds before the second attempt."""
    backoff_multiplier: float = 2.0
    """1.0 keeps the backoff fixed."""
    max_backoff: float = 60.0
    """Seconds; no wait is longer."""
    jitter: float = 0.1
    """Share of the wait that is random, 0 to 1: keeps failed jobs from coming back in step."""
    should_retry: Callable[[AM2ZError, int], bool] | None = None
    """Asked with the error and the attempt that failed; default: the error's `retryable`. An exception that
    is alone in the groups of its nurseries is itself; several are one error, retryable if all of them are."""
    on_retry: Callable[[AM2ZError, int], object] | None = None
    """Told, on the worker, when another attempt will follow."""
    on_exhausted: Callable[[AM2ZError, int], object] | None = None
    """Told, on the worker, when the last attempt has failed; not when an earlier one is not tried again."""

    def __post_init__(self) -> None:
        keep(self, "max_attempts", require_count("RetryPolicy.max_attempts", self.max_attempts))
        keep(self, "backoff", require_seconds("RetryPolicy.backoff", self.backoff))
        keep(self, "max_backoff", require_seconds("RetryPolicy.max_backoff", self.max_backoff))
        for name, least, most in (("backoff_multiplier", 1, 1000), ("jitter", 0, 1)):
            rule = f"must be a number from {least} to {most:,}"
            value = getattr(self, name)
            keep(self, name, require_number(f"RetryPolicy.{name}", value, least=least, most=most, rule=rule))
        for name in ("should_retry", "on_retry", "on_exhausted"):
            function = getattr(self, name)
            if function is not None:
                field = f"RetryPolicy.{name}"
                plain = callable(function) and not gives_coroutine(function)
                rule = "must be a plain function: it is called between two attempts, and not awaited"
                require(plain, field, function, rule)
                require_function(field, function, "(error, attempt)")


class CircuitBreaker(Options, frozen=True, kw_only=True):
    """When to stop calling a processor that keeps failing. All nodes share one circuit per processor.

    Closed: jobs run. After `failures` in a row it opens: jobs fail at once with `CircuitOpenError`, or
    take the processor's fallback. After `recovery` seconds it is half-open: `half_open` jobs are let
    through; the first success closes it, a failure opens it again.
    """

    failures: int = 5
    """Failed attempts in a row that open the circuit. Bad states, a `BusinessError` and cancelled jobs do not
    count."""
    recovery: float = 30.0
    """Seconds it stays open."""
    half_open: int = 1
    """Jobs let through to see whether it works again."""

    def __post_init__(self) -> None:
        keep(self, "failures", require_count("CircuitBreaker.failures", self.failures))
        keep(self, "recovery", require_seconds("CircuitBreaker.recovery", self.recovery, zero=False))
        keep(self, "half_open", require_count("CircuitBreaker.half_open", self.half_open))


class Retention(Options, frozen=True, kw_only=True):
    """How long the record of an ended job is kept. Never less than a minute: its callers must hear of it."""

    age: float | None = None
    """Seconds; `None`: the usual time."""
    count: int | None = None
    """Only so many of its queue, the newest; `None`: the usual number."""

    def __post_init__(self) -> None:
        if self.age is not None:
            keep(self, "age", require_seconds("Retention.age", self.age))
        if self.count is not None:
            keep(self, "count", require_count("Retention.count", self.count, least=0))

    @classmethod
    def of(cls, value: bool | int | Retention | None) -> Retention | None:
        """What `remove_on_complete` and `remove_on_fail` say; `None` for what is usual."""
        if value is True:
            return cls(age=0.0)
        if value is False or value is None or isinstance(value, Retention):
            return value or None
        return cls(count=value)


class Backoff(Options, frozen=True, kw_only=True):
    """How long one job waits before it is tried again, where that is not its processor's retry policy's."""

    type: Literal["fixed", "exponential"] = "exponential"
    """`fixed`: the same before every attempt; `exponential`: twice as long each time."""
    delay: float
    """Seconds before the second attempt."""

    def __post_init__(self) -> None:
        kind = require_text("Backoff.type", self.type, most=MAX_NAME_BYTES)
        require(kind in BACKOFFS, "Backoff.type", kind, "must be 'fixed' or 'exponential'")
        keep(self, "type", kind)
        keep(self, "delay", require_seconds("Backoff.delay", self.delay))

    @property
    def multiplier(self) -> float:
        """How much longer each wait is than the one before."""
        return BACKOFFS[self.type]


BACKOFFS: Final[dict[str, float]] = {"fixed": 1.0, "exponential": 2.0}


class Throttle(Options, frozen=True, kw_only=True):
    """At most one job per key and window; the first one wins. See `JobOptions.throttle`."""

    key: str
    window: float
    """Seconds. Windows follow one another from the epoch on, by the clock of the node that submits: one of
    3600 is an hour by the clock."""

    def __post_init__(self) -> None:
        keep(self, "key", require_text("Throttle.key", self.key, most=MAX_KEY_BYTES))
        keep(self, "window", require_seconds("Throttle.window", self.window, zero=False))


FROM_ITS_SUBMISSION: Final = "must be seconds or a timedelta: many jobs go by it, each from when it comes"


class JobOptions(Options, frozen=True, kw_only=True):
    """How one job is queued. `None` leaves the choice to the queue's `default_job_options`, and where
    those say nothing either, to the processor."""

    attempts: int | None = None
    """Attempts in all; overrides the retry policy's `max_attempts`."""
    backoff: float | Backoff | None = None
    """Seconds before the second attempt, or a `Backoff`; overrides the retry policy's. It may be longer than
    the policy's `max_backoff`; no later wait is longer than both. It alone asks for no further attempt."""
    delay: When | None = None
    """Seconds before it may start, or a `timedelta`; or a `datetime` with a time zone, from which on it
    may: at once, where that has passed. By default none."""
    expires: When | None = None
    """Seconds from its submission, a `timedelta`, or a `datetime` with a time zone, by which a worker must
    have taken it: one that none has is never run, and ends as cancelled with a `JobExpiredError`, then if
    somebody waits for it, or else when a worker comes to it. Once begun it is run to its end."""
    priority: int | None = None
    """0 goes first, then 1 (most urgent) and up; overrides the queue's."""
    lifo: bool | None = None
    """Whether it stands before the jobs of its priority that wait already, of its session or without one
    (last in, first out). It does when it comes, not when its delay or backoff is over."""
    debounce: str | None = None
    """A job of this processor and session with the same key that has not begun gives way to this one: it ends
    as cancelled. With a `delay`, the last of a burst is run once the burst is over. No session's job gives
    way to another's; what is to be one burst for all is submitted without a session."""
    throttle: Throttle | None = None
    """`Throttle(key="report", window=60)`: of the jobs of this processor and session that are submitted with
    the same key in one window, the first one is run, once. Each later one is that very job, whatever it was
    given: it has its id and its outcome. It does not end with its callers. For `execute` and `submit`."""
    wait_for_worker: float | None = None
    """Seconds, from when it may start, that its caller waits while nobody serves its processor; then it is
    taken back, unless it has begun, with a `NoWorkerError`. 0: not at all. By default for ever."""
    total_timeout: float | None = None
    """Seconds from its submission to its outcome, delay, waiting and all attempts included; then it is
    cancelled, and its error is a `TotalTimeoutError`. (`timeout` bounds one attempt.) By default none."""
    commit: bool | None = None
    """Whether what it returns becomes its session's stored state. `False`: it is its result alone, and the
    session is no more than whose job it is; what `ctx.state.update` writes is stored all the same. By default
    it is stored, but of a job that is called by another with a state: that is for the caller to return."""
    remove_on_complete: bool | int | Retention | None = None
    """Which completed jobs' records go before the usual time (`result_ttl`): `True`: all, after a minute; a
    number: all but so many; or a `Retention`."""
    remove_on_fail: bool | int | Retention | None = None
    """The same for jobs that have failed for good. Usual is to keep the last 1,000 for seven days, as dead
    letters."""
    tags: Sequence[str] | None = None
    """Words by which operators find it (`tag:spring-sale`), up to 16 of at most 128 bytes; no job inherits
    its caller's. By default none."""

    def __post_init__(self) -> None:
        if self.tags is not None:
            keep(self, "tags", _tags(self.tags))
        is_throttle = self.throttle is None or isinstance(self.throttle, Throttle)
        require(is_throttle, "JobOptions.throttle", self.throttle, "must be a Throttle")
        if self.debounce is not None:
            key = require_text("JobOptions.debounce", self.debounce, most=MAX_KEY_BYTES)
            keep(self, "debounce", key)
        for name in ("commit", "lifo"):
            flag = getattr(self, name)
            require(
                flag is None or isinstance(flag, bool), f"JobOptions.{name}", flag, "must be True or False"
            )
        for name in ("remove_on_complete", "remove_on_fail"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool | Retention):
                count, rule = exact_int(value), "must be True, False, how many to keep, or a Retention"
                require(count is not None and count >= 0, f"JobOptions.{name}", value, rule)
                keep(self, name, count)
        if self.attempts is not None:
            keep(self, "attempts", require_count("JobOptions.attempts", self.attempts))
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            keep(self, "backoff", require_seconds("JobOptions.backoff", self.backoff))
        if self.delay is not None:
            keep(self, "delay", require_when("JobOptions.delay", self.delay))
        if self.expires is not None:
            keep(self, "expires", require_when("JobOptions.expires", self.expires, zero=False))
        if self.wait_for_worker is not None:
            seconds = require_seconds("JobOptions.wait_for_worker", self.wait_for_worker)
            keep(self, "wait_for_worker", seconds)
        if self.total_timeout is not None:
            seconds = require_seconds("JobOptions.total_timeout", self.total_timeout, zero=False)
            keep(self, "total_timeout", seconds)
        if self.priority is not None:
            keep(
                self,
                "priority",
                require_count("JobOptions.priority", self.priority, least=0, most=MAX_PRIORITY),
            )

    @property
    def moment(self) -> str:
        """An option that is one moment, and so says something of one job alone; empty: none is."""
        return next((name for name in ("delay", "expires") if isinstance(getattr(self, name), datetime)), "")

    @property
    def first_backoff(self) -> float | None:
        """Seconds before the second attempt; `None`: as the retry policy says."""
        return self.backoff.delay if isinstance(self.backoff, Backoff) else self.backoff

    @property
    def backoff_multiplier(self) -> float | None:
        """How much longer each wait is; `None`: as the retry policy says."""
        return self.backoff.multiplier if isinstance(self.backoff, Backoff) else None

    def over(self, defaults: JobOptions) -> JobOptions:
        """These options, and the defaults' where they leave the choice."""
        chosen = {
            name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None
        }
        return msgspec.structs.replace(defaults, **chosen) if chosen else defaults


def _tags(value: object) -> tuple[str, ...]:
    """Each once, in the order in which they were given."""
    rule = f"must be a list of at most {MAX_TAGS} texts"
    tags = cast("Sequence[object]", value)
    require(isinstance(value, list | tuple) and len(tags) <= MAX_TAGS, "JobOptions.tags", tags, rule)
    return tuple(dict.fromkeys(require_text("JobOptions.tags", tag, most=MAX_TAG_BYTES) for tag in tags))


class RateLimit(Options, frozen=True, kw_only=True):
    """How many jobs of a processor may be started in a time, over all nodes.

    Exact: within any `duration` seconds no more than `max` are started, attempts after the first
    included. What may not be started yet keeps its place in the queue; with `bounce_back=False` it is
    delayed until it may, and counts as delayed, so that jobs of other sessions and priorities pass it.
    """

    max: int
    duration: float
    """Seconds."""
    bounce_back: bool = True

    def __post_init__(self) -> None:
        keep(self, "max", require_count("RateLimit.max", self.max, most=1_000_000))
        keep(self, "duration", require_seconds("RateLimit.duration", self.duration, zero=False))
        require(
            isinstance(self.bounce_back, bool),
            "RateLimit.bounce_back",
            self.bounce_back,
            "must be True or False",
        )


WAITING_PARENTS_PER_SLOT: Final = 10
"""`QueueOptions.max_waiting_parents` by default, for each job that may run."""


class QueueOptions(Options, frozen=True, kw_only=True):
    """How a processor's jobs are queued and worked off. Every node that serves it should say the same."""

    concurrency: int = 10
    """Jobs of this processor that one node runs at a time."""
    global_concurrency: int | None = None
    """Jobs of it that all nodes together run at a time; `None`: as many as the nodes do. One that waits for
    jobs that it has called does not count; it goes on before any that has not begun."""
    max_waiting_parents: int | None = None
    """Jobs of it on a node that may wait for others (`ctx.call`, `execute`, `result()`) before it begins none
    but those that other jobs wait for; `None`: ten times `concurrency`. A job that waits frees its slot,
    and a node would begin its whole backlog otherwise. Of jobs that nobody waits for, `max_waiting_parents` +
    `concurrency` at most have begun on a node. Those that others wait for are begun all the same, the deepest
    calls first: no circle of calls hangs."""
    session_concurrency: int | None = None
    """Jobs of it that are run of one session at a time, on all nodes together; 1 puts them in a row, but for
    those that wait for others, which do not count."""
    limiter: RateLimit | None = None
    """How many may be started in a time."""
    rate_limit_rpm: int | None = None
    """Short for a `limiter` of so many per minute."""
    max_size: int = 0
    """Jobs that may wait for one more to be accepted; beyond it, a `ResourceError`. 0: any number."""
    priority: int = 0
    """Priority of jobs that do not name one."""
    max_stalled_count: int = 3
    """How often a job may be lost with its worker before it fails with `JobStalledError`; a job whose calls
    complete meanwhile starts over. When it is lost for another time it comes back apart from the jobs that
    were lost with it, so that one that kills its worker takes no others with it."""
    stalled_interval: float = 0.3
    """Seconds between two looks for jobs that were lost with their worker. All nodes together look, one at a
    time, as often as the shortest of their processors says (0.75 s where no other node holds a job): a dead
    process is found so long after its `disconnect_grace`, a frozen one so long after its lease."""
    default_job_options: JobOptions = JobOptions()
    """For what a job's own options leave open."""
    stop_when_cut_off: bool = False
    """Whether its jobs are cancelled, and go back, when their node has been without Redis for so long (80 %
    of `disconnect_grace` after its connection was closed, or of `lease`) that others could soon be given
    them. For jobs that talk to other systems, where two runs must not overlap; a plain function cannot be
    stopped. All others go on: nothing comes of what they did if others were given them meanwhile."""

    @property
    def most_waiting_parents(self) -> int:
        """`max_waiting_parents`, or what it is by default."""
        if self.max_waiting_parents is not None:
            return self.max_waiting_parents
        return WAITING_PARENTS_PER_SLOT * self.concurrency

    def __post_init__(self) -> None:
        require(
            isinstance(self.stop_when_cut_off, bool),
            "QueueOptions.stop_when_cut_off",
            self.stop_when_cut_off,
            "must be True or False",
        )
        keep(self, "concurrency", require_count("QueueOptions.concurrency", self.concurrency, most=100_000))
        for name in ("global_concurrency", "max_waiting_parents", "session_concurrency", "rate_limit_rpm"):
            value = getattr(self, name)
            if value is not None:
                keep(self, name, require_count(f"QueueOptions.{name}", value, most=1_000_000))
        require(
            self.limiter is None or isinstance(self.limiter, RateLimit),
            "QueueOptions.limiter",
            self.limiter,
            "must be a RateLimit",
        )
        require(
            self.limiter is None or self.rate_limit_rpm is None,
            "QueueOptions.rate_limit_rpm",
            self.rate_limit_rpm,
            "goes without a limiter: it is short for one",
        )
        for name, most in (("max_size", 2**53), ("max_stalled_count", 2**53), ("priority", MAX_PRIORITY)):
            count = require_count(f"QueueOptions.{name}", getattr(self, name), least=0, most=most)
            keep(self, name, count)
        keep(
            self, "stalled_interval", require_seconds("QueueOptions.stalled_interval", self.stalled_interval)
        )
        require(
            self.stalled_interval >= 0.1,
            "QueueOptions.stalled_interval",
            self.stalled_interval,
            "must be at least 0.1 seconds",
        )
        require(
            isinstance(self.default_job_options, JobOptions),
            "QueueOptions.default_job_options",
            self.default_job_options,
            "must be JobOptions",
        )
        throttle, rule = self.default_job_options.throttle, "must be None: it is said with each job"
        require(throttle is None, "QueueOptions.default_job_options.throttle", throttle, rule)
        moment = self.default_job_options.moment
        require(not moment, f"QueueOptions.default_job_options.{moment}", "a datetime", FROM_ITS_SUBMISSION)
