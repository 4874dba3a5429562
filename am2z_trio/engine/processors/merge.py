"""Putting the outcomes of a parallel together: what each child changed, and no two of them the same thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, cast

import msgspec

from am2z_trio.model.errors import MergeConflictError

_ABSENT: Final = object()


def merge_changes(before: Any, names: Sequence[str], outcomes: Sequence[Any]) -> Any:
    """The state with every child's changes: field by field of a record, key by key of a dict.

    A state of any other type is one whole. Changes to the same value are one change; different ones to
    the same place are a `MergeConflictError` that names it and both children.
    """
    parts = _parts(before)
    if parts is None:
        changed = [(name, after) for name, after in zip(names, outcomes, strict=True) if after != before]
        return _agreed("the state", changed) if changed else before
    changes: dict[str, Any] = {}
    all_parts = [_parts(outcome) or {} for outcome in outcomes]
    for place in dict.fromkeys(key for found in (parts, *all_parts) for key in found):
        was = parts.get(place, _ABSENT)
        changed = [
            (name, found.get(place, _ABSENT))
            for name, found in zip(names, all_parts, strict=True)
            if found.get(place, _ABSENT) != was
        ]
        if changed:
            changes[place] = _agreed(repr(place), changed)
    return _with(before, parts, changes)


def _agreed(place: str, changed: Sequence[tuple[str, Any]]) -> Any:
    first, value = changed[0]
    for name, other in changed[1:]:
        if other != value:
            raise MergeConflictError(
                f"{first!r} and {name!r} changed {place} differently; give the parallel a merge function",
                context={"place": place, "first": first, "second": name},
            )
    return value


def _parts(state: Any) -> dict[str, Any] | None:
    if isinstance(state, msgspec.Struct):
        return {name: getattr(state, name) for name in state.__struct_fields__}
    if is_dataclass(state) and not isinstance(state, type):
        return {field.name: getattr(state, field.name) for field in fields(state)}
    if isinstance(state, Mapping):
        return dict(cast("Mapping[str, Any]", state))
    return None


def _with(state: Any, parts: dict[str, Any], changes: dict[str, Any]) -> Any:
    if not changes:
        return state
    if isinstance(state, msgspec.Struct):
        return msgspec.structs.replace(state, **changes)
    if is_dataclass(state) and not isinstance(state, type):
        return replace(state, **changes)
    return {key: value for key, value in {**parts, **changes}.items() if value is not _ABSENT}
