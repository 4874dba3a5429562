"""What may be answered: sequential models, as data and one pure step each.

A model says what a single client, alone, would see. `step(state, operation)` returns the next state if
the operation's result is a right answer in this state, and `ILLEGAL` if not. An operation of unknown
outcome has no result: then `step` returns what it leaves if it happens.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from .operations import (
    Acquire,
    Add,
    CompareAndSet,
    Conflict,
    Delete,
    Granted,
    Held,
    LockedWrite,
    Operation,
    Read,
    Release,
    Renew,
    Result,
    Seen,
    Updated,
    Write,
    Wrote,
)

ILLEGAL: Final = object()
"""No right answer."""


class Model(Protocol):
    """A sequential specification."""

    @property
    def initial(self) -> Hashable: ...

    def step(self, state: Any, operation: Operation) -> Any:
        """The next state, or `ILLEGAL`."""
        ...

    def version(self, state: Any) -> int:
        """How many writes have made this state, where every write counts; else -1."""
        ...


class Value(NamedTuple):
    """State of `VersionedState`."""

    version: int = 0
    value: Any = None


class VersionedState:
    """A value with a version that every write and deletion counts up, and that never goes back."""

    initial = Value()

    def version(self, state: Value) -> int:
        return state.version

    def step(self, state: Value, operation: Operation) -> Any:
        call, result = operation.call, operation.result
        version, value = state
        if isinstance(call, Read):
            return state if result is None or _saw(Seen, result, state) else ILLEGAL
        if isinstance(call, CompareAndSet):
            if call.version != version:
                right = result is None or _saw(Conflict, result, state)
                return state if right else ILLEGAL
            return _write(state, call.value, result)
        if isinstance(call, Write):
            return _write(state, call.value, result)
        if isinstance(call, Delete):
            if value is None:
                return state if result is None or _saw(Seen, result, state) else ILLEGAL
            return _write(state, None, result)
        if isinstance(call, Add):
            after = Value(version + 1, (0 if value is None else value) + call.amount)
            return after if result is None or result == Updated(*after) else ILLEGAL
        raise TypeError(f"{call} is no call of a versioned state")


class Lock(NamedTuple):
    """State of `LockedState`."""

    value: Value = Value()
    fence: int = 0
    """Of the holder; 0: free; -1: granted to somebody who never heard of it."""
    ends_after: float = -inf
    """The holder's lease surely runs until then."""
    ends_before: float = -inf
    """The holder's lease has surely passed then."""
    highest: int = 0
    """Fencing number ever granted."""


class LockedState:
    """A versioned state and a lock on it, whose leases run out by a clock.

    A lease that is granted or renewed by an operation begins somewhere between its invocation and its
    return, so it ends between `invoked + lease` and `returned + lease`; `slack` widens both, for clocks that
    round. Before that only the holder may write, after that nobody may under this number, and in
    between both answers are right. Fencing numbers only grow.
    """

    initial = Lock()

    def __init__(self, slack: int = 0) -> None:
        self._slack = slack
        self._states = VersionedState()

    def version(self, state: Lock) -> int:
        return -1  # a lock changes hands without one

    def step(self, state: Lock, operation: Operation) -> Any:
        call, result = operation.call, operation.result
        if isinstance(call, Acquire):
            if result is None:
                fence = -1
            elif isinstance(result, Granted) and result.fence > state.highest:
                fence = result.fence
            else:
                return ILLEGAL
            if state.fence and not self._may_be_over(state, operation):
                return ILLEGAL
            return self._leased(state._replace(fence=fence, highest=max(fence, state.highest)), operation)
        if isinstance(call, Renew | Release | LockedWrite):
            return self._as_holder(state, call, operation)
        after = self._states.step(state.value, operation)
        return ILLEGAL if after is ILLEGAL else state._replace(value=after)

    def _as_holder(self, state: Lock, call: Renew | Release | LockedWrite, operation: Operation) -> Any:
        result = operation.result
        holds = state.fence == call.fence
        done = isinstance(result, Wrote) or result == Held(True)
        if result is not None and done and not (holds and self._may_run(state, operation)):
            return ILLEGAL
        if result is not None and not done:
            if holds and not self._may_be_over(state, operation):
                return ILLEGAL
            # A holder whose lease has passed may still give the lock back.
            return _freed(state) if holds and isinstance(call, Release) else state
        if not holds:
            return state  # of unknown outcome, and not possible: nothing happens
        if isinstance(call, Renew):
            return self._leased(state, operation)
        if isinstance(call, Release):
            return _freed(state)
        after = _write(state.value, call.value, result)
        return ILLEGAL if after is ILLEGAL else state._replace(value=after)

    def _leased(self, state: Lock, operation: Operation) -> Lock:
        call = operation.call
        assert isinstance(call, Acquire | Renew)
        returned = inf if operation.returned is None else operation.returned
        return state._replace(
            ends_after=operation.invoked + call.lease - self._slack,
            ends_before=returned + call.lease + self._slack,
        )

    def _may_be_over(self, state: Lock, operation: Operation) -> bool:
        return operation.returned is None or operation.returned >= state.ends_after

    def _may_run(self, state: Lock, operation: Operation) -> bool:
        return operation.invoked <= state.ends_before


def _saw(kind: type[Seen] | type[Conflict], result: Any, state: Value) -> bool:
    if not isinstance(result, kind) or result.value != state.value:
        return False
    return result.version == state.version or (result.version == -1 and state.value is None)


def _write(state: Value, value: Any, result: Result | None) -> Any:
    after = Value(state.version + 1, value)
    right = result is None or (isinstance(result, Wrote) and result.version in (-1, after.version))
    return after if right else ILLEGAL


def _freed(state: Lock) -> Lock:
    return state._replace(fence=0, ends_after=-inf, ends_before=-inf)
