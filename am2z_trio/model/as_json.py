"""Whatever a job, a state or an event holds, as JSON."""

from __future__ import annotations

from typing import cast

import msgspec


def encoded(value: object) -> bytes:
    """In JSON, whatever it is: infinities are null, what JSON has no word for is its text."""
    try:
        return msgspec.json.encode(value, enc_hook=str)
    except (TypeError, ValueError, RecursionError):
        # Keys that are no texts, halves of surrogate pairs: a user's payload may have anything.
        return msgspec.json.encode(_plain(msgspec.to_builtins(value, enc_hook=str)))


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_text(key): _plain(each) for key, each in cast("dict[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("list[object]", value)]
    return value


def _text(key: object) -> str:
    return (key if isinstance(key, str) else str(key)).encode(errors="replace").decode()
