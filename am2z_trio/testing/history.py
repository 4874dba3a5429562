"""Histories: what concurrent clients asked for, and what they were answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from .operations import Call, Operation, Result


class Pending:
    """A call under way."""

    __slots__ = ("happened", "result")

    def __init__(self) -> None:
        self.happened: bool | None = None
        self.result: Result | None = None

    def returned(self, result: Result) -> None:
        """It was answered."""
        self.happened, self.result = True, result

    def failed(self) -> None:
        """It surely did not happen, and will not: it is left out of the history."""
        self.happened = False


class Recorder:
    """Collects operations. Cheap: two clock readings and one append for each."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """The default clock is the system's, so the histories of several processes can be merged."""
        self._clock = clock
        self.history: list[Operation] = []

    @contextmanager
    def call(self, client: str, key: str, call: Call) -> Iterator[Pending]:
        """Record the call that is made inside the block.

        A block that ends without `returned` or `failed`, by an exception or cancellation too, leaves an
        operation of unknown outcome; the exception goes on.
        """
        pending, invoked = Pending(), self._clock()
        try:
            yield pending
        finally:
            if pending.happened is not False:
                self.history.append(
                    Operation(
                        client=client,
                        key=key,
                        call=call,
                        invoked=invoked,
                        returned=self._clock() if pending.happened else None,
                        result=pending.result,
                    )
                )


def by_key(history: Iterable[Operation]) -> dict[str, list[Operation]]:
    """The operations of each key, in the order of their invocation."""
    parts: dict[str, list[Operation]] = {}
    for operation in history:
        parts.setdefault(operation.key, []).append(operation)
    for part in parts.values():
        part.sort(key=lambda operation: operation.invoked)
    return parts


def save(history: Iterable[Operation], path: Path) -> None:
    """Write a history, one JSON object per line."""
    lines = [msgspec.json.encode(operation) for operation in history]
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def load(*paths: Path) -> list[Operation]:
    """Read histories and merge them; they must share a clock."""
    decode: Any = msgspec.json.Decoder(Operation).decode
    return [decode(line) for path in paths for line in path.read_bytes().splitlines()]
