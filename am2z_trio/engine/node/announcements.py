"""Tells the store which queues this node serves, and by which options they are to be filled.

One call at a time, so that the newest registration of a name is the last that is announced. What the store
refuses for now is said later. All is said again when the node takes a new lease or its connection is back, as
the store may have been emptied, have lost its end or have taken this node for dead, and from time to time, as
what nobody announces is forgotten. What the node serves no more it says at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.batching import Batching, Verdict
from am2z_trio.engine.processors.compose import Composition
from am2z_trio.engine.processors.plans import first_of
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.registry import Definition, Registry
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import ANNOUNCE_EVERY, QueueInfo, queue_name
from am2z_trio.store.ports import BATCH, Store

logger: Final = Log("am2z_trio.node")

AGAIN_AFTER: Final = 1.0
"""Seconds after an announcement that was refused."""


class _Names(dict[str, None]):
    """A line in which each name stands once."""

    def take(self, most: int) -> list[str]:
        names = list(islice(self, most))
        for name in names:
            del self[name]
        return names


class Announcements:
    """What this node has yet to announce."""

    def __init__(
        self, host: Host, store: Store, registry: Registry, served: Callable[[], Sequence[str]]
    ) -> None:
        """`served` names the processors whose queues this node serves now."""
        self._host = host
        self._store = store
        self._registry = registry
        self._served = served
        self._waiting = _Names()
        self._refused = set[str]()
        """Those that are announced again in a moment."""
        self._under_way: list[str] = []
        """Queues of an announcement that the store has yet to answer."""
        self._withdrawn: dict[str, bool] = {}
        """Those of them that are served no more, and whether they are to be known no more."""
        self.on_announced: Callable[[Sequence[Definition]], None] = _to_nobody
        """Told of processors that every node knows now to be served here."""
        self._gone: dict[str, None] = {}
        """All that were served here and are no more: as many as were ever registered."""
        self._batching = Batching(
            host,
            self._waiting,
            self._announce,
            self._put_off,
            refusal=AM2ZError,
            most=BATCH,
            pauses=(AGAIN_AFTER, AGAIN_AFTER),
        )

    def add(self, *processors: str) -> None:
        """Announce these soon, as they are registered then."""
        self._waiting.update(dict.fromkeys(name for name in processors if name not in self._refused))
        self._batching.ring()

    def withdraw(self, queues: Sequence[str], *, retire: bool = False) -> None:
        """These are served here no more. With `retire`, they are known by name no more if nobody serves
        them."""
        if queues:
            self._store.withdraw_nowait(queues, retire=retire)
            self._withdrawn |= {queue: retire for queue in queues if queue in self._under_way}
            self._gone |= dict.fromkeys(queues)

    def say_again(self) -> None:
        """The store may know less, or what was true some time ago."""
        served = self._served()
        self.add(*served)
        queues = {queue_name(processor) for processor in served}
        gone = [queue for queue in self._gone if queue not in queues]
        if gone:
            # None is retired once more: another node may have announced it since.
            self._store.withdraw_nowait(gone)

    async def wait_done(self) -> None:
        """Wait until everything added so far is known to every node."""
        await self._batching.wait_idle()

    async def run(self) -> None:
        """Announce until cancelled."""
        await self._batching.run()

    async def run_reminder(self) -> None:
        """Have all announced again from time to time, until cancelled."""
        while True:
            await self._host.sleep(ANNOUNCE_EVERY)
            self.add(*self._served())

    async def _announce(self, names: list[str]) -> None:
        self._refused.difference_update(names)
        served = set(self._served())
        found = [
            definition
            for name in names
            if name in served and (definition := self._registry.get(name)) is not None
        ]
        infos = [
            QueueInfo(
                queue=one.queue,
                processor=one.processor.name,
                options=one.processor.queue,
                begins=_begins(one.processor),
            )
            for one in found
        ]
        self._under_way = [info.queue for info in infos]
        try:
            if infos:
                await self._store.announce(infos)
                self.on_announced(found)
        finally:
            # It may have been announced after all that it was withdrawn.
            self._under_way, withdrawn, self._withdrawn = [], self._withdrawn, {}
            for queue, retire in withdrawn.items():
                self._store.withdraw_nowait([queue], retire=retire)

    async def _put_off(self, names: Sequence[str], error: AM2ZError) -> Verdict:
        logger.warning("processors could not be announced, and will be later: %s", error)
        self._refused.update(names)
        return "later"


def _begins(processor: Processor[Any]) -> tuple[str, ...]:
    """Queues of what its jobs begin with."""
    parts = first_of(processor.plan) if isinstance(processor, Composition) else ()
    return tuple(queue_name(part.name) for part in parts)


def _to_nobody(_: object) -> None:
    """Until somebody asks."""
