"""Tables that fit a width: columns that matter least give way, and what is longer than its column is cut."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

GAP: Final = 2
"""Cells between two columns."""

CUT: Final = "…"


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    heading: str
    rank: int
    """That of the highest is the first one to be left out."""
    is_text: bool = False
    """To the left; figures stand to the right."""
    most: int | None = None
    """So many cells it is given before others are left out; more, where there is room."""


def cell_width(text: str) -> int:
    """How many cells of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cropped(text: str, width: int) -> str:
    """The text in so many cells at most; one that was cut says so."""
    if cell_width(text) <= width:
        return text
    left, kept = width - cell_width(CUT), list[str]()
    for character in text:
        left -= _width(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + CUT if width > 0 else ""


def padded(text: str, width: int, *, is_text: bool = True) -> str:
    """The text in exactly so many cells."""
    text = cropped(text, width)
    space = " " * (width - cell_width(text))
    return text + space if is_text else space + text


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[object]], width: int) -> list[str]:
    """A heading and the rows, each in so many cells at most."""
    written = [[column.heading for column in columns], *([_written(cell) for cell in row] for row in rows)]
    full = [max(cell_width(row[i]) for row in written) for i in range(len(columns))]
    given = [
        n if column.most is None else min(n, column.most) for column, n in zip(columns, full, strict=True)
    ]
    kept = sorted(range(len(columns)), key=lambda i: columns[i].rank)
    while len(kept) > 1 and _taken(given[i] for i in kept) > width:
        kept.pop()
    kept.sort()
    spare = width - _taken(given[i] for i in kept)
    for i in kept:
        more = max(min(full[i] - given[i], spare), -given[i])
        given[i] += more
        spare -= more
    gap = " " * GAP
    return [
        gap.join(padded(row[i], given[i], is_text=columns[i].is_text) for i in kept).rstrip()
        for row in written
    ]


def _taken(widths: Iterable[int]) -> int:
    each = list(widths)
    return sum(each) + GAP * (len(each) - 1)


def _written(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
