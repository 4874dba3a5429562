"""Functions that make resources, for one run of a job: what they are, and in which order they are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, Literal, NamedTuple, get_origin

from am2z_trio.model.callables import (
    gives_coroutine,
    is_async_context_manager,
    is_async_generator,
    is_context_manager,
    is_generator,
    resolved,
)
from am2z_trio.model.errors import ConfigurationError

from .resources import Need, needs_of
from .shape import says, taken_by

Kind = Literal["async context", "context", "async", "plain"]
"""What calling it gives: a context manager that is entered, something that is awaited, or the resource."""


class Factory(NamedTuple):
    """One such function."""

    fn: Callable[..., Any]
    make: Callable[..., Any]
    """It, or what makes a context manager of a generator function."""
    kind: Kind
    name: str
    needs: tuple[Need, ...]
    context: str
    """Its parameter that is given the context of the run; empty for none."""

    @property
    def is_async(self) -> bool:
        return self.kind.startswith("async")


class Asked(NamedTuple):
    """All that a processor's function asks for."""

    needs: tuple[Need, ...]
    factories: tuple[Factory, ...]
    """In the order in which they are called: each after those that it asks for."""

    @property
    def needs_context(self) -> bool:
        """Whether one of the factories takes it."""
        return any(one.context for one in self.factories)


def asked_of(needs: Sequence[Need], processor: str) -> Asked | None:
    """What a function with these parameters asks for; `None` if nothing. A factory that cannot be called so,
    or that asks for itself, is a `ConfigurationError`."""
    if not needs:
        return None
    found = dict[Callable[..., Any], Factory]()
    path = list[Callable[..., Any]]()

    def visit(many: Sequence[Need]) -> None:
        for need in many:
            fn = need.marker.factory
            if fn is None or fn in found:
                continue
            if fn in path:
                circle = " -> ".join(map(_name_of, [*path[path.index(fn) :], fn]))
                raise ConfigurationError(
                    f"processor {processor!r}: its resources ask for each other in a circle: {circle}",
                    context={"processor": processor, "circle": circle},
                )
            path.append(fn)
            factory = _factory(fn, processor)
            visit(factory.needs)
            path.pop()
            found[fn] = factory

    visit(needs)
    return Asked(tuple(needs), tuple(found.values()))


def _factory(fn: Callable[..., Any], processor: str) -> Factory:
    name = _name_of(fn)
    who = f"processor {processor!r}, which asks for {name}"
    # A class is called as its `__init__` says.
    written: Callable[..., Any] = fn.__init__ if isinstance(fn, type) else fn  # type: ignore[misc]
    taken = taken_by(fn, f"{who}, which", processor)
    needs = needs_of(written, taken, who)
    asked = {need.name for need in needs}
    context = ""
    for parameter in taken:
        if parameter.name in asked or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if says(written, parameter) in ("context", "named so") and not context:
            context = parameter.name
        elif parameter.default is parameter.empty:
            raise ConfigurationError(
                f"{who}: nobody gives it its parameter {parameter.name!r}; it may take resources "
                "(Annotated[..., Resource()]), the context (ctx: Context), and what has a default",
                context={"processor": processor, "factory": name, "parameter": parameter.name},
            )
    make, kind = _as_called(fn)
    return Factory(fn, make, kind, name, tuple(needs), context)


def _as_called(fn: Callable[..., Any]) -> tuple[Callable[..., Any], Kind]:
    if is_async_generator(fn):
        return asynccontextmanager(fn), "async context"
    if is_generator(fn):
        return contextmanager(fn), "context"
    if is_context_manager(fn):
        return fn, "async context" if is_async_context_manager(fn) else "context"
    if isinstance(fn, type):
        return fn, "async context" if _has(fn, "__aenter__") else "context" if _has(
            fn, "__enter__"
        ) else "plain"
    says_it_returns = _result_of(fn)
    if says_it_returns is AbstractAsyncContextManager:
        return fn, "async context"
    if says_it_returns is AbstractContextManager:
        return fn, "context"
    return fn, "async" if gives_coroutine(fn) else "plain"


def _result_of(fn: Callable[..., Any]) -> Any:
    try:
        hint = resolved(fn, inspect.signature(fn).return_annotation)
    except Exception:
        return Any
    return get_origin(hint) or hint


def _has(kind: type, name: str) -> bool:
    return hasattr(kind, name)


def _name_of(fn: object) -> str:
    return str(getattr(fn, "__qualname__", None) or fn)
