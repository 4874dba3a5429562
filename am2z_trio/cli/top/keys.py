"""Bytes of a terminal to keys: a character, or the name of a key that has none."""

from __future__ import annotations

import codecs
import re
from typing import Final

ESCAPE: Final = "\x1b"

_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~])")
_BEGUN: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
"""A sequence whose end has not come yet; longer ones than `MOST_PENDING` are none."""

_NAMED: Final = {"A": "up", "B": "down", "H": "home", "F": "end", "5~": "page up", "6~": "page down"}
_CONTROL: Final = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace", "\x15": "clear"}

MOST_PENDING: Final = 32
"""Characters."""


class Decoder:
    """Remembers what has begun: a sequence may come in two parts."""

    def __init__(self) -> None:
        self._text = ""
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_amid(self) -> bool:
        """Whether a sequence has begun: or somebody has pressed Escape, as time tells (`flush`)."""
        return bool(self._text)

    def feed(self, read: bytes) -> list[str]:
        """The keys that are complete by now. Those that nobody here knows are left out."""
        self._text += self._characters.decode(read)
        return self._taken(is_all=False)

    def flush(self) -> list[str]:
        """The keys that there are, as nothing follows."""
        return self._taken(is_all=True)

    def _taken(self, *, is_all: bool) -> list[str]:
        keys, at, text = list[str](), 0, self._text
        while at < len(text):
            if text[at] != ESCAPE:
                keys += _key(text[at])
                at += 1
            elif found := _SEQUENCE.match(text, at):
                # What stands between, as in `1;5A`, are keys that are held down beside.
                keys += _named(found[0][2:])
                at = found.end()
            elif not is_all and _BEGUN.match(text, at) and len(text) - at < MOST_PENDING:
                break
            else:
                keys.append("escape")
                at += 1
        self._text = text[at:]
        return keys


def _named(sequence: str) -> list[str]:
    name = _NAMED.get(sequence) or _NAMED.get(sequence[-1])
    return [name] if name else []


def _key(character: str) -> list[str]:
    if character in _CONTROL:
        return [_CONTROL[character]]
    return [character] if character.isprintable() else []
