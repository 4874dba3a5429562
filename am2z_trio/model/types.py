"""Which types states can be kept as: those that msgspec reads back as what was written.

msgspec takes any class for one that its user reads by a hook, and says only when a value comes that nobody
can read it; here it is said where the type is given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import NoneType
from typing import Any, Final, Generic, TypeVar, get_args, get_origin

import msgspec.inspect as shapes

from .codecs import Codec, declare, is_known

PLAIN_VALUES: Final[tuple[object, ...]] = (None, True, 1, 1.0, "", b"", [], {})
"""One of each that is read where a type says nothing; an abstract type may be fulfilled by them."""

PLAIN_TYPES: Final = (int, float, str, bytes, list, dict, tuple, set, frozenset)

USE: Final = "use a msgspec.Struct, a dataclass, a TypedDict or plain data, or give it a Codec (use_codecs)"


T = TypeVar("T")

MOST: Final = 1000
"""Types of which something is remembered."""


def has_hash(kind: object) -> bool:
    """`Annotated[int, []]` has the method, and no hash."""
    try:
        hash(kind)
    except TypeError:
        return False
    return True


class Remembered(Generic[T]):
    """What a function says of a type, remembered; a type that has no hash it is asked of anew each time."""

    def __init__(self, fn: Callable[[Any], T]) -> None:
        self._fn = fn
        self._known = lru_cache(maxsize=MOST)(fn)
        self.forget: Final = self._known.cache_clear
        """To be called when it may say something else than before."""

    def __call__(self, kind: Any) -> T:
        return self._known(kind) if has_hash(kind) else self._fn(kind)


def why_unfit(kind: Any) -> str:
    """Why no state of this type can be kept, with the path to the part that is to blame; empty if one can.

    Raises what msgspec does for a type that it cannot make out at all.
    """
    return _unfit(kind)


def is_plain(kind: Any) -> bool:
    """Whether a type is plain data, and says nothing of fields."""
    if kind in (Any, object, None, NoneType) or kind in PLAIN_TYPES or kind is bool:
        return True
    return get_origin(kind) in PLAIN_TYPES and all(one is ... or is_plain(one) for one in get_args(kind))


def _look(kind: Any) -> str:
    for path, cls in _classes(shapes.type_info(kind), "$", set()):
        if not is_known(cls) and not any(_fulfils(value, cls) for value in PLAIN_VALUES):
            return _told(cls, "" if path == "$" else f" at {path}")
    return ""


_unfit: Final = Remembered(_look)


def use_codecs(*codecs: Codec) -> None:
    """Have values of classes of one's own kept as these codecs say, wherever they are in a state or a signal
    of this process; to be called before the processors are defined that have such states.

    A codec belongs to its class as its methods do, so it is said once, beside the class, and not for one
    runtime: jobs, handles, `runtime.state` and `Processor` all read such values, with or without a runtime.
    The last codec of a class counts. `ConfigurationError` for what is none; then all is as before.
    """
    have_known(codecs, "codecs")


def have_known(codecs: object, field: str) -> None:
    """Have codecs known that are given under this name: one, or a list."""
    if codecs != ():
        declare(codecs, field)
        _unfit.forget()


def _classes(shape: Any, path: str, above: set[int]) -> Iterator[tuple[str, Any]]:
    """The classes in a type that msgspec knows nothing of, with their places."""
    if isinstance(shape, shapes.CustomType):
        yield path, shape.cls
        return
    if id(shape) in above:
        return  # a type that contains itself
    above.add(id(shape))
    for field in getattr(shape, "fields", ()):
        yield from _classes(field.type, f"{path}.{field.name}", above)
    for name, step in (("type", ""), ("item_type", "[...]"), ("key_type", ".key"), ("value_type", "[...]")):
        if (part := getattr(shape, name, None)) is not None:
            yield from _classes(part, path + step, above)
    for part in getattr(shape, "types", ()):
        yield from _classes(part, path, above)
    for index, part in enumerate(getattr(shape, "item_types", ())):
        yield from _classes(part, f"{path}[{index}]", above)


def _fulfils(value: object, cls: Any) -> bool:
    try:
        return isinstance(value, cls)
    except TypeError:
        return False  # a protocol that cannot be asked


def _told(cls: Any, where: str) -> str:
    name = getattr(cls, "__qualname__", None) or str(cls)
    if getattr(sys.modules.get("numpy"), "ndarray", None) is cls:
        return f"{name}{where} is an array of numpy's: take a list, or give it a Codec (use_codecs)"
    if hasattr(cls, "model_validate") and hasattr(cls, "model_dump"):
        return (
            f"{name}{where} is a pydantic model, which cannot be read back: take a dict, "
            f"{name}.model_validate(state), and return its model_dump(); or {USE}"
        )
    for plain in PLAIN_TYPES:
        if isinstance(cls, type) and issubclass(cls, plain):
            return f"{name}{where} is a {plain.__name__} that would be read back as a plain one: {USE}"
    return f"{name}{where} is no type that can be read back: {USE}"
