"""What may stand in a cron text: looked at field by field before anything is made of it, so that whatever is
given, the error names field and rule, and nothing large is ever built.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from am2z_trio.model.arguments import refusal
from am2z_trio.model.checks import require, require_text

MOST: Final = 256
"""Bytes of a cron text."""

NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class Field(NamedTuple):
    """One of the fields."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()
    special: str = ""
    """What else may stand there, as a rule says it."""


SECOND: Final = Field("second", 0, 59)
FIELDS: Final = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31, special=", L (the last) or LW (the last from Monday to Friday)"),
    Field("month", 1, 12, MONTHS),
    Field("day of week", 0, 7, DAYS, ", MON#2 (the second one) or MONL (the last one)"),
)


def checked(text: object) -> str:
    """The fields of a cron text with one space between them, nicknames and the name in `MONL` spelled out."""
    given = require_text("Cron.text", text, most=MOST)
    plain = NICKNAMES.get(given.strip().lower(), given)
    rule = f"must be 5 fields, or 6 with the seconds first, or one of {', '.join(NICKNAMES)}"
    require(plain.isascii() and plain.isprintable(), "Cron.text", given, rule)
    parts = plain.upper().split()
    require(len(parts) in (5, 6), "Cron.text", given, f"{rule}; these are {len(parts)}")
    fields = FIELDS if len(parts) == 5 else (SECOND, *FIELDS)
    for field, part in zip(fields, parts, strict=True):
        for term in part.split(","):
            _check(given, field, term)
    return re.sub(f"({'|'.join(DAYS)})L", lambda found: f"{DAYS.index(found[1])}L", " ".join(parts))


def is_fixed(text: str) -> bool:
    """Whether it says fixed times of a day: no star in front of seconds, minutes or hours."""
    parts = text.split()
    return not any(part.startswith("*") for part in parts[: len(parts) - 3])


def never(text: str) -> Exception:
    """The error of one that names no day that there is."""
    return refusal("Cron.text", text, "never comes: no day of the next 50 years is meant")


def _check(text: str, field: Field, term: str) -> None:
    what, slash, step = term.partition("/")
    if slash:
        fits = step.isdigit() and len(step) < 4 and 1 <= int(step) <= field.most
        _require(fits, text, field, term, f"behind '/' must be a number from 1 to {field.most}")
    if what == "*" or (not slash and _is_special(field, what)):
        return
    first, dash, last = what.partition("-")
    start = _number(text, field, term, first)
    if dash:
        end = _number(text, field, term, last)
        _require(start <= end, text, field, term, "must not end before it begins")


def _is_special(field: Field, what: str) -> bool:
    if field.name == "day of month":
        return what in ("L", "LW")
    if field.name == "day of week":
        found = re.fullmatch(r"([0-7]|[A-Z]{3})(?:L|#[1-5])", what)
        return found is not None and (found[1].isdigit() or found[1] in DAYS)
    return False


def _number(text: str, field: Field, term: str, part: str) -> int:
    if part in field.names:
        return field.names.index(part) + field.least
    fits = part.isdigit() and len(part) <= 2 and field.least <= int(part) <= field.most
    named = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
    rule = (
        f"must be {field.least} to {field.most}{named}, a range (2-4), a list (2,4), * or */2{field.special}"
    )
    _require(fits, text, field, term, rule)
    return int(part)


def _require(ok: bool, text: str, field: Field, term: str, rule: str) -> None:
    if not ok:
        raise refusal("Cron.text", text, f"the {field.name} {term!r} {rule}")
