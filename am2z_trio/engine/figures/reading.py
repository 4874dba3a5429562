"""What is so at one moment: taken by the node's loop with every beat, and read by any thread."""

from __future__ import annotations

import msgspec


class Slots(msgspec.Struct, frozen=True):
    """Of one processor."""

    processor: str
    slots: int
    """Jobs that may run here at a time."""
    busy: int
    """Jobs that do, those that wait for other jobs included."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A node at one moment. Times are `time.monotonic`'s, as every thread has that."""

    at: float
    """When it was taken; of a node that rests, until when it does."""
    host: str
    """The library whose loop it runs in."""
    slots: tuple[Slots, ...]
    lease_until: float | None
    """`None` where it holds none: a pure client, or one that has lost it."""
    is_ready: bool
    """Whether it could claim a job, or submit one where it has no workers."""
