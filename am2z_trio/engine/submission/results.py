"""Who waits for what: jobs on their way into the store, and callers who wait for outcomes.

A waiter is registered before its job is sent. Outcomes arrive in the node's inbox, in no order with the
answers of calls; the record in the store is the truth, so after a reconnect, now and then for those who
wait long, and where an outcome may be that of an earlier run of the same id, the record is read. A job
whose record is gone because the store came back empty, or without the end of its history, is sent again under
its old id; one whose record is gone although the store kept its history has ended while this node could not
hear of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from heapq import nsmallest
from itertools import islice
from math import inf
from typing import Any, Final, Literal, NamedTuple, Protocol

from am2z_trio.concurrency import Event, Host, TaskStatus
from am2z_trio.model.errors import (
    AM2ZError,
    ConfigurationError,
    DeadlineExceededError,
    JobCancelledError,
    JobNotFoundError,
    ResourceError,
    SessionStoppedError,
    UnknownOutcomeError,
)
from am2z_trio.model.logs import Log
from am2z_trio.model.records import Enqueue, EnqueueAnswer, Settled
from am2z_trio.store.lasting import lasting
from am2z_trio.store.ports import Store

from .vacancies import Judge, Limits, Vacancies, too_late

logger: Final = Log("am2z_trio.results")

LEFT_AT_ONCE: Final = 50
"""Jobs that are taken back in one turn of the loop; more, when a job is cancelled that had called thousands,
would keep it from everything else."""

BATCH: Final = 100
"""Jobs per enqueue call; bounds the time one script holds the store."""

ABANDONED: Final = "its caller went away while it was submitted"

GIVEN_UP: Final = "its caller's node has lost its rights"

LOOK_EVERY: Final = 1.0
"""Seconds between two rounds of looking at the records of jobs that somebody waits for."""

LOOK_AFTER: Final = 5.0
"""Seconds, at least, between two looks at the record of one job."""

LOOKED_AT: Final = 1000
"""Records that one round reads, those first that were not looked at for longest."""

READ_AGAIN_AFTER: Final = 0.5
"""Seconds after a reading that the store refused."""


class Listener(Protocol):
    """Whoever is told of an outcome: a spot, or one of many for which one task waits."""

    def wake(self, value: Any = None) -> None: ...


class Waiter:
    """One submitted job and whoever waits for it."""

    __slots__ = (
        "__weakref__",
        "_accepted",
        "_done",
        "_host",
        "_spot",
        "asked",
        "assumed",
        "due",
        "gave_up",
        "id",
        "known",
        "limits",
        "lineage",
        "look",
        "outcome",
        "request",
        "shared",
        "state",
        "unserved",
    )

    def __init__(
        self,
        host: Host,
        id: str,
        request: Enqueue | None,
        spot: Listener | None,
        *,
        shared: bool,
        limits: Limits | None = None,
        assumed: bool = False,
    ) -> None:
        self.id = id
        self.request = request
        """`None` for a job that somebody else has submitted."""
        self.outcome: Settled | AM2ZError | None = None
        self.asked = now = host.now()
        self.due = now if request is None else now + request.delay
        """When it may start."""
        self.limits = limits
        self.assumed = assumed
        """Its processor was asked for by name, and known to be served some time ago."""
        self.gave_up = False
        """Its own limit was over before its outcome had come."""
        self.unserved = 0.0
        """Seconds it was seen waiting while nobody served its processor."""
        self.shared = shared
        """Its id was chosen by the user: the job may be somebody else's, too."""
        self.state: Literal["in line", "being sent", "sent", "joined", "abandoned"] = "in line"
        self.known = False
        """The store had the job already, from another caller or from an earlier run of this one."""
        self.lineage = ""
        """The store's history that it was sent into."""
        self.look = False
        """An outcome was heard of before the store had answered: read the record then."""
        self._host = host
        self._spot = spot
        self._done: Event | None = None
        self._accepted: Event | None = None

    @property
    def is_known(self) -> bool:
        """Whether the store has the job, as far as this node knows."""
        return self.state in ("sent", "joined")

    @property
    def is_call(self) -> bool:
        """Whether a job that runs on this node has called it."""
        return self.request is not None and self.request.spec.parent != ""

    @property
    def may_run_again(self) -> bool:
        """Whether the id may be used again once it has ended without completing."""
        return self.shared or (self.request is not None and self.request.again)

    @property
    def input(self) -> str:
        """Digest of what it was asked with, where that is to be that of the job."""
        return "" if self.request is None else self.request.input

    @property
    def till(self) -> float:
        """When its caller waits no longer, by the host's clock."""
        return inf if self.limits is None else self.limits.till

    def error_of(self, error: AM2ZError | None) -> AM2ZError | None:
        """The error of the outcome, as its caller is to see it. Its limit travels with the job as a
        deadline."""
        late = isinstance(error, DeadlineExceededError) and (self.gave_up or not self.known)
        return too_late(self) if late and self.till < inf else error

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


def _refusal(request: Enqueue, answer: EnqueueAnswer) -> AM2ZError:
    spec = request.spec
    if answer.status == "stopped":
        return SessionStoppedError(
            f"session {spec.session!r} is being stopped: it accepts no jobs",
            context={"session": spec.session},
        )
    if answer.status == "orphan":
        return JobCancelledError("the job that calls has ended itself", context={"parent": spec.parent})
    if answer.status == "taken":
        rule = {
            "session": "it is the id of a job of another session",
            "processor": f"it is the id of a job of {answer.processor!r}, not of {spec.processor!r}",
        }.get(answer.other, "it is the id of a job that was given another input")
        return ConfigurationError(
            f"job_id={spec.id!r}: {rule}",
            context={"field": "job_id", "value": spec.id, "rule": rule, "processor": answer.processor},
        )
    if answer.status == "unknown":
        return JobNotFoundError(
            f"job_id={spec.id!r}: there is no record of that job, and an id that the engine has made can be "
            "asked for, but not chosen",
            context={"job": spec.id},
        )
    return ResourceError(
        f"{answer.waiting:,} jobs wait for {spec.processor!r}, the limit is {request.max_size:,} "
        "(max_queue_size, QueueOptions.max_size)",
        context={"processor": spec.processor, "waiting": answer.waiting, "limit": request.max_size},
    )


def _differ(waiters: Sequence[Waiter]) -> bool:
    """Whether not all of them wait for a job of one input: an id can be used for another one."""
    return len(waiters) > 1 and len({waiter.input for waiter in waiters if waiter.input}) > 1


class _Leaving(NamedTuple):
    waiter: Waiter
    reason: str
    goes_on: Callable[[], bool] | None


class _Crowd:
    """Calls of one caller that has gone away, by job."""

    __slots__ = ("_goes_on", "reason", "waiters")

    def __init__(self, waiters: dict[str, Waiter], reason: str, goes_on: Callable[[], bool] | None) -> None:
        self.waiters = waiters
        self.reason = reason
        self._goes_on: Callable[[], bool] | bool = goes_on or False

    @property
    def goes_on(self) -> bool:
        """Whether its caller goes on elsewhere: asked once, as all of them have left for one reason."""
        if not isinstance(self._goes_on, bool):
            self._goes_on = self._goes_on()
        return self._goes_on


class Results:
    """The node's outgoing jobs and incoming outcomes.

    Several callers may wait for one job whose id the user chose. The outgoing deque is bounded by
    the callers that wait on it, one entry each.
    """

    def __init__(self, host: Host, store: Store, *, before_send: Callable[[], Awaitable[None]]) -> None:
        self._host = host
        self._store = store
        self._before_send = before_send
        self._waiting: dict[str, list[Waiter]] = {}
        self._outgoing: deque[Waiter] = deque()
        self._bell = host.spot()
        self._unread: dict[str, None] = {}
        self._reader = host.spot()
        self._looker = host.spot()
        self._missed_before = -inf
        self._lineage = ""
        self._leaving: dict[str, list[_Leaving]] = {}
        """Callers that have gone away, by job."""
        self._crowds: deque[_Crowd] = deque()
        """Those that have gone away with very many jobs."""
        self._left = 0
        """How many were taken back in this turn of the loop."""
        self._leaver = host.spot()
        self._vacancies = Vacancies(
            host, store, waits=self._waits_for, give_up=self._give_up, judge=self._judge
        )
        self.judge: Judge | None = None
        """Asked which processors nobody serves, nor has lately. Set by who submits."""

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(
        self,
        request: Enqueue,
        spot: Listener | None = None,
        *,
        shared: bool = False,
        limits: Limits | None = None,
        assumed: bool = False,
    ) -> Waiter:
        """Send a job soon; `spot` is woken with its outcome, or when its caller's limits are over.

        `shared`: the id is the user's, and others may wait for the same job: it is not cancelled when this
        caller goes away while they do.
        """
        waiter = Waiter(
            self._host, request.spec.id, request, spot, shared=shared, limits=limits, assumed=assumed
        )
        # First who has waited for this id before.
        if waiter.id in self._leaving:
            self._let_go(waiter.id)
        if request.again:
            for crowd in self._crowds:
                if waiter.id in crowd.waiters:
                    self._let_go_one(crowd, waiter.id)
        if waiter.id in self._waiting:
            self._waiting[waiter.id].append(waiter)
        else:
            self._waiting[waiter.id] = [waiter]
        self._outgoing.append(waiter)
        self._bell.wake()
        if limits is not None:
            self._vacancies.watch(waiter, limits)
        return waiter

    def watch(self, job: str) -> Waiter:
        """Hear the outcome of a job whose record names this node already."""
        waiter = Waiter(self._host, job, None, None, shared=True)
        waiter.state = "joined"
        self._waiting.setdefault(job, []).append(waiter)
        return waiter

    def unwatch(self, waiter: Waiter) -> None:
        self._forget(waiter)

    def abandon(self, waiter: Waiter, reason: str) -> None:
        """This one waits no more; if nobody does, take the job back, wherever it is. Synchronous: needs no
        shield.

        Where very many callers go away together, some are taken back in this turn of the loop, and the
        others in the next ones.
        """
        if self._left < LEFT_AT_ONCE:
            self._left += 1
            self._leaver.wake()
            self._abandon(waiter, reason)
        else:
            self._leaving.setdefault(waiter.id, []).append(_Leaving(waiter, reason, None))

    def leave(self, waiter: Waiter, reason: str, goes_on: Callable[[], bool]) -> None:
        """As `abandon`, unless the caller goes on somewhere else: `goes_on` is asked in the next turn of the
        loop, as what is known only then may decide it."""
        self._leaving.setdefault(waiter.id, []).append(_Leaving(waiter, reason, goes_on))
        self._leaver.wake()

    def leave_all(
        self, waiters: dict[str, Waiter], reason: str, goes_on: Callable[[], bool] | None = None
    ) -> None:
        """As `leave` for each of them, by its id: some in each turn of the loop. The dict is kept."""
        if waiters:
            self._crowds.append(_Crowd(waiters, reason, goes_on))
            self._leaver.wake()

    def _abandon(self, waiter: Waiter, reason: str) -> None:
        if not self._forget(waiter):
            return
        if waiter.is_known:
            self._take_back(waiter, reason)
        # One in line is skipped; one that is being sent is cancelled once the store has it.
        waiter.state = "abandoned"

    def _let_go(self, job: str) -> None:
        for leaving in self._leaving.pop(job):
            if leaving.goes_on is not None and leaving.goes_on():
                self._forget(leaving.waiter)
            else:
                self._abandon(leaving.waiter, leaving.reason)

    async def let_go(self) -> None:
        """Tell the store of all callers that have gone away so far."""
        while self._leaving or self._crowds:
            some = list(islice(self._leaving, LEFT_AT_ONCE))
            for job in some:
                self._let_go(job)
            room = LEFT_AT_ONCE - len(some)
            while room and self._crowds:
                crowd = self._crowds[0]
                some = list(islice(crowd.waiters, room))
                for job in some:
                    self._let_go_one(crowd, job)
                room -= len(some)
                if not crowd.waiters:
                    self._crowds.popleft()
            await self._host.checkpoint()

    def _let_go_one(self, crowd: _Crowd, job: str) -> None:
        waiter = crowd.waiters.pop(job)
        if crowd.goes_on:
            self._forget(waiter)
        else:
            self._abandon(waiter, crowd.reason)

    async def _let_go_forever(self) -> None:
        while True:
            await self._leaver.park()
            await self.let_go()
            self._left = 0

    async def _judge(self, processors: Iterable[str]) -> dict[str, AM2ZError]:
        return {} if self.judge is None else await self.judge(processors)

    def _waits_for(self, waiter: Waiter) -> bool:
        return waiter in self._waiting.get(waiter.id, ())

    def _give_up(self, waiter: Waiter, error: AM2ZError, reason: str) -> None:
        """Its caller will wait no longer: the job is taken back, as if it had gone, and it is told."""
        waiter.gave_up = True
        self._abandon(waiter, reason)
        waiter.resolve(error)

    def _take_back(self, waiter: Waiter, reason: str) -> None:
        # The limits of one that stays are the job's own, as its options are, if it has brought it.
        stays = waiter.request is not None and waiter.request.stays
        if not waiter.shared or (waiter.gave_up and stays and not waiter.known):
            self._store.cancel_nowait(waiter.id, reason)
        elif waiter.request is not None and waiter.request.joins:
            # It was there without this caller, and is to go on.
            return
        elif waiter.id not in self._waiting:
            self._store.leave_nowait(waiter.id, reason)

    def on_settled(self, settled: Settled) -> None:
        """The inbox says that a job has ended."""
        waiters = self._waiting.get(settled.id, ())
        if settled.status == "completed" and not settled.omitted and not _differ(waiters):
            self._resolve(settled)
            return
        if settled.omitted or any(waiter.may_run_again for waiter in waiters):
            # Too large for a message; or perhaps an earlier run, which ended without completing.
            for waiter in waiters:
                waiter.look = True
            self._read_soon(settled.id)
        else:
            self._resolve(settled)

    def _resolve(self, settled: Settled) -> None:
        """Tell whoever waits for the job. Who has asked for an id and has no answer yet may not be meant: the
        job may be another session's, or have been given another input."""
        unanswered: list[Waiter] = []
        for waiter in self._waiting.pop(settled.id, ()):
            if waiter.shared and not waiter.is_known:
                waiter.look = True
                unanswered.append(waiter)
            else:
                waiter.resolve(settled)
                if waiter.unserved and waiter.request is not None and settled.status != "cancelled":
                    self._vacancies.is_served(waiter.request.queue)
        if unanswered:
            self._waiting[settled.id] = unanswered

    def _resolve_from(self, waiter: Waiter, settled: Settled) -> None:
        """Tell this one what the store has said of its job, and those who wait for the same."""
        if _differ(self._waiting.get(waiter.id, ())):
            self._forget(waiter)
            waiter.resolve(settled)
        else:
            self._resolve(settled)

    def _read_soon(self, job: str) -> None:
        self._unread[job] = None
        self._reader.wake()

    def on_reconnect(self) -> None:
        """Outcomes may have been missed: read the records soon."""
        self._missed_before = self._host.now()
        # The server may be another one, or have lost its end.
        self._lineage = ""
        self._vacancies.on_reconnect()
        self._looker.wake()

    def forget_all(self) -> None:
        """Wait for none of the jobs under way any more; they run on."""
        self._waiting.clear()

    def give_up(self, error: AM2ZError) -> None:
        """Wait no more for jobs that the store has: they may never be run. Those that nobody has submitted to
        stay are taken back, if the store lets this node do that.

        Calls of jobs are waited for on: who waits for such a job is told, and the job itself is not to fail
        for good of what may be given back in a moment.
        """
        known = [
            waiter
            for waiters in self._waiting.values()
            for waiter in waiters
            if waiter.is_known and not waiter.is_call
        ]
        for waiter in known:
            self._forget(waiter)
        for waiter in known:
            if waiter.request is not None and not waiter.request.stays:
                self._take_back(waiter, GIVEN_UP)
            waiter.resolve(error)

    def fail_all(self, error: AM2ZError) -> None:
        """The runtime ends: nobody shall wait for ever."""
        waiting, self._waiting = self._waiting, {}
        self._outgoing.clear()
        self._leaving.clear()
        self._crowds.clear()
        for waiters in waiting.values():
            for waiter in waiters:
                waiter.resolve(error)

    def _forget(self, waiter: Waiter) -> bool:
        waiters = self._waiting.get(waiter.id, [])
        if waiter not in waiters:
            return False
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[waiter.id]
        return True

    async def run(self, *, task_status: TaskStatus) -> None:
        async with self._host.open_nursery() as nursery:
            nursery.start_soon(lasting, self._host, "the task that reads outcomes", self._read_forever)
            nursery.start_soon(lasting, self._host, "the task that looks after callers", self._look_forever)
            nursery.start_soon(lasting, self._host, "the task that takes jobs back", self._let_go_forever)
            await nursery.start(lasting, self._host, "the task of callers' limits", self._vacancies.run)
            task_status.started()
            await self._send_forever()

    async def _send_forever(self) -> None:
        outgoing = self._outgoing
        while True:
            while not outgoing:
                await self._bell.park()
            await self._before_send()
            batch: list[Waiter] = []
            while outgoing and len(batch) < BATCH:
                waiter = outgoing.popleft()
                if waiter.state == "in line":
                    waiter.state = "being sent"
                    batch.append(waiter)
            await self._send(batch)

    async def _send(self, batch: list[Waiter], *, in_doubt: bool = False) -> None:
        """`in_doubt`: the store may have taken these, or may do so yet, so a refusal is no verdict."""
        requests = [waiter.request for waiter in batch if waiter.request is not None]
        if not requests:
            return
        try:
            if not self._lineage:
                self._lineage = await self._store.lineage()
            answers = await self._store.enqueue(requests)
        except AM2ZError as error:
            unknown = isinstance(error, UnknownOutcomeError)
            in_doubt = in_doubt or unknown or bool(error.context.get("in_doubt"))
            if len(batch) > 1:
                # One of them may be at fault; the others must not suffer.
                for waiter in batch:
                    await self._send([waiter], in_doubt=in_doubt)
                return
            self._forget(batch[0])
            if in_doubt and not unknown:
                why = f"the job may have been accepted, or not, when it was sent first: {error.message}"
                error = UnknownOutcomeError(why, cause=error)
            batch[0].resolve(error)
            return
        for waiter, request, answer in zip(batch, requests, answers, strict=True):
            if answer.status not in ("queued", "dup"):
                self._forget(waiter)
                waiter.resolve(_refusal(request, answer))
                continue
            joined = waiter.shared and answer.status == "dup"
            waiter.known = answer.status == "dup"
            if waiter.state == "abandoned":
                self._take_back(waiter, ABANDONED)
                continue
            waiter.state = "joined" if joined else "sent"
            waiter.lineage = self._lineage
            waiter.accept()
            if answer.settled is not None:
                self._resolve_from(waiter, answer.settled)
            elif waiter.look:
                self._read_soon(waiter.id)

    async def _read_forever(self) -> None:
        """Read the records of those whose end was heard of, and not how."""
        while True:
            while not self._unread:
                await self._reader.park()
            jobs, self._unread = self._unread, {}
            waiters = [waiter for job in jobs for waiter in self._waiting.get(job, ()) if waiter.is_known]
            try:
                await self.look_at(waiters)
            except AM2ZError as error:
                logger.warning("outcomes are read again soon: %s", error)
                self._unread = jobs | self._unread
                await self._host.sleep(READ_AGAIN_AFTER)

    async def _look_forever(self) -> None:
        """Read the records of jobs that were not heard of for a while: some at a time, since outcomes come by
        themselves; after a reconnect all, since some may have been missed."""
        host = self._host
        while True:
            with host.cancel_scope(deadline=host.now() + LOOK_EVERY):
                await self._looker.park()
            try:
                await self._look()
            except AM2ZError as error:
                logger.warning("callers' jobs are looked at again soon: %s", error)
                await host.sleep(READ_AGAIN_AFTER)

    async def _look(self) -> None:
        missed_before, late = self._missed_before, self._host.now() - LOOK_AFTER
        known = [waiter for waiters in self._waiting.values() for waiter in waiters if waiter.is_known]
        await self.look_at([waiter for waiter in known if waiter.asked <= missed_before])
        due = (waiter for waiter in known if waiter.outcome is None and missed_before < waiter.asked <= late)
        await self.look_at(nsmallest(LOOKED_AT, due, key=lambda waiter: waiter.asked))
        await self._vacancies.look(known)

    async def look_at(self, waiters: list[Waiter]) -> None:
        """Read the records of these jobs now."""
        for start in range(0, len(waiters), BATCH):
            await self._look_at(waiters[start : start + BATCH])

    async def _look_at(self, waiters: list[Waiter]) -> None:
        if not self._lineage:
            self._lineage = await self._store.lineage()
        lineage = self._lineage
        try:
            views = await self._store.view([waiter.id for waiter in waiters])
        except UnknownOutcomeError as error:
            # The answer breaks every connection: some outcome is larger than the server hands out.
            if len(waiters) > 1:
                for waiter in waiters:
                    await self._look_at([waiter])
            elif self._forget(waiters[0]):
                waiters[0].resolve(error)
            return
        if None in views:
            self._lineage = await self._store.lineage()
        for waiter, view in zip(waiters, views, strict=True):
            waiter.asked = self._host.now()
            if view is None:
                self._on_gone(waiter)
                continue
            waiter.lineage = lineage
            if waiter.input and view.input and waiter.input != view.input:
                self._on_replaced(waiter)
            elif view.settled is not None:
                self._resolve_from(waiter, view.settled)

    def _on_replaced(self, waiter: Waiter) -> None:
        """The id was used for another input, as it can be once its job has ended without completing."""
        if self._forget(waiter):
            waiter.resolve(
                UnknownOutcomeError(
                    f"job {waiter.id} has ended without completing, and its id was used for another input "
                    "before its outcome was heard of here",
                    context={"job": waiter.id},
                )
            )

    def _on_gone(self, waiter: Waiter) -> None:
        """The store has no record of a job that it had accepted."""
        if waiter not in self._waiting.get(waiter.id, ()):
            return
        if waiter.request is not None and waiter.lineage != self._lineage:
            logger.warning("job %s went with the store's memory: it is sent again", waiter.id)
            waiter.state = "in line"
            self._outgoing.append(waiter)
            self._bell.wake()
            return
        self._forget(waiter)
        waiter.resolve(
            UnknownOutcomeError(
                f"job {waiter.id} has ended, and its record has gone before its outcome was heard of here "
                "(result_ttl, remove_on_complete, remove_on_fail)",
                context={"job": waiter.id},
            )
        )
