"""The jobs that this node has submitted and whose outcomes it has not heard yet.

A waiter is registered before its job is sent: `outgoing` sends it, the inbox brings its outcome, `looking`
finds what the inbox has missed, `vacancies` bounds how long it is waited for, and `leaving` takes back what
nobody waits for any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from am2z_trio.concurrency import Host, TaskStatus
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.records import Bulk, BulkAnswer, EarlyOutcome, Enqueue, Settled
from am2z_trio.store.lasting import lasting
from am2z_trio.store.ports import Store

from .leaving import Leaving
from .looking import History, Looking
from .outgoing import Beginning, Enqueuing, Outgoing
from .vacancies import Judge, Vacancies
from .waiter import Limits, Listener, Waiter
from .waiters import Waiters


class InFlight:
    """Jobs and their callers, from submission to outcome."""

    def __init__(
        self,
        host: Host,
        store: Store,
        *,
        before_send: Callable[[], Awaitable[None]],
        may_send: Callable[[], bool],
    ) -> None:
        """`before_send` is awaited before jobs are sent, unless `may_send` says that there is no need."""
        self._host = host
        self._now = host.clock()
        self._waiters: Final = Waiters(self._is_served)
        history = History(store)
        self.leaving: Final = Leaving(host, store, self._waiters)
        self._vacancies: Final = Vacancies(
            host, store, waits=self._waiters.waits, give_up=self.leaving.give_up, judge=self._judge
        )
        self._outgoing: Final = Outgoing(
            host,
            store,
            self._waiters,
            history,
            self.leaving,
            before_send=before_send,
            may_send=may_send,
            read_soon=self._read_soon,
        )
        self.looking: Final = Looking(
            host,
            store,
            self._waiters,
            history,
            send_again=self._outgoing.append,
            also=self._vacancies.look,
        )
        self.judge: Judge | None = None
        """Asked which processors nobody serves, nor has lately. Set by who submits."""

    def send_by(self, enqueue: Enqueuing, begin_calls: Beginning) -> None:
        """Whatever works jobs off on this node sends them, and may be given some at once."""
        self._outgoing.enqueue, self._outgoing.begin_calls = enqueue, begin_calls

    def __len__(self) -> int:
        """How many jobs are waited for."""
        return len(self._waiters)

    def submit(
        self,
        request: Enqueue,
        spot: Listener | None = None,
        *,
        shared: bool = False,
        limits: Limits | None = None,
        assumed: bool = False,
        alone: bool = False,
    ) -> Waiter:
        """Send a job soon; `spot` is woken with its outcome, or when its caller's limits are over.

        `shared`: the id is the user's, and others may wait for the same job: it is not cancelled when this
        caller goes away while they do. `alone`: no others are submitted in the same step.
        """
        waiter = Waiter(
            self._host,
            request.spec.id,
            request,
            spot,
            self._now(),
            shared=shared,
            limits=limits,
            assumed=assumed,
        )
        self.leaving.before(request)
        self._waiters.add(waiter)
        self._outgoing.append(waiter, request, alone=alone)
        if limits is not None:
            self._vacancies.watch(waiter, limits)
        return waiter

    async def send_bulk(self, bulk: Bulk) -> BulkAnswer:
        """Have the store take jobs that nobody waits for."""
        return await self._outgoing.send_bulk(bulk)

    def calls(self) -> list[tuple[str, str]]:
        """The jobs that others of this node have called and wait for, each with the one that has."""
        return [
            (waiter.id, waiter.request.spec.parent)
            for waiter in self._waiters.all()
            if waiter.request is not None and waiter.request.spec.parent
        ]

    def watch(self, job: str) -> Waiter:
        """Hear the outcome of a job whose record names this node already."""
        waiter = Waiter(self._host, job, None, None, self._now(), shared=True)
        waiter.state = "joined"
        self._waiters.add(waiter)
        return waiter

    def unwatch(self, waiter: Waiter) -> None:
        self._waiters.remove(waiter)

    def on_settled(self, settled: Settled) -> None:
        """The inbox says that a job has ended."""
        waiters = self._waiters.of(settled.id)
        may_differ = len(waiters) > 1 and self._waiters.differ(settled.id)
        if settled.status == "completed" and not settled.omitted and not may_differ:
            self._waiters.resolve(settled)
            return
        if settled.omitted or any(waiter.may_run_again for waiter in waiters):
            # Too large for a message; or perhaps an earlier run, which ended without completing.
            for waiter in waiters:
                waiter.look = True
            self._read_soon(settled.id)
        else:
            self._waiters.resolve(settled)

    def notes_of_early(self, job: str) -> list[EarlyOutcome] | None:
        """A job has been run here, and its outcome is about to be recorded: where it is noted that who waits
        for it was told already. `None` if nobody may be, or not alone."""
        waiters = self._waiters.of(job)
        return waiters[0].early if len(waiters) == 1 else None

    def tell_early(self, settled: Settled, token: str, noted: list[EarlyOutcome]) -> None:
        """Tell who alone waits for it."""
        noted.append((settled.id, token))
        self._waiters.resolve(settled)

    def on_reconnect(self) -> None:
        """The store was away, perhaps for all."""
        self._vacancies.on_reconnect()
        self.looking.on_reconnect()

    def on_stopping(self) -> None:
        """This node takes no more jobs, and ends."""
        self._vacancies.is_leaving = True

    def fail_all(self, error: AM2ZError) -> None:
        """The runtime ends: nobody shall wait for ever."""
        waiters = self._waiters.remove_all()
        self._outgoing.forget_all()
        self.leaving.forget_all()
        for waiter in waiters:
            waiter.resolve(error)

    async def run(self, *, task_status: TaskStatus) -> None:
        host = self._host
        async with host.open_nursery() as nursery:
            nursery.start_soon(lasting, host, "the task that reads outcomes", self.looking.read_forever)
            nursery.start_soon(lasting, host, "the task that looks after callers", self.looking.look_forever)
            nursery.start_soon(lasting, host, "the task that takes jobs back", self.leaving.run)
            await nursery.start(lasting, host, "the task of callers' limits", self._vacancies.run)
            nursery.start_soon(lasting, host, "the task that sends jobs", self._outgoing.run)
            nursery.start_soon(
                lasting, host, "the task that sends what is built on outcomes", self._outgoing.run_behind
            )
            task_status.started()

    def _read_soon(self, job: str) -> None:
        self.looking.read_soon(job)

    def _is_served(self, queue: str) -> None:
        self._vacancies.is_served(queue)

    async def _judge(self, processors: Iterable[str]) -> dict[str, AM2ZError]:
        return {} if self.judge is None else await self.judge(processors)
