"""Values every store, script and node must agree on: versions, reasons, and how long things are kept."""

from __future__ import annotations

from typing import Final

WIRE_VERSION: Final = 2
"""Goes up when a record changes so that an older reader would misread it."""

SESSION_STOPPED: Final = "session stopped"
"""Why the store ended a job whose session was stopped: its caller's error is `SessionStoppedError`."""

DEADLINE: Final = "deadline"
"""Why a job was cancelled whose caller waits no longer: its caller's error is `DeadlineExceededError`."""

DEBOUNCED: Final = "a later job took its place (debounce)"
"""Why the store ended a job that had not begun when another one of the same key came."""

PARENT_ENDED: Final = "the job that called it has ended"
"""Why the store ended a job, or asked for it to end, whose parent was over."""

STALLED: Final = "the job was lost with its worker more often than its queue allows (max_stalled_count)"
"""What is said of a job that the store ended as lost."""

UNREADABLE: Final = "its record cannot be read"
"""How the reason begins for which the store ended a job that something else has spoilt."""

CHILD_TTL: Final = 7 * 24 * 3600.0
"""Seconds the outcome of a child is kept for its parent, which may be run again; less once that ends."""

DEAD_TTL: Final = 7 * 24 * 3600.0
"""Seconds a job that has failed for good is kept as a dead letter, unless its options say otherwise."""

DEAD_COUNT: Final = 1000
"""Dead letters of one queue that are kept, the newest."""

ANNOUNCED_FOR: Final = 7 * 24 * 3600.0
"""Seconds for which a queue without jobs is known after the last announcement; see `ANNOUNCE_EVERY`."""

ANNOUNCED_LATELY: Final = 24 * 3600.0
"""Seconds for which a queue is known by name after somebody served it last: over a night without workers, or
a deployment that went wrong. See `QueueInfo.known`."""

ANNOUNCE_EVERY: Final = 3600.0
"""Seconds after which a node announces again what it serves."""

KEPT: Final = 60.0
"""Seconds an ended job's record is kept whatever its options say: its callers may not have heard of it yet,
and a repeated submission must find it."""
