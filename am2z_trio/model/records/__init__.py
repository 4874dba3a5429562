"""What travels: between engine and store, and between nodes.

Records are frozen and compared by value. Those that are stored or sent (`array_like`) only ever
grow at the end, so that a node reads what an older or newer one wrote. Times on the wire are
whole milliseconds of the store's clock; durations are seconds.

* `jobs` - what has to be done, on its way into the store, and as anyone may look at it
* `claims` - what a node is granted, and how it settles it
* `outcomes` - what a job's caller gets to hear
* `waits` - what a job waits for that no other job brings
* `states` - session states, writes to them, and their locks
* `queues` - what limits a queue, and what is known of it
* `samples` - what nodes count of a queue's jobs, in slots of time
* `schedules` - what is to run again and again, and how a node fires it
* `nodes` - leases, and what a node finds when it looks after what all share
* `silences` - findings that nobody wants to hear of for a while
* `server` - what the server says of itself, and how a queue stands
* `facts` - what decides whether a job is granted at the next claim
* `logs` - what a job has logged
* `chronicle` - places in the history of events, and pages of it
* `messages` - what arrives in an inbox
* `questions` - what one node may ask another one, verb by verb
* `names` - how a name is spelled in a key
* `agreed` - values on which every store, script and node must agree

All of them are imported from here, but for those of `samples`.
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
    EXPIRED,
    INTRODUCED_FOR,
    KEPT,
    KNOWN_SIGNALS,
    MAX_LINES_BYTES,
    MOST_SIGNAL_BYTES,
    MOST_SIGNALS,
    MOST_WAITS,
    PARENT_ENDED,
    PARKED_TILL,
    RECENT_TTL,
    SESSION_STOPPED,
    SIGNALS_TTL,
    STALLED,
    UNREADABLE,
    WIRE_VERSION,
)
from .chronicle import EventPage, Place
from .claims import ClaimAnswer, Commit, Grant, SettleAnswer, Settlement, Standing, Unreadable
from .facts import (
    BreakerFacts,
    JobFacts,
    LineFacts,
    NodeFacts,
    ParentFacts,
    QueueFacts,
    SessionFacts,
    TurnFacts,
    WaitFacts,
)
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
    Labels,
    Scheduled,
    SpecHead,
    callers_below,
    debounce_name,
    labels_of,
    turn_of,
)
from .logs import KeptLines, LogLine, read_lines, written
from .messages import (
    Ask,
    CancelRequest,
    Handed,
    InboxMessage,
    LockGranted,
    MayGoOn,
    SessionStopped,
    Signalled,
    Told,
    Wake,
    handed_at_once,
)
from .names import plain_name, queue_name
from .nodes import FailedJob, NodeInfo, NodeStanding, RenewAnswer, TickAnswer
from .outcomes import AttemptError, ResultRecord, Settled, reason_of_failure, told_of_failure
from .questions import (
    MOST_ROWS,
    CancelTask,
    Drain,
    Nothing,
    StackQuestion,
    StopWorker,
    TreeQuestion,
)
from .queues import (
    UNLIMITED,
    ForgetAnswer,
    Permit,
    QueueInfo,
    QueueLimits,
    QueueStats,
    SessionCounts,
    limits_of,
)
from .schedules import (
    DueSchedules,
    FireAnswer,
    Firing,
    LastRun,
    RunRecord,
    ScheduleRecord,
    ScheduleSpec,
    ScheduleStanding,
    UpsertAnswer,
    job_of_instant,
)
from .server import QueuePressure, ScriptFigures, ServerFigures
from .silences import Silence
from .states import NOBODY, Author, LockAnswer, LockPlace, LockStanding, StateRecord, StateWrite, WriteAnswer
from .waits import Signal, SignalAnswer, Wait, WaitAnswer

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
    "labels_of",
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
    "Author",
    "NOBODY",
    "StateRecord",
    "StateWrite",
    "WriteAnswer",
    "Wait",
    "WaitAnswer",
    "Signal",
    "SignalAnswer",
    "LockAnswer",
    "LockPlace",
    "LockStanding",
    "QueueLimits",
    "UNLIMITED",
    "limits_of",
    "Permit",
    "QueueStats",
    "SessionCounts",
    "ForgetAnswer",
    "QueueInfo",
    "Scheduled",
    "ScheduleSpec",
    "ScheduleStanding",
    "ScheduleRecord",
    "LastRun",
    "DueSchedules",
    "UpsertAnswer",
    "Firing",
    "FireAnswer",
    "RunRecord",
    "job_of_instant",
    "RenewAnswer",
    "FailedJob",
    "TickAnswer",
    "Silence",
    "QueuePressure",
    "ScriptFigures",
    "ServerFigures",
    "BreakerFacts",
    "JobFacts",
    "LineFacts",
    "NodeFacts",
    "ParentFacts",
    "QueueFacts",
    "SessionFacts",
    "TurnFacts",
    "WaitFacts",
    "NodeInfo",
    "NodeStanding",
    "Wake",
    "CancelRequest",
    "MayGoOn",
    "Signalled",
    "LockGranted",
    "SessionStopped",
    "Ask",
    "Told",
    "InboxMessage",
    "LogLine",
    "KeptLines",
    "Labels",
    "MAX_LINES_BYTES",
    "written",
    "read_lines",
    "MOST_ROWS",
    "TreeQuestion",
    "StackQuestion",
    "CancelTask",
    "Drain",
    "StopWorker",
    "Nothing",
    "EventPage",
    "Place",
    "plain_name",
    "queue_name",
    "WIRE_VERSION",
    "SESSION_STOPPED",
    "DEADLINE",
    "DEBOUNCED",
    "EXPIRED",
    "PARENT_ENDED",
    "STALLED",
    "UNREADABLE",
    "CHILD_TTL",
    "DEAD_TTL",
    "DEAD_COUNT",
    "RECENT_TTL",
    "ANNOUNCED_FOR",
    "ANNOUNCED_LATELY",
    "ANNOUNCE_EVERY",
    "KEPT",
    "KNOWN_SIGNALS",
    "MOST_SIGNALS",
    "MOST_SIGNAL_BYTES",
    "MOST_WAITS",
    "PARKED_TILL",
    "SIGNALS_TTL",
    "INTRODUCED_FOR",
]
