"""The scripts, and the library of functions in which they are, too."""

from __future__ import annotations

from typing import Final

from am2z_trio.wire.scripts import Script

from . import agreed
from .bundle import Bundler, read

BUNDLER: Final = Bundler(agreed.rendered())
_script: Final = BUNDLER.script

CALL_FOR: Final = _script("jobs/call_for")
CANCEL: Final = _script("jobs/cancel")
CLAIM: Final = _script("jobs/claim")
END_CHILDREN: Final = _script("jobs/end_children")
ENQUEUE: Final = _script("jobs/enqueue")
REPORT: Final = _script("jobs/report")
SETTLE: Final = _script("jobs/settle")
STEP_ASIDE: Final = _script("jobs/step_aside")
STEP_BACK: Final = _script("jobs/step_back")
VIEW: Final = _script("jobs/view")

BURY: Final = _script("dead_letters/drop")
DEAD_JOBS: Final = _script("dead_letters/look")
DEAD_PAGE: Final = _script("dead_letters/page")
REVIVE: Final = _script("dead_letters/revive")

STOP_SESSION: Final = _script("sessions/stop")
SESSIONS: Final = _script("sessions/active")
STOPS: Final = _script("sessions/stops")
SESSION_STATS: Final = _script("sessions/counts")

ANNOUNCE: Final = _script("queues/announce")
FORGET_QUEUE: Final = _script("queues/forget")
PAUSE: Final = _script("queues/pause")
QUEUES: Final = _script("queues/known")
STATS: Final = _script("queues/stats")
UNPARK: Final = _script("queues/unpark")
WITHDRAW: Final = _script("queues/withdraw")

BEAT: Final = _script("nodes/beat")
HOLDINGS: Final = _script("nodes/holdings")
JOIN: Final = _script("nodes/join")
LINEAGE: Final = _script("nodes/lineage")
LEAVE: Final = _script("nodes/leave")
PROBE: Final = Script("nodes/probe", read("nodes/probe"))
RECONCILE: Final = _script("nodes/reconcile")
RENEW: Final = _script("nodes/renew")
TICK: Final = _script("nodes/tick")

SET_TTL: Final = _script("states/set_ttl")
READ_STATE: Final = _script("states/read")
WRITE_STATE: Final = _script("states/write")
HISTORY: Final = _script("states/history")

ACQUIRE_LOCK: Final = _script("locks/acquire")
RENEW_LOCK: Final = _script("locks/renew")
RELEASE_LOCK: Final = _script("locks/release")

BREAKER: Final = _script("breakers/step")

LIBRARY: Final = BUNDLER.library()
