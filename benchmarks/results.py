"""What a run has found: every reading as it was taken, and what is needed to judge it; JSON and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from .contenders.field import FIELD, OURS
from .stage import Figures


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one contender did in one round."""

    round: int
    measure: str
    contender: str
    jobs: int
    figures: Figures


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A contender that did not do it, or not in time; it is not asked for that measure again."""

    round: int
    measure: str
    contender: str
    reason: str


def summary_of(reason: str) -> str:
    """What a program has said last, where it has said much; what went wrong stands there."""
    first, *more = reason.strip().splitlines()
    return f"{first} … {more[-1].strip()}" if more else first


class Entrant(msgspec.Struct, frozen=True, kw_only=True):
    """A contender as it took part."""

    kind: str
    version: str
    settings: dict[str, str]
    versions: dict[str, str]
    """Of every package in its environment."""


class Results(msgspec.Struct, kw_only=True):
    """One run."""

    about: dict[str, str]
    """When, where and on what."""
    entrants: dict[str, Entrant] = {}
    left_out: dict[str, str] = {}
    """Contenders that could not be installed, and why."""
    readings: list[Reading] = []
    failures: list[Failure] = []

    def values(self, measure: str, contender: str, figure: str) -> list[float]:
        """That figure in every round."""
        return [
            one.figures[figure]
            for one in self.readings
            if (one.measure, one.contender) == (measure, contender) and figure in one.figures
        ]

    def spread(self, measure: str, contender: str, figure: str) -> Spread | None:
        """The median and the extremes; `None` if it was never measured."""
        found = self.values(measure, contender, figure)
        return Spread(median(found), min(found), max(found), len(found)) if found else None

    def contenders(self, measure: str) -> Iterator[str]:
        """Those that have a reading of it, or a failure, in the field's order."""
        seen = {one.contender for one in self.readings if one.measure == measure}
        seen |= {one.contender for one in self.failures if one.measure == measure}
        yield from (name for name in [*FIELD, *sorted(seen - set(FIELD))] if name in seen)

    def best_of_python(self, measure: str, figure: str, *, more_is_better: bool) -> str | None:
        """The Python peer with the best median."""
        found = {
            name: spread.median
            for name in self.contenders(measure)
            if name in FIELD and FIELD[name].kind == "python"
            if (spread := self.spread(measure, name, figure)) is not None
        }
        if not found:
            return None
        return (max if more_is_better else min)(found, key=lambda name: found[name])

    def ratio(self, measure: str, figure: str, other: str) -> float | None:
        """Ours to that contender's, medians both."""
        mine, theirs = self.spread(measure, OURS.name, figure), self.spread(measure, other, figure)
        return mine.median / theirs.median if mine and theirs and theirs.median else None

    def failure(self, measure: str, contender: str) -> str | None:
        """Why it has no reading."""
        found = [one for one in self.failures if (one.measure, one.contender) == (measure, contender)]
        return found[0].reason if found else None

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    @classmethod
    def read(cls, path: Path) -> Results:
        """Raises `msgspec.DecodeError` if it holds something else."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


class Spread(NamedTuple):
    """One figure over the rounds."""

    median: float
    low: float
    high: float
    rounds: int
