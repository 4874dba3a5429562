"""What a user writes: a function `state -> state` with a name and options."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Concatenate, Final, Generic, Literal, TypeVar, get_args

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
from am2z_trio.model.codecs import Codec, schema
from am2z_trio.model.errors import ConfigurationError, ValidationError
from am2z_trio.model.evolution import Migration, evolution
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.options import CircuitBreaker, QueueOptions, RetryPolicy
from am2z_trio.model.telling import attempt
from am2z_trio.model.types import have_known, why_unfit
from am2z_trio.policy.cron import Timing

from .factories import asked_of
from .shape import shape_of, state_type_of

S = TypeVar("S")

MAX_NAME = 200

RunIn = Literal["loop", "thread", "process", "interpreter"]
"""Where a processor's code runs."""

INTERPRETERS_SINCE: Final = (3, 14)
"""The Python whose programs may make interpreters."""

SITES: Final[tuple[RunIn, ...]] = get_args(RunIn)


class Processor(Generic[S]):
    """A named function `state -> state` and how to run it. Immutable; register it with a runtime.

    The state type is the annotation of the first parameter (or `state_type`): anything msgspec can
    decode. The function takes `(state)` or `(state, ctx)`, beside them resources (`Resource`), and returns
    the new state, or `None` for "unchanged", where it has left its state alone; it raises to fail. A plain
    `def` runs in a worker thread: its caller hears of a timeout on time, but Python cannot stop a thread, so
    its code runs on and its result is dropped (`ResourceLimits.max_abandoned_threads`). A process does not
    wait for such threads at its end.

    Functions, methods, partials and objects will do, and how they are called decides: an async wrapper is
    async whatever it wraps; what a plain one returns is awaited, back in the event loop, if it can be. A
    second parameter that is `ctx=None` is given the context.
    """

    __slots__ = (
        "asked",
        "breaker",
        "depends_on",
        "description",
        "evolution",
        "fallback",
        "fn",
        "in_loop",
        "is_async",
        "is_plain",
        "name",
        "passes_context",
        "queue",
        "retry",
        "run_in",
        "schedule",
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
        state_version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        codec: Codec | Sequence[Codec] = (),
        run_in: RunIn | None = None,
    ) -> None:
        _require_callable(fn)
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
        self.breaker, self.fallback = breaker, fallback
        self.schedule: Timing | None = None
        needed = require_items("Processor.depends_on", depends_on, "processors")
        self.depends_on = (*needed, *([] if fallback is None else [fallback]))
        for one in self.depends_on:
            require(isinstance(one, Processor), "Processor.depends_on", one, "must be processors")
        self.is_async = gives_coroutine(fn)
        shape = shape_of(fn, self.name)
        self.asked = asked_of(shape.needs, self.name)  # the resources that it is given
        self.passes_context = shape.context is not None
        self.takes_context = self.passes_context or (self.asked is not None and self.asked.needs_context)
        self.run_in, self.in_loop = _checked_site(run_in, self)
        self.is_plain = self._is_plain()
        self.state_type = state_type_of(fn, shape, self.name) if state_type is None else state_type
        have_known(codec, "Processor.codec")
        _require_fit(self.name, fn, self.state_type)
        self.evolution = evolution(self.name, state_version, migrate, self.state_type)
        """What it says of the versions of its states; `None`: nothing."""

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of its states, as they are kept."""
        return schema(self.state_type)

    @property
    def _has_factories(self) -> bool:
        return self.asked is not None and bool(self.asked.factories)

    def _is_plain(self) -> bool:
        """Whether it can run under a scope that other jobs share."""
        more = self.takes_context or self.breaker or self.fallback or self._has_factories
        return self.is_async and self.in_loop and not more

    def __repr__(self) -> str:
        return f"<processor {self.name!r}>"


def name_of(processor: Processor[Any] | str) -> str:
    """The name of a processor that is given as itself or by name."""
    if isinstance(processor, Processor):
        return processor.name
    require(isinstance(processor, str), "processor", processor, "must be a processor or its name")
    return require_text("processor", processor, most=MAX_NAME_BYTES)


def _require_callable(fn: Callable[..., Any]) -> None:
    field = "Processor.fn"
    require(callable(fn), field, fn, "must be a function")
    require(not isinstance(fn, Processor), field, fn, "is a processor already")
    require(not isinstance(fn, type), field, fn, "must be a function or an object, and is a class")
    yields = is_generator(fn) or is_async_generator(fn) or is_context_manager(fn)
    require(not yields, field, fn, "must be a function that returns its state, and yields none")


def _checked(name: object) -> str:
    short = isinstance(name, str) and len(name) <= MAX_NAME
    require(short, "Processor.name", name, f"must be a text of 1 to {MAX_NAME} characters")
    return require_text("Processor.name", name, most=MAX_NAME_BYTES)


def _checked_site(run_in: RunIn | None, made: Processor[Any]) -> tuple[RunIn, bool]:
    """Where its code runs, and whether that is the event loop: by default of what awaits, else a thread."""
    field = "Processor.run_in"
    if run_in is None:
        return ("loop", True) if made.is_async else ("thread", False)
    require(run_in in SITES, field, run_in, f"must be one of {', '.join(map(repr, SITES))}")
    if made.is_async:
        require(run_in in ("loop", "process"), field, run_in, "is for a plain def, and this one is async")
    else:
        require(
            run_in != "loop", field, run_in, "is for an async def, and this one is plain: it would block it"
        )
    if run_in in ("process", "interpreter"):
        require(made.asked is None, field, run_in, "is for a function without resources: they are not there")
    if run_in == "interpreter":
        require(not made.takes_context, field, run_in, "is for a function without ctx, which is not there")
        version = ".".join(map(str, sys.version_info[:2]))
        have = sys.version_info >= INTERPRETERS_SINCE
        require(have, field, run_in, f"needs Python 3.14 or later, and this is {version}")
    return run_in, run_in == "loop"


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
