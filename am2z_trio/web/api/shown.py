"""What is answered, as JSON: objects with all their fields, whatever they are within the engine."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from am2z_trio.model.as_json import encoded

_NO_DEFAULT: Final = msgspec.NODEFAULT


class Shown:
    """How what one method returns is told."""

    def __init__(self, answer: Any) -> None:
        """`answer`: its type, as the engine has it."""
        self.type: Final = as_object(answer)

    @classmethod
    def of(cls, asks: Callable[..., Any]) -> Shown:
        """By what the method says that it returns."""
        return cls(get_type_hints(asks, include_extras=True)["return"])

    def encoded(self, answer: object) -> bytes:
        """In JSON."""
        return encoded(msgspec.convert(answer, self.type, from_attributes=True))


def as_object(type_: Any) -> Any:
    """The same type with every Struct in it as an object that has all its fields, and its properties."""
    origin: Any = get_origin(type_)
    args = get_args(type_)
    if origin is Annotated:
        return Annotated[(as_object(args[0]), *args[1:])]
    if origin is Literal or not args:
        return _object(type_) if _is_struct(type_) else type_
    parts: tuple[Any, ...] = tuple(arg if arg is Ellipsis else as_object(arg) for arg in args)
    if origin in (types.UnionType, Union):
        return Union[parts]  # noqa: UP007
    return origin[parts]


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


STANDS_FOR: Final[dict[type, type]] = {}
"""By the type that is shown, that of the engine: where its fields are described."""


@functools.cache
def _object(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """All fields are told, so none of them has a default."""
    hints = get_type_hints(struct, include_extras=True)
    fields: list[Any] = [(name, as_object(hints[name])) for name in struct.__struct_fields__]
    for name, found in vars(struct).items():
        if isinstance(found, property) and not name.startswith("_"):
            fields.append((name, as_object(get_type_hints(found.fget)["return"])))
    namespace = {"__doc__": struct.__doc__}
    shown = msgspec.defstruct(
        struct.__name__, fields, namespace=namespace, module=__name__, kw_only=True, frozen=True
    )
    STANDS_FOR[shown] = struct
    return shown
