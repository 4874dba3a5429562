"""Pack, parse, and what an error reply means. The parsing is hiredis's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

from am2z_trio.model.errors import (
    AccessDeniedError,
    AM2ZError,
    AuthenticationError,
    PayloadTooLargeError,
    ResourceError,
    ServerReplyError,
)

Argument = bytes | str | int | float

INCOMPLETE: Final = object()
"""What the parser answers when the next reply is not all there."""

NOT_APPLIED: Final = frozenset(
    {
        "NOSCRIPT",
        "LOADING",
        "BUSY",
        "READONLY",
        "MISCONF",
        "NOREPLICAS",
        "MASTERDOWN",
        "TRYAGAIN",
        "CLUSTERDOWN",
        "MOVED",
        "ASK",
    }
)
"""Error codes that say: nothing has happened, and the same bytes may work later."""

ELSEWHERE: Final = frozenset({"MOVED", "ASK"})
"""Those of a cluster whose slots are being moved: it passes, or the keys are gone from this node for good."""

# Its stub allows a single argument, and says nothing of the answer.
pack: Final = cast(Callable[[tuple[Argument, ...]], bytes], hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]
"""A command's bytes. `TypeError` for an argument that is not text, bytes or a number."""

ReplyError: Final = hiredis.ReplyError
ProtocolError: Final = hiredis.ProtocolError
Push: Final = hiredis.PushNotification

# Redis 6.2 wraps what a command within a script was refused with (7.0 passes it on):
# "ERR Error running script (call to f_<sha1>): @user_script:1: @user_script: 1: -OOM command not ..."
_IN_SCRIPT: Final = re.compile(
    r"ERR Error running script \(call to f_[0-9a-f]{40}\): [^-]*-([A-Z]+) ", re.ASCII
)

# A command within a script that the user may not run has no code of its own: of 7.0 and before, and after.
_DENIED_IN_SCRIPT: Final = ("The user executing the script can't ", "ACL failure in script: ")


def new_parser() -> hiredis.Reader:
    """A parser that gives bytes for texts and `INCOMPLETE` for "feed me more".

    RESP3's own false would be mistaken for hiredis's default sign of that.
    """
    return hiredis.Reader(notEnoughData=INCOMPLETE)


def code_of(reply: Exception) -> str:
    """Redis's error code: the leading word of an error reply."""
    text = str(reply)
    wrapped = _IN_SCRIPT.match(text)
    return wrapped[1] if wrapped else text.partition(" ")[0]


def is_denied(text: str) -> bool:
    """Whether an error reply says that the user may not do this, in a script or at all."""
    return text.startswith("NOPERM") or any(words in text for words in _DENIED_IN_SCRIPT)


def error_from(reply: Exception) -> AM2ZError:
    """What an error reply means to us."""
    text = str(reply)
    code = code_of(reply)
    context: dict[str, Any] = {"reply": text}
    if code in ("WRONGPASS", "NOAUTH"):
        return AuthenticationError(f"Redis refused the username or password: {text}", context=context)
    if is_denied(text):
        return AccessDeniedError(f"Redis's access rules refuse it: {text}", context=context)
    if code in ELSEWHERE:
        return ServerReplyError(
            f"the keys are at another node of the cluster: give the URL of that one. Redis answered: {text}",
            context=context,
            retryable=True,
        )
    if text.startswith("ERR Protocol error: invalid bulk length"):
        return PayloadTooLargeError(
            "a value is larger than the server takes (its proto-max-bulk-len)", context=context
        )
    if code == "OOM":
        return ResourceError("Redis has reached its maxmemory and refuses to store more", context=context)
    return ServerReplyError(f"Redis answered: {text}", context=context, retryable=code in NOT_APPLIED)
