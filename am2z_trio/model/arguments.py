"""How a public call is made: argument names that do not exist, are missing or too many are one error.

A type checker says it first; this is for those who use none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, get_args, get_type_hints

import msgspec

from .errors import ConfigurationError
from .telling import attempt, class_of, text_of

P = ParamSpec("P")
T = TypeVar("T")

PLAIN: Final = (bool, int, float, type(None))
"""Values that an error's context keeps as they are."""


def refusal(field: str, value: object, rule: str) -> ConfigurationError:
    """The one kind of error that a bad argument gives."""
    shown = text_of(attempt(lambda: repr(value), f"<a {class_of(value)}>"), 200)
    return ConfigurationError(
        f"{field}={shown}: {rule}",
        context={"field": field, "value": value if type(value) in PLAIN else shown, "rule": rule},
    )


def unknown(owner: str, name: str, known: Sequence[str]) -> ConfigurationError:
    """The error of an option that does not exist here, with the nearest that does, or with whose it is. Its
    value is not told: it may be a misspelt password's."""
    others = [cls.__name__ for cls in Options.__subclasses__() if name in cls.__struct_fields__]
    close = get_close_matches(name, known, n=1)
    hint = "there"
    if others:
        hint = f"it is one of {' and of '.join(others)}. Here there"
    elif close:
        hint = f"did you mean {close[0]!r}? There"
    rule = f"is no option of {owner}; {hint} are: {', '.join(known)}"
    return ConfigurationError(f"{name}: {rule}", context={"field": name, "rule": rule})


class _Checked(msgspec.StructMeta):
    """Says of options that were misspelt what msgspec's bare `TypeError` does not."""

    if not TYPE_CHECKING:  # what a type checker knows of the fields, it knows from the class

        def __call__(cls, *args: Any, **options: Any) -> Any:
            try:
                return super().__call__(*args, **options)
            except TypeError:
                misfit = _misfit(cls.__name__, inspect.signature(cls), args, options)
                if misfit is None:
                    raise
                raise misfit from None


class Options(msgspec.Struct, metaclass=_Checked, frozen=True, kw_only=True):
    """What public options are made of: a misspelt, missing or unnamed one is a `ConfigurationError`."""


def exact_arguments(fn: Callable[P, T]) -> Callable[P, T]:
    """A public function, or `__init__`, that is called seldom: arguments that it does not take, or that are
    missing, are a `ConfigurationError` that names the nearest."""
    signature = inspect.signature(fn)
    owner = fn.__qualname__.removesuffix(".__init__")
    named = _options_of(fn, signature)

    @wraps(fn)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        misfit = _misfit(owner, signature, args, kwargs, named)
        if misfit is not None:
            raise misfit
        return fn(*args, **kwargs)

    return checked


def _options_of(fn: Callable[..., Any], signature: inspect.Signature) -> list[str]:
    """What `**options: Unpack[...]` stands for."""
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            (keywords,) = get_args(get_type_hints(fn)[parameter.name])
            return list(keywords.__annotations__)
    return []


def _misfit(
    owner: str,
    signature: inspect.Signature,
    args: tuple[Any, ...],
    given: dict[str, Any],
    more: Sequence[str] = (),
) -> ConfigurationError | None:
    """What is wrong with a call; `more`: options that the signature does not spell out."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    known = [*(p.name for p in parameters if p.kind in named), *more]
    public = [name for name in known if name[0] != "_"]
    for name in given:
        if name not in known:
            return unknown(owner, name, public)
    try:
        signature.bind(*args, **given)
    except TypeError as error:
        rule = f"{error}; it takes ({', '.join(_shown(p) for p in parameters if p.name[0] != '_')})"
        return ConfigurationError(f"{owner}: {rule}", context={"field": owner, "rule": rule})
    return None


def _shown(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    return f"{parameter.name}=" if parameter.kind is parameter.KEYWORD_ONLY else parameter.name
