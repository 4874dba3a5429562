"""Which reply answers which request: the line of one connection's requests.

Replies come in the order of requests, with exceptions that this module knows: pushes of RESP3 answer
nobody, except that they confirm a SUBSCRIBE and its kin, once per channel; in RESP2 the messages of
a subscriber are arrays in between.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from .frames import first_words, length
from .plan import Fault, Hit

GREETING: Final = frozenset({b"HELLO", b"AUTH", b"SELECT", b"CLIENT", b"INFO", b"COMMAND"})
"""Commands with which clients begin a connection. The first command that is none of these ends the
greeting."""

_IDENTITY: Final = frozenset({b"HELLO", b"AUTH", b"SELECT"})
_CONFIRMED: Final = frozenset(
    {b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE"}
)
_MESSAGES: Final = frozenset({b"message", b"pmessage", b"smessage"})
# After these, requests and replies are no pairs any more.
_UNPAIRED: Final = frozenset({b"MONITOR", b"SYNC", b"PSYNC"})


class Request:
    """A request on its way. Most are alike: see `PLAIN`."""

    __slots__ = ("confirms", "counted", "fault", "heals", "hit", "left")

    def __init__(self, *, counted: bool = True, confirms: bytes = b"", left: int = 1) -> None:
        self.counted = counted
        """Not part of a greeting."""
        self.fault: Fault | None = None
        """What is to happen to its reply."""
        self.heals = 0
        """How often all had been healed when it met its fault."""
        self.hit: Hit | None = None
        """What is to be counted when that has happened."""
        self.confirms = confirms
        """The kind of push (or array) that confirms it, such as `subscribe`; empty for all others."""
        self.left = left
        """Confirmations to come; 0: as many as there are channels when its turn has come."""


PLAIN: Final = Request()
_SPARED: Final = Request(counted=False)


class Line:
    """The requests of one connection that were sent and are not answered."""

    def __init__(self, greeting: frozenset[bytes] = GREETING) -> None:
        self.waiting: deque[Request] = deque()
        """Grows as far as the client pipelines."""
        self.identity: dict[bytes, bytes] = {}
        """The connection's last HELLO, AUTH and SELECT, in order."""
        self._greeting = greeting
        self._greeted = not greeting
        self._channels: dict[bytes, set[bytes]] = {}
        self._subscribed_by_array = False

    def sort(self, frame: bytes) -> Request | None:
        """Say what kind of request this is; `None`: one after which there is nothing to pair.

        It is not in line yet. A request that the server does not answer (an empty line) has `left` -1.
        """
        words = first_words(frame, 1)
        name = words[0].upper() if words else b""
        if name in _IDENTITY:
            self.identity.pop(name, None)
            self.identity[name] = frame
        if not self._greeted:
            self._greeted = name not in self._greeting
            if not self._greeted:
                return None if _silences(name, frame) else _SPARED
        if name in _CONFIRMED:
            return Request(confirms=name.lower(), left=length(frame) - 1)
        if not name:
            return Request(counted=False, left=-1)
        return None if name in _UNPAIRED or _silences(name, frame) else PLAIN

    def answered(self, frame: bytes) -> tuple[Request | None, bool]:
        """Take a message of the server's: whose it is, and whether it is the last of its answer.

        `None`: nobody's; a push, or the word of a server that speaks unasked.
        """
        kind = frame[:1]
        head = self.waiting[0] if self.waiting else None
        if kind == b">" or (kind == b"*" and (self._subscribed_by_array or (head and head.confirms))):
            return self._pushed(frame, kind == b"*", head)
        if head is None:
            return None, False
        # Also the refusal of a SUBSCRIBE, which is one for all its channels.
        self.waiting.popleft()
        return head, True

    def _pushed(self, frame: bytes, array: bool, head: Request | None) -> tuple[Request | None, bool]:
        words = first_words(frame, 2)
        kind = words[0] if words else b""
        if head is None or not head.confirms or kind != head.confirms:
            if array and kind not in _MESSAGES and head is not None:
                # A PING of a subscriber, in RESP2.
                self.waiting.popleft()
                return head, True
            return None, False
        channels = self._channels.setdefault(kind.replace(b"unsubscribe", b"subscribe"), set())
        if head.left == 0:
            head.left = max(len(channels), 1)
        channel = words[1] if len(words) > 1 else b""
        if b"unsubscribe" in kind:
            channels.discard(channel)
        else:
            channels.add(channel)
        self._subscribed_by_array = array and any(self._channels.values())
        head.left -= 1
        if head.left == 0:
            self.waiting.popleft()
            return head, True
        return head, False


def _silences(name: bytes, frame: bytes) -> bool:
    """CLIENT REPLY OFF and SKIP leave requests without a reply."""
    return name == b"CLIENT" and [word.upper() for word in first_words(frame, 2)][1:] == [b"REPLY"]
