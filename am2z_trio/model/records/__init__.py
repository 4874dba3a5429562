"""What travels: between engine and store, and between nodes.

Records are frozen and compared by value. Those that are stored or sent (`array_like`) only ever
grow at the end, so that a node reads what an older or newer one wrote. Times on the wire are
whole milliseconds of the store's clock; durations are seconds.

* `jobs` - what has to be done, on its way into the store, and as anyone may look at it
* `claims` - what a node is granted, and how it settles it
* `outcomes` - what a job's caller gets to hear
* `states` - session states, writes to them, and their locks
* `queues` - what limits a queue, and what is known of it
* `nodes` - leases, and what a node finds when it looks after what all share
* `messages` - what arrives in an inbox
* `names` - how a name is spelled in a key
* `agreed` - values on which every store, script and node must agree

All of them are imported from here.
"""

from __future__ import annotations

from .agreed import (
    ANNOUNCE_EVERY,
    ANNOUNCED_FOR,
    ANNOUNCED_LATELY,
    CHILD_TTL,
    DEAD_COUNT,
    DEAD_TTL,
    DEADLINE,
    DEBOUNCED,
    KEPT,
    PARENT_ENDED,
    SESSION_STOPPED,
    STALLED,
    UNREADABLE,
    WIRE_VERSION,
)
from .claims import ClaimAnswer, Commit, Grant, SettleAnswer, Settlement, Standing, Unreadable
from .jobs import (
    ACCEPTED,
    LEFT_OUT,
    NO_STATE,
    Bulk,
    BulkAnswer,
    DeadJob,
    EarlyOutcome,
    Enqueue,
    EnqueueAnswer,
    JobSpec,
    JobView,
    SpecHead,
    callers_below,
    debounce_name,
    turn_of,
)
from .messages import (
    CancelRequest,
    Handed,
    InboxMessage,
    LockGranted,
    MayGoOn,
    SessionStopped,
    Wake,
    handed_at_once,
)
from .names import plain_name, queue_name
from .nodes import FailedJob, RenewAnswer, TickAnswer
from .outcomes import AttemptError, ResultRecord, Settled, reason_of_failure, told_of_failure
from .queues import UNLIMITED, ForgetAnswer, Permit, QueueInfo, QueueLimits, QueueStats, SessionCounts
from .states import LockAnswer, StateRecord, StateWrite, WriteAnswer

__all__ = [
    "ACCEPTED",
    "Bulk",
    "BulkAnswer",
    "LEFT_OUT",
    "NO_STATE",
    "JobSpec",
    "SpecHead",
    "turn_of",
    "callers_below",
    "EarlyOutcome",
    "Enqueue",
    "debounce_name",
    "EnqueueAnswer",
    "DeadJob",
    "JobView",
    "Grant",
    "Handed",
    "handed_at_once",
    "Standing",
    "Unreadable",
    "ClaimAnswer",
    "Commit",
    "Settlement",
    "SettleAnswer",
    "reason_of_failure",
    "told_of_failure",
    "AttemptError",
    "ResultRecord",
    "Settled",
    "StateRecord",
    "StateWrite",
    "WriteAnswer",
    "LockAnswer",
    "QueueLimits",
    "UNLIMITED",
    "Permit",
    "QueueStats",
    "SessionCounts",
    "ForgetAnswer",
    "QueueInfo",
    "RenewAnswer",
    "FailedJob",
    "TickAnswer",
    "Wake",
    "CancelRequest",
    "MayGoOn",
    "LockGranted",
    "SessionStopped",
    "InboxMessage",
    "plain_name",
    "queue_name",
    "WIRE_VERSION",
    "SESSION_STOPPED",
    "DEADLINE",
    "DEBOUNCED",
    "PARENT_ENDED",
    "STALLED",
    "UNREADABLE",
    "CHILD_TTL",
    "DEAD_TTL",
    "DEAD_COUNT",
    "ANNOUNCED_FOR",
    "ANNOUNCED_LATELY",
    "ANNOUNCE_EVERY",
    "KEPT",
]
