"""`@processor`: a function becomes a processor that can still be called as the function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from am2z_trio.model.arguments import unknown
from am2z_trio.model.checks import require
from am2z_trio.model.codecs import Codec
from am2z_trio.model.evolution import Migration
from am2z_trio.model.options import CircuitBreaker, QueueOptions, RetryPolicy
from am2z_trio.policy.cron import Cron, Every, Timing

from .processor import Processor, RunIn

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")
F_co = TypeVar("F_co", covariant=True)
"""The function."""


class ProcessorFunction(Processor[S], Generic[S, F_co]):
    """What `@processor` makes of a function: a `Processor` that can still be called as the function, with the
    context and the resources it takes: no queue, no timeout, no retry. For tests and plain reuse."""

    __slots__ = ()

    def __call__(
        self: ProcessorFunction[Any, Callable[Concatenate[S, P], R]],
        state: S,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call it."""
        return self.fn(state, *args, **kwargs)  # type: ignore[no-any-return]


# A function returns the state it takes, or `None`, at once or when awaited; so that a type checker
# refuses others, and knows what calling the function itself gives, each of them is spelled out. What it takes
# beside the state, a context or resources, no type checker can tell: it is said where it is decorated.


class Decorator(Protocol):
    """What `@processor(...)` with options is."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[S, P], Coroutine[Any, Any, S]], /
    ) -> ProcessorFunction[S, Callable[Concatenate[S, P], Coroutine[Any, Any, S]]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[S, P], Coroutine[Any, Any, S | None]], /
    ) -> ProcessorFunction[S, Callable[Concatenate[S, P], Coroutine[Any, Any, S | None]]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[S, P], Awaitable[S | None]], /
    ) -> ProcessorFunction[S, Callable[Concatenate[S, P], Awaitable[S | None]]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[S, P], S], /
    ) -> ProcessorFunction[S, Callable[Concatenate[S, P], S]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[S, P], S | None], /
    ) -> ProcessorFunction[S, Callable[Concatenate[S, P], S | None]]: ...
    def __call__(self, fn: Any, /) -> Any: ...


@overload
def processor(
    fn: Callable[Concatenate[S, P], Coroutine[Any, Any, S]], /
) -> ProcessorFunction[S, Callable[Concatenate[S, P], Coroutine[Any, Any, S]]]: ...
@overload
def processor(
    fn: Callable[Concatenate[S, P], Coroutine[Any, Any, S | None]], /
) -> ProcessorFunction[S, Callable[Concatenate[S, P], Coroutine[Any, Any, S | None]]]: ...
@overload
def processor(
    fn: Callable[Concatenate[S, P], Awaitable[S | None]], /
) -> ProcessorFunction[S, Callable[Concatenate[S, P], Awaitable[S | None]]]: ...
@overload
def processor(
    fn: Callable[Concatenate[S, P], S], /
) -> ProcessorFunction[S, Callable[Concatenate[S, P], S]]: ...
@overload
def processor(
    fn: Callable[Concatenate[S, P], S | None], /
) -> ProcessorFunction[S, Callable[Concatenate[S, P], S | None]]: ...
@overload
def processor(
    *,
    name: str | None = None,
    description: str = "",
    timeout: float | None = None,
    retry: RetryPolicy | None = None,
    queue: QueueOptions | None = None,
    depends_on: Sequence[Processor[Any]] = (),
    breaker: CircuitBreaker | None = None,
    fallback: Processor[Any] | None = None,
    state_type: Any = None,
    state_version: int = 1,
    migrate: Mapping[int, Migration] | None = None,
    codec: Codec | Sequence[Codec] = (),
    schedule: Timing | None = None,
    run_in: RunIn | None = None,
) -> Decorator: ...


def processor(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a `Processor` of a function. Bare or called: `@processor`, `@processor(timeout=5)`.

    * `name`: how jobs refer to it; default: the function's name
    * `description`: default: the docstring
    * `timeout`: seconds one attempt may run; it is cancelled then, at its next await. One that blocks
      the event loop instead is logged, with its place. Default: no limit
    * `retry`: a `RetryPolicy`; default: one attempt
    * `queue`: `QueueOptions`: concurrency, priority and so on
    * `depends_on`: processors to register along with this one
    * `breaker`: a `CircuitBreaker`, shared by all nodes; default: none
    * `fallback`: a processor that is run on the same state, right there, when this one has failed for
      good or its circuit is open; what it returns is the job's result
    * `state_type`: instead of the first parameter's annotation
    * `state_version`: which form its states have; grows by one whenever that changes so that an older
      program could not read it, or would drop what it does not know. Kept with every state; jobs and states
      of a newer version than a node knows are left to others. A class has one version, whichever processor
      says so
    * `migrate`: functions by the version they begin at, `{1: fn}`: each takes the form of that version as
      plain data (dicts, lists, texts, numbers) and returns that of the next. Plain functions without side
      effects
    * `codec`: how values of classes of one's own are kept, a `Codec` or several. It holds for all states of
      this process, as `use_codecs` says it
    * `run_in`: where its code runs. `"thread"` is the default of a plain `def`, and `"loop"`, the event loop,
      that of an `async def`. `"process"`: in a process of its own, for code that computes: it computes beside
      all else, and is killed when it does not end in time or is cancelled. The function is imported there, so
      it has to be at the top of a module. `"interpreter"`: in another interpreter of this process; from
      Python 3.14 on, for a plain `def` that takes no `ctx`
    * `schedule`: `Cron(...)` or `Every(...)`: it runs then, on what can be made of `{}`. The schedule has the
      processor's name, and is written down whenever a node announces the processor; one that is announced
      without a schedule any more loses it. It can be paused, and stays so (`runtime.schedules`)

    Raises `ConfigurationError` for a bad option, at once.
    """
    known = [*inspect.signature(cast("Any", Processor)).parameters, "schedule"][1:]
    for option in options:
        if option not in known:
            raise unknown("processor", option, known)

    schedule: Timing | None = options.pop("schedule", None)
    is_timing = schedule is None or isinstance(schedule, Cron | Every)
    require(is_timing, "Processor.schedule", schedule, "must be a Cron or an Every")

    def wrap(wrapped: Callable[..., Any]) -> Processor[Any]:
        made = ProcessorFunction[Any, Any](wrapped, **options)
        made.schedule = schedule
        return made

    return wrap if fn is None else wrap(fn)
