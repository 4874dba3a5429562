"""Takes settlements to the store, as many at a time as have become ready.

One call is under way at a time; what becomes ready meanwhile goes with the next. So a lone job is
settled at once, and a busy node settles a batch per round trip. The slot that ran the job does not
wait for the answer.

Only the store's own answer settles a claim. An error reply says nothing about the job: the server may be
full, may not know this node's rights yet, or may have moved. Such a settlement is kept and sent again,
while later ones pass it. One that is refused for what it holds (a result beyond the server's limits) will
never be accepted: its job is settled as failed instead, with an error that says so.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Final

from am2z_trio.concurrency import Host, TaskStatus
from am2z_trio.engine.claim import Claim
from am2z_trio.model.codec import NIL, encode_record
from am2z_trio.model.errors import (
    AccessDeniedError,
    AM2ZError,
    PayloadTooLargeError,
    ServerReplyError,
    UnknownOutcomeError,
    ValidationError,
    record_of,
)
from am2z_trio.model.logs import Log
from am2z_trio.model.records import WIRE_VERSION, ResultRecord, Settlement, reason_of_failure
from am2z_trio.model.telling import cut, text_of
from am2z_trio.store.ports import Store

logger: Final = Log("am2z_trio.settler")

BATCH: Final = 100
"""Settlements per call; bounds the time one script holds the store."""

RETRY_AFTER: Final = 0.1
LONGEST_RETRY: Final = 5.0
"""Seconds before settlements that were refused for now are sent again: doubling."""

TOLD: Final = 500
"""Bytes of the server's words that go into a job's error."""

Entry = tuple[Claim | None, Settlement]


class Settler:
    """The node's settlements. Bounded by its claims: each has at most one settlement here."""

    def __init__(self, host: Host, store: Store, node: str) -> None:
        self._host = host
        self._store = store
        self._node = node
        self._pending: deque[Entry] = deque()
        self._refused: list[Entry] = []
        self.refusal = ""
        """Why the store refuses settlements now; empty if it takes them."""
        self.completed = self.failed = 0
        """Jobs that this node has settled so."""
        self._tries = 0
        self._again_at = inf
        self._bell = host.spot()
        self._in_flight = 0
        self._idle = host.event()
        self._idle.set()

    def submit(self, claim: Claim | None, settlement: Settlement) -> None:
        """Settle soon. Synchronous, so that a cancelled task can hand its job back.

        Without a claim: a job that was granted to this node and that it cannot run.
        """
        self._pending.append((claim, settlement))
        if self._idle.is_set():
            self._idle = self._host.event()
        self._bell.wake()

    async def wait_idle(self) -> None:
        """Wait until everything submitted so far has been answered."""
        while self._pending or self._in_flight or self._refused:
            await self._idle.wait()

    async def run(self, *, task_status: TaskStatus) -> None:
        task_status.started()
        pending = self._pending
        while True:
            while not pending:
                await self._wait()
            batch = [pending.popleft() for _ in range(min(len(pending), BATCH))]
            self._in_flight = len(batch)
            await self._settle(batch)
            self._in_flight = 0

    async def _wait(self) -> None:
        """Wait for a settlement, or until those that were refused are due."""
        if not self._refused:
            self._tries, self._again_at = 0, inf
            self._idle.set()
            await self._bell.park()
            return
        with self._host.cancel_scope(deadline=self._again_at):
            await self._bell.park()
        if self._host.now() >= self._again_at:
            again, self._refused, self._again_at = self._refused, [], inf
            self._pending.extendleft(reversed(again))

    async def _settle(self, batch: Sequence[Entry]) -> None:
        try:
            answers = await self._store.settle([settlement for _, settlement in batch])
        except AM2ZError as error:
            if not _may_be_its_content(error):
                self._put_off(batch, error)
            elif len(batch) > 1:
                # One of them may be at fault; the others must not suffer.
                for entry in batch:
                    await self._settle([entry])
            else:
                await self._settle_as_failed(batch[0], error)
            return
        if self.refusal:
            logger.warning("the store takes settlements again")
            self.refusal = ""
        for (claim, settlement), answer in zip(batch, answers, strict=True):
            if answer.outcome == "completed":
                self.completed += 1
            elif answer.outcome == "failed":
                self.failed += 1
            if claim is not None:
                claim.settled(settlement, answer)

    async def _settle_as_failed(self, entry: Entry, error: AM2ZError) -> None:
        """The store does not take it as it is. Its token settles once, so if it was taken after all, the
        answer says so."""
        claim, settlement = entry
        small = self._unstorable(claim, settlement, error)
        if small is None:
            self._put_off([entry], error)
            return
        try:
            (answer,) = await self._store.settle([small])
        except AM2ZError:
            # So it is not what it holds.
            self._put_off([entry], error)
            return
        if answer.status == "applied":
            logger.error(
                "job %s has failed, since its outcome cannot be stored: %s",
                text_of(settlement.id),
                cut(error.message, TOLD),
            )
        if answer.outcome == "failed":
            self.failed += 1
        elif answer.outcome == "completed":
            self.completed += 1
        if claim is not None:
            claim.settled(settlement if answer.status == "replay" else small, answer)

    def _put_off(self, batch: Sequence[Entry], error: AM2ZError) -> None:
        if error.message != self.refusal:
            # Once, however many jobs it is about and however often they are sent again.
            self.refusal = error.message
            logger.warning(
                "the store refuses settlements, which are kept and sent again (the first: job %s): %s",
                text_of(batch[0][1].id),
                error,
            )
        self._refused.extend(batch)
        if self._again_at == inf:
            self._again_at = self._host.now() + min(LONGEST_RETRY, RETRY_AFTER * 2 ** min(self._tries, 20))
            self._tries += 1

    def _unstorable(self, claim: Claim | None, settlement: Settlement, error: AM2ZError) -> Settlement | None:
        """The smallest settlement that ends the job; `None` where this one is as small."""
        if not settlement.result and settlement.commit is None:
            return None
        size = len(settlement.result) + (0 if settlement.commit is None else len(settlement.commit.blob))
        described = PayloadTooLargeError(
            f"the job's outcome ({settlement.outcome}, {size:,} bytes) cannot be stored: "
            f"{cut(error.message, TOLD)}",
            context={"job": settlement.id, "bytes": size},
        )
        attempt = 0 if claim is None else claim.grant.attempt
        told = record_of(described)
        record = ResultRecord(WIRE_VERSION, NIL, told, attempt, int(time.time() * 1000), 0.0, self._node)
        return Settlement(
            id=settlement.id,
            token=settlement.token,
            outcome="failed",
            reason=reason_of_failure(told),
            result=encode_record(record),
        )


def _may_be_its_content(error: AM2ZError) -> bool:
    """Whether the store may have refused a settlement for what it holds; otherwise it refuses any, for now.

    A server words what is too large for it as a plain `ERR`, or ends the connection (again and again: the
    outcome is unknown then, and the error counts the breaks). All its other codes are about who asks, or
    where and when; so is an outcome that is unknown since its memory was full when it was sent again.
    """
    if isinstance(error, AccessDeniedError):
        return False
    if isinstance(error, UnknownOutcomeError):
        return "breaks" in error.context
    if isinstance(error, ServerReplyError):
        return not error.retryable and str(error.context.get("reply", "")).startswith("ERR")
    return isinstance(error, ValidationError)
