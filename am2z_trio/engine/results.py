"""Who waits for what: jobs on their way into the store, and callers who wait for outcomes.

A waiter is registered before its job is sent. Outcomes arrive in the node's inbox; the record in
the store is the truth, so after a reconnect, and now and then for those who wait long, the record
is read. A job whose record is gone (an empty store came back) is sent again under its old id.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from am2z_trio.concurrency import Event, Host, Spot, TaskStatus
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.records import Enqueue, Settled
from am2z_trio.store.ports import Store

logger: Final = logging.getLogger("am2z_trio.results")

BATCH: Final = 100
"""Jobs per enqueue call; bounds the time one script holds the store."""

LOOK_AFTER: Final = 5.0
"""Seconds between two looks at the record of a job somebody waits for."""


class Waiter:
    """One submitted job and whoever waits for it."""

    __slots__ = (
        "_accepted",
        "_done",
        "_host",
        "_spot",
        "asked",
        "id",
        "outcome",
        "request",
    )

    def __init__(self, host: Host, request: Enqueue, spot: Spot | None) -> None:
        self.id = request.spec.id
        self.request = request
        self.outcome: Settled | AM2ZError | None = None
        self.asked = host.now()
        self._host = host
        self._spot = spot
        self._done: Event | None = None
        self._accepted: Event | None = None

    def resolve(self, outcome: Settled | AM2ZError) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        if self._spot is not None:
            self._spot.wake(outcome)
        if self._done is not None:
            self._done.set()
        self.accept()

    def accept(self) -> None:
        """The store has the job."""
        if self._accepted is not None:
            self._accepted.set()

    async def wait_accepted(self) -> None:
        self._accepted = self._host.event()
        await self._accepted.wait()

    async def wait(self) -> Settled | AM2ZError:
        """Wait for the outcome; any number of tasks may."""
        if self.outcome is None:
            if self._done is None:
                self._done = self._host.event()
            await self._done.wait()
        assert self.outcome is not None
        return self.outcome


class Results:
    """The node's outgoing jobs and incoming outcomes.

    The outgoing deque is bounded by the callers that wait on it, one entry each.
    """

    def __init__(self, host: Host, store: Store, *, before_send: Callable[[], Awaitable[None]]) -> None:
        self._host = host
        self._store = store
        self._before_send = before_send
        self._waiting: dict[str, Waiter] = {}
        self._outgoing: deque[Waiter] = deque()
        self._bell = host.spot()
        self._look_now = False

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, request: Enqueue, spot: Spot | None = None) -> Waiter:
        """Send a job soon; `spot` is woken with its outcome."""
        waiter = Waiter(self._host, request, spot)
        self._waiting[waiter.id] = waiter
        self._outgoing.append(waiter)
        self._bell.wake()
        return waiter

    def abandon(self, waiter: Waiter, reason: str) -> None:
        """Nobody waits any more: take the job back, wherever it is. Synchronous: needs no shield."""
        if self._waiting.pop(waiter.id, None) is None:
            return
        if waiter in self._outgoing:
            self._outgoing.remove(waiter)
        else:
            self._store.cancel_nowait(waiter.id, reason)

    def on_settled(self, settled: Settled) -> None:
        waiter = self._waiting.pop(settled.id, None)
        if waiter is not None:
            waiter.resolve(settled)

    def on_reconnect(self) -> None:
        """Outcomes may have been missed: read the records soon."""
        self._look_now = True

    def forget_all(self) -> None:
        """Wait for none of the jobs under way any more; they run on."""
        self._waiting.clear()

    def fail_all(self, error: AM2ZError) -> None:
        """The runtime ends: nobody shall wait for ever."""
        waiting, self._waiting = self._waiting, {}
        self._outgoing.clear()
        for waiter in waiting.values():
            waiter.resolve(error)

    async def run(self, *, task_status: TaskStatus) -> None:
        task_status.started()
        outgoing = self._outgoing
        while True:
            while not outgoing:
                await self._bell.park()
            await self._before_send()
            batch = [outgoing.popleft() for _ in range(min(len(outgoing), BATCH))]
            await self._send(batch)

    async def _send(self, batch: list[Waiter]) -> None:
        if not batch:
            return
        try:
            answers = await self._store.enqueue([waiter.request for waiter in batch])
        except AM2ZError as error:
            if len(batch) > 1:
                # One of them may be at fault; the others must not suffer.
                for waiter in batch:
                    await self._send([waiter])
                return
            self._waiting.pop(batch[0].id, None)
            batch[0].resolve(error)
            return
        for waiter, answer in zip(batch, answers, strict=True):
            waiter.accept()
            if answer.settled is not None:
                self.on_settled(answer.settled)

    async def look(self) -> None:
        """Read the records of jobs that were not heard of for a while. Called at every tick."""
        now, everyone = self._host.now(), self._look_now
        self._look_now = False
        queued = {waiter.id for waiter in self._outgoing}
        due = [
            waiter
            for waiter in self._waiting.values()
            if waiter.id not in queued and (everyone or now - waiter.asked >= LOOK_AFTER)
        ]
        for start in range(0, len(due), BATCH):
            await self._look_at(due[start : start + BATCH])

    async def _look_at(self, waiters: list[Waiter]) -> None:
        views = await self._store.view([waiter.id for waiter in waiters])
        for waiter, view in zip(waiters, views, strict=True):
            waiter.asked = self._host.now()
            if view is None:
                if waiter.id in self._waiting:
                    logger.warning("job %s is unknown to the store: it is sent again", waiter.id)
                    self._outgoing.append(waiter)
                    self._bell.wake()
            elif view.settled is not None:
                self.on_settled(view.settled)
