"""The language in which operators ask for jobs, or sessions: text to terms, and back.

```
status:failed queue:charge      what a field says; several of one field are alternatives
session:team-*                  what a field begins with
-error:Timeout                  all but those
age>5m  ran<1.5s  attempt>1     more or less than that: ms, s, m, h, d
since:11:00  since:2026-11-27   that have come since then (a time alone: the last such one), in UTC
"two words"  session:"a b"*     in quotes everything is itself; \\" and \\\\ are a quote and a backslash
01k9x62c0  alice                a word alone: an id, what one begins with, or a session
input.order.country:DE          what the job was given, where that is kept
running>0  version>10  locked   of sessions (`admin.session_query`)
```

Parsing is pure and bounded: at most 500 characters, and whatever is no query is one `ValidationError` that
says where and why. What a query prints is no longer than what it was read from, and parses to the same one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, NoReturn, cast, get_args

import msgspec

from am2z_trio.model.errors import ValidationError
from am2z_trio.model.telling import cut

from .query_times import DAY_MS, UNITS, milliseconds, moment, moment_of, time_of

MAX_CHARACTERS: Final = 500
"""Of a query. Its terms are bounded by it, too."""

TextField = Literal[
    "word",
    "is",
    "id",
    "status",
    "queue",
    "session",
    "node",
    "error",
    "code",
    "kind",
    "schedule",
    "caused-by",
    "trace",
    "tag",
]
"""`word` and `is` are none: terms that name no field, the second one being a flag. `kind`: what an error says
without what differs, as groups of dead letters are named."""

AmountField = Literal["age", "ran", "attempt", "running", "waiting", "version", "idle"]
Operator = Literal[">", "<", "="]

Kind = Literal["waiting", "delayed", "active", "completed", "failed", "cancelled", "dead", "parked"]
"""`dead`: failed for good, and kept to be looked at; such a job is `failed`, too. `parked`: it has begun, and
waits without a worker for a time or a signal; such a job is `delayed`, too."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
TEXT_FIELDS: Final[tuple[str, ...]] = get_args(TextField)[2:]
AMOUNT_FIELDS: Final[tuple[str, ...]] = ("age", "ran", "attempt")
TIMES: Final = ("age", "ran", "idle")
"""Amounts of time; the others are numbers."""


class Language(NamedTuple):
    """What one may ask of something."""

    fields: tuple[str, ...]
    amounts: tuple[str, ...]
    """Those of these that are more or less."""
    flags: tuple[str, ...] = ()
    """Words alone that are no id, unless they stand in quotes."""


JOBS: Final = Language((*TEXT_FIELDS, *AMOUNT_FIELDS, "since", "input"), AMOUNT_FIELDS)
SESSIONS: Final = Language(
    ("session", "running", "waiting", "version", "idle"),
    ("running", "waiting", "version", "idle"),
    ("locked",),
)


class Text(msgspec.Struct, frozen=True, tag=True):
    """What a field says, or begins with."""

    field: TextField
    text: str
    prefix: bool = False
    negated: bool = False


class Input(msgspec.Struct, frozen=True, tag=True):
    """What stands at a path in what the job was given."""

    path: tuple[str, ...]
    text: str
    prefix: bool = False
    negated: bool = False


class Amount(msgspec.Struct, frozen=True, tag=True):
    """More, less or as much: milliseconds, or so many."""

    field: AmountField
    operator: Operator
    amount: int
    negated: bool = False

    def is_of(self, amount: int) -> bool:
        """Whether this amount is as much as the term says, negated or not."""
        if self.operator == "=":
            return amount == self.amount
        return amount > self.amount if self.operator == ">" else amount < self.amount


class Since(msgspec.Struct, frozen=True, tag=True):
    """Not before a moment: ms since the epoch, or of the day (`daily`): then the last such one."""

    moment: int
    daily: bool = False
    negated: bool = False

    def resolved(self, now: int) -> int:
        """The moment that is meant at this time."""
        if not self.daily:
            return self.moment
        today = now - now % DAY_MS + self.moment
        return today if today <= now else today - DAY_MS


Term = Text | Input | Amount | Since


class Query(msgspec.Struct, frozen=True):
    """Terms, in the order in which they were written. All fields must fit; of one field, any of what is
    asked for and none of what is not."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(_printed, self.terms))

    @property
    def asks_for_something(self) -> bool:
        """Whether it says what is wanted, not only what is not."""
        return any(not term.negated for term in self.terms)

    @property
    def demands(self) -> list[tuple[Term, ...]]:
        """What must be so, all of it: alternatives of one field or path together, every other term alone."""
        found = dict[object, tuple[Term, ...]]()
        for place, term in enumerate(self.terms):
            key: object = place
            if isinstance(term, Text | Input) and not term.negated:
                key = term.field if isinstance(term, Text) else term.path
            found[key] = (*found.get(key, ()), term)
        return list(found.values())

    def without(self, demand: Sequence[Term]) -> Query:
        """What is left if that need not be so."""
        return Query(tuple(term for term in self.terms if not any(term is one for one in demand)))

    def wanted(self, field: TextField) -> list[Text]:
        """The alternatives of a field."""
        return [
            term for term in self.terms if isinstance(term, Text) and term.field == field and not term.negated
        ]


def parse(text: object, language: Language = JOBS) -> Query:
    """Read a query. Raises `ValidationError` that says where it is none, and what would be."""
    if not isinstance(text, str):
        _refuse("", 0, "must be a text")
    text = str.__str__(text)
    if len(text) > MAX_CHARACTERS:
        _refuse(text, MAX_CHARACTERS, f"must have at most {MAX_CHARACTERS} characters, and has {len(text):,}")
    half = _SURROGATE.search(text)
    if half is not None:
        _refuse(text, half.start(), "must be text, and half a surrogate pair is none")
    terms, place = list[Term](), _space(text, 0)
    while place < len(text):
        term, end = _Reader(text, place, language).term()
        if end < len(text) and not text[end].isspace():
            _refuse(text, end, "a space must stand between two terms")
        terms.append(term)
        place = _space(text, end)
    return Query(tuple(terms))


_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_FIELD: Final = re.compile(r'([A-Za-z][A-Za-z0-9_-]*)((?:\.[^\s:<>".]+)*)([:<>])')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_BARE: Final = re.compile(r'[^\s"]+')
_PATH_PART: Final = re.compile(r'[^\s:<>".]+')


def _space(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _refuse(text: str, place: int, rule: str) -> NoReturn:
    shown = cut(text, 200)
    raise ValidationError(
        f"query: at character {place + 1} of {shown!r}: {rule}",
        context={"field": "query", "position": place + 1, "rule": rule, "value": shown},
    )


class _Reader:
    """Reads one term, from its place on."""

    def __init__(self, text: str, place: int, language: Language) -> None:
        self._text = text
        self._language = language
        self._negated = text[place] == "-"
        self._place = place + self._negated

    def term(self) -> tuple[Term, int]:
        found = _FIELD.match(self._text, self._place)
        if found is None:
            return self._word()
        name, path, operator = found.groups()
        field = name.lower()
        if field not in self._language.fields:
            known = ", ".join(self._language.fields)
            self._refuse(f"there is no field {name!r}: {known}. A word that looks like one goes in quotes")
        if path and field != "input":
            self._refuse(f"{field!r} has no parts: those are of 'input' alone")
        if field == "input":
            return self._input(tuple(path.split(".")[1:]), operator, found.end())
        if field in self._language.amounts:
            return self._amount(field, operator, found.end())
        if operator != ":":
            self._refuse(f"{field!r} takes ':': '>' and '<' are for {', '.join(self._language.amounts)}")
        if field == "since":
            return self._since(found.end())
        return self._of_text(field, found.end())

    def _refuse(self, rule: str, place: int | None = None) -> NoReturn:
        _refuse(self._text, self._place if place is None else place, rule)

    def _value(self, place: int) -> tuple[str, bool, int]:
        """A text, whether it is what something begins with, and where it ends."""
        if self._text.startswith('"', place):
            quoted = _QUOTED.match(self._text, place)
            if quoted is None:
                self._refuse(
                    'a quote is not closed, or \\ stands before something other than " and \\', place
                )
            value = re.sub(r"\\(.)", r"\1", quoted[1])
            prefix = self._text.startswith("*", quoted.end())
            return value, prefix, quoted.end() + prefix
        bare = _BARE.match(self._text, place)
        if bare is None:
            self._refuse("a value must follow", place)
        value, prefix = bare[0], bare[0].endswith("*")
        return value[:-1] if prefix else value, prefix, bare.end()

    def _filled(self, place: int) -> tuple[str, bool, int]:
        value, prefix, end = self._value(place)
        if not value:
            self._refuse("a text must have characters, also before '*'", place)
        if "*" in value and self._text[place] != '"':
            self._refuse("'*' stands at the end of a text; elsewhere it goes in quotes", place)
        return value, prefix, end

    def _word(self) -> tuple[Term, int]:
        value, prefix, end = self._filled(self._place)
        is_flag = value in self._language.flags and not prefix and self._text[self._place] != '"'
        return Text("is" if is_flag else "word", value, prefix, self._negated), end

    def _of_text(self, field: str, place: int) -> tuple[Term, int]:
        value, prefix, end = self._filled(place)
        if field == "status":
            value = value.lower()
            if prefix or value not in KINDS:
                self._refuse(f"a status is one of {', '.join(KINDS)}", place)
        return Text(cast("TextField", field), value, prefix, self._negated), end

    def _input(self, path: tuple[str, ...], operator: str, place: int) -> tuple[Term, int]:
        if not path:
            self._refuse("'input' needs a path: input.order.country:DE")
        if operator != ":":
            self._refuse("'input' takes ':'")
        value, prefix, end = self._filled(place)
        return Input(path, value, prefix, self._negated), end

    def _amount(self, field: str, operator: str, place: int) -> tuple[Term, int]:
        value, prefix, end = self._value(place)
        exact = operator == ":"
        if field not in TIMES:
            amount = int(value) if re.fullmatch(r"\d{1,6}", value, re.ASCII) and not prefix else None
            rule = f"{field!r} is a number: {field}>1, {field}:3"
        else:
            if exact:
                self._refuse(f"{field!r} takes '>' or '<'")
            amount = None if prefix else milliseconds(value)
            rule = f"a time is a number and one of {', '.join(UNITS)}, up to 100 years: {field}>5m"
        if amount is None:
            self._refuse(rule, place)
        sign = cast("Operator", "=" if exact else operator)
        return Amount(cast("AmountField", field), sign, amount, self._negated), end

    def _since(self, place: int) -> tuple[Term, int]:
        value, prefix, end = self._value(place)
        found = None if prefix else moment(value)
        if found is None:
            self._refuse(
                "a moment is hh:mm, hh:mm:ss, a date, or a date with Thh:mm and perhaps +hh:mm", place
            )
        return Since(*found, self._negated), end


# --- printed ------------------------------------------------------------------------------------


def _printed(term: Term) -> str:
    sign = "-" if term.negated else ""
    if isinstance(term, Text):
        if term.field == "is":
            return f"{sign}{term.text}"
        name = "" if term.field == "word" else f"{term.field}:"
        return f"{sign}{name}{_value_of(term.text, term.prefix, word=not name)}"
    if isinstance(term, Input):
        return f"{sign}input.{'.'.join(term.path)}:{_value_of(term.text, term.prefix)}"
    if isinstance(term, Since):
        return f"{sign}since:{moment_of(term.moment, daily=term.daily)}"
    amount = time_of(term.amount) if term.field in TIMES else str(term.amount)
    return f"{sign}{term.field}{':' if term.operator == '=' else term.operator}{amount}"


def _value_of(text: str, prefix: bool, *, word: bool = False) -> str:
    bare = _BARE.fullmatch(text) is not None and "*" not in text
    if word:
        bare = bare and text[0] != "-" and _FIELD.match(text) is None
    star = "*" if prefix else ""
    if bare:
        return text + star
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"{star}'
