"""Where jobs have kept the event loop to themselves: how often, and for how long; each told now and then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final, NamedTuple

from am2z_trio.model.telling import is_of_users, place_of
from am2z_trio.model.views.health import Blocked

TOLD_EVERY: Final = 60.0
"""Seconds after which a place is told again."""

REMEMBERED_FOR: Final = 3600.0
"""Seconds after which it is forgotten, if no job has kept the loop there since."""

MOST_PLACES: Final = 100
"""Of more, the one is forgotten that was seen longest ago."""

MOST_SHOWN: Final = 10


class Place(NamedTuple):
    """A line of a processor's code."""

    processor: str
    file: str
    line: int
    function: str


@dataclass(slots=True)
class _Seen:
    last: float
    told: float
    times: int = 0
    longest: float = 0.0
    untold: int = 0


class BlockedPlaces:
    """Of one node; written by the thread that watches its loop, and read by any. Times are the caller's
    clock."""

    def __init__(self) -> None:
        self._seen: dict[Place, _Seen] = {}

    @staticmethod
    def spot(processor: str, inner: Sequence[FrameType]) -> Place:
        """The innermost line of a user's code among frames from the inside out; without one, the innermost of
        all."""
        frame = next(
            (one for one in inner if is_of_users(one.f_code.co_filename)), inner[0] if inner else None
        )
        return Place(processor, *(("", 0, "") if frame is None else place_of(frame)))

    def begin(self, place: Place, now: float) -> int | None:
        """A job has kept the loop there for too long: how many others have since that was told; `None`: it
        has just been told, and is not again."""
        seen = self._seen.pop(place, None) or _Seen(now, -TOLD_EVERY)
        while len(self._seen) >= MOST_PLACES:
            del self._seen[next(iter(self._seen))]
        self._seen[place] = seen
        seen.times, seen.last = seen.times + 1, now
        if seen.times > 1 and now - seen.told < TOLD_EVERY:
            seen.untold += 1
            return None
        others, seen.told, seen.untold = seen.untold, now, 0
        return others

    def lasts(self, place: Place, now: float, seconds: float) -> None:
        """A job has kept it there for so long by now."""
        seen = self._seen.get(place)
        if seen is not None:
            seen.last, seen.longest = now, max(seen.longest, seconds)

    def lately(self, now: float) -> list[Blocked]:
        """The worst ones first."""
        found = [
            Blocked(
                processor=place.processor,
                file=place.file,
                line=place.line,
                function=place.function,
                times=seen.times,
                longest=seen.longest,
                ago=max(0.0, now - seen.last),
            )
            for place, seen in list(self._seen.items())
            if now - seen.last < REMEMBERED_FOR
        ]
        return sorted(found, key=lambda one: (-one.longest, one.processor, one.line))[:MOST_SHOWN]
