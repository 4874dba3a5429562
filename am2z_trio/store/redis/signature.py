"""What a script is sent, by name and in order: said where it is listed (`scripts`), read from its Lua, and
the same on both sides, or nothing starts.

Lua takes arguments by name alone. In front: `local clock, id = unpack(ARGV)`, with `, 1, 2` behind `ARGV`
where records follow. A record: `local id, token = unpack(ARGV, i, i + 1)`; or `settle(id, unpack(ARGV, i,
i + 1))`, where the function's parameters are its names. One of a single name: `ARGV[i]`, or each of
`ipairs(ARGV)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

Names = tuple[str, ...]

_FRONT: Final = re.compile(r"^local ([\w,\s]+?) = unpack\(ARGV(?:, 1, (\d+))?\)$", re.MULTILINE)
_RECORD: Final = re.compile(
    r"(?:local (?P<names>[\w, ]+) = |(?P<function>\w+)\((?P<given>[\w, ]+), )"
    r"unpack\(ARGV, i(?: \+ (?P<first>\d+))?, i \+ (?P<last>\d+)\)"
    r"|for \w+, (?P<each>\w+) in ipairs\(ARGV\)|local (?P<one>\w+) = ARGV\[i\]"
)
_LOOP: Final = re.compile(r"^for i = (\d+), #ARGV(?:, (\d+))? do$|^local i = (\d+)$", re.MULTILINE)
_UNNAMED: Final = re.compile(r"ARGV\[(?!i\]).*?\]")


class Signature(NamedTuple):
    """First what a script takes once, then the kinds of records of which it takes any number."""

    front: Names
    records: tuple[Names, ...] = ()

    @classmethod
    def of(cls, front: str, *records: str | Names) -> Signature:
        """As it is written in a list of scripts."""
        return cls(_names(front), tuple(_names(one) if isinstance(one, str) else one for one in records))

    @property
    def step(self) -> int:
        """How many arguments a record has; 0 where there is none. 1 where kinds of them are mixed."""
        return len(self.records[0]) if len(self.records) == 1 else min(1, len(self.records))

    def __str__(self) -> str:
        return "; ".join(", ".join(names) or "nothing" for names in (self.front, *self.records))


def require_same(script: str, code: str, sent: Signature) -> None:
    """Raise `TypeError` unless the script's Lua reads what it is sent."""
    read = _read(script, code)
    if read != sent:
        raise TypeError(f"{script}.lua reads ({read}), but is sent ({sent})")


def _read(script: str, code: str) -> Signature:
    found = _FRONT.search(code)
    front = _names(found[1]) if found else ()
    if found and found[2]:
        _require_count(script, front, int(found[2]))
    records = tuple(_records(script, code))
    for loop in _LOOP.finditer(code):
        start, step = int(loop[1] or loop[3]), int(loop[2] or 1)
        if start != len(front) + 1 or (loop[1] and step != len(records[0])):
            raise TypeError(f"{script}.lua reads ({front}; {records[0]}) by `{loop[0]}`")
    if unnamed := _UNNAMED.search(code):
        raise TypeError(f"{script}.lua reads `{unnamed[0]}`, which has no name")
    return Signature(front, records)


def _records(script: str, code: str) -> Iterator[Names]:
    for found in _RECORD.finditer(code):
        if one := found["each"] or found["one"]:
            yield (one,)
            continue
        if found["names"]:
            names = _names(found["names"])
        else:
            function = re.search(rf"local function {found['function']}\(([\w,\s]+)\)", code)
            assert function is not None, found[0]
            names = _names(function[1])[len(_names(found["given"])) :]
        _require_count(script, names, int(found["last"]) - int(found["first"] or 0) + 1)
        yield names


def _require_count(script: str, names: Names, count: int) -> None:
    if len(names) != count:
        raise TypeError(f"{script}.lua reads {count} arguments as ({', '.join(names)})")


def _names(text: str) -> Names:
    return tuple(re.findall(r"\w+", text))
