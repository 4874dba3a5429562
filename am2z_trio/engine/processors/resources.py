"""`Resource`: how a function says that it is to be given something that is no part of the state."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple

from am2z_trio.model.arguments import refusal
from am2z_trio.model.callables import annotation_of, resolved
from am2z_trio.model.checks import require_text
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.telling import attempt


class Resource:
    """Marks a parameter of a processor that the runtime gives it: `pool: Annotated[Pool, Resource()]`.

    * `Resource()`: what the runtime's `lifespan` provides of this type; where there are several, it is one
      `ConfigurationError` that says so
    * `Resource("main")`: what it provides by this name, whatever its type
    * `Resource(get_connection)`: made anew for each run of a job, and closed after it. A generator function,
      async or plain, yields it once; so does a function made by `contextlib`, and one that says that it
      returns a context manager, or a class of them; any other function returns it, awaited if it is async. It
      may ask for resources itself, and take the `Context`; asked for by several parameters, it is called once
      a run

    Such parameters come after the state and the context, and are given by name. With a default, it is what
    is given where nobody provides the resource.
    """

    __slots__ = ("factory", "name")

    def __init__(self, what: str | Callable[..., Any] | None = None, /) -> None:
        self.name: Final = require_text("Resource.name", what, most=MAX_NAME_BYTES) if _is_text(what) else ""
        if (
            what is not None
            and not self.name
            and not (callable(what) and attempt(lambda: bool(str(hash(what))), False))
        ):
            raise refusal("Resource", what, "must be a name, or a function that makes it")
        self.factory: Final[Callable[..., Any] | None] = None if self.name else what  # type: ignore[assignment]

    def __repr__(self) -> str:
        factory: Any = self.factory
        return f"Resource({self.name!r})" if factory is None and self.name else f"Resource({_named(factory)})"


class Need(NamedTuple):
    """A parameter that is given a resource."""

    parameter: inspect.Parameter
    kind: Any
    """What it is said to be, but for `None`."""
    marker: Resource

    @property
    def name(self) -> str:
        return self.parameter.name

    @property
    def is_optional(self) -> bool:
        return self.parameter.default is not self.parameter.empty


def needs_of(fn: Callable[..., Any], taken: Iterable[inspect.Parameter], who: str) -> list[Need]:
    """Which of a function's parameters are given resources. `who`: what errors call it."""
    found = list[Need]()
    for parameter in taken:
        if parameter.annotation is parameter.empty or isinstance(parameter.annotation, type):
            continue
        marked = _marked(_meaning_of(fn, parameter, who))
        if marked is None:
            continue
        kind, markers = marked
        if len(markers) > 1 or Resource in markers:
            raise _misfit(who, parameter, "say which resource it is once, by Resource()")
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise _misfit(who, parameter, "a resource is given by its parameter's name")
        found.append(Need(parameter, kind, markers[0]))
    return found


def _meaning_of(fn: Callable[..., Any], parameter: inspect.Parameter, who: str) -> Any:
    annotation = annotation_of(fn, parameter)
    try:
        return resolved(fn, annotation)
    except Exception as error:
        if "Resource(" not in str(annotation):
            return Any  # whoever else needs it says so
        why = f"its annotation {annotation!r} cannot be resolved ({error}): import it where the program runs"
        raise _misfit(who, parameter, why) from error


def _marked(hint: Any) -> tuple[Any, list[Any]] | None:
    """The type, without `None`, and its markers, of `Annotated[T, Resource()]` with or without `| None`."""
    members: tuple[Any, ...] = (hint,)
    if typing.get_origin(hint) in (typing.Union, UnionType):
        members = tuple(one for one in typing.get_args(hint) if one is not NoneType)
    for member in members:
        if typing.get_origin(member) is typing.Annotated:
            kind, *notes = typing.get_args(member)
            if markers := [one for one in notes if isinstance(one, Resource) or one is Resource]:
                return _without_none(kind), markers
    return None


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) in (typing.Union, UnionType):
        members = [one for one in typing.get_args(kind) if one is not NoneType]
        return members[0] if len(members) == 1 else kind
    return kind


def _misfit(who: str, parameter: inspect.Parameter, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{who}, parameter {parameter.name!r}: {why}", context={"parameter": parameter.name}
    )


def _is_text(what: object) -> bool:
    return isinstance(what, str)


def _named(factory: Any) -> str:
    return "" if factory is None else str(getattr(factory, "__qualname__", factory))
