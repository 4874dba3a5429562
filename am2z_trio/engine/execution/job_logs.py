"""What jobs of this node log by `ctx.log`, on its way into the store: gathered, and sent twice a second.

Behind the jobs: none waits for its lines but one that is to be tried again, as the store takes them until the
next claim of the job is settled. What a store that is away does not take is lost, and that is logged.
"""

from __future__ import annotations

import time
from collections import deque
from threading import get_ident
from typing import Final, NoReturn

from am2z_trio.concurrency import Host
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import Grant, KeptLines, LogLine
from am2z_trio.store.ports import Store

logger: Final = Log("am2z_trio.jobs")

FLUSH_EVERY: Final = 0.5
"""Seconds for which lines gather."""

PATIENCE: Final = 1.0
"""Seconds for which a job that is to be tried again waits for its lines to be kept."""

MOST_HELD: Final = 10_000
"""Lines of all jobs that wait to be sent; beyond it, the oldest go."""


class JobLogs:
    """The lines of one node's jobs."""

    def __init__(self, host: Host, store: Store, most: int) -> None:
        """`most` lines are kept of each job."""
        self._host = host
        self._store = store
        self._most = most
        self._lines: deque[tuple[str, str, LogLine]] = deque(maxlen=MOST_HELD)
        self._bell = host.spot()
        self._hurry = host.spot()
        self._begun = self._ended = 0
        """How often lines were sent, and the last time that this has ended."""
        self._change = host.event()
        self._loop = get_ident()
        self._ask = host.asker()

    def note(self, grant: Grant, level: str, text: str) -> None:
        """A job says something: here, or in its thread."""
        line = LogLine.of(time.time_ns() // 1_000_000, level, text)
        self._lines.append((grant.spec.id, grant.token, line))
        if get_ident() == self._loop:
            self._bell.wake()
        else:
            self._ask(self._bell.wake)

    async def run(self) -> NoReturn:
        """Send lines until cancelled."""
        host = self._host
        while True:
            await self._bell.park()
            with host.cancel_scope(deadline=host.now() + FLUSH_EVERY):
                await self._hurry.park()
            await self.flush()

    async def flush_soon(self) -> None:
        """Have what there is sent now, and wait for that for a while: who waits no longer takes no lines with
        it, which are all jobs'."""
        wanted = self._begun + bool(self._lines)
        if self._ended >= wanted:
            return
        self._hurry.wake()
        with self._host.cancel_scope(deadline=self._host.now() + PATIENCE):
            while self._ended < wanted:
                await self._change.wait()

    async def flush(self) -> None:
        """Send what there is."""
        by_claim: dict[tuple[str, str], list[LogLine]] = {}
        while self._lines:
            id, token, line = self._lines.popleft()
            by_claim.setdefault((id, token), []).append(line)
        if not by_claim:
            return
        told = [
            KeptLines(id=id, token=token, lines=lines[-self._most :])
            for (id, token), lines in by_claim.items()
        ]
        self._begun += 1
        number, why = self._begun, "the node ends"
        try:
            await self._store.logs.keep(told, self._most)
            why = ""
        except AM2ZError as error:
            why = str(error)
        finally:
            if why:
                logger.warning("what jobs have logged (%d of them) could not be kept: %s", len(told), why)
            self._ended = max(self._ended, number)
            self._change.set()
            self._change = self._host.event()
