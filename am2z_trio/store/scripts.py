"""The Lua files, each with the key functions and the steps it shares with others in front."""

from __future__ import annotations

import re
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
    """A script's text behind the key functions, the budgets, the clock, what guards it, and the shared
    steps: those that it uses, itself or through others.

    Every call makes them anew. For each name that a function takes from around it Lua looks through all names
    of the one around it that any has taken before: so the steps stand in a function of their own, within the
    one of what they all use. Lua has room for 200 names in one, and for 60 from outside of it.
    """
    ground = [*_statements(_BUDGETS), *_statements(_read("spoilt")), *_statements(_read("clock"))]
    shared = ground + [statement for step in steps for statement in _statements(_read(step))]
    words, used = _words(body), set[int]()
    while found := [n for n, (names, _) in enumerate(shared) if n not in used and names & words]:
        used.update(found)
        words.update(*(_words(shared[n][1]) for n in found))
    below = [shared[n][1] for n in sorted(used) if n < len(ground)]
    above = [shared[n][1] for n in sorted(used) if n >= len(ground)]
    inner = "\n".join((*above, "local function run()", body, "end", "return run()"))
    if above:
        inner = f"local function steps()\n{inner}\nend\nreturn steps()"
    source = "\n".join((*below, inner))
    return lua_functions(source) + "\n" + source


def _statements(source: str) -> list[tuple[set[str], str]]:
    """The statements of a file of steps, each with the names that it is about. One ends where the next line
    begins that is neither indented nor an end."""
    texts = list[str]()
    for line in source.splitlines():
        if line.startswith((" ", "end", "}")):
            texts[-1] += "\n" + line
        elif line and not line.startswith("--"):
            texts.append(line)
    return [(_names(text), text) for text in texts]


def _names(statement: str) -> set[str]:
    about = re.match(r"(?:local )?function (\w+)|local ([\w, ]+)", statement)
    assert about is not None, statement
    return _words(about[1] or about[2])


def _words(source: str) -> set[str]:
    """The names in a piece of Lua that are no fields."""
    code = re.sub(r"--.*", "", re.sub(r"'(?:\\.|[^'\\\n])*'", "''", source))
    return set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", code))


def _script(name: str, *steps: str) -> Script:
    return Script(name, assembled(_read(name), *steps))


_LOOKING: Final = ("jobs", "losses", "states", "registry", "absent", "renewal", "looking")

ANNOUNCE: Final = _script("announce")
BEAT: Final = _script("beat", *_LOOKING)
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
RENEW: Final = _script("renew", "renewal")
REVIVE: Final = _script("revive", "jobs")
REPORT: Final = _script("report", "jobs")
SETTLE: Final = _script("settle", "jobs", "losses", "states")
STEP_ASIDE: Final = _script("step_aside", "jobs")
STEP_BACK: Final = _script("step_back", "jobs")
STATS: Final = _script("stats", "servers")
TICK: Final = _script("tick", *_LOOKING)
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
