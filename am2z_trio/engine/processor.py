"""What a user writes: a function `state -> state` with a name and options."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Protocol, TypeVar, overload

from am2z_trio.model.arguments import exact_arguments
from am2z_trio.model.errors import ConfigurationError, DuplicateProcessorError
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.options import (
    CircuitBreaker,
    QueueOptions,
    RetryPolicy,
    require,
    require_seconds,
    require_text,
)

if TYPE_CHECKING:
    from .context import Context

S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)

MAX_NAME = 200


class Processor(Generic[S]):
    """A named function `state -> state` and how to run it. Immutable; register it with a runtime.

    The state type is the annotation of the first parameter (or `state_type`): anything msgspec can
    decode. The function takes `(state)` or `(state, ctx)`, and returns the new state, or `None` for
    "unchanged"; it raises to fail. A plain `def` runs in a worker thread: its caller hears of a
    timeout on time, but Python cannot stop a thread, so its code runs on and its result is dropped
    (`ResourceLimits.max_abandoned_threads`). A process does not wait for such threads at its end.
    """

    __slots__ = (
        "breaker",
        "depends_on",
        "description",
        "fallback",
        "fn",
        "is_async",
        "name",
        "queue",
        "retry",
        "state_type",
        "takes_context",
        "timeout",
    )

    @exact_arguments
    def __init__(
        self,
        fn: Callable[Concatenate[S, ...], Any],
        *,
        name: str | None = None,
        description: str = "",
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        queue: QueueOptions | None = None,
        depends_on: Sequence[Processor[Any]] = (),
        breaker: CircuitBreaker | None = None,
        fallback: Processor[S] | None = None,
        state_type: Any = None,
        _names: Mapping[str, Any] | None = None,
    ) -> None:
        require(callable(fn), "Processor.fn", fn, "must be a function")
        code = inspect.unwrap(fn)
        yields = inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)
        require(not yields, "Processor.fn", fn, "must be a function that returns its state, and yields none")
        self.fn = fn
        self.name = fn.__name__ if name is None else name
        require(
            isinstance(self.name, str) and len(self.name) <= MAX_NAME,
            "Processor.name",
            self.name,
            f"must be a text of 1 to {MAX_NAME} characters",
        )
        self.name = require_text("Processor.name", self.name, most=MAX_NAME_BYTES)
        self.description = description or inspect.getdoc(fn) or ""
        if timeout is not None:
            timeout = require_seconds("Processor.timeout", timeout, zero=False)
        self.timeout = timeout
        require(
            retry is None or isinstance(retry, RetryPolicy),
            "Processor.retry",
            retry,
            "must be a RetryPolicy",
        )
        self.retry = retry
        require(
            queue is None or isinstance(queue, QueueOptions),
            "Processor.queue",
            queue,
            "must be QueueOptions",
        )
        self.queue = queue or QueueOptions()
        require(
            breaker is None or isinstance(breaker, CircuitBreaker),
            "Processor.breaker",
            breaker,
            "must be a CircuitBreaker",
        )
        self.breaker = breaker
        require(
            fallback is None or isinstance(fallback, Processor),
            "Processor.fallback",
            fallback,
            "must be a processor",
        )
        self.fallback = fallback
        self.depends_on = (*depends_on, *([] if fallback is None else [fallback]))
        for dependency in self.depends_on:
            require(
                isinstance(dependency, Processor),
                "Processor.depends_on",
                dependency,
                "must be processors",
            )
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(fn)) or inspect.iscoroutinefunction(
            getattr(fn, "__call__", None)  # noqa: B004 - an object with an async __call__
        )
        parameters = _positional(fn, self.name)
        self.takes_context = len(parameters) > 1
        self.state_type = (
            _state_type(fn, parameters[0], self.name, _names) if state_type is None else state_type
        )

    def __repr__(self) -> str:
        return f"<processor {self.name!r}>"


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
# refuses others, and knows what calling the function itself gives, each of the eight is spelled out.


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
    * `timeout`: seconds one attempt may run; it is cancelled then. Default: no limit
    * `retry`: a `RetryPolicy`; default: one attempt
    * `queue`: `QueueOptions`: concurrency, priority and so on
    * `depends_on`: processors to register along with this one
    * `breaker`: a `CircuitBreaker`, shared by all nodes; default: none
    * `fallback`: a processor that is run on the same state, right there, when this one has failed for
      good or its circuit is open; what it returns is the job's result
    * `state_type`: instead of the first parameter's annotation

    Raises `ConfigurationError` for a bad option, at once.
    """
    # Annotations may name types that are local to the function around the definition.
    frame = inspect.currentframe()
    names = frame.f_back.f_locals if frame is not None and frame.f_back is not None else {}

    def wrap(wrapped: Callable[..., Any]) -> Processor[Any]:
        made = StateFunction[Any, Any](wrapped, _names=names, **options)
        return ContextFunction[Any, Any](wrapped, _names=names, **options) if made.takes_context else made

    return wrap if fn is None else wrap(fn)


def with_dependencies(
    processors: Iterable[Processor[Any]],
) -> dict[str, Processor[Any]]:
    """All processors by name, dependencies first. Refuses cycles and two processors of one name."""
    found: dict[str, Processor[Any]] = {}
    path: list[Processor[Any]] = []

    def visit(item: Processor[Any]) -> None:
        require(
            isinstance(item, Processor),
            "register",
            item,
            "must be a processor (use @processor)",
        )
        if item in path:
            names = " -> ".join(p.name for p in [*path[path.index(item) :], item])
            raise ConfigurationError(f"depends_on goes in a circle: {names}")
        known = found.get(item.name)
        if known is item:
            return
        if known is not None:
            raise DuplicateProcessorError(
                f"two processors are named {item.name!r}: {_where(known.fn)} and {_where(item.fn)}",
                context={"name": item.name},
            )
        path.append(item)
        for dependency in item.depends_on:
            visit(dependency)
        path.pop()
        found[item.name] = item

    for item in processors:
        visit(item)
    return found


def _where(fn: Callable[..., Any]) -> str:
    return f"{getattr(fn, '__module__', '?')}.{getattr(fn, '__qualname__', fn)}"


def _positional(fn: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"processor {name!r}: the function has no readable signature") from error
    required = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    keyword_only = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(required) not in (1, 2) or keyword_only:
        raise ConfigurationError(
            f"processor {name!r} takes {inspect.signature(fn)}: it must take (state) or (state, ctx)",
            context={"processor": name},
        )
    return required


def _state_type(
    fn: Callable[..., Any],
    parameter: inspect.Parameter,
    name: str,
    names: Mapping[str, Any] | None,
) -> Any:
    if parameter.annotation is parameter.empty:
        return Any
    try:
        target = fn if inspect.isroutine(fn) else type(fn).__call__
        hints = typing.get_type_hints(inspect.unwrap(target), localns=dict(names or {}), include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"processor {name!r}: the annotation {parameter.annotation!r} cannot be resolved ({error}); "
            "give state_type="
        ) from error
    hint = hints.get(parameter.name, Any)
    # A type variable says "any state" to a type checker; msgspec wants to hear it so.
    return Any if isinstance(hint, TypeVar) else hint
