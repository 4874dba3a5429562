"""Jobs that a node sends, and is to work off itself: given by the answer, or begun as they are sent.

Where the node is at rest in the queue of a job, the store may give it that job by the answer. And parts of a
composition it may begin while it tells the store of them: the store has said so as it gave the composition,
and has counted them as active since, so that nothing which holds a queue up can come between
(`Grant.promised`). They begin as the call that makes them goes, under tokens for which the claim of the
composition stands; where that is not sent at once they come as others do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.engine.claim import Stop
from am2z_trio.engine.work.claims import Claims
from am2z_trio.engine.work.feeder import Feeder
from am2z_trio.model.errors import AM2ZError, UnknownOutcomeError
from am2z_trio.model.records import (
    NO_STATE,
    ClaimAnswer,
    Enqueue,
    EnqueueAnswer,
    Handed,
    handed_at_once,
)
from am2z_trio.store.ports import Store

NOT_TAKEN: Final = "the store has not taken it as it was begun"


class Sending:
    """The calls that a node's jobs go by, and that may bring it some."""

    def __init__(
        self, store: Store, claims: Claims, workers: Mapping[str, Feeder], hand: Callable[[Handed], bool]
    ) -> None:
        """`workers` are those that serve now, by queue; `hand` gives one of them a job, if there is one."""
        self._store = store
        self._claims = claims
        self._workers = workers
        self._hand = hand

    async def send(self, jobs: list[Enqueue]) -> list[EnqueueAnswer]:
        """Send jobs of this node's own, of which it may be given some at once."""
        jobs = self._as_sent(jobs, ())
        at_rest = self._at_rest(jobs)
        if not at_rest:
            return await self._store.enqueue(jobs)
        seq, answers = self._claims.begin(), None
        try:
            answers = await self._store.enqueue(jobs, at_rest)
            return answers
        finally:
            self._sent(seq, jobs, answers, {})

    def begin_send(self, jobs: list[Enqueue], told: Told) -> GiveUp | None:
        """`send`, as the store's `begin_enqueue` is `enqueue`."""
        claims, begin = self._claims, self._store.begin_enqueue
        begun = self._may_begin(jobs)
        jobs = self._as_sent(jobs, begun)
        at_rest = self._at_rest(jobs)
        if not (at_rest or begun):
            return begin(jobs, told, ())

        def answered(answers: list[EnqueueAnswer] | Exception) -> None:
            try:
                if begun and _is_refusal(answers):
                    self._take_back(jobs, begun)
                self._sent(seq, jobs, None if isinstance(answers, Exception) else answers, begun)
            except Exception as error:
                answers = error
            told(answers)

        seq = claims.begin()
        drop = begin(jobs, answered, at_rest)
        if drop is None:
            claims.end(seq)
            return None
        for job in jobs:
            if job.spec.id in begun:
                _begin(begun[job.spec.id], job)

        def give_up() -> None:
            drop()
            self._sent(seq, jobs, None, begun)

        return give_up

    def _at_rest(self, jobs: list[Enqueue]) -> set[str]:
        workers = self._workers
        return {
            job.queue for job in jobs if (worker := workers.get(job.queue)) is not None and worker.is_at_rest
        }

    def _sent(
        self,
        seq: int,
        jobs: list[Enqueue],
        answers: list[EnqueueAnswer] | None,
        begun: Mapping[str, Feeder],
    ) -> None:
        """A call is over that may have brought some: none is known of where there are no `answers`."""
        claims, all_known = self._claims, False
        try:
            if begun:
                self._hear_of(jobs, answers, begun)
            if answers is not None:
                given = [
                    handed_at_once(job, answer)
                    for job, answer in zip(jobs, answers, strict=True)
                    if answer.token and answer.token != job.under
                ]
                # Before the claims hear that this call is over: they may know who is to stop.
                all_known = list(map(self._hand, given)) == [True] * len(given)
        finally:
            if not all_known:
                claims.has_strays = True
            claims.end(seq)

    # --- what is begun as it is sent ----------------------------------------------------------

    def _may_begin(self, jobs: list[Enqueue]) -> dict[str, Feeder]:
        """Which of them may begin here now, by their ids, and who begins them."""
        begun: dict[str, Feeder] = {}
        taken = Counter[str]()
        for job in jobs:
            caller = self._claims.get(job.spec.parent) if job.under else None
            if caller is None or caller.stop is not None or job.under not in caller.may_begin:
                continue
            worker = self._workers.get(job.queue)
            if worker is None or worker.closing or worker.held_back or self._claims.on_hold:
                continue
            if _is_plain(job) and worker.free() > taken[job.queue]:
                taken[job.queue] += 1
                begun[job.spec.id] = worker
        return begun

    def _as_sent(self, jobs: list[Enqueue], begun: Collection[str]) -> list[Enqueue]:
        """They say of those that are begun that they are, and of no others."""
        sent = list[Enqueue]()
        for job in jobs:
            if job.under and (caller := self._claims.get(job.spec.parent)) is not None:
                # The store keeps its promises for one call of the job's, the first.
                caller.drop_promises()
            is_said = not job.under or job.spec.id in begun
            sent.append(job if is_said else msgspec.structs.replace(job, under=""))
        return sent

    def _hear_of(
        self, jobs: list[Enqueue], answers: list[EnqueueAnswer] | None, begun: Mapping[str, Feeder]
    ) -> None:
        """What the store says of those that have been begun here; `None`: nobody knows."""
        claims = self._claims
        for place, job in enumerate(jobs):
            worker = begun.get(job.spec.id)
            if worker is None:
                continue
            answer = None if answers is None else answers[place]
            worker.unconfirmed -= 1
            if answer is None or answer.status == "dup":
                # If the store has it under this token, it is ours: it is compared.
                claims.has_strays = True
            elif answer.token == job.under:
                worker.hand(Handed(job.queue, answer.left, ClaimAnswer(grants=[])))
            else:
                self._stop(job)

    def _take_back(self, jobs: list[Enqueue], begun: Collection[str]) -> None:
        """The store has none of those that have been begun here: they are sent again, or refused for good."""
        for job in jobs:
            if job.spec.id in begun:
                self._stop(job)

    def _stop(self, begun: Enqueue) -> None:
        claim = self._claims.get(begun.spec.id)
        if claim is not None and claim.grant.token == begun.under:
            claim.cancel(Stop("lost", NOT_TAKEN))


def _is_refusal(answers: list[EnqueueAnswer] | Exception) -> bool:
    """Whether it was surely not applied."""
    in_doubt = isinstance(answers, UnknownOutcomeError) or (
        isinstance(answers, AM2ZError) and answers.context.get("in_doubt")
    )
    return isinstance(answers, AM2ZError) and not in_doubt


def _begin(worker: Feeder, job: Enqueue) -> None:
    """It is on its way to the store."""
    worker.hand(handed_at_once(job, EnqueueAnswer(status="queued", token=job.under, left=1)))
    worker.unconfirmed += 1


def _is_plain(job: Enqueue) -> bool:
    """Whether it has no time, order or turn of its own."""
    has_time = bool(job.delay) or job.expires is not None
    has_place = bool(job.priority or job.debounce) or job.lifo or job.only_asked
    return not has_time and not has_place and job.spec.state != NO_STATE
