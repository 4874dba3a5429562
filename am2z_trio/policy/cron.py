"""When a schedule comes: `Cron`, by the wall clock of a time zone, and `Every`, by elapsed time.

Instants are ms since the epoch. `cronsim` reads the fields and walks the calendar, without a zone; what
happens where a zone's clock is set is said here:

| a text | the hour that is left out | the hour that comes twice |
|---|---|---|
| of fixed times: no `*` in front of seconds, minutes, hours | once, as the clock jumps | once, at the first |
| any other | does not come | comes twice |
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from itertools import islice, takewhile
from math import floor
from typing import Any, Final

import msgspec

from am2z_trio.model.arguments import Options, refusal
from am2z_trio.model.checks import keep, require, require_count, require_number, require_seconds, require_text

from . import spans
from .cron_text import MOST, checked, is_fixed, never
from .zones import NOT_INSTALLED, SPAN, seconds_of, wall_of, zone_of

MOST_SHOWN: Final = 10_000
"""Instants that `next` gives at once."""

SHORTEST: Final = 0.1
"""Seconds of the shortest interval."""

LAST: Final = 253_402_214_400_000
"""Beyond this instant there is none that calendars of all zones know: a day before the year 10,000."""

LONG: Final = 10 * SPAN
"""Seconds without an instant that are not searched for settings of the clock."""

_YEAR: Final = 365 * 24 * 3600

_NOTES: Final = {
    (True, True): "does not exist: runs when the clock jumps",
    (True, False): "does not exist: no run then",
    (False, True): "comes twice: runs at the first",
    (False, False): "comes twice: runs both times",
}
"""By whether the hour is left out, and whether the times of the text are fixed."""


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """A time of a schedule on a day on which the clock is set."""

    at: datetime
    """When it runs, or would, in the schedule's zone."""
    note: str
    """What happens then, in words."""


class Every(Options, frozen=True, kw_only=False):
    """Every so many seconds, counted from the epoch: no drift, and the same on every node."""

    seconds: float
    phase: float = 0.0
    """Seconds after the full interval: `Every(3600, phase=60)` is one minute past each hour, UTC."""

    def __post_init__(self) -> None:
        keep(self, "seconds", require_seconds("Every.seconds", self.seconds, zero=False))
        rule = f"must be at least {SHORTEST} seconds"
        require(self.seconds >= SHORTEST, "Every.seconds", self.seconds, rule)
        rule = "must be a number of seconds from 0 to less than the interval"
        phase = require_number("Every.phase", self.phase, least=0, most=self.seconds, rule=rule)
        require(phase < self.seconds, "Every.phase", phase, rule)
        keep(self, "phase", phase)

    @property
    def zone(self) -> str:
        return "UTC"

    def instants(self, after: float) -> Iterator[int]:
        """All that come after this one."""
        every, phase = round(self.seconds * 1000), round(self.phase * 1000)
        at = phase + (floor(after - phase) // every + 1) * every
        while at <= LAST:
            yield at
            at += every

    def next(self, n: int = 1, *, after: datetime | None = None) -> list[datetime]:
        """The next `n` times after one (default: now), in UTC."""
        found = islice(self.instants(_ms_of(after)), require_count("next.n", n, most=MOST_SHOWN))
        return [datetime.fromtimestamp(at / 1000, UTC) for at in found]

    def explain(self) -> str:
        """In words."""
        whole = f"Every {_plain(self.seconds)} second{'' if self.seconds == 1 else 's'}"
        return f"{whole}, {_plain(self.phase)} s past" if self.phase else whole

    def year(self, *, after: datetime | None = None) -> list[Shift]:
        """No clock that is set changes it."""
        _ms_of(after)
        return []


class Cron(Options, frozen=True, kw_only=False):
    """By the wall clock of a time zone: `Cron("30 2 * * *", tz="Europe/Berlin")`.

    Minute, hour, day of month, month, day of week; six fields begin with the second. `*`, lists, ranges,
    steps and names; `L` and `LW` as days of the month, `MON#2` and `MONL` as days of the week; `@hourly`,
    `@daily`, `@weekly`, `@monthly`, `@yearly`. Where neither day field begins with `*`, one of them has to
    match, else both. Raises `ConfigurationError` for a bad text or zone, which names field and rule, and
    where the extra `cron` is not installed.
    """

    text: str
    tz: str = "UTC"

    def __post_init__(self) -> None:
        _cronsim()
        keep(self, "text", checked(self.text))
        keep(self, "tz", zone_of(self.tz).name)
        if next(self._walls(datetime(2000, 1, 1)), None) is None:
            raise never(self.text)

    @property
    def zone(self) -> str:
        return self.tz

    def instants(self, after: float) -> Iterator[int]:
        """All that come after this one, in order."""
        since = floor(after / 1000)
        return self._fixed(since) if is_fixed(self.text) else self._by_real_time(since)

    def next(self, n: int = 1, *, after: datetime | None = None) -> list[datetime]:
        """The next `n` times after one (default: now), by the zone's wall clock and with its offset then;
        fewer where there are no more."""
        found = islice(self.instants(_ms_of(after)), require_count("next.n", n, most=MOST_SHOWN))
        return [zone_of(self.tz).aware(at // 1000) for at in found]

    def explain(self) -> str:
        """In words."""
        words: str = _cronsim().CronSim(self.text, datetime(2000, 1, 1)).explain()
        return f"{words}, {self.tz}"

    def year(self, *, after: datetime | None = None) -> list[Shift]:
        """What becomes of the times that meet a setting of the clock, within a year of one (default: now)."""
        since = floor(_ms_of(after) / 1000)
        found: list[Shift] = []
        for change in zone_of(self.tz).changes(since, since + _YEAR):
            found += self._shifts(change)
        return found

    # --- wall times to instants ---------------------------------------------------------------

    def _walls(self, after: datetime) -> Iterator[datetime]:
        """The wall times after one, as if no clock were ever set; none where the days named do not exist."""
        module = _cronsim()
        try:
            yield from module.CronSim(self.text, after)
        except module.CronSimError:
            return

    def _fixed(self, since: int) -> Iterator[int]:
        zone, last = zone_of(self.tz), since
        for wall in self._walls(zone.wall(since)):
            at = zone.first(wall)
            # Of several in the hour that is left out one comes; none comes again in the hour that does.
            if at > last:
                last = at
                yield at * 1000

    def _by_real_time(self, since: int) -> Iterator[int]:
        begin: int | None = since
        while begin is not None:
            begin = yield from self._until_set(begin)

    def _until_set(self, begin: int) -> Generator[int, None, int | None]:
        """What comes after an instant until the clock is set; returns after which one to go on."""
        zone, clear, change = zone_of(self.tz), begin + 1, None
        offset = zone.offset(clear)
        for wall in self._walls(wall_of(begin + offset)):
            at = seconds_of(wall) - offset
            while change is None and at > clear:
                if at - clear > LONG and clear > begin + 1:
                    # Nothing comes until then, however the clock is set: no time that has passed comes again.
                    return at - 2 * SPAN
                change = zone.change(clear, clear + SPAN)
                clear += SPAN
            if change is not None and at >= change:
                return change - 1
            yield at * 1000
        return None

    def _shifts(self, change: int) -> Iterator[Shift]:
        zone, fixed = zone_of(self.tz), is_fixed(self.text)
        before, after = zone.offset(change - 1), zone.offset(change)
        is_left_out = after > before
        first, last = sorted((change + before, change + after))
        for wall in self._walls(wall_of(first - 1)):
            if seconds_of(wall) >= last:
                return
            at = change if is_left_out else seconds_of(wall) - before
            yield Shift(at=zone.aware(at), note=f"{wall:%H:%M} {_NOTES[is_left_out, fixed]}")


Timing = Cron | Every


@lru_cache(maxsize=4096)
def timing_of(cron: str, tz: str, every: float, phase: float) -> Timing:
    """As it is kept: `cron` is empty for an interval."""
    return Cron(cron, tz) if cron else Every(every, phase)


def written(timing: Timing) -> str:
    """As a person writes it, which `read` makes it of: a cron text, `every 30 s`, `every 3600 s + 60 s`."""
    if isinstance(timing, Cron):
        return timing.text
    phase = f" + {timing.phase:.12g} s" if timing.phase else ""
    return f"every {timing.seconds:.12g} s{phase}"


def read(text: object, tz: str = "UTC") -> Timing:
    """What a person has written: a cron text, by the clock of a zone; or `every 30 s`, `every 2h + 5m`.
    Raises `ConfigurationError`, which names field and rule."""
    given = require_text("Cron.text", text, most=MOST)
    word, _, rest = given.strip().partition(" ")
    if word.lower() != "every":
        return Cron(given, tz)
    interval, _, phase = rest.partition("+")
    return Every(_seconds("Every.seconds", interval), _seconds("Every.phase", phase) if phase else 0.0)


def _seconds(field: str, text: str) -> float:
    plain = text.strip()
    seconds = spans.seconds_of(plain if plain[-1:].isalpha() else f"{plain}s")
    require(seconds is not None, field, plain, "must be a length of time, such as 30 s, 5m or 1.5 h")
    assert seconds is not None
    return seconds


def newest(timing: Timing, since: int, until: int, most: int) -> tuple[list[int], bool]:
    """The last `most` instants in [since, until], in order, and whether there are more. Looks at some
    multiple of `most`, however long that is and however they are spread."""
    span, none_too_many, too_many = 1000, 0, 0
    while True:
        first = max(since, until - span)
        found = [*islice(takewhile(lambda at: at <= until, timing.instants(first - 1)), 4 * most)]
        if len(found) == 4 * most and span > 1000:
            too_many = span
        elif len(found) > most or first == since:
            return found[-most:], len(found) > most
        else:
            none_too_many = span
        span = (none_too_many + too_many) // 2 if too_many else span * 4


def _ms_of(after: object) -> float:
    if after is None:
        return time.time() * 1000
    aware = isinstance(after, datetime) and after.tzinfo is not None
    require(aware, "after", after, "must be a datetime with a time zone")
    assert isinstance(after, datetime)
    return after.timestamp() * 1000


def _cronsim() -> Any:
    try:
        return import_module("cronsim")
    except ImportError:
        raise refusal("Cron", "cronsim", NOT_INSTALLED) from None


def _plain(number: float) -> str:
    return f"{number:g}"
