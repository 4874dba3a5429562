"""Where in a state something is, for errors that name the place; and where two of them differ."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

import msgspec

from . import codecs
from .telling import attempt
from .types import why_unfit


def equal(a: object, b: object) -> bool:
    # Not by `attempt`: every job's state passes here.
    try:
        return bool(a == b)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False


def difference(before: object, after: object, path: str) -> str | None:
    """Where what was read back is not what was written, for people; `None` if it is all the same.

    Looks into records that do not compare by value. A time of a zone equals none of another zone where its
    clocks are changed (the hour that comes twice, the one that never comes): it is the moment that counts.
    """
    if equal(before, after) or equal(_moment(before), _moment(after)):
        return None
    was, is_now = type(before).__name__, type(after).__name__
    if type(before) is type(after):
        inside: Iterable[tuple[str, object, object]] | None = None
        if isinstance(before, list | tuple):
            others = cast("Sequence[object]", after)
            ours = cast("Sequence[object]", before)
            inside = ((f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(ours, others, strict=True)))
        elif isinstance(before, Mapping):
            ours_by_key = _by_moment(cast("Mapping[object, object]", before))
            others_by_key = _by_moment(cast("Mapping[object, object]", after))
            if ours_by_key.keys() == others_by_key.keys():
                inside = ((f"{path}[{key!r}]", a, others_by_key[key]) for key, a in ours_by_key.items())
        elif names := fields_of(before):
            inside = ((f"{path}.{name}", getattr(before, name), getattr(after, name)) for name in names)
        if inside is not None:
            return next(filter(None, (difference(a, b, where) for where, a, b in inside)), None)
    return f"the {was} at {path} would be read back as the {is_now} {reprlib.repr(after)}"


def _moment(value: object) -> object:
    """The value with its times of a zone as those of UTC; so in tuples and sets, which are compared whole."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, tuple):
        return tuple(map(_moment, cast("Iterable[object]", value)))
    if isinstance(value, set | frozenset):
        return set(map(_moment, cast("Iterable[object]", value)))
    return value


def _by_moment(mapping: Mapping[object, object]) -> dict[object, object]:
    return {_moment(key): item for key, item in mapping.items()}


def fields_of(record: object) -> list[str]:
    """Names of the fields of a Struct, dataclass or attrs class; none for anything else."""
    if isinstance(record, msgspec.Struct):
        return list(record.__struct_fields__)
    if names := getattr(record, "__dataclass_fields__", None):
        return list(names)
    return [field.name for field in getattr(record, "__attrs_attrs__", ())]


def is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def where_not_finite(state: object) -> str | None:
    """Path of the first NaN or infinity, for which JSON has no word; `None` if there is none."""
    return find(state, lambda value: isinstance(value, float) and not math.isfinite(value))


def beyond_64_bits(value: object) -> bool:
    return isinstance(value, int) and not -(2**63) <= value < 2**64


def has_odd_keys(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    try:
        msgspec.msgpack.Encoder(enc_hook=codecs.encode).encode(
            dict.fromkeys(cast("Mapping[object, object]", value))
        )
    except (TypeError, ValueError, msgspec.MsgspecError):
        return True
    return False


def why_none(state: object) -> str:
    """What is in a state that no state can have, and where; empty if it is something else."""
    for path, value in _walk(state, "$"):
        why = why_unfit(type(value))
        if why:
            return f"{why} (at {path})"
    return ""


def find(state: object, wanted: Callable[[object], bool]) -> str | None:
    """Path of the first value that is `wanted`; only runs to word an error."""
    found = (path for path, value in _walk(state, "$") if wanted(value))
    return attempt(lambda: next(found, None), None)


def _walk(value: object, path: str) -> Iterator[tuple[str, object]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            yield from _walk(key, f"{path}.key({key!r})")
            yield from _walk(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(cast("Iterable[object]", value)):
            yield from _walk(item, f"{path}[{index}]")
    else:
        for name in fields_of(value):
            yield from _walk(getattr(value, name), f"{path}.{name}")
