"""What nodes count of a queue's jobs, as a store adds it up: figures by number, in slots of time.

A figure's number is its place for ever: new ones come behind, and who does not know one passes it over. Those
from `FIRST_GAUGE` on are what was there at the end of a slot, all others what happened within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

COUNTS: Final = (
    *("started", "completed", "failed", "timeout", "cancelled", "deadline", "lost"),
    *("retried", "fenced", "conflicts", "integrity"),
)
"""Names of the counts, from figure 0 on."""

WAITED: Final = 14
RAN: Final = 15
"""Microseconds that jobs have waited and run, in sum."""

WAITS: Final = 20
RUNS: Final = 50
"""The first bucket of the waiting and of the running times (`policy.buckets`)."""

GAUGES: Final = ("waiting", "delayed", "active")
"""Names of the gauges, from figure `FIRST_GAUGE` on."""

Figures = Mapping[int, int]
"""Figures by number; one that is not there is 0."""


class QueueFigures(msgspec.Struct, frozen=True):
    """What one node has counted of one queue since it has told last."""

    queue: str
    figures: Figures


class StoredSample(msgspec.Struct, frozen=True):
    """One slot of one queue, all nodes together."""

    at: int
    """When it began, in ms of the store's clock."""
    figures: Figures


class QueueCounted(msgspec.Struct, frozen=True):
    """What is so of one queue now, beside its counts."""

    oldest: float
    """Seconds that the job has waited which came first, or was due first; 0 where none waits."""
    paused: bool
    held: bool
    """Jobs wait since as many are active as may be."""
    breaker_open: bool


class Counted(msgspec.Struct, frozen=True):
    """A namespace now."""

    nodes: int
    """Those with a lease."""
    sessions: int
    """Those with jobs that have not ended."""
    queues: list[QueueCounted]


def packed(figures: Figures) -> bytes:
    """Figures as they are sent and kept: numbers and values in turn, without zeros."""
    flat = [part for pair in sorted(figures.items()) if pair[1] for part in pair]
    return msgspec.msgpack.encode(flat)


def unpacked(data: bytes) -> dict[int, int]:
    """What `packed` has made, or a script; what is none is empty."""
    try:
        flat = _decode(data)
    except msgspec.MsgspecError:
        return {}
    return dict(zip(flat[::2], flat[1::2], strict=False))


_decode: Final = msgspec.msgpack.Decoder(list[int]).decode
