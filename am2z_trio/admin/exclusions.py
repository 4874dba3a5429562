"""What each demand of a query keeps from being found, counted while jobs are held against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from am2z_trio.model.views.search import Exclusion

from .matching import Candidate, is_met
from .query import Query, Term, Text

PLACED: Final = frozenset({"id", "node", "session", "status", "queue"})
"""Fields that say where to look: what is elsewhere is excluded without a look."""


class Tally:
    """Of one query, as long as nothing has been found: afterwards nobody asks."""

    def __init__(self, query: Query) -> None:
        self._demands = query.demands
        self._of = [0] * len(self._demands)
        self._excluded = [0] * len(self._demands)
        self._alone = [0] * len(self._demands)

    def takes(self, job: Candidate, now: int) -> bool:
        """Whether the job is what the query asks for; if not, that is counted."""
        met = [is_met(demand, job, now) for demand in self._demands]
        self.count(met)
        return all(met)

    def count(self, met: Sequence[bool | None]) -> None:
        """Something was held against each of the demands, and is so, or not; `None`: it is not known."""
        for place, so in enumerate(met):
            self._of[place] += so is not None
            self._excluded[place] += so is False
        if met.count(False) == 1 and None not in met:
            self._alone[met.index(False)] += 1

    def exclusions(self, elsewhere: Mapping[tuple[Term, ...], int]) -> list[Exclusion]:
        """What was counted, the most first. `elsewhere`: records that were not looked at, by demand."""
        found = [
            Exclusion(
                terms=str(Query(demand)),
                of=self._of[place],
                excluded=self._excluded[place],
                alone=self._alone[place],
                elsewhere=elsewhere.get(demand, 0),
            )
            for place, demand in enumerate(self._demands)
        ]
        return _sorted(found)


def _sorted(found: list[Exclusion]) -> list[Exclusion]:
    return sorted(found, key=lambda one: (-one.excluded, -one.alone, -one.elsewhere))


def added(one: Sequence[Exclusion], other: Sequence[Exclusion]) -> list[Exclusion]:
    """What the demands of a query have excluded on two pages; what is elsewhere is so for both."""
    before = {each.terms: each for each in one}
    found = list[Exclusion]()
    for each in other:
        old = before.get(each.terms)
        more = Exclusion(
            terms=each.terms,
            of=each.of + (old.of if old else 0),
            excluded=each.excluded + (old.excluded if old else 0),
            alone=each.alone + (old.alone if old else 0),
            elsewhere=each.elsewhere,
        )
        found.append(more)
    return _sorted(found)


def places_it(demand: tuple[Term, ...]) -> bool:
    """Whether a demand says where to look."""
    return isinstance(demand[0], Text) and demand[0].field in PLACED


class Told(NamedTuple):
    """A sentence about a demand: the texts before it and after it."""

    before: str
    terms: str
    after: str

    def __str__(self) -> str:
        return f"{self.before}{self.terms}{self.after}"


def told(excluded: Sequence[Exclusion], what: str = "job") -> list[Told]:
    """What excludes jobs, or others, in words: first which demand excludes most; then, where there are
    several, what each of them does; nothing where there was nothing to exclude."""
    if not excluded:
        return []
    most = excluded[0]
    if most.excluded:
        those = f"the {most.of:,} {what}s that were" if most.of > 1 else f"the one {what} that was"
        first = Told(f"of {those} looked at, ", most.terms, f" excludes most: {most.excluded:,}")
    elif most.elsewhere:
        first = Told(
            f"no {what} was there to be looked at: ",
            most.terms,
            f" excludes most, {most.elsewhere:,} {'record' if most.elsewhere == 1 else 'records'} elsewhere",
        )
    else:
        return []
    return [first, *(Told("", one.terms, f" {_part(one)}") for one in excluded if len(excluded) > 1)]


def _part(one: Exclusion) -> str:
    records = f"{one.elsewhere:,} {'record' if one.elsewhere == 1 else 'records'} elsewhere"
    if one.excluded:
        alone = f", {one.alone:,} of which fit all else" if one.alone else ""
        said = f"excludes {one.excluded:,} of {one.of:,}{alone}"
    elif one.elsewhere and not one.of:
        return f"leaves out {records}"
    else:
        said = "excludes none of these"
    return f"{said}; it leaves out {records}" if one.elsewhere else said
