"""Linearizability of a versioned state from its versions alone, in n log n.

Every acknowledged write says which version it made and every read which it saw, so the order is there
already: by version, each write before the reads of what it wrote. What is left to check is

* no two writes made the same version, and each compare-and-set or update built on the one before;
* what was read of a version is what was written as it, and was not read before it was written;
* time: whoever began after another had returned saw that one's version or a later one, and wrote a
  later one.

If all outcomes are known, this proves linearizability, no more and no less: operations sorted by
version, then writes before reads, are an order that explains every answer. Versions that nobody
acknowledged must be made by operations of unknown outcome, and there must be enough of these; which of
them made which, and the values in between, is not looked into. The search in `linearizability` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from .history import by_key
from .linearizability import Verdict
from .operations import (
    Add,
    CompareAndSet,
    Conflict,
    Delete,
    Operation,
    Read,
    Seen,
    Updated,
    Write,
    Wrote,
)

_UNKNOWN: Final = object()

_ANSWERS: Final[dict[type, Any]] = {
    Read: Seen,
    Write: Wrote,
    CompareAndSet: Wrote | Conflict,
    Add: Updated,
    Delete: Wrote | Seen,
}


def certify(history: Iterable[Operation]) -> Verdict:
    """Check a history of `VersionedState` calls."""
    count = 0
    for key, part in by_key(history).items():
        count += len(part)
        problem = _Certificate(part).problem()
        if problem:
            return Verdict(outcome="not linearizable", operations=count, explanation=f"{key}: {problem}")
    return Verdict(outcome="linearizable", operations=count)


class _Certificate:
    def __init__(self, part: Sequence[Operation]) -> None:
        self._part = part
        self._written: dict[int, tuple[Operation, Any]] = {}
        self._read: list[tuple[int, Operation, Any]] = []
        self._open: list[Operation] = []

    def problem(self) -> str:
        for operation in self._part:
            found = self._sort(operation)
            if found:
                return found
        return self._values() or self._gaps() or self._time()

    def _sort(self, operation: Operation) -> str:
        call, result = operation.call, operation.result
        if operation.returned is None:
            if not isinstance(call, Read):
                self._open.append(operation)
            return ""
        if not isinstance(result, _ANSWERS.get(type(call), ())):
            return f"not an answer to that call: {operation}"
        if isinstance(result, Seen | Conflict):
            if isinstance(call, Delete) and result.value is not None:
                return f"there was something to delete: {operation}"
            if isinstance(call, CompareAndSet) and call.version == result.version:
                return f"a conflict with the very version it wanted: {operation}"
            if result.version >= 0:
                self._read.append((result.version, operation, result.value))
            return ""
        assert isinstance(result, Wrote | Updated)
        if result.version < 0:
            self._open.append(operation)
            return ""
        other = self._written.get(result.version)
        if other is not None:
            return f"two writes made version {result.version}:\n  {other[0]}\n  {operation}"
        if isinstance(call, Write | CompareAndSet):
            value: Any = call.value
        else:
            value = result.value if isinstance(result, Updated) else None
        self._written[result.version] = (operation, value)
        if isinstance(call, CompareAndSet) and result.version != call.version + 1:
            return f"it did not build on version {call.version}: {operation}"
        return ""

    def _value_of(self, version: int) -> Any:
        if version == 0:
            return None
        found = self._written.get(version)
        return _UNKNOWN if found is None else found[1]

    def _values(self) -> str:
        for version, operation, value in self._read:
            written = self._value_of(version)
            if written is not _UNKNOWN and written != value:
                return f"version {version} was written as {written!r}: {operation}"
        for version, (operation, value) in self._written.items():
            if version < 1:
                return f"no write makes version {version}: {operation}"
            call, before = operation.call, self._value_of(version - 1)
            if isinstance(call, Delete) and before is None:
                return f"there was nothing to delete: {operation}"
            if isinstance(call, Add) and before is not _UNKNOWN and value != (before or 0) + call.amount:
                return f"version {version - 1} was {before!r}: {operation}"
        seen: dict[int, tuple[Operation, Any]] = {}
        for version, operation, value in self._read:
            other = seen.setdefault(version, (operation, value))
            if other[1] != value:
                return f"version {version} was read as two values:\n  {other[0]}\n  {operation}"
        return ""

    def _gaps(self) -> str:
        newest = max([*self._written, *(version for version, _, _ in self._read)], default=0)
        missing = newest - len(self._written)
        if missing > len(self._open):
            return (
                f"{missing} of {newest} versions were made by nobody; {len(self._open)} outcomes are unknown"
            )
        return ""

    def _time(self) -> str:
        """Sweep over time with the newest version that anybody who has returned knew of."""
        events: list[tuple[int, int, int, Operation]] = []
        for version, (operation, _) in self._written.items():
            assert operation.returned is not None
            events.append((operation.invoked, 0, version, operation))
            events.append((operation.returned, 1, version, operation))
        for version, operation, _ in self._read:
            assert operation.returned is not None
            events.append((operation.invoked, 0, version, operation))
            events.append((operation.returned, 1, version, operation))
            written = self._written.get(version)
            if written is not None and written[0].invoked > operation.returned:
                return f"it was read before it was written:\n  {operation}\n  {written[0]}"
        # At equal times calls go first: the operations overlap then.
        events.sort(key=lambda event: event[:3])
        newest, by = 0, None
        for _, is_return, version, operation in events:
            if is_return:
                if version > newest:
                    newest, by = version, operation
                continue
            writes = self._written.get(version, (None, None))[0] is operation
            if version < newest or (writes and version == newest):
                return f"version {newest} was known when it began:\n  {by}\n  {operation}"
        return ""
