"""Calls that no connection has: what is sent again with the next one, and what never will be."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

from am2z_trio.model.errors import AM2ZError, NetworkError, UnknownOutcomeError
from am2z_trio.model.logs import Log

from .connection import Connection
from .request import UNSENT, Request

SUSPECT: Final = 2
"""Connections in a row that have broken while a request was in flight, after which it is sent alone."""

GUILTY: Final = 3
"""The same, after which the request fails: the last connection it has broken all alone."""

DEADLY: Final = 8
"""Times that the server may go down with a request in flight before that counts against it."""

logger: Final = Log("am2z_trio.wire")


class Backlog:
    """Grows with the callers that wait, and with what is sent without waiting while cut off.

    A request may itself be what breaks the connection: the server ends one on which it, or its answer,
    has more bytes than it allows. So what was in flight when two connections in a row broke is sent one by
    one, each alone on the line, before anything else; the one with which the third connection breaks
    fails with `UnknownOutcomeError`, and those behind it are sent. A server that went down itself did so for
    its own reasons, up to a number of times.
    """

    def __init__(self, where: str) -> None:
        """`where`: the server, as messages name it."""
        self.doom: AM2ZError | None = None
        """The server is gone for good: what fails from now on fails with this error."""
        self._where = where
        self._requests: deque[Request] = deque()
        self._closed = False

    def append(self, request: Request) -> None:
        """Have it sent with the next connection, if there may be one."""
        if self._closed:
            self.fail(request)
        else:
            self._requests.append(request)

    async def send(self, connection: Connection) -> None:
        """Send all, in their order, suspects one by one. When this returns none is left."""
        requests = self._requests
        while requests:
            if requests[0].breaks >= SUSPECT and not requests[0].dropped:
                await connection.drain()
                connection.send(requests.popleft())
                await connection.drain()
            else:
                request = requests.popleft()
                if not request.dropped:
                    connection.send(request)

    def keep(self, put_off: list[Request], unanswered: list[Request]) -> None:
        """Sort what a lost connection leaves: sent again before all others, or of unknown outcome."""
        keep = [request for request in put_off if not request.dropped]
        for request in unanswered:
            # Who is guilty of the break is said when the server is there again, or another one.
            if request.sent_at == UNSENT or request.replay_safe:
                keep.append(request)
            else:
                self.fail(request)
        self._requests.extendleft(reversed(keep))

    def judge(self, *, restarted: bool) -> None:
        """Fail the requests that have broken too many connections of one and the same server."""
        for request in [request for request in self._requests if request.breaks]:
            if restarted:
                request.deaths += 1
                if request.deaths < DEADLY:
                    request.breaks = min(request.breaks, SUSPECT)
            if request.breaks >= GUILTY:
                self._requests.remove(request)
                self.fail(request)

    def refuse(self, error: AM2ZError) -> None:
        """Tell whoever waits; what nobody waits for is still sent when it can be."""
        requests, self._requests = self._requests, deque()
        for request in requests:
            if request.spot is None:
                self._requests.append(request)
            elif request.in_doubt:
                context = {**error.context, "in_doubt": True}
                request.spot.wake(type(error)(error.message, context=context, cause=error))
            else:
                request.spot.wake(error)

    def close(self) -> None:
        """There comes no further connection."""
        self._closed = True
        while self._requests:
            self.fail(self._requests.popleft())

    def fail(self, request: Request) -> None:
        """Tell a request's waiter that nothing more will come."""
        if request.breaks >= GUILTY:
            logger.error("%s has broken the connection to %s", request.describe(), self._where)
        if request.spot is not None:
            request.spot.wake(self._error_of(request) if self.doom is None else self.doom)

    def _error_of(self, request: Request) -> AM2ZError:
        if request.sent_at == UNSENT and not request.in_doubt:
            return NetworkError(
                f"{request.name} was not sent: the connection to {self._where} has been closed",
                retryable=False,
            )
        if request.breaks >= GUILTY:
            return UnknownOutcomeError(
                f"the connection to {self._where} broke each of the {request.breaks} times when "
                f"{request.describe()} was sent, in the end alone: it may have been applied, or not. Perhaps "
                "it, or its answer, has more bytes than the server allows",
                context={"breaks": request.breaks, "bytes": len(request.packed)},
            )
        return UnknownOutcomeError(
            f"the connection to {self._where} was lost before {request.name} was answered: "
            "it may have been applied, or not"
            + ("; since then the server's memory is full" if request.refused_at < inf else "")
        )
