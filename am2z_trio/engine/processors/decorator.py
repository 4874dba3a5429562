"""`@processor`: a function becomes a processor that can still be called as the function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast, overload

from am2z_trio.model.arguments import unknown
from am2z_trio.model.options import CircuitBreaker, QueueOptions, RetryPolicy

from .context import Context
from .processor import Processor
from .shape import shape_of

S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)


class StateFunction(Processor[S], Generic[S, R_co]):
    """What `@processor` makes of `(state)`: a `Processor` that can still be called as the function."""

    __slots__ = ()

    def __call__(self, state: S, /) -> R_co:
        """Call the function itself: no queue, no timeout, no retry. For tests and plain reuse."""
        return self.fn(state)  # type: ignore[no-any-return]


class ContextFunction(Processor[S], Generic[S, R_co]):
    """What `@processor` makes of `(state, ctx)`: a `Processor` that can still be called as the function."""

    __slots__ = ()

    def __call__(self, state: S, ctx: Context, /) -> R_co:
        """Call the function itself: no queue, no timeout, no retry. For tests and plain reuse."""
        return self.fn(state, ctx)  # type: ignore[no-any-return]


# A function returns the state it takes, or `None`, at once or when awaited; so that a type checker
# refuses others, and knows what calling the function itself gives, each of them is spelled out.


class Decorator(Protocol):
    """What `@processor(...)` with options is."""

    @overload
    def __call__(
        self, fn: Callable[[S], Coroutine[Any, Any, S]], /
    ) -> StateFunction[S, Coroutine[Any, Any, S]]: ...
    @overload
    def __call__(
        self, fn: Callable[[S], Coroutine[Any, Any, S | None]], /
    ) -> StateFunction[S, Coroutine[Any, Any, S | None]]: ...
    @overload
    def __call__(
        self, fn: Callable[[S], Awaitable[S | None]], /
    ) -> StateFunction[S, Awaitable[S | None]]: ...
    @overload
    def __call__(self, fn: Callable[[S], S], /) -> StateFunction[S, S]: ...
    @overload
    def __call__(self, fn: Callable[[S], S | None], /) -> StateFunction[S, S | None]: ...
    @overload
    def __call__(
        self, fn: Callable[[S, Context], Coroutine[Any, Any, S]], /
    ) -> ContextFunction[S, Coroutine[Any, Any, S]]: ...
    @overload
    def __call__(
        self, fn: Callable[[S, Context], Coroutine[Any, Any, S | None]], /
    ) -> ContextFunction[S, Coroutine[Any, Any, S | None]]: ...
    @overload
    def __call__(
        self, fn: Callable[[S, Context], Awaitable[S | None]], /
    ) -> ContextFunction[S, Awaitable[S | None]]: ...
    @overload
    def __call__(self, fn: Callable[[S, Context], S], /) -> ContextFunction[S, S]: ...
    @overload
    def __call__(self, fn: Callable[[S, Context], S | None], /) -> ContextFunction[S, S | None]: ...
    def __call__(self, fn: Any, /) -> Any: ...


@overload
def processor(fn: Callable[[S], Coroutine[Any, Any, S]], /) -> StateFunction[S, Coroutine[Any, Any, S]]: ...
@overload
def processor(
    fn: Callable[[S], Coroutine[Any, Any, S | None]], /
) -> StateFunction[S, Coroutine[Any, Any, S | None]]: ...
@overload
def processor(fn: Callable[[S], Awaitable[S | None]], /) -> StateFunction[S, Awaitable[S | None]]: ...
@overload
def processor(fn: Callable[[S], S], /) -> StateFunction[S, S]: ...
@overload
def processor(fn: Callable[[S], S | None], /) -> StateFunction[S, S | None]: ...
@overload
def processor(
    fn: Callable[[S, Context], Coroutine[Any, Any, S]], /
) -> ContextFunction[S, Coroutine[Any, Any, S]]: ...
@overload
def processor(
    fn: Callable[[S, Context], Coroutine[Any, Any, S | None]], /
) -> ContextFunction[S, Coroutine[Any, Any, S | None]]: ...
@overload
def processor(
    fn: Callable[[S, Context], Awaitable[S | None]], /
) -> ContextFunction[S, Awaitable[S | None]]: ...
@overload
def processor(fn: Callable[[S, Context], S], /) -> ContextFunction[S, S]: ...
@overload
def processor(fn: Callable[[S, Context], S | None], /) -> ContextFunction[S, S | None]: ...
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

    Raises `ConfigurationError` for a bad option, at once.
    """
    known = [*inspect.signature(cast("Any", Processor)).parameters][1:]
    for option in options:
        if option not in known:
            raise unknown("processor", option, known)

    def wrap(wrapped: Callable[..., Any]) -> Processor[Any]:
        made = StateFunction[Any, Any](wrapped, **options)
        needs_context = shape_of(wrapped, made.name).needs_context
        return ContextFunction[Any, Any](wrapped, **options) if needs_context else made

    return wrap if fn is None else wrap(fn)
