"""The scripts, each with what it is sent, and the library of functions in which they are, too.

First come the names of what a script is sent once, then those of its records, of which it is sent any number.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Final

from am2z_trio.wire.scripts import Library, Script

from . import agreed
from .arguments import ManyJobs, MoreOfJob, MoreOfSettlement
from .bundle import Bundler, read
from .signature import Names, Signature

BUNDLER: Final = Bundler(agreed.rendered())


def _script(name: str, front: str, *records: str | Names) -> Script:
    return BUNDLER.script(name, Signature.of(front, *records))


CALL_FOR: Final = _script("jobs/call_for", "id")
CANCEL: Final = _script("jobs/cancel", "clock ttl recent id reason leaving")
CLAIM: Final = _script(
    "jobs/claim",
    "clock node queue seq limit nonce ttl recent flow_starts flow_per set_aside most_active per_session "
    "calls_only in_a_row unasked",
)
END_CHILDREN: Final = _script("jobs/end_children", "clock ttl recent node")
ENQUEUE: Final = _script(
    "jobs/enqueue",
    "clock ttl recent nonce own rests",
    *(ManyJobs._fields, "session skey", "id state input", "state"),
    *("id queue spec origin more", MoreOfJob._fields, "session skey"),
)
PROMOTE: Final = _script("jobs/promote", "id")
REPORT: Final = _script("jobs/report", "clock id token progress")
SETTLE: Final = _script(
    "jobs/settle",
    "clock ttl recent state_ttl history",
    *("id token outcome result more", MoreOfSettlement._fields),
)
STEP_ASIDE: Final = _script("jobs/step_aside", "id token")
STEP_BACK: Final = _script("jobs/step_back", "id token")
VIEW: Final = _script("jobs/view", "", "id")

BURY: Final = _script("dead_letters/drop", "", "id")
DEAD_JOBS: Final = _script("dead_letters/look", "", "id")
DEAD_PAGE: Final = _script("dead_letters/page", "clock queue offset limit")
REVIVE: Final = _script("dead_letters/revive", "clock nonce", "id")

PAGE: Final = _script("inspection/page", "clock queue source first most wanted")
ROWS: Final = _script("inspection/rows", "", "id")
PLACE: Final = _script("inspection/place", "queue at")
SPECS: Final = _script("inspection/specs", "", "id")
CHILDREN: Final = _script("inspection/children", "id cursor batch")
OF_SESSION: Final = _script("inspection/of_session", "name cursor batch")
TOTALS: Final = _script("inspection/totals", "clock", "queue")

STOP_SESSION: Final = _script(
    "sessions/stop", "clock ttl recent name session node cursor batch running refuse"
)
SESSIONS: Final = _script("sessions/active", "cursor batch")
STOPS: Final = _script("sessions/stops", "", "name")
SESSION_STATS: Final = _script("sessions/counts", "name cursor batch")
LOOK_AT_SESSIONS: Final = _script("sessions/look", "clock", "name")

ANNOUNCE: Final = _script("queues/announce", "clock node serves", "queue processor options begins")
FORGET_QUEUE: Final = _script("queues/forget", "clock queue")
PAUSE: Final = _script("queues/pause", "queue on")
QUEUES: Final = _script("queues/known", "clock first most")
STATS: Final = _script("queues/stats", "clock", "queue")
UNPARK: Final = _script("queues/unpark", "node queue")
WITHDRAW: Final = _script("queues/withdraw", "clock node retires", "queue")

BEAT: Final = _script("nodes/beat", "clock node lease strange step every ttl recent grace batch most_queues")
HOLDINGS: Final = _script("nodes/holdings", "node cursor batch")
INTRODUCE: Final = _script("nodes/introduce", "node info")
JOIN: Final = _script("nodes/join", "clock node lease grace")
LINEAGE: Final = _script("nodes/lineage", "new_name")
LEAVE: Final = _script("nodes/leave", "clock ttl recent node cursor")
PRESENT: Final = _script("nodes/present", "clock first most")
PROBE: Final = Script("nodes/probe", partial(read, "nodes/probe"))
RECONCILE: Final = _script("nodes/reconcile", "", "id token")
RENEW: Final = _script("nodes/renew", "clock node lease strange step")
TICK: Final = _script("nodes/tick", "clock ttl recent node lease grace batch most_queues reaps")

KEEP_LOGS: Final = _script("logs/keep", "most", "id token lines")
READ_LOGS: Final = _script("logs/read", "", "id")
FLUSH: Final = _script("samples/flush", "clock node seq", "queue told")
CENSUS: Final = _script("samples/census", "clock", "queue")
READ_SAMPLES: Final = _script("samples/read", "clock queue width within first most")

SET_TTL: Final = _script("states/set_ttl", "clock name ttl")
READ_STATE: Final = _script("states/read", "clock name")
WRITE_STATE: Final = _script(
    "states/write", "clock node name seq version sha new_sha blob ttl default_ttl history token"
)
HISTORY: Final = _script("states/history", "clock name first most")

ACQUIRE_LOCK: Final = _script("locks/acquire", "clock name token node lease")
LOOK_AT_LOCK: Final = _script("locks/look", "clock name")
RENEW_LOCK: Final = _script("locks/renew", "clock name token lease")
RELEASE_LOCK: Final = _script("locks/release", "clock name token node lease")

NEWEST_BULKS: Final = _script("bulks/newest", "most")
READ_BULKS: Final = _script("bulks/read", "", "id")
WRITE_BULK: Final = _script("bulks/write", "clock id nth record")
FACTS: Final = _script("inspection/facts", "clock id")
PRESSURE: Final = _script("inspection/pressure", "clock", "queue")

SILENCE: Final = _script("silences/put", "clock name ms by reason")
LIFT_SILENCE: Final = _script("silences/lift", "clock name")
SILENCES: Final = _script("silences/list", "clock")
UPSERT_SCHEDULE: Final = _script("schedules/upsert", "nonce name spec owner next due tz mark meant take_over")
LOOK_AT_SCHEDULES: Final = _script("schedules/look", "clock", "name")
DUE_SCHEDULES: Final = _script("schedules/due", "clock offset most")
SCHEDULES: Final = _script("schedules/page", "offset limit")
SCHEDULE_STANDINGS: Final = _script("schedules/standings", "clock offset limit")
SET_SCHEDULE: Final = _script("schedules/set", "name mark rev expected pause next due tz")
REMOVE_SCHEDULE: Final = _script("schedules/remove", "name owner")
RUNS_OF_SCHEDULE: Final = _script("schedules/runs", "name offset limit")
FIRE: Final = _script(
    "schedules/fire",
    "clock ttl recent nonce name mark rev expected stands cancel pause skipped missed next due held history "
    "times",
    "word",
)

WAIT: Final = _script("waits/wait", "clock id token key name ms")
PACK: Final = _script("waits/pack", "id token keys")
SIGNAL: Final = _script("waits/signal", "id op name value")
SIGNAL_SESSION: Final = _script("waits/signal_session", "clock skey op name value")

BREAKER: Final = _script("breakers/step", "clock processor step id most recovery half_open")

AGREE: Final = _script("chronicle/agree", "said")
NEWEST_EVENT: Final = _script("chronicle/newest", "")
READ_EVENTS: Final = _script("chronicle/events", "first most back")
TELL: Final = _script("chronicle/tell", "clock node calls call", "group written")
NOTE: Final = _script("chronicle/note", "clock id refused entry")
NOTES: Final = _script("chronicle/notes", "first most")


@cache
def library() -> Library:
    """All of them as functions; they know it from now on. Made once, by the first who will ask a server."""
    return BUNDLER.library()
