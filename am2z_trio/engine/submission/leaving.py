"""Callers that go away: their jobs are taken back, where nobody else waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple

from am2z_trio.concurrency import Host
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.ids import is_throttled
from am2z_trio.model.records import Enqueue
from am2z_trio.store.ports import Store

from .waiter import Waiter
from .waiters import Waiters

LEFT_AT_ONCE: Final = 50
"""Jobs that are taken back in one turn of the loop; more, when a job is cancelled that had called thousands,
would keep it from everything else."""

GIVEN_UP: Final = "its caller's node has lost its rights"


class _Left(NamedTuple):
    waiter: Waiter
    reason: str
    caller_survives: Callable[[], bool] | None


class _Crowd:
    """Calls of one caller that has gone away, by job."""

    __slots__ = ("_caller_survives", "reason", "waiters")

    def __init__(
        self, waiters: dict[str, Waiter], reason: str, caller_survives: Callable[[], bool] | None
    ) -> None:
        self.waiters = waiters
        self.reason = reason
        self._caller_survives: Callable[[], bool] | bool = caller_survives or False

    @property
    def caller_survives(self) -> bool:
        """Whether its caller goes on elsewhere: asked once, as all of them have left for one reason."""
        if not isinstance(self._caller_survives, bool):
            self._caller_survives = self._caller_survives()
        return self._caller_survives


class Leaving:
    """Lets callers go. Synchronous but for `run` and `let_go`: who leaves needs no shield."""

    def __init__(self, host: Host, store: Store, waiters: Waiters) -> None:
        self._host = host
        self._store = store
        self._waiters = waiters
        self._by_job: dict[str, list[_Left]] = {}
        """Callers that have gone away, by job."""
        self._crowds: deque[_Crowd] = deque()
        """Those that have gone away with very many jobs."""
        self._left = 0
        """How many were taken back in this turn of the loop."""
        self._bell = host.spot()

    def abandon(self, waiter: Waiter, reason: str) -> None:
        """This one waits no more; if nobody does, take the job back, wherever it is.

        Where very many callers go away together, some are taken back in this turn of the loop, and the
        others in the next ones.
        """
        if self._left < LEFT_AT_ONCE:
            self._left += 1
            self._bell.wake()
            self._abandon(waiter, reason)
        else:
            self._by_job.setdefault(waiter.id, []).append(_Left(waiter, reason, None))

    def leave(self, waiter: Waiter, reason: str, caller_survives: Callable[[], bool]) -> None:
        """As `abandon`, unless the caller goes on somewhere else: `caller_survives` is asked in the
        next turn of the loop, as what is known only then may decide it."""
        self._by_job.setdefault(waiter.id, []).append(_Left(waiter, reason, caller_survives))
        self._bell.wake()

    def leave_all(
        self, waiters: dict[str, Waiter], reason: str, caller_survives: Callable[[], bool] | None = None
    ) -> None:
        """As `leave` for each of them, by its id: some in each turn of the loop. The dict is kept."""
        if waiters:
            self._crowds.append(_Crowd(waiters, reason, caller_survives))
            self._bell.wake()

    def give_up(self, waiter: Waiter, error: AM2ZError, reason: str) -> None:
        """Its caller will wait no longer: the job is taken back, as if it had gone, and it is told."""
        waiter.gave_up = True
        self._abandon(waiter, reason)
        waiter.resolve(error)

    def give_all_up(self, error: AM2ZError) -> None:
        """Wait no more for jobs that the store has: they may never be run. Those that nobody has submitted to
        stay are taken back, if the store lets this node do that.

        Calls of jobs are waited for on: who waits for such a job is told, and the job itself is not to fail
        for good of what may be given back in a moment.
        """
        known = [waiter for waiter in self._waiters.known() if not waiter.is_call]
        for waiter in known:
            self._waiters.remove(waiter)
        for waiter in known:
            if waiter.request is not None and not waiter.request.stays:
                self.take_back(waiter, GIVEN_UP)
            waiter.resolve(error)

    def before(self, request: Enqueue) -> None:
        """A job is about to be sent: first those are let go who have waited for its id before."""
        job = request.spec.id
        if job in self._by_job:
            self._let_go(job)
        if request.again:
            for crowd in self._crowds:
                if job in crowd.waiters:
                    self._let_go_one(crowd, job)

    def forget_all(self) -> None:
        self._by_job.clear()
        self._crowds.clear()

    async def let_go(self) -> None:
        """Tell the store of all callers that have gone away so far."""
        while self._by_job or self._crowds:
            some = list(islice(self._by_job, LEFT_AT_ONCE))
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

    async def run(self) -> None:
        while True:
            await self._bell.park()
            await self.let_go()
            self._left = 0

    def _let_go(self, job: str) -> None:
        for left in self._by_job.pop(job):
            if left.caller_survives is not None and left.caller_survives():
                self._waiters.remove(left.waiter)
            else:
                self._abandon(left.waiter, left.reason)

    def _let_go_one(self, crowd: _Crowd, job: str) -> None:
        waiter = crowd.waiters.pop(job)
        if crowd.caller_survives:
            self._waiters.remove(waiter)
        else:
            self._abandon(waiter, crowd.reason)

    def _abandon(self, waiter: Waiter, reason: str) -> None:
        if not self._waiters.remove(waiter):
            return
        if waiter.is_known:
            self.take_back(waiter, reason)
        # One in line is skipped; one that is being sent is cancelled once the store has it.
        waiter.state = "abandoned"

    def take_back(self, waiter: Waiter, reason: str) -> None:
        """The store has the job, and this one does not wait for it."""
        # The limits of one that stays are the job's own, as its options are, if it has brought it.
        stays = waiter.request is not None and waiter.request.stays
        if not waiter.shared or (waiter.gave_up and stays and not waiter.known):
            self._store.cancel_nowait(waiter.id, reason)
        elif waiter.request is not None and (waiter.request.joins or is_throttled(waiter.id)):
            # It was there without this caller, and is to go on.
            return
        elif not self._waiters.of(waiter.id):
            self._store.leave_nowait(waiter.id, reason)
