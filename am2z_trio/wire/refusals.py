"""Error replies that are not the end: calls that the server has put off are sent again, after a pause."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from am2z_trio.concurrency import Host

from .backlog import Backlog
from .connection import UNSENT, Call, Connection, ConnectionLostError
from .programs import Programs
from .resp import ELSEWHERE, NOT_APPLIED, code_of

FIRST_DELAY: Final = 0.02
LONGEST_DELAY: Final = 1.0
"""Seconds before a call is sent again that the server has put off (loading, a slow script)."""


class Refusals:
    """Takes calls whose reply says "not now". Such a call has not been applied, so it may be sent again
    whether it is replay-safe or not. Its place in the order is lost.
    """

    def __init__(
        self,
        host: Host,
        programs: Programs,
        backlog: Backlog,
        *,
        call_timeout: float,
        submit: Callable[[Call], None],
        renew: Callable[[str], None],
    ) -> None:
        """`submit` sends a call at once; `renew` asks for another connection, and says why."""
        self.leaving = ""
        """Why the connection is to be left, once all in flight has been answered; empty: it is not."""
        self._host = host
        self._programs = programs
        self._backlog = backlog
        self._call_timeout = call_timeout
        self._submit = submit
        self._renew = renew
        self._put_off: list[Call] = []
        self._bell = host.spot()

    def __len__(self) -> int:
        """How many calls wait to be sent again."""
        return len(self._put_off)

    def take(self, call: Call, reply: Exception) -> bool:
        """Keep a call, if its reply says so.

        A full memory is a verdict, unless the call was sent before on a connection that broke: what was sent
        then may have been applied, or may be when there is memory again. So it is sent until it is known.
        """
        code = code_of(reply)
        instead = self._programs.instead_of(call.packed, call.script, code, str(reply))
        if instead is not None and not call.dropped:
            call.packed = instead
            call.sent_at = UNSENT
            self._submit(call)
            return True
        doubtful = code == "OOM" and call.in_doubt
        if (code not in NOT_APPLIED and not doubtful) or call.dropped:
            return False
        if code == "NOSCRIPT":
            if call.script is None:
                return False
            # With its source, not SCRIPT LOAD and again: a script that does not compile says so.
            call.packed = call.script.with_source(call.packed)
            call.script = None
            call.sent_at = UNSENT
            self._submit(call)
            return True
        if code in ELSEWHERE or doubtful:
            now = self._host.now()
            call.refused_at = min(call.refused_at, now)
            if now - call.refused_at >= self._call_timeout:
                if doubtful:
                    self._backlog.fail(call)
                return doubtful
        call.tries += 1
        call.breaks = 0
        call.sent_at = UNSENT
        self._put_off.append(call)
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
                tries = min(call.tries for call in self._put_off)
                await self._host.sleep(pause_before(tries, FIRST_DELAY, LONGEST_DELAY))
                if not self.leaving:
                    for call in self.remove_all():
                        if not call.dropped:
                            connection.send(call)

    def remove_all(self) -> list[Call]:
        calls, self._put_off = self._put_off, []
        return calls


def pause_before(attempt: int, first: float, longest: float) -> float:
    """Doubles with every attempt; half of it is random, so that nodes do not come in step."""
    whole: float = min(longest, first * 2 ** min(attempt - 1, 30))
    return whole * (0.5 + random.random() / 2)
