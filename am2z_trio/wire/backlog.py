"""Calls that no connection has: what is sent again with the next one, and what never will be."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

from am2z_trio.model.errors import AM2ZError, NetworkError, UnknownOutcomeError
from am2z_trio.model.logs import Log

from .connection import UNSENT, Call, Connection

SUSPECT: Final = 2
"""Connections in a row that have broken while a call was in flight, after which it is sent alone."""

GUILTY: Final = 3
"""The same, after which the call fails: the last connection it has broken all alone."""

DEADLY: Final = 8
"""Times that the server may go down with a call in flight before that counts against the call."""

logger: Final = Log("am2z_trio.wire")


class Backlog:
    """Grows with the callers that wait, and with what is sent without waiting while cut off.

    A call may itself be what breaks the connection: the server ends one on which a request or an answer
    has more bytes than it allows. So what was in flight when two connections in a row broke is sent one by
    one, each call alone on the line, before anything else; the one with which the third connection breaks
    fails with `UnknownOutcomeError`, and those behind it are sent. A server that went down itself did so for
    its own reasons, up to a number of times.
    """

    def __init__(self, where: str) -> None:
        """`where`: the server, as messages name it."""
        self.doom: AM2ZError | None = None
        """The server is gone for good: what fails from now on fails with this error."""
        self._where = where
        self._calls: deque[Call] = deque()
        self._closed = False

    def append(self, call: Call) -> None:
        """Have it sent with the next connection, if there may be one."""
        if self._closed:
            self.fail(call)
        else:
            self._calls.append(call)

    async def send(self, connection: Connection) -> None:
        """Send all, in their order, suspects one by one. When this returns none is left."""
        calls = self._calls
        while calls:
            if calls[0].breaks >= SUSPECT and not calls[0].dropped:
                await connection.drain()
                connection.send(calls.popleft())
                await connection.drain()
            else:
                call = calls.popleft()
                if not call.dropped:
                    connection.send(call)

    def keep(self, put_off: list[Call], unanswered: list[Call]) -> None:
        """Sort what a lost connection leaves: sent again before all others, or of unknown outcome."""
        keep = [call for call in put_off if not call.dropped]
        for call in unanswered:
            # Who is guilty of the break is said when the server is there again, or another one.
            if call.sent_at == UNSENT or call.replay_safe:
                keep.append(call)
            else:
                self.fail(call)
        self._calls.extendleft(reversed(keep))

    def judge(self, *, restarted: bool) -> None:
        """Fail the calls that have broken too many connections of one and the same server."""
        for call in [call for call in self._calls if call.breaks]:
            if restarted:
                call.deaths += 1
                if call.deaths < DEADLY:
                    call.breaks = min(call.breaks, SUSPECT)
            if call.breaks >= GUILTY:
                self._calls.remove(call)
                self.fail(call)

    def refuse(self, error: AM2ZError) -> None:
        """Tell whoever waits; what nobody waits for is still sent when it can be."""
        calls, self._calls = self._calls, deque()
        for call in calls:
            if call.spot is None:
                self._calls.append(call)
            elif call.in_doubt:
                context = {**error.context, "in_doubt": True}
                call.spot.wake(type(error)(error.message, context=context, cause=error))
            else:
                call.spot.wake(error)

    def close(self) -> None:
        """There comes no further connection."""
        self._closed = True
        while self._calls:
            self.fail(self._calls.popleft())

    def fail(self, call: Call) -> None:
        """Tell a call's waiter that nothing more will come."""
        if call.breaks >= GUILTY:
            logger.error("%s has broken the connection to %s", call.describe(), self._where)
        if call.spot is not None:
            call.spot.wake(self._error_of(call) if self.doom is None else self.doom)

    def _error_of(self, call: Call) -> AM2ZError:
        if call.sent_at == UNSENT and not call.in_doubt:
            return NetworkError(
                f"{call.name} was not sent: the connection to {self._where} has been closed", retryable=False
            )
        if call.breaks >= GUILTY:
            return UnknownOutcomeError(
                f"the connection to {self._where} broke each of the {call.breaks} times when "
                f"{call.describe()} was sent, in the end alone: it may have been applied, or not. Perhaps "
                "it, or its answer, has more bytes than the server allows",
                context={"breaks": call.breaks, "bytes": len(call.packed)},
            )
        return UnknownOutcomeError(
            f"the connection to {self._where} was lost before {call.name} was answered: "
            "it may have been applied, or not"
            + ("; since then the server's memory is full" if call.refused_at < inf else "")
        )
