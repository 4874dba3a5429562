"""Histories: what concurrent clients asked, what they were told, and when.

```python
recorder = Recorder()
with recorder.call("client-1", "session-7", Read()) as op:
    version, value = await store.read("session-7")
    op.returned(Seen(version, value))
history = recorder.history()
```

A history is a sequence of `Operation`s in any order; the checkers sort. Times are nanoseconds of one
clock. `time.monotonic_ns`, the default, is one clock for all processes of a Linux machine, so their
histories may be merged; two machines have no such clock, and their histories cannot be.

An operation whose outcome is not known (a timeout, a lost connection, a cancellation) stays open for
ever: it may take effect once, at any time after it was invoked, or never. To leave it out, or to
record it as one that did not happen, would hide violations or invent them (Herlihy and Wing,
"Linearizability", TOPLAS 12(3), 1990, section 2.1: pending invocations).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from types import GenericAlias, TracebackType
from typing import Any, Final, Generic, Literal, TypeVar, cast

import msgspec

CallT_co = TypeVar("CallT_co", covariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)
CallT = TypeVar("CallT")
ResultT = TypeVar("ResultT")


class Operation(msgspec.Struct, Generic[CallT_co, ResultT_co], frozen=True, kw_only=True):
    """One call of one client and, if it is known, its result."""

    client: str
    """Who called. Only for people to read: order is taken from the times alone, so that one client may
    have several calls under way."""
    key: str
    """The object called (a session, say). Operations on different keys are independent of one another."""
    call: CallT_co
    invoked: int
    """Nanoseconds; not later than the call was sent."""
    returned: int | None = None
    """Nanoseconds, not earlier than the answer was received; `None`: the outcome is not known."""
    result: ResultT_co | None = None
    """Means nothing if `returned` is `None`."""


class PendingCall(Generic[CallT, ResultT]):
    """The block of one call. Left without `returned()` or `failed()`, the outcome is unknown.

    Exceptions, a cancellation among them, go on through it: they say that the caller does not know,
    not that nothing happened.
    """

    __slots__ = ("_call", "_client", "_clock", "_end", "_invoked", "_key", "_outcome", "_result")

    def __init__(self, client: str, key: str, call: CallT, clock: Callable[[], int]) -> None:
        self._client = client
        self._key = key
        self._call = call
        self._clock = clock
        self._invoked: int | None = None
        self._end: int | None = None
        self._result: ResultT | None = None
        self._outcome: Literal["unknown", "returned", "failed"] = "unknown"

    def __enter__(self) -> PendingCall[CallT, ResultT]:
        if self._invoked is not None:
            raise RuntimeError("a recorded call can be entered once")
        self._invoked = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def returned(self, result: ResultT) -> None:
        """Note the answer, at the time of this call."""
        end = self._clock()
        self._settle("returned")
        # In this order: another thread may be taking the history.
        self._result, self._end = result, end

    def failed(self) -> None:
        """Note that the call surely had no effect and never will: it is not part of the history.

        Only for what the caller *knows*: a refused connection, a request that was refused as invalid. A
        lost connection or a timeout is not such a thing.
        """
        self._settle("failed")

    def _settle(self, outcome: Literal["returned", "failed"]) -> None:
        if self._invoked is None:
            raise RuntimeError("a recorded call has no outcome before its block is entered")
        if self._outcome != "unknown":
            raise RuntimeError(f"the outcome of this call is recorded already: {self._outcome}")
        self._outcome = outcome

    def operation(self) -> Operation[CallT, ResultT] | None:
        """What is known now; `None` if it never began or surely did not happen."""
        if self._invoked is None or self._outcome == "failed":
            return None
        return Operation(
            client=self._client,
            key=self._key,
            call=self._call,
            invoked=self._invoked,
            returned=self._end,
            result=self._result,
        )


class Recorder(Generic[CallT, ResultT]):
    """Collects the operations of any number of tasks and threads of one process.

    A call costs about a microsecond and is kept until the recorder is dropped. Recording never waits and
    is no checkpoint.
    """

    def __init__(self, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock: Final = clock
        self._calls: list[PendingCall[CallT, ResultT]] = []

    def call(self, client: str, key: str, call: CallT) -> PendingCall[CallT, ResultT]:
        """Make a block for one call: enter it before the call is sent, tell it the answer within."""
        pending: PendingCall[CallT, ResultT] = PendingCall(client, key, call, self._clock)
        # One append, which is atomic among threads.
        self._calls.append(pending)
        return pending

    def history(self) -> list[Operation[CallT, ResultT]]:
        """All operations so far, by time of invocation; those under way have no known outcome."""
        found = [operation for call in list(self._calls) if (operation := call.operation()) is not None]
        return sorted(found, key=_invoked)


_invoked: Final = cast("Callable[[Operation[Any, Any]], int]", attrgetter("invoked"))


def encode_history(history: Iterable[Operation[CallT, ResultT]]) -> bytes:
    """Encode a history as one MessagePack array, for a file or a pipe.

    MessagePack and not JSON, since the models compare values by their MessagePack form: what has been
    written and read back is the same history to them, byte strings and non-text keys included.
    """
    return msgspec.msgpack.encode(list(history))


def decode_history(
    data: bytes, operation: type[Operation[CallT, ResultT]]
) -> list[Operation[CallT, ResultT]]:
    """Decode what `encode_history` made, as operations of a type such as `VersionedOperation`.

    Raises `msgspec.ValidationError` if the calls or results are not of that type. A value of type `Any`
    comes back as plain data (a tuple as a list, a Struct as a dict), which the models count as equal.
    """
    history = cast("type[list[Operation[CallT, ResultT]]]", GenericAlias(list, operation))
    return msgspec.msgpack.decode(data, type=history)


def merge_histories(
    *histories: Iterable[Operation[CallT, ResultT]],
) -> list[Operation[CallT, ResultT]]:
    """Make one history, by time of invocation, of those of several processes on one machine."""
    return sorted((operation for history in histories for operation in history), key=_invoked)


def split_by_key(
    history: Iterable[Operation[CallT, ResultT]],
) -> dict[str, list[Operation[CallT, ResultT]]]:
    """Split a history by key, each part by time of invocation.

    A history is linearizable if and only if the parts are: locality, theorem 1 of Herlihy and Wing.
    """
    parts: dict[str, list[Operation[CallT, ResultT]]] = {}
    for operation in sorted(history, key=_invoked):
        if operation.returned is not None and operation.returned < operation.invoked:
            raise ValueError(f"an operation returned before it was invoked: {operation}")
        parts.setdefault(operation.key, []).append(operation)
    return parts


def describe_operations(operations: Sequence[Operation[object, object]], start: int) -> str:
    """Print operations in lines, with times in milliseconds since `start`: one has ended at `never`."""
    rows = [
        (
            f"{(operation.invoked - start) / 1e6:.3f}",
            "never" if operation.returned is None else f"{(operation.returned - start) / 1e6:.3f}",
            operation.client,
            describe_call(operation),
        )
        for operation in operations
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return "\n".join(
        f"{row[0]:>{widths[0]}} .. {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]}" for row in rows
    )


def describe_call(operation: Operation[object, object]) -> str:
    """Print a call and its result: `Write('a') -> Wrote(3)`."""
    result = "?" if operation.returned is None else _describe(operation.result)
    return f"{_describe(operation.call)} -> {result}"


def _describe(thing: object) -> str:
    if isinstance(thing, msgspec.Struct):
        inner = ", ".join(_describe(getattr(thing, name)) for name in thing.__struct_fields__)
        return f"{type(thing).__name__}({inner})"
    if thing is msgspec.UNSET:
        return "ABSENT"
    text = repr(thing)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


LONGEST_VALUE: Final = 60
"""Characters of a value that are printed: an explanation is for a terminal."""

__all__ = [
    "Operation",
    "Recorder",
    "PendingCall",
    "encode_history",
    "decode_history",
    "merge_histories",
    "split_by_key",
    "describe_operations",
    "describe_call",
]
