"""Types that msgpack has no word for, and how each is said: as is known here, or as a user says.

Asked only where msgspec knows nothing of a type, so states without any cost nothing. pydantic and numpy are
used where the program has imported them, and never imported for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import msgspec
import msgspec.inspect as shapes

from .arguments import Options
from .callables import gives_coroutine, require_function
from .checks import require

NEEDED_PYDANTIC: Final = (2, 11)
"""Its first version that reads a model by the names of its fields, whatever their aliases are."""


class Codec(Options, frozen=True, kw_only=True):
    """How values of a class of one's own are kept: `Codec(type=Money, encode=str, decode=Money.parse)`.

    Given to `use_codecs`, or to one processor (`codec=`), it holds for all states of this process, wherever
    the class is in them.
    """

    type: Any
    """The class. Of its subclasses, too, where they have no codec of their own."""
    encode: Callable[[Any], Any]
    """From a value to plain data: texts, numbers, lists, dicts, or whatever else a state may have. A plain
    function."""
    decode: Callable[[Any], Any]
    """From that back to an equal value; `ValueError` where it does not fit."""
    schema: dict[str, Any] | None = None
    """The JSON schema of what `encode` gives; for `Processor.json_schema`."""

    def __post_init__(self) -> None:
        kind, field = self.type, "Codec.type"
        require(isinstance(kind, type), field, kind, "must be a class")
        known = not isinstance(shapes.type_info(kind), shapes.CustomType)
        require(not known, field, kind, "is kept as it is, and needs no codec; a subclass of it may have one")
        for name in ("encode", "decode"):
            function: Any = getattr(self, name)
            require_function(f"Codec.{name}", function, "(value)")
            require(not gives_coroutine(function), f"Codec.{name}", function, "must be a plain function")
        said = self.schema is None or isinstance(self.schema, dict)
        require(said, "Codec.schema", self.schema, "must be a dict")
        for plain in (str, bytes, int, float, list, tuple, dict, set, frozenset):
            rule = f"is a {plain.__name__}, which is written as a plain one before anybody is asked"
            require(not issubclass(kind, plain), field, kind, rule)


_own: Final = WeakKeyDictionary[type, Codec]()


def declare(given: object, field: str) -> None:
    """Have these codecs known: one, or a list of them. All of them or, on an error, none; the last one of a
    class counts."""
    codecs = [given] if isinstance(given, Codec) else given
    rule = "must be a Codec, or a list of them"
    require(isinstance(codecs, list | tuple), field, given, rule)
    for codec in cast("Iterable[object]", codecs):
        require(isinstance(codec, Codec), field, codec, rule)
    _own.update({codec.type: codec for codec in cast("Iterable[Codec]", codecs)})


def _codec_of(kind: Any) -> Codec | None:
    if not isinstance(kind, type):
        return None
    return next((_own[base] for base in kind.__mro__ if base in _own), None)


def is_model(kind: Any) -> bool:
    """Whether it is a model of a pydantic that reads it as it was written."""
    pydantic: Any = sys.modules.get("pydantic")
    base = getattr(pydantic, "BaseModel", None)
    if base is None or not (isinstance(kind, type) and issubclass(kind, base)):
        return False
    version = tuple(int(part) for part in str(pydantic.VERSION).split(".")[:2])
    return version >= NEEDED_PYDANTIC


def _scalar(kind: Any) -> str:
    """What sort of number of numpy's a class is; empty for none."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not isinstance(kind, type):
        return ""
    sorts = {"integer": "integer", "floating": "number", "bool_": "boolean"}
    return next((said for name, said in sorts.items() if issubclass(kind, getattr(numpy, name))), "")


def _is_text_of_numpy(kind: Any) -> bool:
    return kind.__module__ == "numpy" and issubclass(kind, str)


def is_known(kind: Any) -> bool:
    """Whether values of a class that msgspec does not know can be kept."""
    if _codec_of(kind) is not None or is_model(kind) or _scalar(kind):
        return True
    return isinstance(kind, type) and issubclass(kind, PurePath)


def encode(value: Any) -> Any:
    """Plain data, of a value that msgspec has no word for; `TypeError` if there is none."""
    kind: Any = cast("Any", type(value))
    own = _codec_of(kind)
    if own is not None:
        return own.encode(value)
    if isinstance(value, PurePath):
        return str(value)
    if is_model(kind):
        return value.model_dump(round_trip=True, by_alias=False)
    if _scalar(kind) or _is_text_of_numpy(kind):
        return value.item()
    raise TypeError(f"Encoding objects of type {kind.__name__} is unsupported")


def decode(kind: Any, form: Any) -> Any:
    """The value of a class that msgspec does not know, of what `encode` gave."""
    own = _codec_of(kind)
    if own is not None:
        value = own.decode(form)
        if isinstance(value, kind):
            return value
        raise ValueError(f"the codec of {kind.__qualname__} returned a {type(value).__qualname__}")
    if is_model(kind):
        # What msgpack has no word for, such as a tuple, has become something else, by no fault of the user's.
        return kind.model_validate(form, strict=False, by_name=True, by_alias=False)
    if isinstance(kind, type) and issubclass(kind, PurePath):
        if isinstance(form, str):
            return kind(form)
        raise ValueError(f"Expected `str`, got `{type(form).__name__}`")
    sort = _scalar(kind)
    if sort:
        fits: Any = {"integer": int, "number": (int, float), "boolean": bool}[sort]
        if isinstance(form, fits) and (sort == "boolean" or not isinstance(form, bool)):
            return kind(form)
        raise ValueError(f"Expected `{sort}`, got `{type(form).__name__}`")
    return form  # msgspec looks whether it is one


def schema(kind: Any) -> dict[str, Any]:
    """JSON schema of a type."""
    shared: dict[str, Any] = {}

    def schema_of(part: Any) -> dict[str, Any]:
        own = _codec_of(part)
        if own is not None:
            return own.schema or {}
        if is_model(part):
            found: dict[str, Any] = part.model_json_schema(by_alias=False)
            shared.update(found.pop("$defs", {}))
            return found
        return {"type": _scalar(part)} if _scalar(part) else {"type": "string", "format": "path"}

    whole = msgspec.json.schema(kind, schema_hook=schema_of)
    return {**whole, "$defs": {**shared, **whole.get("$defs", {})}} if shared else whole
