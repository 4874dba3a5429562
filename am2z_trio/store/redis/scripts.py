"""The scripts, and the library of functions in which they are, too."""

from __future__ import annotations

from typing import Final

from am2z_trio.model.options import QueueOptions
from am2z_trio.wire.scripts import Script

from .bundle import Bundler, read

REPLY_BYTES: Final = 4 * 1024 * 1024
"""Bytes of payloads after which a script stops and answers; its caller asks for the rest. One payload more
may come: a script always gets on."""

PUSHED_BYTES: Final = 32 * 1024
"""Largest outcome that is sent to who waits for it; larger ones are fetched. Redis closes a subscriber that
is behind by 32 MB, or by 8 MB for a minute (`client-output-buffer-limit pubsub`)."""

POSTED_BYTES: Final = 256 * 1024
"""Bytes of messages to one node in one script after which outcomes are not sent but fetched, and bytes of one
PUBLISH."""

MAX_STALLED: Final = QueueOptions().max_stalled_count
"""How often a plain job may be lost with its worker: its record does not say so."""

_AGREED: Final = {
    "REPLY_BYTES": REPLY_BYTES,
    "PUSHED_BYTES": PUSHED_BYTES,
    "POSTED_BYTES": POSTED_BYTES,
    "MAX_STALLED": MAX_STALLED,
}
"""Values that the scripts and this side must agree on."""

BUNDLER: Final = Bundler(_AGREED)
_script: Final = BUNDLER.script

ANNOUNCE: Final = _script("announce")
BEAT: Final = _script("beat")
BREAKER: Final = _script("breaker")
BURY: Final = _script("bury")
CALL_FOR: Final = _script("call_for")
CANCEL: Final = _script("cancel")
CLAIM: Final = _script("claim")
DEAD_JOBS: Final = _script("dead_jobs")
DEAD_PAGE: Final = _script("dead_page")
END_CHILDREN: Final = _script("end_children")
ENQUEUE: Final = _script("enqueue")
FORGET_QUEUE: Final = _script("forget_queue")
HOLDINGS: Final = _script("holdings")
JOIN: Final = _script("join")
LINEAGE: Final = _script("lineage")
LEAVE: Final = _script("leave")
PAUSE: Final = _script("pause")
PROBE: Final = Script("probe", read("probe"))
QUEUES: Final = _script("queues")
RECONCILE: Final = _script("reconcile")
RENEW: Final = _script("renew")
REVIVE: Final = _script("revive")
REPORT: Final = _script("report")
SETTLE: Final = _script("settle")
STEP_ASIDE: Final = _script("step_aside")
STEP_BACK: Final = _script("step_back")
STATS: Final = _script("stats")
TICK: Final = _script("tick")
UNPARK: Final = _script("unpark")
VIEW: Final = _script("view")
WITHDRAW: Final = _script("withdraw")

STOP_SESSION: Final = _script("stop_session")
SESSIONS: Final = _script("sessions")
STOPS: Final = _script("stops")
SESSION_STATS: Final = _script("session_stats")

SET_TTL: Final = _script("set_ttl")
READ_STATE: Final = _script("read_state")
WRITE_STATE: Final = _script("write_state")
HISTORY: Final = _script("history")
ACQUIRE_LOCK: Final = _script("acquire_lock")
RENEW_LOCK: Final = _script("renew_lock")
RELEASE_LOCK: Final = _script("release_lock")

LIBRARY: Final = BUNDLER.library()
