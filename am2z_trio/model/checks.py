"""What a value must be where a user gives it: checked, and made exactly the plain type, here alone.

A subclass of `str`, `int` or `float` says something else when it is escaped, compared or sent: template
engines' safe strings, numpy's scalars, the members of an `IntEnum`.
"""

from __future__ import annotations

from math import inf
from sys import float_info
from typing import Any, Final, cast

import msgspec

from .arguments import refusal
from .telling import attempt

MAX_SECONDS: Final = 100 * 365 * 24 * 3600
"""Redis keeps no key for as long as one can write down."""


def require(ok: bool, field: str, value: object, rule: str) -> None:
    """Raise the one kind of error a bad option gives."""
    if not ok:
        raise refusal(field, value, rule)


def require_text(field: str, value: object, *, most: int, empty: bool = False) -> str:
    """A text of at most so many bytes in UTF-8, as exactly a `str`."""
    if type(value) is str and value and len(value) <= most and value.isascii():
        return value
    rule = f"must be a text of {0 if empty else 1} to {most:,} bytes in UTF-8"
    if not isinstance(value, str):
        require(False, field, value, rule)
    text = str.__str__(cast("str", value))
    if len(text) * 3 > most or not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            require(False, field, value, f"{rule}, and half a surrogate pair is none")
            raise
        require(size <= most, field, value, f"{rule}, and has {size:,}")
    require(empty or text != "", field, value, rule)
    return text


def exact_int(value: object) -> int | None:
    """The whole number it is, as exactly an `int`; `None` if it is none. A truth value is none."""
    if type(value) is int:
        return value
    if isinstance(value, bool | str):
        return None
    if isinstance(value, int):
        return int.__add__(value, 0)
    index: Any = getattr(type(value), "__index__", None)
    return None if index is None else attempt(lambda: int.__add__(index(value), 0), None)


def exact_number(value: object) -> float | None:
    """The number it is, as exactly an `int` or a `float`; `None` if it is none."""
    if type(value) is float:
        return value
    whole = exact_int(value)
    if whole is not None or isinstance(value, bool | str):
        return whole
    if isinstance(value, float):
        return float.__add__(value, 0.0)
    convert: Any = getattr(type(value), "__float__", None)
    return None if convert is None else attempt(lambda: float.__add__(convert(value), 0.0), None)


def require_number(
    field: str, value: object, *, least: float = -inf, most: float = inf, rule: str = ""
) -> float:
    """A finite number within bounds, as exactly an `int` or a `float`."""
    number = exact_number(value)
    # A whole number beyond a float's is none that anybody else could read.
    ok = number is not None and abs(number) <= float_info.max and least <= number <= most
    require(ok, field, value, rule or "must be a finite number")
    assert number is not None
    return number


def require_seconds(field: str, value: object, *, zero: bool = True) -> float:
    """A finite number of seconds, not negative; `zero=False`: greater than 0."""
    if type(value) in (int, float) and 0 < value <= MAX_SECONDS:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    rule = f"must be a number of seconds, {'0 or more' if zero else 'above 0'}, 100 years at most"
    seconds = require_number(field, value, least=0, most=MAX_SECONDS, rule=rule)
    require(zero or seconds > 0, field, value, rule)
    return seconds


def require_seconds_or_inf(field: str, value: object, *, zero: bool = True) -> float:
    """As `require_seconds`, or infinity."""
    return inf if exact_number(value) == inf else require_seconds(field, value, zero=zero)


def require_count(field: str, value: object, *, least: int = 1, most: int = 2**53) -> int:
    """A whole number within bounds, as exactly an `int`."""
    if type(value) is int and least <= value <= most:
        return value
    count = exact_int(value)
    bound = f"{least} or more" if most == 2**53 else f"from {least} to {most}"
    ok = count is not None and least <= count <= most
    require(ok, field, value, f"must be a whole number, {bound}")
    assert count is not None
    return count


def keep(options: msgspec.Struct, name: str, exact: object) -> None:
    """Put what was checked in the place of what was given; the options are being made."""
    if getattr(options, name) is not exact:
        msgspec.structs.force_setattr(options, name, exact)
