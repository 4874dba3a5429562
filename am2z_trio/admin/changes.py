"""What one version of a state has changed of another: value by value, at its path."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, cast

from am2z_trio.model.telling import cut
from am2z_trio.model.views.sessions import Change

MOST_SHOWN: Final = 300
"""Bytes of one value."""

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")


def changes(before: object, after: object) -> tuple[list[Change], int]:
    """What differs, in the order of what is there now, with what has gone where it stood; and how many values
    are the same. Both are plain data: dicts, lists, texts, numbers, bytes."""
    old, new = dict(_values(before)), dict(_values(after))
    found, same = list[Change](), 0
    for path in _merged(list(old), list(new)):
        was, now = old.get(path), new.get(path)
        if was == now:
            same += 1
        else:
            found.append(
                Change(
                    path=path,
                    before=None if was is None else cut(was, MOST_SHOWN),
                    after=None if now is None else cut(now, MOST_SHOWN),
                )
            )
    return found, same


def _values(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each value that holds no others, at its path, as JSON. Two keys that are spelled alike stand once."""
    if isinstance(value, dict) and value:
        for key, each in cast("dict[object, object]", value).items():
            yield from _values(each, _at_key(path, key))
    elif isinstance(value, list | tuple) and value:
        for place, each in enumerate(cast("list[object]", value)):
            yield from _values(each, f"{path}[{place}]")
    else:
        yield path or ".", _said(cast(Any, value))


def _at_key(path: str, key: object) -> str:
    if isinstance(key, str) and _WORD.match(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key, ensure_ascii=False, default=str)}]"


def _said(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return json.dumps(value, ensure_ascii=False, default=str)


def _merged(old: list[str], new: list[str]) -> Iterator[str]:
    """All paths once: those of `new` in their order, and each that `old` alone has behind what it stood
    behind."""
    place = {path: n for n, path in enumerate(old)}
    there, told = {*new}, 0
    for path in new:
        upto = place.get(path, -1)
        if upto >= told:
            yield from (gone for gone in old[told:upto] if gone not in there)
            told = upto + 1
        yield path
    yield from (gone for gone in old[told:] if gone not in there)
