"""The language in which operators ask for jobs: text to terms, and back.

```
status:failed queue:charge      what a field says; several of one field are alternatives
session:team-*                  what a field begins with
-error:Timeout                  all but those
age>5m  ran<1.5s  attempt>1     more or less than that: ms, s, m, h, d
since:11:00  since:2026-11-27   that have come since then (a time alone: the last such one), in UTC
"two words"  session:"a b"*     in quotes everything is itself; \\" and \\\\ are a quote and a backslash
01k9x62c0  alice                a word alone: an id, what one begins with, or a session
input.order.country:DE          what the job was given, where that is kept
```

Parsing is pure and bounded: at most 500 characters, and whatever is no query is one `ValidationError` that
says where and why. What a query prints is no longer than what it was read from, and parses to the same one.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final, Literal, NoReturn, cast, get_args

import msgspec

from am2z_trio.model.checks import MAX_SECONDS
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.telling import cut

MAX_CHARACTERS: Final = 500
"""Of a query. Its terms are bounded by it, too."""

TextField = Literal[
    "word",
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
"""`word` is none: a term that names no field. `kind`: what an error says without what differs, as groups of
dead letters are named."""

AmountField = Literal["age", "ran", "attempt"]
Operator = Literal[">", "<", "="]

Kind = Literal["waiting", "delayed", "active", "completed", "failed", "cancelled", "dead", "parked"]
"""`dead`: failed for good, and kept to be looked at; such a job is `failed`, too. `parked`: it has begun, and
waits without a worker for a time or a signal; such a job is `delayed`, too."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
TEXT_FIELDS: Final[tuple[str, ...]] = get_args(TextField)[1:]
AMOUNT_FIELDS: Final[tuple[str, ...]] = get_args(AmountField)
FIELDS: Final = (*TEXT_FIELDS, *AMOUNT_FIELDS, "since", "input")

UNITS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
"""In milliseconds, the largest first."""

DAY_MS: Final = UNITS["d"]


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
    """More, less or as much: milliseconds, or attempts."""

    field: AmountField
    operator: Operator
    amount: int
    negated: bool = False


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

    def wanted(self, field: TextField) -> list[Text]:
        """The alternatives of a field."""
        return [
            term for term in self.terms if isinstance(term, Text) and term.field == field and not term.negated
        ]


def parse(text: object) -> Query:
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
        term, end = _Reader(text, place).term()
        if end < len(text) and not text[end].isspace():
            _refuse(text, end, "a space must stand between two terms")
        terms.append(term)
        place = _space(text, end)
    return Query(tuple(terms))


_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_FIELD: Final = re.compile(r'([A-Za-z][A-Za-z0-9_-]*)((?:\.[^\s:<>".]+)*)([:<>])')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_BARE: Final = re.compile(r'[^\s"]+')
_AMOUNT: Final = re.compile(r"(\d{1,12})(?:\.(\d{1,3}))?(ms|s|m|h|d)")
_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_STAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{3}))?)?(Z|[+-]\d\d:\d\d)?)?"
)
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

    def __init__(self, text: str, place: int) -> None:
        self._text = text
        self._negated = text[place] == "-"
        self._place = place + self._negated

    def term(self) -> tuple[Term, int]:
        found = _FIELD.match(self._text, self._place)
        if found is None:
            return self._word()
        name, path, operator = found.groups()
        field = name.lower()
        if field not in FIELDS:
            known = ", ".join(FIELDS)
            self._refuse(f"there is no field {name!r}: {known}. A word that looks like one goes in quotes")
        if path and field != "input":
            self._refuse(f"{field!r} has no parts: those are of 'input' alone")
        if field == "input":
            return self._input(tuple(path.split(".")[1:]), operator, found.end())
        if field in AMOUNT_FIELDS:
            return self._amount(field, operator, found.end())
        if operator != ":":
            self._refuse(f"{field!r} takes ':': '>' and '<' are for {', '.join(AMOUNT_FIELDS)}")
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
        return Text("word", value, prefix, self._negated), end

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
        if field == "attempt":
            amount = int(value) if re.fullmatch(r"\d{1,6}", value, re.ASCII) and not prefix else None
            rule = "an attempt is a number: attempt>1, attempt:3"
        else:
            if exact:
                self._refuse(f"{field!r} takes '>' or '<'")
            amount = None if prefix else _milliseconds(value)
            rule = f"a time is a number and one of {', '.join(UNITS)}, up to 100 years: {field}>5m"
        if amount is None:
            self._refuse(rule, place)
        sign = cast("Operator", "=" if exact else operator)
        return Amount(cast("AmountField", field), sign, amount, self._negated), end

    def _since(self, place: int) -> tuple[Term, int]:
        value, prefix, end = self._value(place)
        moment = None if prefix else _moment(value)
        if moment is None:
            self._refuse(
                "a moment is hh:mm, hh:mm:ss, a date, or a date with Thh:mm and perhaps +hh:mm", place
            )
        return Since(*moment, self._negated), end


def _milliseconds(text: str) -> int | None:
    found = re.fullmatch(_AMOUNT, text) if text.isascii() else None
    if found is None:
        return None
    whole, part, unit = found.groups()
    amount = (int(whole) * 1000 + int((part or "").ljust(3, "0"))) * UNITS[unit] // 1000
    return amount if amount <= MAX_SECONDS * 1000 else None


def _moment(text: str) -> tuple[int, bool] | None:
    """Milliseconds, and whether they are those of a day."""
    if not text.isascii():
        return None
    found = _TIME.fullmatch(text)
    if found is not None:
        hour, minute, second = (int(part or 0) for part in found.groups())
        return ((hour * 60 + minute) * 60 + second) * 1000, True
    found = _STAMP.fullmatch(text)
    if found is None:
        return None
    *numbers, offset = found.groups()
    year, month, day, hour, minute, second, ms = (int(part or 0) for part in numbers)
    try:
        at = datetime.combine(date(year, month, day), time(hour, minute, second, ms * 1000), _zone(offset))
        moment = (at - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
    # What a stamp in UTC could not say is not taken from another zone either.
    return (moment, False) if FIRST <= moment <= LAST else None


def _zone(offset: str | None) -> timezone:
    if offset is None or offset == "Z":
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST: Final = -62_135_596_800_000
LAST: Final = 253_402_300_799_999
"""The first and the last millisecond that a date can say."""


# --- printed ------------------------------------------------------------------------------------


def _printed(term: Term) -> str:
    sign = "-" if term.negated else ""
    if isinstance(term, Text):
        name = "" if term.field == "word" else f"{term.field}:"
        return f"{sign}{name}{_value_of(term.text, term.prefix, word=not name)}"
    if isinstance(term, Input):
        return f"{sign}input.{'.'.join(term.path)}:{_value_of(term.text, term.prefix)}"
    if isinstance(term, Since):
        return f"{sign}since:{_moment_of(term)}"
    amount = str(term.amount) if term.field == "attempt" else time_of(term.amount)
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


def time_of(ms: int) -> str:
    """A time as a query says it, in as few characters as any."""
    if ms == 0:
        return "0s"
    told = list[str]()
    for unit, size in UNITS.items():
        thousandths, rest = divmod(ms * 1000, size)
        if rest == 0:
            whole, part = divmod(thousandths, 1000)
            told.append(f"{whole}.{part:03}".rstrip("0").rstrip(".") + unit if part else f"{whole}{unit}")
    return min(told, key=lambda text: (len(text), "." in text))


def _moment_of(since: Since) -> str:
    if since.daily:
        seconds = since.moment // 1000
        return f"{seconds // 3600}:{_minutes(seconds // 60 % 60, seconds % 60)}"
    at = EPOCH + timedelta(milliseconds=since.moment)
    day, ms = at.date().isoformat(), at.microsecond // 1000
    if not (at.hour or at.minute or at.second or ms):
        return day
    part = f".{ms:03}" if ms else ""
    return f"{day}T{at.hour:02}:{_minutes(at.minute, at.second, always=bool(ms))}{part}"


def _minutes(minute: int, second: int, *, always: bool = False) -> str:
    return f"{minute:02}:{second:02}" if second or always else f"{minute:02}"
