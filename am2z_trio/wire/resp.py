"""Pack, parse, and what an error reply means. The parsing is hiredis's."""

from __future__ import annotations

from typing import Any, Final

import hiredis

from am2z_trio.model.errors import AM2ZError, AuthenticationError, ResourceError, ServerReplyError

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
    }
)
"""Error codes that say: nothing has happened, and the same bytes may work later."""

pack: Final = hiredis.pack_command
ReplyError: Final = hiredis.ReplyError
ProtocolError: Final = hiredis.ProtocolError
Push: Final = hiredis.PushNotification


def new_parser() -> hiredis.Reader:
    """A parser that gives bytes for texts and `INCOMPLETE` for "feed me more".

    RESP3's own false would be mistaken for hiredis's default sign of that.
    """
    return hiredis.Reader(notEnoughData=INCOMPLETE)


def code_of(reply: Exception) -> str:
    """The leading word of an error reply: Redis's error code."""
    return str(reply).partition(" ")[0]


def error_from(reply: Exception) -> AM2ZError:
    """What an error reply means to us."""
    text = str(reply)
    code = code_of(reply)
    context: dict[str, Any] = {"reply": text}
    if code in ("WRONGPASS", "NOAUTH"):
        return AuthenticationError(f"Redis refused the username or password: {text}", context=context)
    if code == "OOM" or "OOM command not allowed" in text:
        return ResourceError("Redis has reached its maxmemory and refuses to store more", context=context)
    return ServerReplyError(f"Redis answered: {text}", context=context, retryable=code in NOT_APPLIED)
