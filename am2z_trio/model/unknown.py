"""Fields of a stored form that the type it is read as does not know, and would drop.

Only what declares its fields drops any: Structs, dataclasses, attrs classes, TypedDicts and
pydantic models. Dicts keep all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

import msgspec.inspect as shapes

from .codecs import is_model
from .telling import attempt
from .types import Remembered

RECORDS: Final = (shapes.StructType, shapes.DataclassType, shapes.TypedDictType)
_NONE: Final[list[str]] = []
_LISTS: Final = (shapes.ListType, shapes.SetType, shapes.FrozenSetType, shapes.VarTupleType)


def shape_with_records(kind: Any) -> Any:
    """The shape of a type in which something declares its fields; `None`: nothing does."""
    return _shape_of(kind)


def _shape(kind: Any) -> Any:
    shape = shapes.type_info(kind)
    return shape if any(map(_is_record, _all(shape, set()))) else None


def _is_record(shape: Any) -> bool:
    return isinstance(shape, RECORDS) or (isinstance(shape, shapes.CustomType) and is_model(shape.cls))


_shape_of: Final = Remembered(_shape)


def _all(shape: Any, above: set[int]) -> Iterator[Any]:
    if id(shape) in above:
        return
    above.add(id(shape))
    yield shape
    parts = [getattr(shape, name, None) for name in ("type", "item_type", "key_type", "value_type")]
    for part in (*parts, *getattr(shape, "types", ()), *getattr(shape, "item_types", ())):
        if part is not None:
            yield from _all(part, above)


def unknown_fields(shape: Any, form: Any, path: str = "$") -> Iterator[str]:
    """Paths of the fields in a form (plain data) that a type of this shape does not know."""
    if isinstance(shape, shapes.Metadata):
        shape = shape.type
    if isinstance(shape, shapes.UnionType):
        yield from _of_union(shape, form, path)
    elif isinstance(shape, RECORDS):
        yield from _of_record(shape, form, path)
    elif isinstance(shape, shapes.CustomType) and is_model(shape.cls) and _is_map(form):
        yield from _of_model(shape.cls, form, path)
    elif isinstance(shape, shapes.DictType) and _is_map(form):
        pairs: Mapping[Any, Any] = form
        for key, value in pairs.items():
            yield from unknown_fields(shape.value_type, value, f"{path}[{key!r}]")
    elif isinstance(shape, _LISTS) and isinstance(form, list | tuple):
        for index, value in enumerate(cast("Sequence[Any]", form)):
            yield from unknown_fields(shape.item_type, value, f"{path}[{index}]")
    elif isinstance(shape, shapes.TupleType | shapes.NamedTupleType) and isinstance(form, list | tuple):
        parts = (
            shape.item_types
            if isinstance(shape, shapes.TupleType)
            else [field.type for field in shape.fields]
        )
        for index, (part, value) in enumerate(zip(parts, cast("Sequence[Any]", form), strict=False)):
            yield from unknown_fields(part, value, f"{path}[{index}]")


def _of_model(kind: Any, form: Any, path: str) -> Iterator[str]:
    """Of a pydantic model, which says itself whether it keeps what it does not know."""
    pairs: Mapping[Any, Any] = form
    for key, value in pairs.items():
        field = kind.model_fields.get(key)
        if field is not None:
            shape = attempt(partial(shapes.type_info, field.annotation), None)
            yield from unknown_fields(shape, value, f"{path}.{key}")
        elif kind.model_config.get("extra") != "allow":
            yield f"{path}.{key}"


def _is_map(form: object) -> bool:
    return isinstance(form, Mapping)


def _of_record(shape: Any, form: Any, path: str) -> Iterator[str]:
    if getattr(shape, "array_like", False):
        if isinstance(form, list | tuple):
            values = cast("Sequence[Any]", form)
            values = values[1:] if getattr(shape, "tag", None) is not None else values
            for field, value in zip(shape.fields, values, strict=False):
                yield from unknown_fields(field.type, value, f"{path}.{field.name}")
            yield from (f"{path}[{index}]" for index in range(len(shape.fields), len(values)))
    elif _is_map(form):
        known = {field.encode_name: field for field in shape.fields}
        pairs: Mapping[Any, Any] = form
        for key, value in pairs.items():
            field = known.get(key)
            if field is not None:
                yield from unknown_fields(field.type, value, f"{path}.{key}")
            elif key != getattr(shape, "tag_field", None):
                yield f"{path}.{key}"


def _of_union(shape: shapes.UnionType, form: Any, path: str) -> Iterator[str]:
    """Of whichever member the form is; where that is not said, of the one that knows the most of it."""
    members: list[Any] = [one.type if isinstance(one, shapes.Metadata) else one for one in shape.types]
    if _is_map(form):
        tagged = [one for one in members if getattr(one, "tag", None) is not None]
        pairs: Mapping[Any, Any] = form
        said = [one for one in tagged if pairs.get(one.tag_field) == one.tag]
        members = said or [one for one in members if _is_record(one) or isinstance(one, shapes.DictType)]
    elif isinstance(form, list | tuple):
        kinds = (*_LISTS, shapes.TupleType, shapes.NamedTupleType, *RECORDS)
        members = [one for one in members if isinstance(one, kinds)]
    else:
        return
    yield from min((list(unknown_fields(one, form, path)) for one in members), key=len, default=_NONE)
