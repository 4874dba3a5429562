"""The processors of a runtime: registered, taken back, paused and forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.model.callables import require_items
from am2z_trio.model.errors import ResourceError, RuntimeStateError
from am2z_trio.model.records import queue_name

from .life import Life


class ProcessorMethods(Life):
    """What a runtime's user may do with processors."""

    def register(self, *processors: Processor[Any]) -> None:
        """Add processors and what they depend on; while running, serve them at once.

        A name that is known already is replaced: the next job runs the new function. Two different
        processors of one name in one call are a `DuplicateProcessorError`, and a circle of `depends_on`, by
        name, a `ConfigurationError` that spells it; nothing is added then.
        """
        self._require_here()
        added = self._registry.add(processors)
        if self._node is not None:
            for definition in added:
                self._node.fleet.serve(definition)
                self._node.emitter.emit("processor:registered", processor=definition.processor.name)

    def register_many(self, processors: Iterable[Processor[Any]]) -> None:
        """`register`, for a list."""
        self.register(*require_items("processors", processors, "processors"))

    def unregister(self, processor: Processor[Any] | str) -> bool:
        """Forget a processor. Its running jobs end; those that wait stay for other nodes. On the last node
        that serves it, a call of it by name is an error from then on, or from when the runtime is entered.

        Returns whether it was known.
        """
        self._require_here()
        name = name_of(processor)
        removed = self._registry.remove(name)
        if self._node is not None:
            self._node.fleet.retire_removed()
            self._node.submissions.directory.forget(name)
        if removed is not None and self._node is not None:
            self._node.emitter.emit("processor:unregistered", processor=name)
        return removed is not None

    async def forget_processor(self, processor: Processor[Any] | str) -> bool:
        """Make a processor unknown that no node serves any more: a call of it by name is an error again.

        Returns whether any node had announced it. One with jobs left, dead letters included, is a
        `ResourceError`, and one that is registered here, or that another node serves, a `RuntimeStateError`.
        Its counts and what else its queue keeps go. What nobody has served for a week, and has no jobs, is
        forgotten by itself; by name it is an error a day after somebody served it last.
        """
        name, node = name_of(processor), self._running()
        if self._registry.get(name) is not None:
            raise RuntimeStateError(
                f"processor {name!r} is registered here: unregister it first", context={"processor": name}
            )
        found = await node.store.forget_queue(queue_name(name))
        if found.workers:
            raise RuntimeStateError(
                f"processor {name!r} is served by {found.workers} nodes: unregister it there first",
                context={"processor": name, "workers": found.workers},
            )
        if found.jobs:
            raise ResourceError(
                f"processor {name!r} has {found.jobs:,} jobs left, dead letters included: it stays known",
                context={"processor": name, "jobs": found.jobs},
            )
        node.submissions.directory.forget(name)
        return found.known

    async def pause(self, processor: Processor[Any] | str) -> None:
        """Start no job of the processor on any node, until `resume`; what runs goes on, what comes waits.

        Its waiting jobs count as paused. A pause outlives the runtime and has no end of its own.
        """
        await self._pause(processor, True)

    async def resume(self, processor: Processor[Any] | str) -> None:
        """Start jobs of the processor again."""
        await self._pause(processor, False)

    async def _pause(self, processor: Processor[Any] | str, on: bool) -> None:
        name = name_of(processor)
        await self._running().store.pause(queue_name(name), on)
        self._running().emitter.emit("queue:paused" if on else "queue:resumed", processor=name)

    def list_processors(self) -> list[str]:
        """Names of the processors registered here, in order."""
        return self._registry.names()

    @property
    def processors(self) -> list[Processor[Any]]:
        """The processors registered here, in order."""
        return [definition.processor for definition in self._registry.all()]

    async def sync_processors(self) -> list[str]:
        """Names of all processors that can be called by name: any node serves them, or has within the last
        day. This node's own have been announced by then."""
        node = self._running()
        await node.fleet.announcements.wait_done()
        return await node.submissions.directory.known_processors()
