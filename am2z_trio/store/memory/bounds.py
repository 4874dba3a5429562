"""What one operation of the memory store has left of its bounds (`store/agreed`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from am2z_trio.store.agreed import BOUNDS


@dataclass(slots=True)
class Looks:
    """How many are left to one claim."""

    left: int = field(default_factory=lambda: BOUNDS.looks)


@dataclass(slots=True)
class Budget:
    """What is left to one operation that many of its steps may use up."""

    ended: int = field(default_factory=lambda: BOUNDS.ended_at_once)
    trimmed: int = field(default_factory=lambda: BOUNDS.trimmed)
