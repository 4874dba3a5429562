"""The Lua files, each with the key functions and the steps it shares with others in front."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from am2z_trio.wire.scripts import Script

from .keys import lua_functions

REPLY_BYTES: Final = 4 * 1024 * 1024
"""Bytes of payloads after which a script stops and answers; its caller asks for the rest. One payload more
may come: a script always gets on."""

PUSHED_BYTES: Final = 32 * 1024
"""Largest outcome that is sent to who waits for it; larger ones are fetched. Redis closes a subscriber that
is behind by 32 MB, or by 8 MB for a minute (`client-output-buffer-limit pubsub`)."""

POSTED_BYTES: Final = 256 * 1024
"""Bytes of messages to one node in one script after which outcomes are not sent but fetched, and bytes of one
PUBLISH."""

_BUDGETS: Final = (
    f"local REPLY_BYTES, PUSHED_BYTES, POSTED_BYTES = {REPLY_BYTES}, {PUSHED_BYTES}, {POSTED_BYTES}"
)

_FOLDER: Final = files("am2z_trio.store") / "lua"


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def assembled(body: str, *steps: str) -> str:
    """A script's text behind the key functions, the budgets, what guards it, the clock, and shared steps.

    In a function of its own: Lua has room for 200 local names in one, and for 60 from outside of it.
    """
    parts = (
        _BUDGETS,
        *map(_read, ("spoilt", "clock", *steps)),
        "local function run()",
        body,
        "end",
        "return run()",
    )
    source = "\n".join(parts)
    return lua_functions(source) + "\n" + source


def _script(name: str, *steps: str) -> Script:
    return Script(name, assembled(_read(name), *steps))


ANNOUNCE: Final = _script("announce")
BREAKER: Final = _script("breaker")
BURY: Final = _script("bury", "jobs")
CALL_FOR: Final = _script("call_for", "jobs")
CANCEL: Final = _script("cancel", "jobs")
CLAIM: Final = _script("claim", "jobs", "states")
DEAD_JOBS: Final = _script("dead_jobs")
DEAD_PAGE: Final = _script("dead_page")
END_CHILDREN: Final = _script("end_children", "jobs")
ENQUEUE: Final = _script("enqueue", "jobs")
FORGET_QUEUE: Final = _script("forget_queue", "servers", "registry")
HOLDINGS: Final = _script("holdings")
JOIN: Final = _script("join")
LINEAGE: Final = _script("lineage")
LEAVE: Final = _script("leave", "jobs", "absent")
PAUSE: Final = _script("pause", "jobs")
PROBE: Final = Script("probe", _read("probe"))
QUEUES: Final = _script("queues", "servers")
RECONCILE: Final = _script("reconcile", "jobs", "losses")
RENEW: Final = _script("renew")
REVIVE: Final = _script("revive", "jobs")
REPORT: Final = _script("report", "jobs")
SETTLE: Final = _script("settle", "jobs", "losses", "states")
STEP_ASIDE: Final = _script("step_aside", "jobs")
STEP_BACK: Final = _script("step_back", "jobs")
STATS: Final = _script("stats", "servers")
TICK: Final = _script("tick", "jobs", "losses", "states", "registry", "absent")
UNPARK: Final = _script("unpark", "jobs")
VIEW: Final = _script("view")
WITHDRAW: Final = _script("withdraw", "servers", "absent")

STOP_SESSION: Final = _script("stop_session", "jobs", "states")
SESSIONS: Final = _script("sessions")
STOPS: Final = _script("stops")
SESSION_STATS: Final = _script("session_stats")

SET_TTL: Final = _script("set_ttl", "states")
READ_STATE: Final = _script("read_state", "states")
WRITE_STATE: Final = _script("write_state", "states")
HISTORY: Final = _script("history", "states")
ACQUIRE_LOCK: Final = _script("acquire_lock", "states")
RENEW_LOCK: Final = _script("renew_lock", "states")
RELEASE_LOCK: Final = _script("release_lock", "states")
