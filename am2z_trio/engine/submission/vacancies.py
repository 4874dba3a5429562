"""Whether anybody serves what this node's callers wait for, and for how long they wait.

A job of a processor that no live node serves waits for one. That is said once, and told with the job's
outcome. Nothing is asked of the store while nobody waits, and never for each job: one call for all queues of
the jobs that are waited for, and of a queue that is served once in `SERVED_FOR`. Who has set itself a limit
is told when it is over; the times of those limits stand in a heap, for one task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Final, Literal
from weakref import ReferenceType, ref

from am2z_trio.concurrency import Host, TaskStatus
from am2z_trio.model.errors import AM2ZError, NoWorkerError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import DEADLINE, EXPIRED
from am2z_trio.store.lasting import lasting
from am2z_trio.store.ports import Store

from .waiter import Limits, Waiter, too_late

logger: Final = Log("am2z_trio.results")

SAID_AFTER: Final = 1.0
"""Seconds a job has waited for a worker, at least, when that is said."""

SERVED_FOR: Final = 5.0
"""Seconds for which a queue that was served is taken to be."""

SAID_AGAIN_AFTER: Final = 300.0
"""Seconds after the last look at a queue that nobody served after which it is news again that nobody does."""

SETTLING_IN: Final = 3.0
"""Seconds after this node's connection was away in which the workers may still be on their way back."""

ASK_AGAIN_AFTER: Final = 0.5
"""Seconds after a question that the store refused."""

FEW: Final = 1_000
"""Limits that are kept, however few are still waited for."""

NO_WORKER: Final = "nobody served its processor for as long as its caller would wait"


Judge = Callable[[Iterable[str]], Awaitable[dict[str, AM2ZError]]]
"""Which of these processors can be called by name no more, and the error of that."""


class _Vacancy:
    """A queue that nobody serves, as far as was seen."""

    __slots__ = ("looks", "said", "seen", "since")

    def __init__(self, since: float, served: float) -> None:
        self.since = since
        """When it was first seen that nobody serves it."""
        self.seen = served
        """When it was looked at last; at first: when somebody was seen to serve it."""
        self.looks = 0
        self.said = ""
        """Its processor, once that was said."""


class Vacancies:
    """What this node's callers wait for and nobody serves, and the limits of their patience."""

    def __init__(
        self,
        host: Host,
        store: Store,
        *,
        waits: Callable[[Waiter], bool],
        give_up: Callable[[Waiter, AM2ZError, str], None],
        judge: Judge,
    ) -> None:
        """`waits` says whether anybody still waits here; `give_up` takes the job back and tells its
        caller."""
        self._host = host
        self._store = store
        self._waits = waits
        self._give_up = give_up
        self._judge = judge
        self._served_at: dict[str, float] = {}
        self._vacant: dict[str, _Vacancy] = {}
        self._quiet_until = -inf
        self.is_leaving = False
        """This node takes no more jobs: that nobody else serves what its own wait for is no news."""
        self._due: list[tuple[float, int, ReferenceType[Waiter], Literal["worker", "total", "begins"]]] = []
        """Whoever has its answer is not kept until its time would be over."""
        self._numbers = count()
        self._most = FEW
        self._bell = host.spot()
        self._impatient: dict[Waiter, None] = {}
        self._asker = host.spot()

    # --- what nobody serves -----------------------------------------------------------------

    def on_reconnect(self) -> None:
        """The store was away, perhaps for all."""
        self._quiet_until = self._host.now() + SETTLING_IN

    async def look(self, waiters: Iterable[Waiter]) -> bool:
        """See which of these jobs wait for a worker, and say so; returns whether any may."""
        now = self._host.now()
        if now < self._quiet_until:
            return True
        served = {queue for queue, at in self._served_at.items() if now - at < SERVED_FOR}
        found: dict[str, list[Waiter]] = {}
        for waiter in waiters:
            request = waiter.request
            if request is None or request.queue in served or waiter.outcome is not None or waiter.due > now:
                continue
            found.setdefault(request.queue, []).append(waiter)
        if not found:
            return False
        stats = await self._store.stats(list(found))
        now = self._host.now()
        doubtful: list[Waiter] = []
        for (queue, some), counts in zip(found.items(), stats, strict=True):
            if counts.workers:
                self.is_served(queue)
            else:
                self._is_vacant(queue, some, now)
                doubtful += [waiter for waiter in some if waiter.assumed]
        if doubtful:
            await self._look_again(doubtful)
        return bool(self._vacant)

    async def _look_again(self, waiters: list[Waiter]) -> None:
        """They were asked for by a name that had been known, and may have been taken away before that."""
        requests = {waiter: waiter.request for waiter in waiters if waiter.request is not None}
        unknown = await self._judge({request.spec.processor for request in requests.values()})
        lost = [one for one, request in requests.items() if request.spec.processor in unknown]
        for waiter in await self._not_begun(lost):
            if self._waits(waiter):
                self._give_up(waiter, unknown[requests[waiter].spec.processor], NO_WORKER)
        for waiter in waiters:
            waiter.assumed = False

    def is_served(self, queue: str) -> None:
        """Somebody serves it, or a job of it has been run."""
        self._served_at[queue] = self._host.now()
        vacancy = self._vacant.pop(queue, None)
        if vacancy is not None and vacancy.said:
            logger.warning("%r is served now", vacancy.said)

    def _is_vacant(self, queue: str, waiters: list[Waiter], now: float) -> None:
        vacancy = self._vacant.get(queue)
        if vacancy is None or now - vacancy.seen > SAID_AGAIN_AFTER:
            vacancy = self._vacant[queue] = _Vacancy(now, self._served_at.get(queue, -inf))
        for waiter in waiters:
            waiter.unserved += now - max(vacancy.seen, waiter.due)
        vacancy.seen = now
        # The second look: a node whose connection has just been lost may be back by then.
        vacancy.looks += 1
        if vacancy.looks > 1:
            self._check(waiters, vacancy, now)
        if (
            vacancy.said
            or self.is_leaving
            or vacancy.looks < 2
            or now - min(waiter.due for waiter in waiters) < SAID_AFTER
        ):
            return
        request = waiters[0].request
        assert request is not None
        vacancy.said = request.spec.processor
        logger.warning(
            "nobody serves %r: jobs of it wait until a node does that has registered it "
            "(%d of this node do now; see wait_for_worker and total_timeout)",
            request.spec.processor,
            len(waiters),
        )

    def _check(self, waiters: list[Waiter], vacancy: _Vacancy, now: float) -> None:
        """Who had a worker when its time was over, or one that was not yet known to be dead, and has none."""
        for waiter in waiters:
            seconds = None if waiter.limits is None else waiter.limits.worker
            if seconds is not None and now - max(vacancy.since, waiter.due) >= seconds:
                self._ask_for(waiter)

    # --- limits -----------------------------------------------------------------------------

    def watch(self, waiter: Waiter, limits: Limits) -> None:
        """Let this caller wait no longer than it wants to."""
        first = self._due[0] if self._due else None
        if limits.worker is not None:
            heappush(self._due, (waiter.due + limits.worker, next(self._numbers), ref(waiter), "worker"))
        if limits.till < inf:
            heappush(self._due, (limits.till, next(self._numbers), ref(waiter), "total"))
        if limits.begins < inf:
            heappush(self._due, (limits.begins, next(self._numbers), ref(waiter), "begins"))
        if len(self._due) > self._most:
            # Most callers have been answered long before their time.
            self._due = [entry for entry in self._due if (one := entry[2]()) and self._waits(one)]
            heapify(self._due)
            self._most = max(FEW, 2 * len(self._due))
        if self._due and self._due[0] is not first:
            self._bell.wake()

    async def run(self, *, task_status: TaskStatus) -> None:
        """Keep to the limits until cancelled."""
        async with self._host.open_nursery() as nursery:
            nursery.start_soon(lasting, self._host, "the task that asks for workers", self._ask_forever)
            task_status.started()
            while True:
                with self._host.cancel_scope(deadline=self._due[0][0] if self._due else inf):
                    await self._bell.park()
                now = self._host.now()
                while self._due and self._due[0][0] <= now:
                    _, _, reference, kind = heappop(self._due)
                    if (waiter := reference()) is not None and self._waits(waiter):
                        self._is_over(waiter, kind)
                    waiter = None

    def _is_over(self, waiter: Waiter, kind: Literal["worker", "total", "begins"]) -> None:
        if kind == "begins":
            # Its outcome comes as any does.
            self._store.cancel_nowait(waiter.id, EXPIRED)
        elif kind == "total":
            self._give_up(waiter, too_late(waiter), DEADLINE)
        else:
            self._ask_for(waiter)

    def _ask_for(self, waiter: Waiter) -> None:
        self._impatient[waiter] = None
        self._asker.wake()

    async def _ask_forever(self) -> None:
        """Take back what somebody would wait for until now, and nobody serves."""
        while True:
            while not self._impatient:
                await self._asker.park()
            # Where this node's connection was away, the workers' may have been, too.
            await self._host.sleep_until(self._quiet_until)
            # Whoever has its answer meanwhile need not be asked for again, however often that is refused.
            waiters, self._impatient = [one for one in self._impatient if self._waits(one)], {}
            if not waiters:
                continue
            try:
                unserved = await self._never_served(waiters)
            except AM2ZError as error:
                logger.warning("whether anybody serves what is waited for is asked again soon: %s", error)
                self._impatient |= dict.fromkeys(waiters)
                await self._host.sleep(ASK_AGAIN_AFTER)
                continue
            for waiter in unserved:
                if self._waits(waiter):
                    self._give_up(waiter, _no_worker(waiter), NO_WORKER)

    async def _never_served(self, waiters: list[Waiter]) -> list[Waiter]:
        of = Counter(waiter.request.queue for waiter in waiters if waiter.request is not None)
        stats = dict(zip(of, await self._store.stats(list(of)), strict=True))
        unserved = [
            one for one in waiters if one.request is not None and not stats[one.request.queue].workers
        ]
        return await self._not_begun(unserved)

    async def _not_begun(self, waiters: list[Waiter]) -> list[Waiter]:
        """Without those that have had a worker, which may have been lost with it."""
        sent = [waiter.id for waiter in waiters if waiter.is_known]
        views = await self._store.view(sent) if sent else []
        begun = {view.id for view in views if view is not None and view.deliveries}
        return [waiter for waiter in waiters if waiter.id not in begun]


def _no_worker(waiter: Waiter) -> NoWorkerError:
    assert waiter.request is not None
    assert waiter.limits is not None
    spec, seconds = waiter.request.spec, waiter.limits.worker
    return NoWorkerError(
        f"nobody serves {spec.processor!r}, and nobody came to within {seconds:g} s (wait_for_worker): "
        "the job was taken back",
        context={"job": spec.id, "processor": spec.processor, "seconds": seconds},
    )
