"""What of the live tree is asked for: `session:alice running>10s -cancelled`, read, and held to its rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from am2z_trio.admin.principals import fits
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.views.tree import TreeRow
from am2z_trio.policy.spans import seconds_of

MOST_TERMS: Final = 20

Narrow = Literal["session", "node", "processor", "job"]
NARROWS: Final[tuple[Narrow, ...]] = ("session", "node", "processor", "job")
FLAGS: Final[dict[str, Callable[[TreeRow], bool]]] = {
    "cancelled": lambda row: row.cancel_called,
    "shielded": lambda row: row.shielded,
    "calling": lambda row: row.state == "calling",
    "waiting": lambda row: row.state == "waiting",
    "running": lambda row: row.state == "running",
}
RULE: Final = (
    f"must be words with spaces between them: {', '.join(f'{name}:…' for name in NARROWS)}, running>10s, "
    f"deadline<30s, {', '.join(FLAGS)}, or part of a name; a - before one turns it round"
)

_WORD: Final = re.compile(r'-?(?:[a-z]+[:<>])?(?:"[^"]*"|[^\s"]+)')
_SPAN: Final = re.compile(r"(running|deadline)([<>])(.+)")


class Term(NamedTuple):
    """One word of it."""

    text: str
    is_not: bool
    narrow: Narrow | None
    value: str
    matches: Callable[[TreeRow, str], bool]
    """A job's row on this node."""


class Filter(NamedTuple):
    """All of them, each of which must hold."""

    terms: tuple[Term, ...] = ()

    def exact(self, narrow: Narrow) -> str | None:
        """What nodes need to be asked for alone; `None`: all."""
        for term in self.terms:
            if term.narrow == narrow and not term.is_not and "*" not in term.value:
                return term.value
        return None

    def matches(self, row: TreeRow, node: str) -> bool:
        """Whether a job is asked for."""
        return all(term.matches(row, node) is not term.is_not for term in self.terms)


def parse(text: str) -> Filter:
    """What somebody has typed. Raises `ValidationError` for what is no filter."""
    words = _WORD.findall(text)
    if "".join(words) != re.sub(r'\s+(?=(?:[^"]*"[^"]*")*[^"]*$)', "", text) or len(words) > MOST_TERMS:
        raise _refused(text)
    return Filter(tuple(_term(word) for word in words))


def _term(word: str) -> Term:
    is_not, plain = word.startswith("-"), word.removeprefix("-")
    name, colon, value = plain.partition(":")
    value = value.strip('"')
    if colon and name in NARROWS:
        narrow: Narrow = name
        return Term(word, is_not, narrow, value, _narrowed(narrow, value))
    span = _SPAN.fullmatch(plain)
    if span is not None:
        seconds = seconds_of(span[3])
        if seconds is None:
            raise _refused(word)
        return Term(word, is_not, None, "", _spanned(span[1], span[2], seconds))
    if plain in FLAGS:
        flag = FLAGS[plain]
        return Term(word, is_not, None, "", _flagged(flag))
    if plain.rstrip("<>") != plain or not plain:
        raise _refused(word)
    part = plain.strip('"').lower()
    return Term(word, is_not, None, "", _named(part))


def _flagged(flag: Callable[[TreeRow], bool]) -> Callable[[TreeRow, str], bool]:
    def matches(row: TreeRow, node: str) -> bool:
        return flag(row)

    return matches


def _named(part: str) -> Callable[[TreeRow, str], bool]:
    def matches(row: TreeRow, node: str) -> bool:
        return part in _names(row, node)

    return matches


def _names(row: TreeRow, node: str) -> str:
    return f"{row.job}\n{row.session}\n{row.processor}\n{node}".lower()


def _narrowed(narrow: Narrow, value: str) -> Callable[[TreeRow, str], bool]:
    def matches(row: TreeRow, node: str) -> bool:
        of = {"session": row.session, "node": node, "processor": row.processor, "job": row.job}[narrow]
        return fits(of, value)

    return matches


def _spanned(what: str, sign: str, seconds: float) -> Callable[[TreeRow, str], bool]:
    def matches(row: TreeRow, node: str) -> bool:
        found = row.ran if what == "running" else row.left
        return found is not None and (found > seconds if sign == ">" else found < seconds)

    return matches


def _refused(text: str) -> ValidationError:
    return ValidationError(f"filter={text[:100]!r}: {RULE}", context={"field": "q", "rule": RULE})
