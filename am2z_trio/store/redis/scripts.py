"""The scripts, each with what it is sent, and the library of functions in which they are, too.

First come the names of what a script is sent once, then those of its records, of which it is sent any number.
"""

from __future__ import annotations

from typing import Final

from am2z_trio.wire.scripts import Script

from . import agreed
from .arguments import ManyJobs, MoreOfJob, MoreOfSettlement
from .bundle import Bundler, read
from .signature import Names, Signature

BUNDLER: Final = Bundler(agreed.rendered())


def _script(name: str, front: str, *records: str | Names) -> Script:
    return BUNDLER.script(name, Signature.of(front, *records))


CALL_FOR: Final = _script("jobs/call_for", "id")
CANCEL: Final = _script("jobs/cancel", "clock ttl id reason leaving")
CLAIM: Final = _script(
    "jobs/claim",
    "clock node queue seq limit nonce ttl flow_starts flow_per set_aside most_active per_session calls_only "
    "in_a_row unasked",
)
END_CHILDREN: Final = _script("jobs/end_children", "clock ttl node")
ENQUEUE: Final = _script(
    "jobs/enqueue",
    "clock ttl nonce own rests",
    *(ManyJobs._fields, "session skey", "id state input", "state"),
    *("id queue spec origin more", MoreOfJob._fields, "session skey"),
)
REPORT: Final = _script("jobs/report", "clock id token progress")
SETTLE: Final = _script(
    "jobs/settle", "clock ttl state_ttl history", "id token outcome result more", MoreOfSettlement._fields
)
STEP_ASIDE: Final = _script("jobs/step_aside", "id token")
STEP_BACK: Final = _script("jobs/step_back", "id token")
VIEW: Final = _script("jobs/view", "", "id")

BURY: Final = _script("dead_letters/drop", "", "id")
DEAD_JOBS: Final = _script("dead_letters/look", "", "id")
DEAD_PAGE: Final = _script("dead_letters/page", "clock queue offset limit")
REVIVE: Final = _script("dead_letters/revive", "clock nonce", "id")

STOP_SESSION: Final = _script("sessions/stop", "clock ttl name session node cursor batch running refuse")
SESSIONS: Final = _script("sessions/active", "cursor batch")
STOPS: Final = _script("sessions/stops", "", "name")
SESSION_STATS: Final = _script("sessions/counts", "name cursor batch")

ANNOUNCE: Final = _script("queues/announce", "clock node serves", "queue processor options")
FORGET_QUEUE: Final = _script("queues/forget", "clock queue")
PAUSE: Final = _script("queues/pause", "queue on")
QUEUES: Final = _script("queues/known", "clock first most")
STATS: Final = _script("queues/stats", "clock", "queue")
UNPARK: Final = _script("queues/unpark", "node queue")
WITHDRAW: Final = _script("queues/withdraw", "clock node retires", "queue")

BEAT: Final = _script("nodes/beat", "clock node lease strange step every ttl grace batch most_queues")
HOLDINGS: Final = _script("nodes/holdings", "node cursor batch")
JOIN: Final = _script("nodes/join", "clock node lease grace")
LINEAGE: Final = _script("nodes/lineage", "new_name")
LEAVE: Final = _script("nodes/leave", "clock ttl node cursor")
PROBE: Final = Script("nodes/probe", read("nodes/probe"))
RECONCILE: Final = _script("nodes/reconcile", "", "id token")
RENEW: Final = _script("nodes/renew", "clock node lease strange step")
TICK: Final = _script("nodes/tick", "clock ttl node lease grace batch most_queues reaps")

SET_TTL: Final = _script("states/set_ttl", "clock name ttl")
READ_STATE: Final = _script("states/read", "clock name")
WRITE_STATE: Final = _script(
    "states/write", "clock node name seq version sha new_sha blob ttl default_ttl history token"
)
HISTORY: Final = _script("states/history", "clock name first most")

ACQUIRE_LOCK: Final = _script("locks/acquire", "clock name token node lease")
RENEW_LOCK: Final = _script("locks/renew", "clock name token lease")
RELEASE_LOCK: Final = _script("locks/release", "clock name token node lease")

BREAKER: Final = _script("breakers/step", "clock processor step id most recovery half_open")

LIBRARY: Final = BUNDLER.library()
