"""What a processor's function takes, read off its signature and its annotations."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

import msgspec

from am2z_trio.model.callables import annotation_of, as_written, parameters, resolved
from am2z_trio.model.errors import ConfigurationError

from .resources import Need, needs_of

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


class RunContext:
    """What a function may be given besides its state: a `Context`. That a function asks for one is seen
    without knowing what it can do."""

    __slots__ = ()


class Shape(NamedTuple):
    """What a processor's function takes."""

    state: inspect.Parameter
    context: inspect.Parameter | None
    needs_context: bool
    """It cannot be called without."""
    needs: tuple[Need, ...]
    """What it is given beside these, by name."""


def shape_of(fn: Callable[..., Any], name: str) -> Shape:
    """`(state)` or `(state, ctx)`, and resources; anything else is a `ConfigurationError`."""
    everything = taken_by(fn, f"processor {name!r}: the function", name)
    needs = needs_of(fn, everything, f"processor {name!r}")
    taken = [p for p in everything if p.name not in {need.name for need in needs}]
    positional = [p for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    keyword_only = [p for p in taken if p.kind is p.KEYWORD_ONLY and p.default is p.empty]

    def refuse(why: str) -> NoReturn:
        shown = inspect.Signature(everything)
        raise ConfigurationError(f"processor {name!r} takes {shown}: {why}", context={"processor": name})

    # A method that was decorated in its class, or taken from it: nobody would give it its object.
    if positional and positional[0].name in ("self", "cls") and inspect.isfunction(as_written(fn)):
        refuse("it is a method without its object; make it of the bound method: Processor(service.method)")
    if not positional or len(required) > 2 or keyword_only:
        passes_on = any(p.kind is p.VAR_POSITIONAL for p in taken)
        hint = "; give a wrapper its function's signature by functools.wraps" if passes_on else ""
        refuse(f"it must take (state) or (state, ctx){hint}")
    if any(p.kind is p.KEYWORD_ONLY and p.default is None and says(fn, p) for p in taken):
        refuse("the context is given as its second parameter, without a name")
    state, second = positional[0], positional[1] if len(positional) > 1 else None
    needs_context = len(required) == 2
    says_first, says_second = says(fn, state), None if second is None else says(fn, second)
    if says_first == "context" or (
        says_first == "named so" and needs_context and says_second in (None, "data")
    ):
        refuse("the state comes first, and then ctx")
    if needs_context and says_second == "data":
        refuse("its second parameter is the context")
    if second is not None and not needs_context:
        meant = second.default is None and says_second in ("context", "named so")
        second = second if meant else None  # or an option of its own
    if everything[0] is not state or (second is not None and everything[1] is not second):
        refuse("resources come after the state and the context")
    return Shape(state, second, needs_context, tuple(needs))


def taken_by(fn: Callable[..., Any], who: str, processor: str) -> list[inspect.Parameter]:
    """The parameters of a function that a processor is made of, or asks for."""
    try:
        return parameters(fn)
    except Exception as error:
        raise ConfigurationError(
            f"{who} has no readable signature", context={"processor": processor}
        ) from error


def says(fn: Callable[..., Any], parameter: inspect.Parameter) -> str | None:
    """Whether a parameter is said to be the `context`, is only `named so`, or is `data`; `None`: any."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return "named so" if parameter.name in ("ctx", "context") else None
    try:
        hint = resolved(fn, annotation)
    except Exception:
        # As of what is imported for type checkers alone.
        hint = RunContext if re.search(r"\bContext\b", str(annotation)) else Any
    union = typing.get_origin(hint) in (typing.Union, UnionType)
    members = [typing.get_origin(one) or one for one in (typing.get_args(hint) if union else (hint,))]
    if any(map(_is_context, members)):
        return "context"
    return "data" if all(member is NoneType or _is_data(member) for member in members) else None


def _is_context(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, RunContext)


def _is_data(kind: Any) -> bool:
    return inspect.isclass(kind) and (issubclass(kind, DATA) or hasattr(kind, "__dataclass_fields__"))


def state_type_of(fn: Callable[..., Any], shape: Shape, name: str) -> Any:
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
