"""Lines that a job has logged, as they are kept with its record."""

from __future__ import annotations

from typing import Final, Self

import msgspec

from ..limits import KIB
from ..logs import one_line
from ..telling import cut

MAX_LINE_BYTES: Final = 2 * KIB


class LogLine(msgspec.Struct, frozen=True):
    """One line. Whatever was logged, it has no line's end in it and steers no terminal."""

    at: int
    """When, in ms since the epoch by the worker's clock."""
    level: str
    text: str

    @classmethod
    def of(cls, at: int, level: str, text: str) -> Self:
        """What can be kept of it."""
        level = "".join(c for c in level[:20] if c.isalnum()) or "?"
        return cls(at, level, cut(one_line(cut(text, MAX_LINE_BYTES)), MAX_LINE_BYTES))


class KeptLines(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a job has logged since it was kept last."""

    id: str
    token: str
    """That of its claim."""
    lines: list[LogLine]


def written(lines: list[LogLine]) -> str:
    """Lines as a store keeps them, one behind the other; each has its end."""
    return "".join(f"{line.at} {line.level} {line.text}\n" for line in lines)


def read_lines(kept: str) -> list[LogLine]:
    """The same again. What is none of ours is left out."""
    found: list[LogLine] = []
    for line in kept.split("\n"):
        at, _, rest = line.partition(" ")
        level, _, text = rest.partition(" ")
        if at.isascii() and at.isdigit() and len(at) < 20 and level:
            found.append(LogLine.of(int(at), level, text))
    return found
