"""Certificates: versions in the answers say in which order operations happened; check that they may.

```python
certify(recorder.history()).assert_ok()
```

For histories of `VersionedState`, and of `LockedState` as far as its value goes (L0). Every acknowledged
write answers with the version it made, every read with the version it saw: that is the order, and nothing
has to be searched. Cost: O(n log n), a few microseconds per operation, so that a soak test can check
millions where `check` would take minutes.

What is checked, per key, and is therefore true of an accepted history:

* each version has at most one writer, and is above the initial one;
* a compare-and-set that wrote made the version after the one it expected, and one that met a conflict
  met another version than that; an Update wrote what its function makes of the value of the version
  before, where that value is known; a deletion that wrote found a value, where that is known;
* all who saw or wrote a version agree on its value;
* real time: whoever was invoked after another had returned did not see or write an older version, nor
  write the same one;
* every version without an acknowledged writer has one of unknown outcome, each used once, invoked
  before anybody returned who saw that version or a later one. Where its value was seen: one that may have
  written this value.

What that proves. A rejected history is not linearizable. An accepted one is linearizable if no outcome is
unknown: the conditions on pairs suffice, since "version, then writer before readers" is a total
preorder, and joined with real time it has a cycle only if some pair contradicts it. With unknown
outcomes the last condition is necessary and not sufficient: it counts who might have written the missing
versions (Hall's condition, for all of them together and for each value) instead of searching for an
assignment. And nothing is said about locks: `LockedWrite` counts as a write, `Acquire`, `Renew`, `Release`
and `Refused` are passed over. `check` decides those.

The idea of recovering the order from the versions is that of Gibbons and Korach ("Testing shared memories",
SIAM J. Comput. 26(4), 1997: with the write order given, it is no longer NP-complete) and of Kingsbury
and Alvaro ("Elle", VLDB 14(3), 2020).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, TypeAlias

from .history import Operation, describe_operations, split_by_key
from .linearizability import Verdict
from .models import (
    NEVER,
    CompareAndSet,
    Conflict,
    Delete,
    LockedCall,
    LockedResult,
    LockedWrite,
    Read,
    Refused,
    Seen,
    Update,
    Updated,
    Versioned,
    Write,
    Wrote,
    apply_function,
    canonical,
)

Op: TypeAlias = Operation[LockedCall, LockedResult]


NOTHING: Final = Versioned()
"""Version 0: never written."""


def certify(history: Iterable[Op], *, initial: Versioned = NOTHING) -> Verdict:
    """Check versions, values and real time of every key's operations; never answers `unknown`.

    `initial` is the state before the first operation, such as `VersionedState(3, "a").initial`.
    """
    parts = split_by_key(history)
    count = sum(map(len, parts.values()))
    for key, operations in parts.items():
        fault = _Certificate(operations, initial).fault()
        if fault is not None:
            reason, guilty = fault
            start = operations[0].invoked
            shown = describe_operations(guilty, start).replace("\n", "\n    ")
            text = (
                f"not linearizable: of the {len(operations)} operations of {key!r}, {reason}\n"
                f"(times in ms since the first one was invoked)\n    {shown}"
            )
            return Verdict(outcome="violation", operations=count, steps=count, explanation=text)
    return Verdict(outcome="linearizable", operations=count, steps=count)


_Fault: TypeAlias = tuple[str, Sequence[Op]]
"""What is wrong, and the operations that show it."""

_WRITES: Final = (Write, CompareAndSet, Update, Delete, LockedWrite)

MOST_SHOWN: Final = 12
"""Writes of unknown outcome that an explanation shows."""


class _Certificate:
    """The versions of one key. Each method that returns a fault is one of the checks above."""

    def __init__(self, operations: Sequence[Op], initial: Versioned) -> None:
        self._operations: Final = operations
        self._initial: Final = initial
        self._values: Final[dict[int, bytes]] = {initial.version: initial.value}
        self._witnesses: Final[dict[int, Op]] = {}
        """Who told the value."""
        self._writers: Final[dict[int, Op]] = {}
        self._readers: Final[list[tuple[int, Op]]] = []
        self._deletes: Final[dict[int, list[Op]]] = {}
        """Deletions by the version they answered: at most one of these wrote, the others found nothing."""
        self._fillers: Final[list[Op]] = []
        """Writes of unknown outcome, by time of invocation."""
        self._ends: Final[list[tuple[int, int]]] = []
        """By rank: when the first returned of this rank and all above."""

    def fault(self) -> _Fault | None:
        for operation in self._operations:
            fault = self._take(operation)
            if fault is not None:
                return fault
        return self._place_deletes() or self._check_updates() or self._check_time() or self._check_gaps()

    def _take(self, operation: Op) -> _Fault | None:
        call, result = operation.call, operation.result
        if operation.returned is None:
            if isinstance(call, _WRITES):
                self._fillers.append(operation)
            return None
        # Not a match statement: a third of the time of a certificate went into one.
        if isinstance(call, Read):
            if isinstance(result, Seen):
                return self._read(result.version, result.value, operation)
        elif isinstance(call, Update):
            if isinstance(result, Updated):
                return self._wrote(result.version, result.value, operation)
        elif isinstance(call, CompareAndSet):
            if isinstance(result, Wrote):
                if result.version != call.version + 1:
                    return "a compare-and-set wrote another version than the one after its own", [operation]
                return self._wrote(result.version, call.value, operation)
            if isinstance(result, Conflict):
                if result.version == call.version:
                    return "a compare-and-set met a conflict with the version it expected", [operation]
                return self._read(result.version, result.value, operation)
        elif isinstance(call, Delete):
            if isinstance(result, Wrote):
                self._deletes.setdefault(result.version, []).append(operation)
                return self._note(result.version, b"", operation)
        elif isinstance(call, Write | LockedWrite):
            if isinstance(result, Wrote):
                return self._wrote(result.version, call.value, operation)
            if isinstance(result, Refused) and isinstance(call, LockedWrite):
                return None
        else:
            return None
        return "an answer is not one to its call", [operation]

    def _note(self, version: int, value: bytes, operation: Op) -> _Fault | None:
        if version < self._initial.version:
            return f"one knows a version before the initial one, {self._initial.version}", [operation]
        if self._values.setdefault(version, value) != value:
            return f"not all agree on the value of version {version}", [*self._witness(version), operation]
        self._witnesses.setdefault(version, operation)
        return None

    def _witness(self, version: int) -> list[Op]:
        return [self._witnesses[version]] if version in self._witnesses else []

    def _read(self, version: int, value: object, operation: Op) -> _Fault | None:
        self._readers.append((version, operation))
        return self._note(version, canonical(value), operation)

    def _wrote(self, version: int, value: object, operation: Op) -> _Fault | None:
        if version <= self._initial.version:
            return f"one wrote a version that is not after the initial one, {self._initial.version}", [
                operation
            ]
        other = self._writers.setdefault(version, operation)
        if other is not operation:
            return f"two wrote version {version}", [other, operation]
        return self._note(version, canonical(value), operation)

    def _place_deletes(self) -> _Fault | None:
        """Say which deletion wrote: if any can, the one invoked first can, as all others came later."""
        if not self._deletes:
            return None
        ends: dict[int, int] = {}
        for version, reader in self._readers:
            ends[version] = min(ends.get(version, NEVER), _end(reader))
        for version, deletes in self._deletes.items():
            first, rest = deletes[0], deletes[1:]
            could = version > self._initial.version and version not in self._writers
            if could and first.invoked <= ends.get(version, NEVER):
                self._writers[version] = first
                if self._values.get(version - 1) == b"":
                    return f"a deletion made version {version} where nothing was", [
                        *self._witness(version - 1),
                        first,
                    ]
            else:
                rest = deletes
            self._readers.extend((version, operation) for operation in rest)
        return None

    def _check_updates(self) -> _Fault | None:
        for version, writer in self._writers.items():
            call = writer.call
            if isinstance(call, Update):
                old = self._values.get(version - 1)
                if old is not None and apply_function(call.function, old) != self._values[version]:
                    return f"version {version} is not the function of version {version - 1}", [
                        *self._witness(version - 1),
                        writer,
                    ]
        return None

    def _check_time(self) -> _Fault | None:
        # A writer of version v has rank 2v, its readers 2v + 1. Of each rank: who was invoked last, and
        # who returned first.
        last: dict[int, Op] = {}
        first: dict[int, Op] = {}
        ranked = chain(
            ((2 * version, writer) for version, writer in self._writers.items()),
            ((2 * version + 1, reader) for version, reader in self._readers),
        )
        for rank, operation in ranked:
            other = first.setdefault(rank, operation)
            if _end(operation) < _end(other):
                first[rank] = operation
            other = last.setdefault(rank, operation)
            if operation.invoked > other.invoked:
                last[rank] = operation
        newest: Op | None = None
        for rank in sorted(first, reverse=True):
            if newest is not None and last[rank].invoked > _end(newest):
                return (
                    "the second was invoked after the first had returned, but precedes it by its version",
                    [
                        newest,
                        last[rank],
                    ],
                )
            if newest is None or _end(first[rank]) < _end(newest):
                newest = first[rank]
            self._ends.append((rank, _end(newest)))
        self._ends.reverse()
        return None

    def _check_gaps(self) -> _Fault | None:
        """Versions that nobody is known to have written need writes of unknown outcome."""
        highest = max(self._values)
        missing = highest - self._initial.version - len(self._writers)
        if not missing:
            return None
        # Before anything is listed: a version may be any number.
        if missing > len(self._fillers):
            return (
                f"{missing} versions up to {highest} have no acknowledged writer, and only "
                f"{len(self._fillers)} writes have an unknown outcome",
                self._fillers[:MOST_SHOWN],
            )
        gaps = [
            version
            for version in range(self._initial.version + 1, highest + 1)
            if version not in self._writers
        ]
        writes: dict[bytes, list[int]] = {}
        deletes: list[int] = []
        updates: list[int] = []
        exact: dict[int, list[Op]] = {}
        for filler in self._fillers:
            match filler.call:
                case CompareAndSet(expected, _):
                    exact.setdefault(expected + 1, []).append(filler)
                case Write(value) | LockedWrite(_, value):
                    writes.setdefault(canonical(value), []).append(filler.invoked)
                case Delete():
                    deletes.append(filler.invoked)
                case _:
                    updates.append(filler.invoked)
        # A compare-and-set fits one version only: where one fits, it is no loss to take it.
        gaps = [gap for gap in gaps if not any(self._fits(one, gap) for one in exact.get(gap, ()))]
        short = self._first_short(gaps, [sorted(chain(deletes, updates, *writes.values()))])
        seen: dict[bytes, list[int]] = {}
        for gap in gaps:
            if gap in self._values:
                seen.setdefault(self._values[gap], []).append(gap)
        for value, versions in seen.items():
            if short is not None:
                break
            by = deletes if not value else []
            short = self._first_short(versions, [writes.get(value, []), by, updates])
        if short is None:
            return None
        return (
            f"version {short} has no acknowledged writer, and too few writes of unknown outcome may "
            "have made it and those before it that have none either",
            [*self._witness(short), *self._fillers[:MOST_SHOWN]],
        )

    def _fits(self, filler: Op, gap: int) -> bool:
        """Whether a compare-and-set that expects the version before the gap may have filled it."""
        call = filler.call
        assert isinstance(call, CompareAndSet)
        value = canonical(call.value)
        return self._values.get(gap, value) == value and filler.invoked <= self._until(gap)

    def _first_short(self, gaps: Sequence[int], invoked: Sequence[Sequence[int]]) -> int | None:
        """The first gap for which fewer were invoked in time than there are gaps up to it.

        The later a gap, the later its time, so this is all of Hall's condition.
        """
        for count, gap in enumerate(gaps, 1):
            until = self._until(gap)
            if sum(bisect_right(times, until) for times in invoked) < count:
                return gap
        return None

    def _until(self, version: int) -> int:
        """The first time at which somebody had returned who knew this version or a later one."""
        return self._ends[bisect_left(self._ends, (2 * version, 0))][1]


def _end(operation: Op) -> int:
    return NEVER if operation.returned is None else operation.returned
