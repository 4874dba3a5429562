"""Operations: what a client may call, what it may be answered, and both with their times."""

from __future__ import annotations

from typing import Any

import msgspec


class _Tagged(msgspec.Struct, frozen=True, tag=True):
    def __str__(self) -> str:
        values = ", ".join(repr(getattr(self, name)) for name in self.__struct_fields__)
        return f"{type(self).__name__}({values})"


# --- calls ----------------------------------------------------------------------------------------


class Read(_Tagged, frozen=True, tag=True):
    """The state -> `Seen`."""


class Write(_Tagged, frozen=True, tag=True):
    """Put `value` there, whatever it was -> `Wrote`."""

    value: Any


class CompareAndSet(_Tagged, frozen=True, tag=True):
    """Put `value` there if the version is still this one -> `Wrote` or `Conflict`."""

    version: int
    value: Any


class Add(_Tagged, frozen=True, tag=True):
    """Add to a number, nothing counting as 0 -> `Updated`."""

    amount: int


class Delete(_Tagged, frozen=True, tag=True):
    """Take the value away -> `Wrote`, or `Seen` where there was nothing."""


class Acquire(_Tagged, frozen=True, tag=True):
    """Take the lock for `lease` units of the history's clock -> `Granted`."""

    lease: int


class Renew(_Tagged, frozen=True, tag=True):
    """Let the lease run from now -> `Held`."""

    fence: int
    lease: int


class Release(_Tagged, frozen=True, tag=True):
    """Give the lock back -> `Held`: whether it was still held."""

    fence: int


class LockedWrite(_Tagged, frozen=True, tag=True):
    """Put `value` there if the lock is held -> `Wrote` or `Refused`."""

    fence: int
    value: Any


Call = Read | Write | CompareAndSet | Add | Delete | Acquire | Renew | Release | LockedWrite


# --- results --------------------------------------------------------------------------------------


class Seen(_Tagged, frozen=True, tag=True):
    """What is there; `None` for nothing, and then the version may be left out as -1."""

    version: int
    value: Any


class Wrote(_Tagged, frozen=True, tag=True):
    """Done; the version it made, or -1 where that is not known."""

    version: int


class Updated(_Tagged, frozen=True, tag=True):
    """Done; the version it made, and its value."""

    version: int
    value: Any


class Conflict(_Tagged, frozen=True, tag=True):
    """Not done: this is there."""

    version: int
    value: Any


class Granted(_Tagged, frozen=True, tag=True):
    """The lock is yours, under this number."""

    fence: int


class Held(_Tagged, frozen=True, tag=True):
    """Whether the lock was held."""

    held: bool


class Refused(_Tagged, frozen=True, tag=True):
    """Not done: the lock is not held."""


Result = Seen | Wrote | Updated | Conflict | Granted | Held | Refused


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call and its answer. Times are whole numbers of one clock, nanoseconds by default."""

    client: str
    key: str
    """What it is about: operations of different keys do not depend on each other."""
    call: Call
    invoked: int
    returned: int | None = None
    """`None`: the outcome is unknown. It may have happened at any time since, or never will."""
    result: Result | None = None

    def __str__(self) -> str:
        answer = "?" if self.returned is None else f"{self.result}"
        return f"{self.client:>10}  {self.key}: {self.call} -> {answer}"
