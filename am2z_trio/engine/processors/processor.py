"""What a user writes: a function `state -> state` with a name and options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Concatenate, Generic, TypeVar

from am2z_trio.model.arguments import exact_arguments
from am2z_trio.model.callables import (
    gives_coroutine,
    is_async_generator,
    is_context_manager,
    is_generator,
    name_of_function,
    require_items,
    result_of,
)
from am2z_trio.model.checks import require, require_seconds, require_text
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import ConfigurationError, ValidationError
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.options import CircuitBreaker, QueueOptions, RetryPolicy
from am2z_trio.model.telling import attempt
from am2z_trio.model.types import why_unfit

from .shape import shape_of, state_type_of

S = TypeVar("S")

MAX_NAME = 200


class Processor(Generic[S]):
    """A named function `state -> state` and how to run it. Immutable; register it with a runtime.

    The state type is the annotation of the first parameter (or `state_type`): anything msgspec can
    decode. The function takes `(state)` or `(state, ctx)`, and returns the new state, or `None` for
    "unchanged", where it has left its state alone; it raises to fail. A plain `def` runs in a worker
    thread: its caller hears of a timeout on time, but Python cannot stop a thread, so its code runs on and
    its result is dropped (`ResourceLimits.max_abandoned_threads`). A process does not wait for such threads
    at its end.

    Functions, methods, partials and objects will do, and how they are called decides: an async wrapper is
    async whatever it wraps; what a plain one returns is awaited, back in the event loop, if it can be. A
    second parameter that is `ctx=None` is given the context.
    """

    __slots__ = (
        "breaker",
        "depends_on",
        "description",
        "fallback",
        "fn",
        "is_async",
        "is_plain",
        "name",
        "queue",
        "retry",
        "state_type",
        "takes_context",
        "timeout",
    )

    is_composed: ClassVar[bool] = False
    """Whether its code is the engine's own, which starts no tasks in the job's nursery."""

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
    ) -> None:
        require(callable(fn), "Processor.fn", fn, "must be a function")
        require(not isinstance(fn, Processor), "Processor.fn", fn, "is a processor already")
        require(
            not isinstance(fn, type), "Processor.fn", fn, "must be a function or an object, and is a class"
        )
        yields = is_generator(fn) or is_async_generator(fn) or is_context_manager(fn)
        require(not yields, "Processor.fn", fn, "must be a function that returns its state, and yields none")
        self.fn = fn
        self.name = _checked(name_of_function(fn) if name is None else name)
        require(isinstance(description, str), "Processor.description", description, "must be a text")
        self.description = description or inspect.getdoc(fn) or ""
        if timeout is not None:
            timeout = require_seconds("Processor.timeout", timeout, zero=False)
        for field, value, kind, rule in (
            ("Processor.retry", retry, RetryPolicy, "must be a RetryPolicy"),
            ("Processor.queue", queue, QueueOptions, "must be QueueOptions"),
            ("Processor.breaker", breaker, CircuitBreaker, "must be a CircuitBreaker"),
            ("Processor.fallback", fallback, Processor, "must be a processor"),
        ):
            require(value is None or isinstance(value, kind), field, value, rule)
        self.timeout = timeout
        self.retry = retry
        self.queue = queue or QueueOptions()
        self.breaker = breaker
        self.fallback = fallback
        needed = require_items("Processor.depends_on", depends_on, "processors")
        self.depends_on = (*needed, *([] if fallback is None else [fallback]))
        for one in self.depends_on:
            require(isinstance(one, Processor), "Processor.depends_on", one, "must be processors")
        self.is_async = gives_coroutine(fn)
        shape = shape_of(fn, self.name)
        self.takes_context = shape.context is not None
        self.is_plain = self.is_async and not self.takes_context and breaker is None and fallback is None
        self.state_type = state_type_of(fn, shape, self.name) if state_type is None else state_type
        _require_fit(self.name, fn, self.state_type)

    def __repr__(self) -> str:
        return f"<processor {self.name!r}>"


def name_of(processor: Processor[Any] | str) -> str:
    """The name of a processor that is given as itself or by name."""
    if isinstance(processor, Processor):
        return processor.name
    require(isinstance(processor, str), "processor", processor, "must be a processor or its name")
    return require_text("processor", processor, most=MAX_NAME_BYTES)


def _checked(name: object) -> str:
    short = isinstance(name, str) and len(name) <= MAX_NAME
    require(short, "Processor.name", name, f"must be a text of 1 to {MAX_NAME} characters")
    return require_text("Processor.name", name, most=MAX_NAME_BYTES)


def unfit(name: str, error: ValidationError) -> ConfigurationError:
    """The error of a processor whose states could not be kept."""
    return ConfigurationError(f"processor {name!r}: {error.message}", context={"processor": name})


def _require_fit(name: str, fn: Callable[..., Any], kind: Any) -> None:
    """Refuse a type that could not be kept, of the state or of what is said to be returned."""
    try:
        StateCodec(kind)
    except ValidationError as error:
        # A class may name one that its module has yet to define: it is looked at again at registration.
        if not isinstance(error.__cause__, NameError):
            raise unfit(name, error) from error
    result = result_of(fn)
    why = attempt(lambda: why_unfit(result), "")
    if why:
        raise ConfigurationError(
            f"processor {name!r}: what it says it returns cannot be kept: {why}", context={"processor": name}
        )
