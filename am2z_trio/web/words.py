"""How numbers, times and texts are said to people: pure functions, each a filter of the templates."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from markupsafe import Markup

from am2z_trio.model.moments import time_of

NOTHING: Final = "–"
"""What stands where there is no figure."""

_STEPS: Final = (("d", 86_400), ("h", 3_600), ("m", 60))
_SIZES: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def number(value: float | None) -> str:
    """`1,204`; a fraction with as many digits as tell something: `0.4`, `12.5`."""
    if value is None:
        return NOTHING
    if isinstance(value, int) or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """A length of time as people say it: `3 ms`, `0.25 s`, `41 m`, `2 h 05 m`, `3 d 4 h`."""
    if value is None:
        return NOTHING
    sign, left = ("-" if value < 0 else ""), abs(value)
    if left < 0.0005:
        return "0 s" if left == 0 else "<1 ms"
    if left < 0.1:
        return f"{sign}{left * 1000:.0f} ms"
    if left < 1:
        return f"{sign}{left:.2g} s"
    if left < 10:
        return f"{sign}{left:.1f} s".replace(".0 s", " s")
    if round(left) < 60:
        return f"{sign}{left:.0f} s"
    whole = round(left)
    for (unit, size), (smaller, smaller_size) in zip(_STEPS, (*_STEPS[1:], ("s", 1)), strict=True):
        if whole >= size:
            rest = whole % size // smaller_size
            # Past ten minutes nobody asks for seconds.
            if not rest or (unit == "m" and whole >= 600):
                return f"{sign}{whole // size} {unit}"
            return f"{sign}{whole // size} {unit} {rest:02d} {smaller}"
    return f"{sign}{whole} s"


def milliseconds(value: float | None) -> str:
    """The same of milliseconds."""
    return seconds(None if value is None else value / 1000)


def size(value: float | None) -> str:
    """Bytes: `512 B`, `4.7 GB`."""
    if value is None:
        return NOTHING
    left = float(value)
    for unit in _SIZES:
        if abs(left) < 1000 or unit == _SIZES[-1]:
            return f"{left:.0f} {unit}" if unit == "B" or abs(left) >= 100 else f"{left:.1f} {unit}"
        left /= 1000
    raise AssertionError("the last unit takes all")


def percent(part: float | None) -> str:
    """A share of one: `62 %`; neither none nor all is said of what is only near."""
    if part is None:
        return NOTHING
    if 0 < part < 0.005:
        return "<1 %"
    if 0.995 <= part < 1:
        return ">99 %"
    return f"{part * 100:.0f} %"


def count(n: int, one: str, many: str = "") -> str:
    """`1 job`, `1,204 jobs`."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def iso(ms: int | None) -> str:
    """A moment (ms since the epoch) as machines read it, in UTC; empty where there is none, or it is out of
    all bounds."""
    moment = _moment(ms)
    return "" if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc(ms: int | None) -> str:
    """The same for people: `2026-11-27 06:43:12`."""
    moment = _moment(ms)
    return NOTHING if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def moment(ms: int | None, kind: str = "time") -> Markup:
    """A moment as `<time>`: the text is in UTC, which the script turns into local time where that is wished
    for. `kind`: `time` of day, `full` date and time, or `ago`."""
    at = _moment(ms)
    if at is None:
        return Markup('<span class="dim">–</span>')
    text = f"{at:%H:%M:%S}" if kind == "time" else utc(ms)
    return Markup('<time datetime="{}" data-show="{}" title="{} UTC">{}</time>').format(
        iso(ms), kind, utc(ms), text
    )


def ago(ms: int | None, now: int) -> Markup:
    """How long ago that was at `now`, as `<time>`."""
    at = _moment(ms)
    if at is None or ms is None:
        return Markup('<span class="dim">–</span>')
    far = (now - ms) / 1000
    told = f"{seconds(far)} ago" if far >= 1 else ("now" if far > -1 else f"in {seconds(-far)}")
    return Markup('<time datetime="{}" data-show="ago" title="{} UTC">{}</time>').format(
        iso(ms), utc(ms), told
    )


def lasting(ms: int | None, now: int) -> Markup:
    """For how long it has been so at `now`, since `ms`: as `<time>`, which counts on."""
    at = _moment(ms)
    if at is None or ms is None:
        return Markup('<span class="dim">–</span>')
    return Markup('<time datetime="{}" data-show="lasting" title="since {} UTC">{}</time>').format(
        iso(ms), utc(ms), seconds(max(0, (now - ms) // 1000))
    )


def short(text: str, most: int = 60) -> str:
    """A text for a narrow place: its middle is left out where it is longer. Whoever shows it has the whole of
    it as its title."""
    if len(text) <= most:
        return text
    head = (most - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def sentence(text: str) -> str:
    """A text that begins with a large letter."""
    return text[:1].upper() + text[1:]


def visible(text: str) -> str:
    """What moves or hides other text is shown as what it is: `\\x00`, `\\u202e`."""
    return "".join(c if _is_plain(c) else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _is_plain(character: str) -> bool:
    return character.isprintable() or character in "\n\t"


def _moment(ms: int | None) -> datetime | None:
    return time_of(ms) if ms else None


def said_plainly(value: object) -> str:
    """A value of somebody's, on a line: a text as it stands, numbers, and all else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (TypeError, ValueError, RecursionError):
        return repr(value)


FILTERS: Final = {
    "number": number,
    "seconds": seconds,
    "milliseconds": milliseconds,
    "size": size,
    "percent": percent,
    "count": count,
    "moment": moment,
    "iso": iso,
    "utc": utc,
    "short": short,
    "sentence": sentence,
    "visible": visible,
}
"""By their names in templates; `ago` is a function of the page, which knows what time it is."""
