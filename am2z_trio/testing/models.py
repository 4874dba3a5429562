"""Sequential models: what an object does when its operations come one at a time, as pure functions.

* `Model` - what the checkers need of a model; write your own for an object of your own
* `VersionedState` - one versioned value: read, write, compare-and-set, update, delete
* `LockedState` - the same, with a lock that has leases and fences

Calls and results are frozen Structs with positional fields: they are the words of a notation and are
read as `CompareAndSet(4, 'b') -> Conflict(5, 'c')`.

Values are compared by their canonical MessagePack form: whatever msgspec can encode may be one. A list
equals a tuple and a Struct its dict, as a store makes them so; `1`, `1.0` and `True` are three values.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, Final, Protocol, TypeAlias, TypeVar, cast

import msgspec

from .history import Operation

ABSENT: Final = msgspec.UNSET
"""The value where there is none: never written, or deleted."""

NEVER: Final = 2**63 - 1
"""A time, in nanoseconds, after all others."""

CallT_contra = TypeVar("CallT_contra", contravariant=True)
ResultT_contra = TypeVar("ResultT_contra", contravariant=True)
StateT = TypeVar("StateT", bound=Hashable)


class Model(Protocol[CallT_contra, ResultT_contra, StateT]):
    """A sequential specification. States are immutable and hashable, and compared by value."""

    @property
    def initial(self) -> StateT:
        """The state before the first operation."""
        ...

    def step(
        self, state: StateT, operation: Operation[CallT_contra, ResultT_contra], before: int
    ) -> StateT | None:
        """Return the state after the operation, or `None` if it is not legal in `state`.

        Legal is what gives the recorded result; if the outcome is unknown (`returned` is `None`), any
        result will do. `before` matters only to objects that know the time: the operation took effect
        between `invoked` and `before`, in nanoseconds (at most `returned`; `NEVER` for no bound). What is
        legal at one `before` must be legal at every later one, and no less be legal after it.
        """
        ...

    def is_read(self, state: StateT, operation: Operation[CallT_contra, ResultT_contra]) -> bool:
        """Whether the operation can do nothing, here and in whatever state may follow this one.

        That is: in each of them it is illegal, or leaves the state unchanged, given its result. The
        checkers take such an operation as soon as it is legal and never reconsider. `False` is always
        right and can be very slow. That it leaves *this* state unchanged is not enough: writing 1 where
        there is 1 is not a read, for somebody may write 2 before it.
        """
        ...


class Add(msgspec.Struct, frozen=True, tag=True):
    """The function that adds to an integer; absent counts as 0."""

    amount: int


class Append(msgspec.Struct, frozen=True, tag=True):
    """The function that appends to a list; absent counts as empty."""

    item: Any


Function: TypeAlias = Add | Append


class Read(msgspec.Struct, frozen=True, tag=True):
    """Read version and value -> `Seen`."""


class Write(msgspec.Struct, frozen=True, tag=True):
    """Replace the value, whatever it is -> `Wrote`."""

    value: Any


class CompareAndSet(msgspec.Struct, frozen=True, tag=True):
    """Replace the value if the version is still this one -> `Wrote`, else `Conflict`."""

    version: int
    value: Any


class Update(msgspec.Struct, frozen=True, tag=True):
    """Replace the value by a function of it -> `Updated`."""

    function: Function


class Delete(msgspec.Struct, frozen=True, tag=True):
    """Make the value absent, which is a write -> `Wrote` with the version of the tombstone.

    Where the value is absent already nothing changes, and the answer is the version that there is.
    An expiry (TTL) is a Delete of unknown outcome, invoked when the value could first expire.
    """


class Seen(msgspec.Struct, frozen=True, tag=True):
    """The version and value that were read; version 0 was never written."""

    version: int
    value: Any = ABSENT


class Wrote(msgspec.Struct, frozen=True, tag=True):
    """The version that was written."""

    version: int


class Updated(msgspec.Struct, frozen=True, tag=True):
    """The version and value that were written."""

    version: int
    value: Any


class Conflict(msgspec.Struct, frozen=True, tag=True):
    """Nothing was written: there was another version, with this value."""

    version: int
    value: Any = ABSENT


VersionedCall: TypeAlias = Read | Write | CompareAndSet | Update | Delete
VersionedResult: TypeAlias = Seen | Wrote | Updated | Conflict
VersionedOperation: TypeAlias = Operation[VersionedCall, VersionedResult]


class Versioned(msgspec.Struct, frozen=True, gc=False):
    """A state of `VersionedState`."""

    version: int = 0
    value: bytes = b""
    """Canonical; empty if absent."""

    def __str__(self) -> str:
        value = msgspec.msgpack.decode(self.value) if self.value else ABSENT
        return f"version {self.version}, value {'ABSENT' if value is ABSENT else repr(value)}"


_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode: Final = msgspec.msgpack.Decoder().decode


def canonical(value: object) -> bytes:
    """Encode a value so that equal values have equal bytes; `ABSENT` is empty."""
    return b"" if value is ABSENT else _encode(value)


def apply_function(function: Function, value: bytes) -> bytes | None:
    """Apply a function of `Update` to a canonical value; `None` if it is not made for such values."""
    old = _decode(value) if value else None
    match function:
        case Add(amount):
            if not value:
                return _encode(amount)
            return _encode(old + amount) if type(old) is int else None
        case Append(item):
            if not value:
                return _encode([item])
            return _encode([*cast("list[object]", old), item]) if type(old) is list else None


class VersionedState:
    """One value with a version that counts its writes and never goes back.

    Every write, and every deletion of what is there, makes the next version: version + 1. A value that
    is created again after a deletion goes on from the tombstone's version.
    """

    def __init__(self, version: int = 0, value: object = ABSENT) -> None:
        self._initial = Versioned(version, canonical(value))

    @property
    def initial(self) -> Versioned:
        return self._initial

    def step(
        self, state: Versioned, operation: Operation[VersionedCall, VersionedResult], before: int = NEVER
    ) -> Versioned | None:
        call, result = operation.call, operation.result
        known = operation.returned is not None
        # The version is looked at first: it decides nearly always, and values may be large.
        match call:
            case Read():
                return state if not known or _saw(result, Seen, state) else None
            case CompareAndSet(version, value):
                if state.version != version:
                    return state if not known or _saw(result, Conflict, state) else None
            case Delete():
                if not state.value:
                    return state if not known or _wrote(result, state.version) else None
                value = ABSENT
            case Write(value):
                pass
            case Update(function):
                if known and not (isinstance(result, Updated) and result.version == state.version + 1):
                    return None
                written = apply_function(function, state.value)
                if written is None or (known and canonical(cast(Updated, result).value) != written):
                    return None
                return Versioned(state.version + 1, written)
        if known and not _wrote(result, state.version + 1):
            return None
        return Versioned(state.version + 1, canonical(value))

    def is_read(self, state: Versioned, operation: Operation[VersionedCall, VersionedResult]) -> bool:
        if isinstance(operation.call, Read):
            return True
        if operation.returned is None:
            return False
        result = operation.result
        if isinstance(result, Wrote | Updated):
            # Versions never go back: what answered a version that is there already writes nothing.
            return result.version <= state.version
        return True


def _saw(result: object, kind: type[Seen] | type[Conflict], state: Versioned) -> bool:
    return (
        isinstance(result, kind)
        and result.version == state.version
        and canonical(result.value) == state.value
    )


def _wrote(result: object, version: int) -> bool:
    return isinstance(result, Wrote) and result.version == version


class Acquire(msgspec.Struct, frozen=True, tag=True):
    """Take the lock, waiting for it if need be -> `Granted`. An attempt in vain is not in the history."""

    lease_ns: int


class Renew(msgspec.Struct, frozen=True, tag=True):
    """Let the lease of a grant run anew, for as long as it was acquired -> whether it still ran."""

    fence: int


class Release(msgspec.Struct, frozen=True, tag=True):
    """Give the lock back -> whether it was still held."""

    fence: int


class LockedWrite(msgspec.Struct, frozen=True, tag=True):
    """Replace the value if the lock is still held -> `Wrote`, else `Refused`."""

    fence: int
    value: Any


class Granted(msgspec.Struct, frozen=True, tag=True):
    """The lock was taken; its fence is greater than that of every grant before."""

    fence: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The grant that the write was made under has ended; nothing was written."""


LockCall: TypeAlias = Acquire | Renew | Release | LockedWrite
LockedCall: TypeAlias = VersionedCall | LockCall
LockedResult: TypeAlias = VersionedResult | Granted | Refused | bool
LockedOperation: TypeAlias = Operation[LockedCall, LockedResult]

ANONYMOUS: Final = -1
"""Stands for the fence of a grant whose answer was lost: nobody can use it."""


class Lock(msgspec.Struct, frozen=True, gc=False):
    """The lock's part of a state of `LockedState`. Times and durations are nanoseconds."""

    holder: int = 0
    """Fence of the grant that stands, `ANONYMOUS`, or 0 for none."""
    highest: int = 0
    """No grant's fence is above this yet, or, after an anonymous grant, the least that it can be."""
    lease: int = 0
    floor: int = 0
    """The last change of the lock was not before this time."""
    latest: int = 0
    """The lease has surely run out after this time."""


class Locked(msgspec.Struct, frozen=True, gc=False):
    """A state of `LockedState`."""

    state: Versioned = Versioned()
    lock: Lock = Lock()

    def __str__(self) -> str:
        lock = self.lock
        holder = {0: "nobody", ANONYMOUS: "a grant that was not answered"}.get(
            lock.holder, f"fence {lock.holder}"
        )
        return f"{self.state}; lock held by {holder}, highest fence {lock.highest}"


class LockedState:
    """A versioned value with a lock: leases that run out, fences that only grow.

    The lock's clock is not in the history, so each change of the lock happened at an unknown time
    between its operation's `invoked` and the `returned` of that operation and of those that follow it
    in the order. With `earliest` and `latest` for the bounds of the time at which the lease that stands
    runs out, in the order that is being tried:

    * `Acquire -> Granted(f)` needs f above every fence before; and that nobody holds the lock, or the
      holder's lease may have run out: the grant may have happened after `earliest`.
    * `earliest` is the lease after the *floor*: the latest of the `invoked` of every change of the lock
      (grant, renewal, release, refusal of the holder) up to the holder's last grant or renewal, and of
      the `earliest` of every lease that the order lets run out before that. `latest` is the lease after
      the last moment at which that grant or renewal can have happened.
    * `Renew(f) -> True`, `Release(f) -> True` and `LockedWrite(f, ...) -> Wrote` need that f is the
      holder and that its lease may still be running: `invoked` is not after `latest`.
    * `Renew(f) -> False`, `Release(f) -> False` and `LockedWrite(f, ...) -> Refused` are legal if f is
      not the holder (released, followed by another grant, or never granted). If it is, its lease must have
      run out: legal if that may have happened after `earliest`, and from there on nobody holds the lock.
      So a lease that was once said to have run out is not brought back.
    * Of unknown outcome: `Acquire` may have been granted when one could be, with a fence that nobody
      knows and so nobody uses; the others may have happened where they could succeed.

    Calls of `VersionedState` heed no lock. The bounds are generous: a history is never refused because
    of times if some assignment of times fits it, but a lease that is broken by less than operations
    overlap can pass.
    """

    _NOBODY: ClassVar = Lock()

    def __init__(self, version: int = 0, value: object = ABSENT) -> None:
        self._values = VersionedState(version, value)

    @property
    def initial(self) -> Locked:
        return Locked(self._values.initial, self._NOBODY)

    def step(
        self, state: Locked, operation: Operation[LockedCall, LockedResult], before: int
    ) -> Locked | None:
        call, result, lock = operation.call, operation.result, state.lock
        known = operation.returned is not None
        match call:
            case Acquire(lease):
                granted = _grant(lock, operation, lease, before)
                return None if granted is None else Locked(state.state, granted)
            case Renew(fence) | Release(fence):
                expected: object = True
                refused = result is False
                after = state.state
            case LockedWrite(fence, value):
                after = Versioned(state.state.version + 1, canonical(value))
                expected = Wrote(after.version)
                refused = isinstance(result, Refused)
            case _:
                values = self._values.step(state.state, cast(VersionedOperation, operation), before)
                if values is None:
                    return None
                return state if values is state.state else Locked(values, lock)
        if known and refused:
            return _refuse(state, fence, operation.invoked, before)
        if known and (type(result) is not type(expected) or result != expected):
            return None
        if fence <= 0 or fence != lock.holder or operation.invoked > lock.latest:
            return None
        floor = max(lock.floor, operation.invoked)
        if isinstance(call, Renew):
            lock = Lock(fence, lock.highest, lock.lease, floor, _later(before, lock.lease))
        elif isinstance(call, Release):
            lock = Lock(0, lock.highest, 0, floor)
        return Locked(after, lock)

    def is_read(self, state: Locked, operation: Operation[LockedCall, LockedResult]) -> bool:
        call = operation.call
        match call:
            case Renew(fence) | Release(fence) | LockedWrite(fence, _):
                # Fences only grow: one that was passed by, or has ended, is never the holder again.
                gone = fence <= state.lock.highest and fence != state.lock.holder
                return gone or fence <= 0
            case Acquire():
                return False
            case _:
                return self._values.is_read(state.state, cast(VersionedOperation, operation))


def _grant(lock: Lock, operation: LockedOperation, lease: int, before: int) -> Lock | None:
    floor = max(lock.floor, operation.invoked)
    if lock.holder:
        floor = max(floor, lock.floor + lock.lease)
        if before < floor:
            return None
    if operation.returned is None:
        return Lock(ANONYMOUS, lock.highest + 1, lease, floor, _later(before, lease))
    result = operation.result
    if not isinstance(result, Granted) or result.fence <= lock.highest:
        return None
    return Lock(result.fence, result.fence, lease, floor, _later(before, lease))


def _refuse(state: Locked, fence: int, invoked: int, before: int) -> Locked | None:
    lock = state.lock
    if fence != lock.holder:
        return state
    ended = lock.floor + lock.lease
    if before < ended:
        return None
    return Locked(state.state, Lock(0, lock.highest, 0, max(ended, invoked)))


def _later(time: int, lease: int) -> int:
    return NEVER if time >= NEVER - lease else time + lease
