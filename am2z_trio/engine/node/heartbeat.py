"""What a node does again and again: it keeps its lease, and looks after what it may have missed.

Beside its own, when it is its turn: dead nodes, and queues with work that nobody has heard of.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.pauses import Pauses
from am2z_trio.engine.execution.failures import log_failure
from am2z_trio.engine.execution.threads import Threads
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.engine.sessions.stopping import SessionStops
from am2z_trio.engine.work.claims import Claims
from am2z_trio.model.errors import AM2ZError, JobStalledError, NetworkError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import STALLED, RenewAnswer, TickAnswer
from am2z_trio.model.runtime_options import RuntimeOptions
from am2z_trio.store.lasting import lasting
from am2z_trio.store.ports import Store

from .fence import Fence
from .fleet import Fleet
from .holdings import Holdings
from .lease import Lease

logger: Final = Log("am2z_trio.node")

DEAF_BEATS: Final = 3
"""Beats per `disconnect_grace` of a node that can ask and does not hear: the others see nobody listen there,
and must not take it for dead."""

SOONEST: Final = 0.05
"""Fewest seconds between two beats, however little grace there is."""

RENEWALS: Final = 4
"""Renewals of a lease within its time, at least."""

BEAT: Final = 1.0
"""Most seconds between two beats. Of a few nodes each asks when the next look at what they share is due."""

SETTLING_IN: Final = 3.0
"""Seconds after an absence of the store before a node looks for dead ones again: the others are back a second
after the server is, the longest pause between two attempts, and have renewed their leases."""


class Heartbeat:
    """One node's beat, from its first lease until it signs off."""

    def __init__(
        self,
        host: Host,
        store: Store,
        options: RuntimeOptions,
        registry: Registry,
        claims: Claims,
        fleet: Fleet,
        stops: SessionStops,
        threads: Threads,
    ) -> None:
        self._host = host
        self._store = store
        self._options = options
        self._registry = registry
        self._claims = claims
        self._fleet = fleet
        self._stops = stops
        self._threads = threads
        self.lease = Lease(host, store, options.lease)
        self.fence = Fence(host, claims, self.lease, grace=options.disconnect_grace)
        self._holdings = Holdings(host, store, claims)
        self._bell = host.spot()
        self._stray_wakes: set[str] = set()
        self._wait = 0.0
        """Seconds until the next beat, as the store has said."""
        self._rest = 0.0
        """Seconds until the next beat, where nothing needs one sooner."""
        self._until_next = host.cancel_scope()
        self.pauses = Pauses(host)
        """Those of the chores, which stand still while this node rests: there is nothing to look after."""
        self._look_for_dead_at = self._chores_at = -inf
        self._look_bell = host.spot()
        self.on_schedule: Callable[[float | None], None] = _to_nobody
        """Told in how many seconds the next schedule is due, as far as the store says."""
        self._scope = host.cancel_scope()
        self._over = host.event()
        self._over.set()
        self.on_beat: Callable[[float], None] = _to_nobody
        """Told with every beat, whatever has become of it, for how many seconds the node rests now."""
        self.may_rest_for: Callable[[], float] = lambda: inf
        """Seconds until something else needs a beat."""

    # --- told from outside, synchronously ---------------------------------------------------

    def hurry(self) -> None:
        """There may be something to do: beat now."""
        self._bell.wake()

    def on_lost(self) -> None:
        """The lease is gone, and what runs here may run elsewhere: nothing is claimed until that is known."""
        self._claims.on_hold = self._claims.has_strays = True
        self.lease.lose()
        self.hurry()

    def pass_on(self, queue: str) -> None:
        """This node was woken for a queue that it does not serve: another one is to be."""
        self._stray_wakes.add(queue)
        self.hurry()

    def on_cut_off(self) -> None:
        """The connection was closed, and the store sees that."""
        self.fence.cut_off()

    def on_back(self) -> None:
        """The connection stands again."""
        self.fence.back()
        self._settle_in()

    def _settle_in(self) -> None:
        self._look_for_dead_at = self._host.now() + SETTLING_IN

    # --- its tasks --------------------------------------------------------------------------

    async def begin(self) -> None:
        """Say what time it is, where nobody has kept it, and take a lease."""
        await self._store.renew(look_every=0.0)
        if self._options.workers:
            await self._take_lease()

    async def run(self) -> None:
        """Beat until the node signs off: it keeps its lease for as long as a job of it may run."""
        self._over = self._host.event()
        try:
            with self._scope:
                await lasting(self._host, "the heartbeat", self._beat_forever)
        finally:
            self._over.set()

    async def end(self) -> None:
        """Beat no more: what joined after the node has left would leave a lease behind."""
        self._scope.cancel()
        await self._over.wait()

    async def _beat_forever(self) -> None:
        host = self._host
        while True:
            self._until_next = until_next = host.cancel_scope(deadline=host.now() + self._pause())
            with until_next:
                await self._bell.park()
            failed, reached = False, True
            try:
                reached = await self._beat()
            except AM2ZError as error:
                logger.warning("the node's beat failed: %s", error)
                failed = True
            if reached:
                # Also where the beat was refused (by the server's access rules, say): blocks of this node
                # still hear that their sessions were stopped.
                try:
                    await self._look()
                except AM2ZError as error:
                    logger.warning("looking for stops failed: %s", error)
                    failed = True
            self._rest = 0.0 if failed or not reached else self._may_rest()
            if self._rest:
                self.pauses.stand_still()
            else:
                self.pauses.go_on()
            self.on_beat(self._rest)
            if failed:
                await host.sleep(BEAT)

    def _pause(self) -> float:
        if self._rest:
            return self._rest
        # Often enough for any lease: whoever is close to the end of its own takes nobody for dead.
        pause = min(BEAT, self._wait, self._options.lease / RENEWALS)
        if self._is_deaf:
            pause = min(pause, max(SOONEST, self._options.disconnect_grace / DEAF_BEATS))
        return pause

    def _may_rest(self) -> float:
        """Seconds for which this node looks after nothing: in memory, so that days of a virtual clock pass
        in a moment."""
        claims = self._claims
        busy = claims.on_hold or claims.has_strays or self._stray_wakes or self._threads.left_behind
        rest = 0.0 if busy else self._store.rest(self._end_rest)
        if rest:
            rest = min(rest, self.may_rest_for())
        self.lease.prolonged = rest
        return rest

    def _end_rest(self) -> None:
        """Something is done again: the next beat comes as after any other."""
        if self._rest:
            self._rest = 0.0
            self.pauses.go_on()
            self._until_next.deadline = self._host.now() + self._pause()

    async def _beat(self) -> bool:
        """Keep the lease and look after what this node holds; returns whether the store has answered."""
        if self._threads.look():
            self._fleet.wake_all()
        if not self._options.workers:
            # A pure client keeps the time, too.
            return await self._renew()
        claims, now = self._claims, self._host.now
        if not self.lease.is_held:
            await self._take_lease()
            # The store may have been emptied.
            self._fleet.say_again()
        if claims.on_hold:
            # First what nobody took goes on here: this very node could be granted it otherwise.
            await self._look_at_holdings()
            claims.on_hold = False
            self._fleet.wake_all()
        if not await self._renew():
            return False
        if not claims.on_hold and (claims.has_strays or now() >= self._chores_at):
            self._chores_at = now() + BEAT
            await self._look_at_holdings()
        for worker in list(self._fleet.workers.values()):
            worker.delivery.release_stranded()
            if self._is_deaf:
                worker.wake()
        return True

    @property
    def _is_deaf(self) -> bool:
        """Whether what the store has to tell does not arrive, wake-ups among it."""
        return any(state != "ready" for state in self._store.connections.values())

    async def _take_lease(self) -> None:
        with self.fence.asking():
            await self.lease.take()

    async def _look_at_holdings(self) -> None:
        with self.fence.asking():
            await self._holdings.look()

    async def _renew(self) -> bool:
        """Renew the lease, before anything else; returns whether the store has answered within its time."""
        looks = self._options.workers and self._host.now() >= self._look_for_dead_at
        with self.fence.asking():
            answer = await self._renew_and_look(self._registry.stalled_interval if looks else 0.0)
        if answer is None:
            # Whoever was away itself cannot tell who is dead: all may be on their way back.
            self._settle_in()
            return False
        self._wait = answer.wait
        self.on_schedule(answer.schedule_in)
        if answer.lost and self._options.workers:
            self.on_lost()
        elif answer.found is not None and _logged(answer.found).more:
            self._look_bell.wake()
        self._claims.compare(answer.held)
        return True

    async def _renew_and_look(self, every: float) -> RenewAnswer | None:
        try:
            return await self.lease.renew(every)
        except NetworkError:
            raise
        except AM2ZError as error:
            if not every:
                raise
            # To look may be refused where to renew is not (by the server's access rules, say).
            logger.warning("looking for dead nodes and stuck queues failed: %s", error)
        return await self.lease.renew(0.0)

    async def _look(self) -> None:
        """Pass stray wake-ups on, and ask for stops that were not heard of."""
        while self._stray_wakes:
            queue = self._stray_wakes.pop()
            if queue not in self._fleet.workers:
                await self._store.unpark(queue)
        await self._stops.look()

    # --- what all nodes share ---------------------------------------------------------------

    async def look_forever(self) -> None:
        """Where a look has left something to do, go on with it; beside the beats, which renew."""
        while True:
            await self._look_bell.park()
            try:
                # Not once the node signs off: nothing of it shall come after that.
                while not self._scope.cancel_called and _logged(await self._store.tick()).more:
                    pass
            except AM2ZError as error:
                logger.warning("looking for dead nodes and stuck queues failed: %s", error)


def _to_nobody(_: object) -> None:
    """Until somebody asks."""


def _logged(answer: TickAnswer) -> TickAnswer:
    """Say which jobs have failed that no worker can speak for any more."""
    for job in answer.failed:
        log_failure(job, JobStalledError.code, STALLED)
    back = answer.reaped - len(answer.failed)
    if back:
        logger.warning("jobs taken back from nodes that are gone: %d", back)
    return answer
