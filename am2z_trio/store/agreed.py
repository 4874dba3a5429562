"""Values that both stores keep to: how much one operation does at most, however much has piled up, how long
traces stay, and how often nodes look after each other. Seconds, where they are times.

The memory store uses them as they stand here; the scripts of the other are told them (`redis/agreed`). How
long records are kept, and the reasons written into them, the engine knows, too: `model.records.agreed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class Bounds:
    looks: int = 300
    """What a claim may look at beside what it grants: ids that wait no more, sessions that are full."""
    looks_of_an_end: int = 3
    """What it counts for to end a job whose deadline has passed."""
    in_a_round: int = 2_000
    """Jobs for which a session that has just been served waits at most, where each has several at a turn."""
    unblocked: int = 100
    """Sessions that a claim lets go on after the limit has changed."""
    sieved: int = 600
    """Entries that are looked at to find those of jobs that wait no more: of all lines, and of one:"""
    sieved_per_ghost: int = 4
    sieved_at_least: int = 32
    trimmed: int = 200
    """Ended jobs beyond the number that is kept which go."""
    forgotten: int = 1_000
    """Records that have had their time which go."""
    ended_at_once: int = 100
    """Jobs that end with the one that called them; more are ended by and by."""
    placed: int = 10_000
    """Entries of a line among which a job's place is looked for, to explain why it waits. Looked at are"""
    seen_before: int = 100
    """so many of those before it,"""
    seen_nodes: int = 50
    """so many of the nodes that serve its queue,"""
    seen_claims: int = 200
    """and so many jobs that are active in its stead, or that it has called; of which"""
    named: int = 5
    """so many are named."""
    few_waits: int = 16
    """Waits of one job that go on and are read by each call about one of them."""


BOUNDS: Final = Bounds()
"""Of one operation. A test makes them smaller, so that hardly anything is done in one."""

MOST_SPARE: Final = 1_023
"""Jobs that a parked node is given without asking for them."""

ENDED_BY_STOP: Final = 50
"""Jobs of a session that end in one step of a stop."""

STOPS_KEPT: Final = 10_000
"""Stopped sessions that are remembered."""

BULKS_KEPT: Final = 1_000
BULK_TTL: Final = 7 * 24 * 3600.0
"""Actions on many jobs that are remembered, and seconds after the last step for which one is."""
AUDIT_KEPT: Final = 10_000
"""Entries of the audit that are kept, of what was done, and"""
REFUSALS_KEPT: Final = 1_000
"""of what was refused: who may do nothing is to push out nothing of what was done."""

LINE_SHOWN: Final = 20
"""Of those who wait for a lock, so many are told by who they are."""

RECEIPTS: Final = 64
"""Writers of a session's state whose receipts are kept in any case. Of more, each write looks at some, and"""

RECEIPTS_SEEN: Final = 8
"""so many of them: those go which have not written for"""

RECEIPT_TTL: Final = 3600.0
"""so many seconds."""

TRUCE: Final = 3.0
"""Most seconds for which nobody is taken for dead after some node was away."""

DEAD_AMONG: Final = 50
"""Nodes that are looked at to find dead ones: those whose leases end first."""

RENEWED: Final = 1.0
"""Seconds within which a node that lives has renewed its lease."""

APART: Final = 0.25
"""Seconds between jobs that come back after they were lost with their worker for another time."""

FEW: Final = 10
"""Nodes of which each asks when the next look is due; of more, one does anyway."""

SOONEST: Final = 0.05
LATEST: Final = 1.0
"""Seconds between two beats of a node, at least and at most."""

SLOT: Final = 10.0
SLOTS_KEPT: Final = 24 * 3600.0
"""Seconds of one sample of a queue, and for how long it is kept;"""

PERIOD: Final = 300.0
PERIODS_KEPT: Final = 30 * 24 * 3600.0
"""and of what many of them are added up to."""

FLUSHED_FOR: Final = 3600.0
"""Seconds for which the number of a node's last flush is known, which is not added twice."""

CALM: Final = 0.75
"""Seconds between two looks of a node while no other node holds a claim, at least."""

MOST_SILENCES: Final = 200
"""Silences of findings that are in force at a time."""
