"""What users give to be called, judged once, where it is given.

How it is called decides, and not what it wraps: an async wrapper around a plain function is async, a plain
one around an async function is plain, and what it returns is awaited.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import AsyncGeneratorType, CellType, CodeType, GeneratorType, MethodType, SimpleNamespace
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

from .arguments import refusal

T = TypeVar("T")
U = TypeVar("U")
Function = Callable[..., Any]

_CONTEXT_MANAGERS: Final = (
    contextmanager(lambda: iter(())).__code__,
    asynccontextmanager(lambda: aiter(())).__code__,  # type: ignore[arg-type]
)


def gives_coroutine(fn: Function) -> bool:
    """Whether calling it gives a coroutine, as far as can be seen before: an `async def`, a method or a
    partial of one, an object with an async `__call__`."""
    return any(inspect.iscoroutinefunction(one) for one in _as_called(fn))


def is_generator(fn: Function) -> bool:
    """Whether calling it gives a generator."""
    return any(inspect.isgeneratorfunction(one) for one in _as_called(fn))


def is_async_generator(fn: Function) -> bool:
    """Whether calling it gives an async generator."""
    return any(inspect.isasyncgenfunction(one) for one in _as_called(fn))


def is_context_manager(fn: Function) -> bool:
    """Whether it is what `contextmanager` or its async brother have made of a generator function."""
    return getattr(as_written(fn), "__code__", None) in _CONTEXT_MANAGERS


def is_async_context_manager(fn: Function) -> bool:
    """Whether it is what `asynccontextmanager` has made."""
    return getattr(as_written(fn), "__code__", None) is _CONTEXT_MANAGERS[1]


def _as_called(fn: Function) -> Iterator[Any]:
    """What runs when it is called, without what that goes on to call."""
    written = as_written(fn)
    yield written
    if not inspect.isroutine(written) and not isinstance(written, type):
        yield type(written).__call__


def as_written(fn: Function) -> Any:
    """What it is a partial or a bound method of."""
    one: Any = fn
    while isinstance(one, partial | staticmethod | MethodType):
        one = cast("Any", one).func if isinstance(one, partial) else cast("Any", one).__func__
    return one


def name_of_function(fn: Function) -> str:
    """What it is called where it was written; of an object, its class's name."""
    written = as_written(fn)
    name: object = getattr(written, "__name__", None)
    return name if isinstance(name, str) else type(written).__name__


async def awaited(answer: T | Awaitable[T]) -> T:
    """What a plain or an async function has given."""
    return await cast("Awaitable[T]", answer) if inspect.isawaitable(answer) else answer


def require_function(field: str, fn: object, shape: str, *, many: bool = False) -> None:
    """Whether it can be called, plain or async, with what `shape` says, such as `(state, results)`; as far
    as can be seen. `many`: it may be a generator function."""
    rule = f"must be a function {shape}"
    if not callable(fn):
        raise refusal(field, fn, rule)
    function = cast("Function", fn)
    if is_async_generator(function) or (is_generator(function) and not many):
        raise refusal(field, fn, f"{rule}, and yields none")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # as many builtins, it does not say what it takes
    try:
        signature.bind(*shape.split(","))
    except TypeError:
        raise refusal(field, fn, f"{rule}, and takes {signature}") from None


def called(field: str, fn: Callable[[T], U], value: T) -> U:
    """What a function gives that was not judged before; one that cannot be called so is a
    `ConfigurationError`."""
    try:
        answer = fn(value)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is None:
            # By the call itself, and not within the function.
            require_function(field, fn, "(state)")
        raise
    if type(answer) in (GeneratorType, AsyncGeneratorType):
        require_function(field, fn, "(state)")
    return answer


def require_items(field: str, value: object, what: str) -> Iterable[Any]:
    """A list or another iterable; a text or a mapping is taken for one of its items, and refused."""
    given: Any = value
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise refusal(field, given, f"must be {what}, in a list or another iterable")
    items: Iterable[Any] = given
    return items


# --- parameters -----------------------------------------------------------------------------------


def parameters(fn: Function) -> list[inspect.Parameter]:
    """What it takes when it is called. A wrapper that hands on `*args` takes what it wraps takes."""
    one: Any = fn
    seen = set[int]()
    while True:
        try:
            signature = inspect.signature(one, follow_wrapped=False)
        except ValueError:
            signature = inspect.signature(one)  # a cache's, say, which is none of Python's functions
        hands_on = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
        inner: Any = getattr(one, "__wrapped__", None)
        if not hands_on:
            return [*signature.parameters.values()]
        if inner is None or isinstance(one, MethodType) or id(inner) in seen:
            return [*inspect.signature(one).parameters.values()]
        seen.add(id(inner))
        one = inner


def annotation_of(fn: Function, parameter: inspect.Parameter) -> Any:
    """A parameter's annotation, or that of the first parameter of what a bare wrapper wraps."""
    if parameter.annotation is parameter.empty:
        wrapped = [*inspect.signature(fn).parameters.values()]
        return wrapped[0].annotation if wrapped else parameter.empty
    return parameter.annotation


def resolved(fn: Function, annotation: Any) -> Any:
    """What an annotation of the function means: this one alone, whatever its others say.

    Names are looked up as Python would have where the function was written: in the functions and classes
    around it that are running still, and in its module. Raises what evaluating it raises.
    """
    *_, runs = _as_called(fn)
    function: Any = inspect.unwrap(runs)
    module: dict[str, Any] = getattr(function, "__globals__", {})
    one: Any = SimpleNamespace(__annotations__={"it": annotation})
    return get_type_hints(one, module, _names_around(function), include_extras=True)["it"]


def result_of(fn: Function) -> Any:
    """What the function says that it returns, once awaited; `Any` where it does not say, where that cannot be
    resolved, and of a wrapper, whose annotations are those of what it wraps."""
    if hasattr(as_written(fn), "__wrapped__"):
        return Any
    try:
        annotation = inspect.signature(fn).return_annotation
        hint = Any if annotation is inspect.Signature.empty else resolved(fn, annotation)
    except Exception:
        return Any
    if get_origin(hint) in (Awaitable, Coroutine):
        return get_args(hint)[-1]
    return Any if hasattr(get_origin(hint) or hint, "__await__") else hint


def _names_around(function: Any) -> dict[str, Any]:
    names: dict[str, Any] = {}
    parts: list[str] = getattr(function, "__qualname__", "").split(".")[:-1]
    around = {".".join(parts[: i + 1]) for i, part in enumerate(parts) if part != "<locals>"}
    found: list[Mapping[str, Any]] = []
    frame = inspect.currentframe() if around else None
    while frame is not None and around:
        scope = frame.f_code.co_qualname
        if scope in around and frame.f_globals is getattr(function, "__globals__", None):
            around.discard(scope)
            found.append(frame.f_locals)
        frame = frame.f_back
    for outer in reversed(found):
        names |= outer
    code: CodeType | None = getattr(function, "__code__", None)
    cells: tuple[CellType, ...] = getattr(function, "__closure__", None) or ()
    for name, cell in zip(() if code is None else code.co_freevars, cells, strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    return names | {one.__name__: one for one in getattr(function, "__type_params__", ())}
