"""What a user writes: a function `state -> state` with a name and options."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    NamedTuple,
    NoReturn,
    Protocol,
    TypeVar,
    cast,
    overload,
)

import msgspec

from am2z_trio.model.arguments import exact_arguments, unknown
from am2z_trio.model.callables import (
    annotation_of,
    as_written,
    gives_coroutine,
    is_async_generator,
    is_context_manager,
    is_generator,
    name_of_function,
    parameters,
    require_items,
    resolved,
    result_of,
)
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import ConfigurationError, DuplicateProcessorError, ValidationError
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.options import (
    CircuitBreaker,
    QueueOptions,
    RetryPolicy,
    require,
    require_seconds,
    require_text,
)
from am2z_trio.model.telling import attempt
from am2z_trio.model.types import why_unfit

if TYPE_CHECKING:
    from .context import Context

S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)

MAX_NAME = 200

DATA: Final[tuple[type[Any], ...]] = (
    int,
    float,
    str,
    bytes,
    dict,
    list,
    tuple,
    set,
    frozenset,
    msgspec.Struct,
)
"""Types of states, that no context has."""


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
        self.name = name_of_function(fn) if name is None else name
        require(
            isinstance(self.name, str) and len(self.name) <= MAX_NAME,
            "Processor.name",
            self.name,
            f"must be a text of 1 to {MAX_NAME} characters",
        )
        self.name = require_text("Processor.name", self.name, most=MAX_NAME_BYTES)
        require(isinstance(description, str), "Processor.description", description, "must be a text")
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
        needed = require_items("Processor.depends_on", depends_on, "processors")
        self.depends_on = (*needed, *([] if fallback is None else [fallback]))
        for dependency in self.depends_on:
            require(
                isinstance(dependency, Processor),
                "Processor.depends_on",
                dependency,
                "must be processors",
            )
        self.is_async = gives_coroutine(fn)
        shape = shape_of(fn, self.name)
        self.takes_context = shape.context is not None
        self.is_plain = self.is_async and not self.takes_context and breaker is None and fallback is None
        self.state_type = _state_type(fn, shape, self.name) if state_type is None else state_type
        _require_fit(self.name, fn, self.state_type)

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


def with_dependencies(
    processors: Iterable[Processor[Any]],
) -> dict[str, Processor[Any]]:
    """All by name, dependencies first. Refuses circles, by name, and two processors of one name."""
    found: dict[str, Processor[Any]] = {}
    path: list[Processor[Any]] = []

    def visit(item: Processor[Any]) -> None:
        require(
            isinstance(item, Processor),
            "register",
            item,
            "must be a processor (use @processor)",
        )
        # By name, as they call each other: one of the two would take the other's place without a word.
        names = [above.name for above in path]
        if item.name in names:
            first = path[names.index(item.name)]
            circle = " -> ".join([*names[names.index(item.name) :], item.name])
            two = "" if first is item else f" ({item.name!r} is {_where(first.fn)} and {_where(item.fn)})"
            raise ConfigurationError(
                f"depends_on goes in a circle: {circle}{two}", context={"circle": circle}
            )
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


class Shape(NamedTuple):
    """What a processor's function takes."""

    state: inspect.Parameter
    context: inspect.Parameter | None
    needs_context: bool
    """It cannot be called without."""


def shape_of(fn: Callable[..., Any], name: str) -> Shape:
    """`(state)` or `(state, ctx)`; anything else is a `ConfigurationError`."""
    try:
        taken = parameters(fn)
    except Exception as error:
        raise ConfigurationError(
            f"processor {name!r}: the function has no readable signature", context={"processor": name}
        ) from error
    positional = [p for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    keyword_only = [p for p in taken if p.kind is p.KEYWORD_ONLY and p.default is p.empty]

    def refuse(why: str) -> NoReturn:
        shown = inspect.Signature(taken)
        raise ConfigurationError(f"processor {name!r} takes {shown}: {why}", context={"processor": name})

    # A method that was decorated in its class, or taken from it: nobody would give it its object.
    if positional and positional[0].name in ("self", "cls") and inspect.isfunction(as_written(fn)):
        refuse("it is a method without its object; make it of the bound method: Processor(service.method)")
    if not positional or len(required) > 2 or keyword_only:
        passes_on = any(p.kind is p.VAR_POSITIONAL for p in taken)
        hint = "; give a wrapper its function's signature by functools.wraps" if passes_on else ""
        refuse(f"it must take (state) or (state, ctx){hint}")
    if any(p.kind is p.KEYWORD_ONLY and p.default is None and _says(fn, p) for p in taken):
        refuse("the context is given as its second parameter, without a name")
    state, second = positional[0], positional[1] if len(positional) > 1 else None
    needs_context = len(required) == 2
    says_first, says_second = _says(fn, state), None if second is None else _says(fn, second)
    if says_first == "context" or (
        says_first == "named so" and needs_context and says_second in (None, "data")
    ):
        refuse("the state comes first, and then ctx")
    if needs_context and says_second == "data":
        refuse("its second parameter is the context")
    if second is not None and not needs_context:
        meant = second.default is None and says_second in ("context", "named so")
        second = second if meant else None  # or an option of its own
    return Shape(state, second, needs_context)


def _says(fn: Callable[..., Any], parameter: inspect.Parameter) -> str | None:
    """Whether a parameter is said to be the `context`, is only `named so`, or is `data`; `None`: any."""
    from .context import Context

    annotation = parameter.annotation
    if annotation is parameter.empty:
        return "named so" if parameter.name in ("ctx", "context") else None
    try:
        hint = resolved(fn, annotation)
    except Exception:
        # As of what is imported for type checkers alone.
        hint = Context if re.search(r"\bContext\b", str(annotation)) else Any
    union = typing.get_origin(hint) in (typing.Union, UnionType)
    members = [typing.get_origin(one) or one for one in (typing.get_args(hint) if union else (hint,))]
    if any(member is Context for member in members):
        return "context"
    return "data" if all(member is NoneType or _is_data(member) for member in members) else None


def _is_data(kind: Any) -> bool:
    return inspect.isclass(kind) and (issubclass(kind, DATA) or hasattr(kind, "__dataclass_fields__"))


def _state_type(fn: Callable[..., Any], shape: Shape, name: str) -> Any:
    annotation = annotation_of(fn, shape.state)
    if annotation is inspect.Parameter.empty:
        return Any
    try:
        hint = resolved(fn, annotation)
    except Exception as error:
        raise ConfigurationError(
            f"processor {name!r}: the annotation {annotation!r} of its state {shape.state.name!r} cannot be "
            f"resolved ({error}): import it where the program runs, or give state_type=",
            context={"processor": name, "parameter": shape.state.name},
        ) from error
    # A type variable says "any state" to a type checker; msgspec wants to hear so.
    return Any if isinstance(hint, TypeVar) else hint


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
