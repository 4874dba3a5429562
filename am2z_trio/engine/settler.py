"""Takes settlements to the store, as many at a time as have become ready.

One call is under way at a time; what becomes ready meanwhile goes with the next. So a lone job is
settled at once, and a busy node settles a batch per round trip. The slot that ran the job does not
wait for the answer.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from am2z_trio.concurrency import Host, TaskStatus
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.records import SettleAnswer, Settlement
from am2z_trio.store.ports import Store

from .claims import Claim

logger: Final = logging.getLogger("am2z_trio.settler")

BATCH: Final = 100
"""Settlements per call; bounds the time one script holds the store."""

RETRY_AFTER: Final = 0.1
"""Seconds before a settlement the store refused for now (memory full, say) is sent again."""


class Settler:
    """The node's settlements. Bounded by its claims: each has at most one settlement here."""

    def __init__(self, host: Host, store: Store) -> None:
        self._host = host
        self._store = store
        self._pending: deque[tuple[Claim, Settlement]] = deque()
        self._bell = host.spot()
        self._in_flight = 0
        self._idle = host.event()
        self._idle.set()

    def submit(self, claim: Claim, settlement: Settlement) -> None:
        """Settle soon. Synchronous, so that a cancelled task can hand its job back."""
        self._pending.append((claim, settlement))
        if self._idle.is_set():
            self._idle = self._host.event()
        self._bell.wake()

    async def wait_idle(self) -> None:
        """Wait until everything submitted so far has been answered."""
        while self._pending or self._in_flight:
            await self._idle.wait()

    async def run(self, *, task_status: TaskStatus) -> None:
        task_status.started()
        pending = self._pending
        while True:
            while not pending:
                self._idle.set()
                await self._bell.park()
            batch = [pending.popleft() for _ in range(min(len(pending), BATCH))]
            self._in_flight = len(batch)
            await self._settle(batch)
            self._in_flight = 0

    async def _settle(self, batch: Sequence[tuple[Claim, Settlement]]) -> None:
        while True:
            try:
                answers = await self._store.settle([settlement for _, settlement in batch])
            except AM2ZError as error:
                if len(batch) > 1:
                    # One of them may be at fault; the others must not suffer.
                    for entry in batch:
                        await self._settle([entry])
                    return
                claim, settlement = batch[0]
                if not error.retryable:
                    logger.error("job %s could not be settled: %s", settlement.id, error)
                    claim.settled(settlement, SettleAnswer(status="gone"))
                    return
                logger.warning("job %s is settled again soon: %s", settlement.id, error)
                await self._host.sleep(RETRY_AFTER)
            else:
                for (claim, settlement), answer in zip(batch, answers, strict=True):
                    claim.settled(settlement, answer)
                return
