"""What a job's id looks like, and which ids a user may choose: one rule for all who show or take one.

| id | of |
|---|---|
| `1k9x62c0d…-2a` | a job whose id nobody has chosen: the engine's own, by when it was made |
| `order-17` | a job without a session that was given `job_id="order-17"` |
| `@alice/order-17` | the same in session `alice`; of an odd name it is the digest, `@~5d41…/order-17` |
| `<id>/<key>:<digest>` | a durable call of the job `<id>` |
| `<id>/><key>:<digest>` | one that the job `<id>` has submitted, and does not wait for |
| `t/<processor>/<digest>/<time>` | the one of a throttle's window, which began at that time in ms |
| `s/<schedule>/<time>` | that of a schedule, for a nominal time in ms; `s/<schedule>/now-…`: beside these |

This is the job's name everywhere: in `Job.id`, `ctx.execution_id`, results, events, logs, dead letters, and
as the key of its record. What a user chooses is a name within a session, or among the jobs that have none.
With no '/' in it and no '@' in front it is neither an id of another session nor that of a call, whatever it
says. An id in full may be given where it belongs, too; one that the engine has made can be asked for, and not
chosen.

An id that the engine has made begins with the time, in ms since the epoch by its node's clock: as texts such
ids are in the order in which they were made, and what some of them begin with is a span of time.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from .checks import require
from .limits import KIB, MAX_JOB_ID_BYTES, MAX_KEY_BYTES
from .records import plain_name

MAX_CHARACTERS: Final = MAX_JOB_ID_BYTES // 4
"""Of an id that a user chose, whatever they are."""

MAX_ROOT_BYTES: Final = KIB
"""Of an id in that of its call: one that was chosen, with its session, is shorter."""

RULE: Final = (
    f"must be a text of 1 to {MAX_CHARACTERS} characters, none of them '/' or a control character, and the "
    "first no '@'; or an id in full, of this very session"
)

_UNFIT: Final = re.compile("[/\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"
"""Of base 32: texts of as many digits are in the order of their numbers."""

_PAIRS: Final = [first + second for first in _DIGITS for second in _DIGITS]

_OF_TIME: Final = 9
"""Digits of a time in ms, until the year 3084."""

_MADE: Final = re.compile(r"[0-9a-v]{19}-[0-9a-f]+")

MADE_ALIKE: Final = 20
"""Characters that ids have in common which one node has made within one ms: the counter follows."""

_BEGINNING: Final = re.compile(r"[0-9a-v]{1,9}")


def maker() -> str:
    """What tells the ids that one node makes from those of all others: 50 random bits, so that nobody has to
    be asked."""
    return "".join(secrets.choice(_PAIRS) for _ in range(5))


def made_prefix(at: int, by: str) -> str:
    """What ids begin with that a `maker` makes at a time, in ms since the epoch; a number follows, in hex."""
    high = f"{_DIGITS[at >> 40 & 31]}{_PAIRS[at >> 30 & 1023]}{_PAIRS[at >> 20 & 1023]}"
    return f"{high}{_PAIRS[at >> 10 & 1023]}{_PAIRS[at & 1023]}{by}-"


def made_at(id: str) -> int | None:
    """When the engine has made this id, in ms since the epoch by its node's clock; `None` for any other."""
    return int(id[:_OF_TIME], 32) if _MADE.fullmatch(id) else None


def made_within(beginning: str) -> tuple[int, int] | None:
    """The first and the last ms at which an id can have been made that begins so; `None`: none begins so."""
    digits = _BEGINNING.match(beginning)
    if digits is None or (len(beginning) > len(digits[0]) < _OF_TIME):
        return None
    return int(digits[0].ljust(_OF_TIME, "0"), 32), int(digits[0].ljust(_OF_TIME, "v"), 32)


def is_made(id: str) -> bool:
    """Whether the engine has made it, for a job that nobody called."""
    return _MADE.fullmatch(id) is not None


def chosen_id(job_id: object, session: str | None) -> str:
    """The id in full of what a user gives as `job_id`. Raises `ConfigurationError` for what cannot be one."""
    text = str.__str__(job_id) if isinstance(job_id, str) else ""
    scope = "" if session is None else f"@{plain_name(session)}/"
    name = text.removeprefix(scope)
    fits = 0 < len(name) <= MAX_CHARACTERS and name[0] != "@" and _UNFIT.search(name) is None
    require(fits, "job_id", job_id, RULE)
    return text if is_made(text) else scope + name


def meant_id(id: str, session: str) -> str:
    """The id in full of a job that is asked for in a session, by what was chosen or in full."""
    return id if not id or "/" in id or is_made(id) else f"@{plain_name(session)}/{id}"


def call_key(key: str) -> str:
    """The key of a call as it stands in ids: one that could be taken for two, or for one that the engine or a
    digest has made, or for that of a job that is only sent, is its digest."""
    return key if _UNFIT.search(key) is None and key[0] not in "#~>" else _digest_of(key)


def sent_key(key: str) -> str:
    """The key of a job that another one submits and does not wait for, as it stands in ids."""
    return f">{key}"


def child_id(root: str, key: str, processor: str, state: bytes, session: str = "") -> str:
    """The id of a durable call: the same for the same call of the same job, and no other. Bounded: ids of
    jobs that call jobs that call jobs do not grow for ever."""
    digest = hashlib.sha256(f"{processor}\0{session}\0".encode() + state).hexdigest()[:16]
    return f"{_in_short(root, MAX_ROOT_BYTES)}/{_in_short(key, MAX_KEY_BYTES)}:{digest}"


def throttled_id(processor: str, session: str, key: str, window: float, now: float) -> str:
    """The id of all jobs of a throttle's window: that at `now`, in seconds since the epoch."""
    digest = hashlib.sha256(f"{processor}\0{session}\0{window!r}\0{key}".encode()).hexdigest()[:16]
    return f"t/{processor}/{digest}/{int(now // window * window * 1000)}"


def is_throttled(id: str) -> bool:
    """Whether it is that of all jobs of a throttle's window."""
    return id.startswith("t/")


def inline_id(root: str, key: str) -> str:
    """What a call is called that is run within the job itself: the store knows nothing of it."""
    return f"{_in_short(root, MAX_ROOT_BYTES)}/{_in_short(key, MAX_KEY_BYTES)}"


def _in_short(text: str, most: int) -> str:
    return text if len(text) * 4 <= most or len(text.encode()) <= most else _digest_of(text)


def _digest_of(text: str) -> str:
    return f"~{hashlib.sha256(text.encode()).hexdigest()[:40]}"
