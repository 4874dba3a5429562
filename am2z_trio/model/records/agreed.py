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

EXPIRED: Final = "it was not begun in its time (expires)"
"""Why the store ended a job that had not begun by then. To cancel one for this means: unless it has."""

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

RECENT_TTL: Final = 7 * 24 * 3600.0
"""Seconds after the last end of one of its jobs for which a queue lists what has ended."""

DEAD_COUNT: Final = 1000
"""Dead letters of one queue that are kept, the newest."""

ANNOUNCED_FOR: Final = 7 * 24 * 3600.0
"""Seconds for which a queue without jobs is known after the last announcement; see `ANNOUNCE_EVERY`."""

ANNOUNCED_LATELY: Final = 24 * 3600.0
"""Seconds for which a queue is known by name after somebody served it last: over a night without workers, or
a deployment that went wrong. See `QueueInfo.known`."""

ANNOUNCE_EVERY: Final = 3600.0
"""Seconds after which a node announces again what it serves."""

FIRST_GAUGE: Final = 90
"""Of the figures of a sample, those from this number on are what was there; the others are what happened."""

KEPT: Final = 60.0
"""Seconds an ended job's record is kept whatever its options say: its callers may not have heard of it yet,
and a repeated submission must find it."""

MAX_LINES_BYTES: Final = 64 * 1024
"""Bytes of the lines that are kept of what one job logs; the oldest go first."""

INTRODUCED_FOR: Final = 100.0
"""Seconds for which it is kept who a node has said it is, unless it says so again; it goes with the lease,
where somebody takes that away."""

MOST_SIGNALS: Final = 100
MOST_SIGNAL_BYTES: Final = 1024 * 1024
"""Signals to one job, or one session, that are kept before anything takes them, and their bytes."""

KNOWN_SIGNALS: Final = 20
"""Signals to one job, or one session, of which it is known that they came, should they be sent again."""

SIGNALS_TTL: Final = 7 * 24 * 3600.0
"""Seconds for which signals to a session are kept after the last one."""

MOST_WAITS: Final = 1_000
"""Waits of one job: each is gone through again whenever it goes on."""

PARKED_TILL: Final = 4_102_444_800.0
"""When a job goes on by itself that waits for a signal, and for no time: the year 2100."""
