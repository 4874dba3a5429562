"""The workers of one node: one per queue that it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from am2z_trio.concurrency import Host, Nursery
from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.execution.executor import Executor
from am2z_trio.engine.figures.reading import Slots
from am2z_trio.engine.processors.registry import Definition, Registry
from am2z_trio.engine.work.feeder import Feeder
from am2z_trio.engine.work.services import WorkerServices
from am2z_trio.model.errors import RuntimeStateError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import Handed, queue_name

from .announcements import Announcements
from .sending import Sending

logger: Final = Log("am2z_trio.node")

DRAINED: Final = "drained"
"""Why a node is held back that was told to claim no more."""

REPLACED_AFTER: Final = 1.0
"""Seconds after which a worker that has ended by itself is replaced: one that always does must not spin."""


class Fleet:
    """Who works on this node, as tasks of a nursery that it is given, and what other nodes hear of it."""

    def __init__(
        self,
        host: Host,
        registry: Registry,
        emitter: Emitter,
        services: WorkerServices,
        *,
        serves: bool,
    ) -> None:
        """`serves`: not a pure client's, which has none."""
        self._host = host
        self._serves = serves
        self._registry = registry
        self._emitter = emitter
        self._services = services
        self._nursery: Nursery | None = None
        self.workers: dict[str, Feeder] = {}
        """By queue: those that serve now. One that was replaced may still let its jobs end."""
        self._at_work: set[Feeder] = set()
        self._fallen: set[str] = set()
        """Processors whose worker has ended by itself, while there is no other."""
        self._held_back: dict[str, str] = {}
        """Why nothing is claimed here: each reason, and what there is to say of it."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when other queues may be served than before, or other nodes may have forgotten which."""
        self._one_has_ended = host.event()
        self._jobs_run_before = 0
        self.figures = services.figures
        """What this node counts."""
        services.executor.sites.on_free(self._on_free)
        self.sending: Final = Sending(services.store, services.claims, self.workers, self.hand)
        self.announcements = Announcements(host, services.store, registry, self.served)

    def own(self, nursery: Nursery) -> None:
        """The nursery that workers are tasks of."""
        self._nursery = nursery
        self.retire_removed()

    def disown(self) -> None:
        """It takes no more tasks: no worker begins any more."""
        self._nursery = None

    def close(self) -> None:
        """Serve nothing any more: claim no more, and begin no worker."""
        self.disown()
        self.stop_serving(*self.workers)

    # --- who serves -------------------------------------------------------------------------

    def served(self) -> list[str]:
        """The processors whose queues are served here now."""
        return [worker.processor for worker in self.workers.values() if not worker.closing]

    def serve(self, definition: Definition) -> None:
        """Work this processor's queue off from now on."""
        if self._nursery is None or not self._serves:
            return
        queue, name = definition.queue, definition.processor.name
        self.announcements.add(name)
        self.on_change()
        serving = self.workers.get(queue)
        if serving is not None and not serving.closing:
            serving.wake()
            return
        worker = self.workers[queue] = Feeder(
            self._services, definition, self._registry.registration(name), self._on_unparked
        )
        worker.held_back = bool(self._held_back)
        self._at_work.add(worker)
        self._nursery.start_soon(self._work, worker, name=f"worker {name}")

    def pin_worker(self, processor: str, session: str) -> None:
        """Have a worker of this processor, which is registered here, in a session."""
        definition = self._registry.get(processor)
        assert definition is not None
        self.serve(definition)
        feeder = self.workers.get(definition.queue)
        if feeder is None:
            raise RuntimeStateError("this runtime works no queue off: it was made with workers=False")
        feeder.pin_worker(session)

    def stop_serving(self, *queues: str, retire: bool = False) -> None:
        """Claim no more of these queues; running jobs end by themselves. With `retire`, those that nobody
        serves then are known by name no more."""
        for queue in queues:
            if queue in self.workers:
                self.workers[queue].close()
        if self._serves:
            self.announcements.withdraw(queues, retire=retire)
            self.on_change()

    def retire_removed(self) -> None:
        """Serve no more what is registered no more, also what was taken away while there was no node."""
        self.stop_serving(*map(queue_name, self._registry.take_removed()), retire=True)

    def say_again(self) -> None:
        """Announce all that is served: the store may know less, or what was true some time ago."""
        if self._nursery is not None:
            self.announcements.say_again()
            self.on_change()

    def _on_unparked(self, worker: Feeder) -> None:
        """A worker has taken the node off its queue. Another one that serves it by now parks anew."""
        serving = self.workers.get(worker.queue)
        if serving is not None and serving is not worker:
            serving.wake()

    # --- jobs that are given to it as they come -----------------------------------------------

    def hand(self, handed: Handed) -> bool:
        """A job was claimed for this node as it came; returns whether anybody serves its queue here."""
        worker = self.workers.get(handed.queue)
        if worker is not None:
            worker.hand(handed)
        return worker is not None

    # --- their tasks ------------------------------------------------------------------------

    async def _work(self, worker: Feeder) -> None:
        try:
            async with self._host.open_nursery() as nursery:
                await nursery.start(worker.run)
                self._emitter.emit("worker:started", processor=worker.processor)
        finally:
            self._emitter.emit("worker:stopped", processor=worker.processor)
            self._jobs_run_before += worker.jobs_run
            self._at_work.discard(worker)
            if self.workers.get(worker.queue) is worker:
                del self.workers[worker.queue]
            self._one_has_ended.set()
        if not worker.closed:
            await self._replace(worker)

    async def _replace(self, worker: Feeder) -> None:
        """A worker has ended and nobody had asked it to: say so, and start another."""
        logger.error("the worker of %r has ended by itself; another one is started", worker.processor)
        self._fallen.add(worker.processor)
        try:
            await self._host.sleep(REPLACED_AFTER)
        finally:
            self._fallen.discard(worker.processor)
        definition = self._registry.get(worker.processor)
        if definition is not None:
            self.serve(definition)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the workers of this node are as `condition` wants them."""
        while not condition():
            if self._one_has_ended.is_set():
                self._one_has_ended = self._host.event()
            await self._one_has_ended.wait()

    async def wait_idle(self) -> None:
        """Wait until no worker is at work."""
        await self.wait_until(lambda: not self._at_work)

    def is_at_work(self, worker: Feeder) -> bool:
        """Whether it has not ended: it serves, or lets its jobs end."""
        return worker in self._at_work

    # --- all of them ------------------------------------------------------------------------

    def wake_all(self) -> None:
        """There may be work in any of their queues."""
        for worker in self.workers.values():
            worker.wake()

    def _on_free(self) -> None:
        for worker in self.workers.values():
            worker.delivery.places.room_elsewhere()

    def hold_back(self, why: str, on: bool, told: str = "") -> None:
        """Claim nothing for now, or again where there is no other reason; what is claimed runs. `told`: what
        other nodes are to know of it."""
        if on == (why in self._held_back):
            return
        if on:
            self._held_back[why] = told
        else:
            del self._held_back[why]
        self.on_change()
        for worker in self.workers.values():
            if worker.held_back != bool(self._held_back):
                worker.held_back = bool(self._held_back)
                worker.wake()

    def hand_back_waiting(self) -> None:
        """What is claimed and has not begun goes back to its queue."""
        for worker in self._at_work:
            worker.delivery.release()

    @property
    def jobs_run(self) -> int:
        return self._jobs_run_before + sum(worker.jobs_run for worker in self._at_work)

    @property
    def executor(self) -> Executor:
        """What runs their jobs."""
        return self._services.executor

    @property
    def busy(self) -> int:
        """Jobs whose code runs now."""
        return sum(worker.busy for worker in self._at_work)

    def slots(self) -> tuple[Slots, ...]:
        """How many jobs may run here at a time, and do, by processor."""
        found = list[Slots]()
        for worker in self.workers.values():
            definition = self._registry.get(worker.processor)
            if definition is not None:
                found.append(Slots(worker.processor, definition.processor.queue.concurrency, worker.busy))
        return tuple(found)

    @property
    def is_refused(self) -> bool:
        """Whether the store refuses what any of them asks for now."""
        return any(worker.refusal for worker in self.workers.values())

    def why_full(self) -> str:
        """Why it claims nothing for now, in words; empty while it does, or has nothing to say of it."""
        return next(filter(None, self._held_back.values()), "")

    def why_short(self) -> str:
        """Empty while every queue has its worker, which may claim."""
        if DRAINED in self._held_back:
            return "this node is drained"
        if not self._fallen:
            return ""
        return f"the worker of {min(self._fallen)!r} has ended by itself, and another one is not yet there"
