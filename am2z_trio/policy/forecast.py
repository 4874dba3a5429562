"""How much memory what has ended will take at the present rate."""

from __future__ import annotations

from typing import Final

import msgspec

USUAL_BYTES: Final = 1_300
"""Of the record of a plain job that has ended, with a small result, where none was measured."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What records of ended jobs will take."""

    rate: float
    """Jobs that end in a second."""
    age: float
    """Seconds for which their records are kept."""
    count: int
    """Records of ended jobs then."""
    each: int
    """Bytes of one."""
    bytes: int
    """Of all of them."""


def forecast(rate: float, age: float, *, each: int = USUAL_BYTES, most: int | None = None) -> Forecast:
    """The records when as many go as come: `rate` jobs end in a second, and each is kept for `age` seconds;
    `most` of them, if that is less."""
    count = round(max(0.0, rate) * max(0.0, age))
    if most is not None:
        count = min(count, most)
    return Forecast(rate=rate, age=age, count=count, each=each, bytes=count * each)


def size(bytes: float) -> str:
    """A number of bytes as a person says it: `4.7 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if bytes < 999.5:
            return f"{bytes:.0f} {unit}" if unit == "B" or bytes >= 99.5 else f"{bytes:.1f} {unit}"
        bytes /= 1000
    return f"{bytes:,.1f} TB"
