"""Places: how many jobs of one queue may run here, and which give theirs up while they wait for others."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from am2z_trio.concurrency import Spot
from am2z_trio.concurrency.capacity import Capacity
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.processors.registry import Definition, Registration
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import UNLIMITED
from am2z_trio.model.telling import text_of

from .services import WorkerServices

logger: Final = Log("am2z_trio.worker")

MANY: Final = 10_000
"""Jobs; more than anybody claims at once."""

ASK_AGAIN_AFTER: Final = 2.0
"""Seconds after which a job that is to go on asks again whether there is room."""


class Places:
    """The places of one queue on one node, whatever sessions its jobs are of."""

    def __init__(
        self,
        services: WorkerServices,
        registration: Registration,
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called when a job gives its place up or takes it up again; not when it ends."""
        self.busy = 0
        """Jobs that have got a place, those included that wait for another job."""
        self.away = 0
        """Those that wait for another job."""
        self.returning: deque[Spot] = deque()
        """Those of these that could go on, and wait for a place."""
        self.has_called = False
        """Whether any job has ever waited for another one."""
        self._host = services.host
        self._store = services.store
        self._sites = services.executor.sites
        self._registration = registration
        self._on_change = on_change

    def leave(self, claim: Claim) -> None:
        """The job's place is free. One that wants its own back goes on first."""
        if self.returning:
            self._one_is_back()
            self.returning.popleft().wake()
        if claim.counts and claim.room is not None:
            claim.counts = False
            claim.room.release()

    @property
    def has_many_away(self) -> bool:
        """Whether as many wait for others as may: then nothing is begun but what others wait for."""
        definition = self._registration.current
        return definition is not None and self.away >= definition.processor.queue.most_waiting_parents

    def capacity_of(self, definition: Definition) -> Capacity:
        """What limits how many of its jobs run here, beside its concurrency."""
        return self._sites.capacity_of(definition.processor)

    def openings(self, definition: Definition) -> int:
        """How many more of its jobs may be claimed, which do not run in the event loop, for where they do."""
        return int(min(self._sites.of(definition.processor).openings, MANY))

    def room_elsewhere(self) -> None:
        """There is room again for jobs in processes."""
        definition = self._registration.current
        if definition is not None and definition.processor.run_in == "process":
            self._on_change()

    # --- jobs that wait for other jobs ------------------------------------------------------

    @asynccontextmanager
    async def given_up(self, claim: Claim, uncalled: str) -> AsyncIterator[None]:
        """Around waiting for other jobs; `uncalled` is as in `Holder.away`."""
        claim.calls += 1
        first = claim.calls == 1
        if first:
            self._step_aside(claim)
        try:
            if first:
                await self.stay_aside(claim)
            if uncalled:
                await self._call_for(uncalled)
            yield
        finally:
            claim.calls -= 1
            if claim.calls == 0:
                await self._step_back(claim)

    async def stay_aside(self, claim: Claim) -> None:
        """The limits of the queue do not count a job that waits for others."""
        if self._is_limited:
            await self._store.step_aside(claim.grant.spec.id, claim.grant.token)

    async def _call_for(self, job: str) -> None:
        """Nodes whose jobs wait for others, as many as may, begin none that nobody waits for."""
        try:
            await self._store.call_for(job)
        except AM2ZError as error:
            logger.warning("job %s is waited for, and the store was not told: %s", text_of(job), error)

    @property
    def _is_limited(self) -> bool:
        definition = self._registration.current
        limits = UNLIMITED if definition is None else definition.limits
        return limits.most_active > 0 or limits.per_session > 0

    async def _wait_for_room(self, claim: Claim) -> None:
        """The limits of the queue let the job go on before any that has not begun."""
        spec, token = claim.grant.spec, claim.grant.token
        while True:
            claim.may_go_on = self._host.event()
            try:
                if await self._store.step_back(spec.id, token):
                    return
            except AM2ZError as error:
                logger.warning("job %s goes on without asking: %s", spec.id, error)
                return
            # Asked again now and then: a message may have been lost with a connection.
            with self._host.cancel_scope(deadline=self._host.now() + ASK_AGAIN_AFTER):
                await claim.may_go_on.wait()

    def _step_aside(self, claim: Claim) -> None:
        """The job waits for another one: its place is free meanwhile, so that the other can run."""
        self.away += 1
        self.has_called = True
        self.leave(claim)
        self._on_change()

    async def _step_back(self, claim: Claim) -> None:
        """Wait for room in the limits and for a place, before any job that has not begun."""
        if self._is_limited:
            try:
                await self._wait_for_room(claim)
            except BaseException:
                # It will not go on: what takes its place up again is its end.
                self._one_is_back()
                raise
        definition = self._registration.current
        if definition is None or self.busy - self.away < definition.processor.queue.concurrency:
            # Unregistered meanwhile: what has begun goes on.
            self._one_is_back()
        else:
            spot = self._host.spot()
            self.returning.append(spot)
            try:
                await spot.park()
            except BaseException:
                if spot in self.returning:
                    self.returning.remove(spot)
                    self._one_is_back()
                raise
        if claim.room is None:
            return
        await claim.room.acquire(first=True)
        if claim.counts or claim.calls:
            # Another call of it has come back meanwhile, or has begun: that one will.
            claim.room.release()
        else:
            claim.counts = True

    def _one_is_back(self) -> None:
        self.away -= 1
        self._on_change()
