"""Who is to hear of an event: subscriptions, found by what they ask for and not by looking at each.

A subscription stands under its session, its job and its pattern. One whose pattern is a name is found by that
name, one with a glob among those whose pattern begins as the name does: an event costs what those cost
that it is for, however many others there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from am2z_trio.model.events import Event


class Asks(Protocol):
    """What is asked for; `None` for any."""

    pattern: str
    session: str | None
    job: str | None


A = TypeVar("A", bound=Asks)

Of = tuple[str | None, str | None]
"""A session and a job."""

GLOB: Final = "*?["


class Subscriptions(Generic[A]):
    """A set of subscriptions. Adding and removing one costs the same, however many there are."""

    def __init__(self) -> None:
        self._all: dict[A, None] = {}
        self._by_pattern: dict[str, dict[A, None]] = {}
        self._by_name: dict[tuple[str, Of], dict[A, None]] = {}
        self._globs: dict[Of, _Globs[A]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[A]:
        return iter(list(self._all))

    def add(self, one: A) -> None:
        self._all[one] = None
        self._by_pattern.setdefault(one.pattern, {})[one] = None
        of = one.session, one.job
        if _is_glob(one.pattern):
            self._globs.setdefault(of, _Globs()).add(one)
        else:
            self._by_name.setdefault((one.pattern, of), {})[one] = None

    def remove(self, one: A) -> None:
        """Forget it; one that is not there is none the worse."""
        if one not in self._all:
            return
        del self._all[one]
        _drop(self._by_pattern, one.pattern, one)
        of = one.session, one.job
        if not _is_glob(one.pattern):
            _drop(self._by_name, (one.pattern, of), one)
        elif self._globs[of].remove(one):
            del self._globs[of]

    def of_pattern(self, pattern: str) -> list[A]:
        """Those that were made with it, whatever else they ask for."""
        return list(self._by_pattern.get(pattern, ()))

    def find(self, event: Event) -> Iterator[A]:
        """Those whom the event is for."""
        sessions = (None, event.session) if event.session else (None,)
        jobs = (None, event.job) if event.job else (None,)
        for session in sessions:
            for job in jobs:
                of = session, job
                yield from self._by_name.get((event.name, of), ())
                globs = self._globs.get(of)
                if globs is not None:
                    yield from globs.find(event)


class _Globs(Generic[A]):
    """Those with a glob, of one session and job: by how it begins, and how long that is."""

    __slots__ = ("_by_length",)

    def __init__(self) -> None:
        self._by_length: dict[int, dict[str, dict[str, dict[A, None]]]] = {}

    def add(self, one: A) -> None:
        prefix = _prefix(one.pattern)
        patterns = self._by_length.setdefault(len(prefix), {}).setdefault(prefix, {})
        patterns.setdefault(one.pattern, {})[one] = None

    def remove(self, one: A) -> bool:
        """Returns whether none is left."""
        prefix = _prefix(one.pattern)
        prefixes = self._by_length[len(prefix)]
        if _drop(prefixes[prefix], one.pattern, one) and not prefixes[prefix]:
            del prefixes[prefix]
        if not prefixes:
            del self._by_length[len(prefix)]
        return not self._by_length

    def find(self, event: Event) -> Iterator[A]:
        name = event.name
        for length, prefixes in self._by_length.items():
            patterns = prefixes.get(name[:length])
            if patterns is not None:
                for pattern, those in patterns.items():
                    if event.matches(pattern):
                        yield from those


def _is_glob(pattern: str) -> bool:
    return any(char in pattern for char in GLOB)


def _prefix(pattern: str) -> str:
    return pattern[: min(at for at in map(pattern.find, GLOB) if at >= 0)]


K = TypeVar("K")


def _drop(groups: dict[K, dict[A, None]], key: K, one: A) -> bool:
    """Take one out of its group; returns whether that is gone with it."""
    group = groups[key]
    del group[one]
    if not group:
        del groups[key]
    return not group
