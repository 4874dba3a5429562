"""A command on its way: what it is, how often it was sent, and who waits for its reply."""

from __future__ import annotations

from math import inf
from typing import Any, Final

from am2z_trio.concurrency import Spot
from am2z_trio.concurrency.told import Told
from am2z_trio.model.errors import AM2ZError, ValidationError

from .resp import ReplyError, error_from
from .scripts import Script

UNSENT: Final = inf
"""`Request.sent_at` of a request of which no byte was handed to the stream."""


class Request:
    """A command on its way, and whoever waits for its reply."""

    __slots__ = (
        "breaks",
        "by_push",
        "deaths",
        "dropped",
        "in_doubt",
        "packed",
        "refused_at",
        "replay_safe",
        "script",
        "sent_at",
        "spot",
        "tries",
    )

    def __init__(
        self,
        packed: bytes,
        spot: Spot | None,
        replay_safe: bool = True,
        script: Script | None = None,
        by_push: bool = False,
    ) -> None:
        self.packed = packed
        self.spot = spot
        """Where the caller is parked; `None` if nobody wants the reply."""
        self.replay_safe = replay_safe
        self.script = script
        """What the server is to be taught if it does not know this digest."""
        self.by_push = by_push
        """A (un)subscription: a push confirms it. Only its refusal is a reply in line."""
        self.sent_at = UNSENT
        """When the last of it was written, by the host's clock: the server may have seen some of it."""
        self.tries = 0
        """How often the server has put it off."""
        self.refused_at = inf
        """When the server has said first that the keys are at another node, or that its memory is full."""
        self.breaks = 0
        """How many connections in a row have broken while it was in flight."""
        self.in_doubt = False
        """A connection broke while it was in flight: the server may have applied it, or may do so yet."""
        self.deaths = 0
        """How often the server itself went down with them."""
        self.dropped = False
        """Not to be sent again: its caller is gone, or it belonged to a greeting."""

    @property
    def name(self) -> str:
        """The command's first word."""
        return self.packed.split(b"\r\n", 3)[2].decode(errors="replace")

    def describe(self) -> str:
        """For messages: what it is, and how large."""
        return f"{self.name} of {len(self.packed):,} bytes"

    def error_of(self, reply: Exception) -> AM2ZError:
        """What an error reply means to its caller: in doubt, unless its content is at fault, as that was the
        same before."""
        error = error_from(reply)
        if self.in_doubt and not isinstance(error, ValidationError):
            error.context["in_doubt"] = True
        return error

    def answer_of(self, reply: Any) -> Any:
        """What a reply means to its caller; an exception where it is an error."""
        return self.error_of(reply) if type(reply) is ReplyError else reply

    def drop(self) -> None:
        """The caller is gone. The slot stays in line: its reply is taken and thrown away."""
        self.spot = None
        self.dropped = True


class ToldRequest(Request):
    """One for which no task is parked: its own spot, it tells of the answer."""

    __slots__ = ("_told",)

    def __init__(self, packed: bytes, script: Script, told: Told) -> None:
        super().__init__(packed, self, True, script)
        self._told = told

    def wake(self, value: Any = None) -> None:
        told, self.spot = self._told, None
        # Who is told may hold this request: a circle, and all that it is about would wait to be collected.
        del self._told
        told(self.answer_of(value))

    async def park(self) -> Any:
        raise AssertionError("nobody waits for it")


def sent_once(packed: bytes) -> Request:
    """One whose reply nobody wants, and that is not sent again on another connection."""
    request = Request(packed, None)
    request.dropped = True
    return request
