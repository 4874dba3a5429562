"""Reads the records of jobs whose outcome may have been missed.

Outcomes arrive in the node's inbox, in no order with the answers of calls; the record in the store is the
truth. So after a reconnect, now and then for those who wait long, and where an outcome may be that of an
earlier run of the same id, the record is read. A job whose record is gone because the store came back empty,
or without the end of its history, is sent again under its old id; one whose record is gone although the store
kept its history has ended while this node could not hear of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from heapq import nsmallest
from math import inf
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.pauses import Pauses
from am2z_trio.model.errors import AM2ZError, UnknownOutcomeError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import Enqueue
from am2z_trio.store.ports import BATCH, Store

from .waiter import Waiter
from .waiters import Waiters

logger: Final = Log("am2z_trio.results")

LOOK_EVERY: Final = 1.0
"""Seconds between two rounds of looking at the records of jobs that somebody waits for."""

LOOK_AFTER: Final = 5.0
"""Seconds, at least, between two looks at the record of one job."""

LOOKED_AT: Final = 1000
"""Records that one round reads, those first that were not looked at for longest."""

READ_AGAIN_AFTER: Final = 0.5
"""Seconds after a reading that the store refused."""


class History:
    """The name of the store's history, as far as it is known: another one once it was emptied, or came back
    without its end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.name = ""
        """Empty where it is in doubt."""

    def doubt(self) -> None:
        """The server may be another one, or have lost its end."""
        self.name = ""

    async def ask(self) -> str:
        self.name = await self._store.lineage()
        return self.name


class Looking:
    """What this node still wants to see of the records of the jobs that are waited for."""

    def __init__(
        self,
        host: Host,
        store: Store,
        waiters: Waiters,
        history: History,
        *,
        send_again: Callable[[Waiter, Enqueue], None],
        also: Callable[[list[Waiter]], Awaitable[bool]],
    ) -> None:
        """`send_again` is told of a job that the store has lost; `also` is awaited in each round, with those
        whose jobs the store has; it says whether there has to be another one soon."""
        self._host = host
        self._store = store
        self._waiters = waiters
        self._history = history
        self._send_again = send_again
        self._also = also
        self._unread: dict[str, None] = {}
        self._reader = host.spot()
        self._looker = host.spot()
        self._missed_before = -inf
        self.pauses = Pauses(host)
        """The node's."""

    def read_soon(self, job: str) -> None:
        """The job has ended, and how is not known here."""
        self._unread[job] = None
        self._reader.wake()

    def on_reconnect(self) -> None:
        """Outcomes may have been missed: read the records soon."""
        self._missed_before = self._host.now()
        self._history.doubt()
        self._looker.wake()

    async def read_forever(self) -> None:
        """Read the records of those whose end was heard of, and not how."""
        while True:
            while not self._unread:
                await self._reader.park()
            jobs, self._unread = self._unread, {}
            waiters = [waiter for job in jobs for waiter in self._waiters.of(job) if waiter.is_known]
            try:
                await self.look_at(waiters)
            except AM2ZError as error:
                logger.warning("outcomes are read again soon: %s", error)
                self._unread = jobs | self._unread
                await self._host.sleep(READ_AGAIN_AFTER)

    async def look_forever(self) -> None:
        """Read the records of jobs that were not heard of for a while: some at a time, since outcomes come by
        themselves; after a reconnect all, since some may have been missed."""
        host, more = self._host, False
        while True:
            # While the node rests, one round is made for those who wait already, and further ones if it asks
            # for them.
            in_time = host.cancel_scope(deadline=host.now() + LOOK_EVERY)
            with in_time if more else self.pauses.of(LOOK_EVERY, self._is_waited_for):
                await self._looker.park()
            try:
                more = await self._look()
            except AM2ZError as error:
                logger.warning("callers' jobs are looked at again soon: %s", error)
                await host.sleep(READ_AGAIN_AFTER)

    def _is_waited_for(self) -> bool:
        return len(self._waiters) > 0

    async def _look(self) -> bool:
        missed_before, late = self._missed_before, self._host.now() - LOOK_AFTER
        known = self._waiters.known()
        await self.look_at([waiter for waiter in known if waiter.asked <= missed_before])
        due = (waiter for waiter in known if waiter.outcome is None and missed_before < waiter.asked <= late)
        await self.look_at(nsmallest(LOOKED_AT, due, key=lambda waiter: waiter.asked))
        return await self._also(known)

    async def look_at(self, waiters: list[Waiter]) -> None:
        """Read the records of these jobs now."""
        for start in range(0, len(waiters), BATCH):
            await self._look_at(waiters[start : start + BATCH])

    async def _look_at(self, waiters: list[Waiter]) -> None:
        history = self._history.name or await self._history.ask()
        try:
            views = await self._store.view([waiter.id for waiter in waiters])
        except UnknownOutcomeError as error:
            # The answer breaks every connection: some outcome is larger than the server hands out.
            if len(waiters) > 1:
                for waiter in waiters:
                    await self._look_at([waiter])
            elif self._waiters.remove(waiters[0]):
                waiters[0].resolve(error)
            return
        if None in views:
            await self._history.ask()
        for waiter, view in zip(waiters, views, strict=True):
            waiter.asked = self._host.now()
            if view is None:
                self._on_gone(waiter)
                continue
            waiter.history = history
            if waiter.input and view.input and waiter.input != view.input:
                self._on_replaced(waiter)
            elif view.settled is not None:
                self._waiters.resolve_from(waiter, view.settled)

    def _on_replaced(self, waiter: Waiter) -> None:
        """The id was used for another input, as it can be once its job has ended without completing."""
        if self._waiters.remove(waiter):
            waiter.resolve(
                UnknownOutcomeError(
                    f"job {waiter.id} has ended without completing, and its id was used for another input "
                    "before its outcome was heard of here",
                    context={"job": waiter.id},
                )
            )

    def _on_gone(self, waiter: Waiter) -> None:
        """The store has no record of a job that it had accepted."""
        if not self._waiters.waits(waiter):
            return
        if waiter.request is not None and waiter.history != self._history.name:
            logger.warning("job %s went with the store's memory: it is sent again", waiter.id)
            waiter.state = "in line"
            self._send_again(waiter, waiter.request)
            return
        self._waiters.remove(waiter)
        waiter.resolve(
            UnknownOutcomeError(
                f"job {waiter.id} has ended, and its record has gone before its outcome was heard of here "
                "(result_ttl, remove_on_complete, remove_on_fail)",
                context={"job": waiter.id},
            )
        )
