"""How much one operation does at most, however much has piled up: the same as in the scripts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True)
class Bounds:
    looks: int = 300
    """What a claim may look at beside what it grants: ids that wait no more, sessions that are full."""
    looks_of_an_end: int = 3
    """What it counts for to end a job whose deadline has passed."""
    unblocked: int = 100
    """Sessions that a claim lets go on after the limit has changed."""
    sieved: int = 600
    """Entries that are looked at to find those of jobs that wait no more: of all lines, and of one:"""
    sieved_per_ghost: int = 4
    sieved_at_least: int = 32
    trimmed: int = 200
    """Ended jobs beyond the number that is kept which go."""
    collected: int = 1_000
    """Records that have had their time which go."""
    ended: int = 100
    """Jobs that end with the one that called them; more are ended by and by."""


BOUNDS: Final = Bounds()


@dataclass(slots=True)
class Looks:
    """How many are left to one claim."""

    left: int = field(default_factory=lambda: BOUNDS.looks)


@dataclass(slots=True)
class Budget:
    """What is left to one operation that many of its steps may use up."""

    ended: int = field(default_factory=lambda: BOUNDS.ended)
    trimmed: int = field(default_factory=lambda: BOUNDS.trimmed)
