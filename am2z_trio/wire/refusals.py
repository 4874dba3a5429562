"""Error replies that are not the end: requests that the server has put off are sent again, after a pause."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from am2z_trio.concurrency import Host

from .backlog import Backlog
from .connection import Connection, ConnectionLostError
from .programs import Programs
from .request import UNSENT, Request
from .resp import ELSEWHERE, NOT_APPLIED, code_of

FIRST_DELAY: Final = 0.02
LONGEST_DELAY: Final = 1.0
"""Seconds before a request is sent again that the server has put off (loading, a slow script)."""


class Refusals:
    """Takes requests whose reply says "not now". Such a one has not been applied, so it may be sent again
    whether it is replay-safe or not. Its place in the order is lost.
    """

    def __init__(
        self,
        host: Host,
        programs: Programs,
        backlog: Backlog,
        *,
        call_timeout: float,
        submit: Callable[[Request], None],
        renew: Callable[[str], None],
    ) -> None:
        """`submit` sends a request at once; `renew` asks for another connection, and says why."""
        self.leaving = ""
        """Why the connection is to be left, once all in flight has been answered; empty: it is not."""
        self._host = host
        self._programs = programs
        self._backlog = backlog
        self._call_timeout = call_timeout
        self._submit = submit
        self._renew = renew
        self._put_off: list[Request] = []
        self._bell = host.spot()

    def __len__(self) -> int:
        """How many requests wait to be sent again."""
        return len(self._put_off)

    def take(self, request: Request, reply: Exception) -> bool:
        """Keep a request, if its reply says so.

        A full memory is a verdict, unless it was sent before on a connection that broke: what was sent
        then may have been applied, or may be when there is memory again. So it is sent until it is known.
        """
        code = code_of(reply)
        instead = self._programs.instead_of(request.packed, request.script, code, str(reply))
        if instead is not None and not request.dropped:
            request.packed = instead
            request.sent_at = UNSENT
            self._submit(request)
            return True
        doubtful = code == "OOM" and request.in_doubt
        if (code not in NOT_APPLIED and not doubtful) or request.dropped:
            return False
        if code == "NOSCRIPT":
            if request.script is None:
                return False
            # With its source, not SCRIPT LOAD and again: a script that does not compile says so.
            request.packed = request.script.with_source(request.packed)
            request.script = None
            request.sent_at = UNSENT
            self._submit(request)
            return True
        if code in ELSEWHERE or doubtful:
            now = self._host.now()
            request.refused_at = min(request.refused_at, now)
            if now - request.refused_at >= self._call_timeout:
                if doubtful:
                    self._backlog.fail(request)
                return doubtful
        request.tries += 1
        request.breaks = 0
        request.sent_at = UNSENT
        self._put_off.append(request)
        if code == "READONLY":
            # A primary that became a replica. Its name may lead to the new primary by now.
            self._renew(str(reply))
        self._bell.wake()
        return True

    def leave(self, why: str) -> None:
        """Leave the connection, when what is in flight has been answered."""
        self.leaving = why
        self._bell.wake()

    async def send_again(self, connection: Connection) -> None:
        """Send what was put off, until the connection is to be left: `ConnectionLostError` then."""
        while True:
            await self._bell.park()
            while self._put_off or self.leaving:
                if self.leaving:
                    await connection.drain()
                    raise ConnectionLostError(self.leaving)
                tries = min(request.tries for request in self._put_off)
                await self._host.sleep(pause_before(tries, FIRST_DELAY, LONGEST_DELAY))
                if not self.leaving:
                    for request in self.remove_all():
                        if not request.dropped:
                            connection.send(request)

    def remove_all(self) -> list[Request]:
        requests, self._put_off = self._put_off, []
        return requests


def pause_before(attempt: int, first: float, longest: float) -> float:
    """Doubles with every attempt; half of it is random, so that nodes do not come in step."""
    whole: float = min(longest, first * 2 ** min(attempt - 1, 30))
    return whole * (0.5 + random.random() / 2)
