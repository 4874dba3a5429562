"""What a command answers: for a person a table or lines, for a program JSON.

A list is a table, piped, too, and nothing in it is cut. With `--json` it is one object a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from am2z_trio.model.as_json import encoded

from .display import is_quiet, note, say, table

Column = tuple[str, str]
"""A heading, and the name of the field that stands under it."""


class Output:
    """Prints what a command has found, as it was asked for."""

    def __init__(self, as_json: bool) -> None:
        self.as_json: Final = as_json

    def rows(self, columns: Sequence[Column], rows: Iterable[object], *, none: str) -> None:
        """Many of a kind (`msgspec.Struct`s, or maps); `none`: what is said where there are none."""
        plain = [as_map(row) for row in rows]
        if self.as_json:
            for row in plain:
                self.line(row)
        elif plain:
            headings = [heading for heading, _ in columns]
            print(table(headings, [[_shown(row.get(field)) for _, field in columns] for row in plain]))
        else:
            note(none)

    def one(self, found: object) -> None:
        """One thing, field by field."""
        plain = as_map(found)
        if self.as_json:
            self.line(plain)
            return
        width = max(map(len, plain), default=0)
        for field, value in plain.items():
            say(f"{field.replace('_', ' ').ljust(width)}  {_shown(value)}")

    def line(self, found: object) -> None:
        """One JSON object on a line of its own, whatever it is."""
        print(encode(found), flush=True)

    def done(self, text: str, found: object, *, made: str = "") -> None:
        """That something was done, as it was asked for: a sentence, which `-q` is without, or the object that
        says the same. `made`: the id of the job that was made by that, which `-q` says alone: nobody could
        know it otherwise."""
        if self.as_json or not is_quiet():
            self.told(text, found)
        elif made:
            say(made)

    def told(self, text: str, found: object) -> None:
        """An answer: a sentence, or the object that says the same."""
        if self.as_json:
            self.line(as_map(found))
        else:
            say(text)


def as_map(found: object) -> dict[str, Any]:
    """A struct's fields, or a map, by name."""
    if isinstance(found, msgspec.Struct):
        return msgspec.structs.asdict(found)
    return dict(cast("Mapping[str, Any]", found))


def encode(found: object) -> str:
    """As JSON; what JSON has no word for is its text. Only ASCII, so that no terminal is moved by it."""
    text = encoded(found).decode()
    return "".join(c if c.isascii() else _escaped(c) for c in text) if not text.isascii() else text


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _shown(value: object) -> object:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return value
    # A time, say, is a text in JSON.
    plain = msgspec.to_builtins(value, enc_hook=str)
    return plain if isinstance(plain, str) else encode(plain)
