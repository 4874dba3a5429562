"""Takes settlements to the store, as many at a time as have become ready.

One call is under way at a time; what becomes ready meanwhile goes with the next. So a lone job is
settled at once, and a busy node settles a batch per round trip. The slot that ran the job does not
wait for the answer.

Nor does a composition whose part has run here: it is told the outcome when that is sent, and what it makes of
it follows on the same connection, before there is an answer. Whether the outcome was recorded, the store sees
before it takes what is built on it (`builds_on`).

Only the store's own answer settles a claim. An error reply says nothing about the job: the server may be
full, may not know this node's rights yet, or may have moved. Such a settlement is kept and sent again,
while later ones pass it. One that is refused for what it holds (a result beyond the server's limits) will
never be accepted: its job is settled as failed instead, with an error that says so.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, NoReturn

import msgspec

from am2z_trio.concurrency import Host, TaskStatus
from am2z_trio.concurrency.batching import Batching, Fifo, Verdict
from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.model.codec import NIL, encode_record
from am2z_trio.model.error_records import record_of
from am2z_trio.model.errors import (
    AccessDeniedError,
    AM2ZError,
    PayloadTooLargeError,
    ServerReplyError,
    UnknownOutcomeError,
    ValidationError,
)
from am2z_trio.model.limits import KIB
from am2z_trio.model.logs import Log
from am2z_trio.model.records import (
    WIRE_VERSION,
    EarlyOutcome,
    ResultRecord,
    SettleAnswer,
    Settled,
    Settlement,
    reason_of_failure,
)
from am2z_trio.model.telling import cut, text_of
from am2z_trio.store.ports import BATCH, Store

logger: Final = Log("am2z_trio.settler")

RETRY_AFTER: Final = 0.1
LONGEST_RETRY: Final = 5.0
"""Seconds before settlements that were refused for now are sent again: doubling."""

EARLY_BYTES: Final = 32 * KIB
"""Largest outcome that is told before it is recorded: one that is much larger may be refused."""

OF_A_RUN: Final = ("completed", "failed", "retry")
"""Outcomes that say what a run has come to."""

TOLD: Final = 500
"""Bytes of the server's words that go into a job's error."""

Entry = tuple[Claim | None, Settlement]
_Early = tuple[Settlement, list[EarlyOutcome]]


class Settler:
    """The node's settlements. Bounded by its claims: each has at most one settlement here."""

    def __init__(self, host: Host, store: Store, in_flight: InFlight, node: str) -> None:
        self._store = store
        self._in_flight = in_flight
        self._node = node
        self._line = Fifo[Entry]()
        self._line_behind = Fifo[Entry]()
        """Those that are built on others, which have been sent."""
        self._batching = self._batching_of(host, self._line)
        self._batching_behind = self._batching_of(host, self._line_behind)
        self.refusal = ""
        """Why the store refuses settlements now; empty if it takes them."""
        self.completed = self.failed = 0
        """Jobs that this node has settled so."""

    def _batching_of(self, host: Host, line: Fifo[Entry]) -> Batching[Entry]:
        batching = Batching(
            host,
            line,
            self._settle,
            self._refused,
            self._settled,
            refusal=AM2ZError,
            most=BATCH,
            pauses=(RETRY_AFTER, LONGEST_RETRY),
        )
        batching.begin = self._begin
        return batching

    def submit(self, claim: Claim | None, settlement: Settlement, *, alone: bool = False) -> None:
        """Settle soon. Synchronous, so that a cancelled task can hand its job back.

        Without a claim: a job that was granted to this node and that it cannot run. `alone`: this node has no
        other.
        """
        if claim is not None and claim.builds_on and settlement.outcome in OF_A_RUN:
            settlement = msgspec.structs.replace(settlement, builds_on=claim.builds_on)
            self._line_behind.append((claim, settlement))
            self._batching_behind.ring(alone=alone)
        else:
            self._line.append((claim, settlement))
            self._batching.ring(alone=alone)

    async def wait_idle(self) -> None:
        """Wait until everything submitted so far has been answered."""
        while not (self._batching.is_idle and self._batching_behind.is_idle):
            await self._batching.wait_idle()
            await self._batching_behind.wait_idle()

    def run(self, *, task_status: TaskStatus) -> Awaitable[NoReturn]:
        """Settle until cancelled. Here and below no coroutine of its own: each is resumed for every job."""
        task_status.started()
        return self._batching.run()

    def run_behind(self) -> Awaitable[NoReturn]:
        """Settle what is built on other outcomes, until cancelled: right behind these, and beside what is
        under way."""
        return self._batching_behind.run()

    def _settle(self, batch: Sequence[Entry]) -> Awaitable[list[SettleAnswer]]:
        self._tell(self._early(batch))
        return self._store.settle([settlement for _, settlement in batch])

    def _begin(self, batch: Sequence[Entry], told: Told) -> GiveUp | None:
        early, settlements = self._early(batch), [settlement for _, settlement in batch]
        for number in early:
            if not settlements[number].builds_on:
                # Whoever asks for it from now on asks behind this call, and finds it recorded.
                settlements[number] = msgspec.structs.replace(settlements[number], told=True)
        begun = self._store.begin_settle(settlements, told)
        if begun is not None and early:
            self._tell(early)
        return begun

    def _early(self, batch: Sequence[Entry]) -> dict[int, _Early]:
        """The outcomes of jobs that others have called, if nothing but the loss of their claim can make them
        come to nothing, by their places in the batch; and where it is noted that they are told early."""
        early: dict[int, _Early] = {}
        for number, (claim, settlement) in enumerate(batch):
            if claim is None or not claim.grant.spec.parent:
                continue
            result = settlement.result
            if settlement.outcome == "completed" and settlement.commit is None and len(result) <= EARLY_BYTES:
                noted = self._in_flight.notes_of_early(settlement.id)
                if noted is not None:
                    early[number] = settlement, noted
        return early

    def _tell(self, early: Mapping[int, _Early]) -> None:
        for settlement, noted in early.values():
            outcome = Settled(settlement.id, "completed", "", msgspec.Raw(settlement.result))
            self._in_flight.tell_early(outcome, settlement.token, noted)

    def _settled(self, batch: Sequence[Entry], answers: Sequence[SettleAnswer]) -> None:
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

    async def _refused(self, batch: Sequence[Entry], error: AM2ZError) -> Verdict:
        if not _may_be_its_content(error):
            return self._put_off(batch, error)
        if len(batch) > 1:
            return "each"
        return await self._settle_as_failed(batch[0], error)

    async def _settle_as_failed(self, entry: Entry, error: AM2ZError) -> Verdict:
        """The store does not take it as it is. Its token settles once, so if it was taken after all, the
        answer says so."""
        claim, settlement = entry
        small = self._unstorable(claim, settlement, error)
        if small is None:
            return self._put_off([entry], error)
        try:
            (answer,) = await self._store.settle([small])
        except AM2ZError:
            # So it is not what it holds.
            return self._put_off([entry], error)
        if answer.status == "applied":
            logger.error(
                "job %s has failed, since its outcome cannot be stored: %s",
                text_of(settlement.id),
                cut(error.message, TOLD),
            )
        self._settled([(claim, settlement if answer.status == "replay" else small)], [answer])
        return "over"

    def _put_off(self, batch: Sequence[Entry], error: AM2ZError) -> Verdict:
        if error.message != self.refusal:
            # Once, however many jobs it is about and however often they are sent again.
            self.refusal = error.message
            logger.warning(
                "the store refuses settlements, which are kept and sent again (the first: job %s): %s",
                text_of(batch[0][1].id),
                error,
            )
        return "later"

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
            builds_on=settlement.builds_on,
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
