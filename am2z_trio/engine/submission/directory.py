"""Which processors any node serves, and how the jobs of each are written and queued."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, Final, Generic, NamedTuple, TypeVar

from am2z_trio.concurrency import Host
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.model.checks import require_seconds
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import AM2ZError, ProcessorNotFoundError, TotalTimeoutError
from am2z_trio.model.options import JobOptions, QueueOptions
from am2z_trio.model.records import QueueInfo, queue_name
from am2z_trio.model.runtime_options import RuntimeOptions
from am2z_trio.store.ports import Store

from .request import SubmitRequest

S = TypeVar("S")

LOOK_AGAIN_AFTER: Final = 30.0
"""Seconds for which the processors of other nodes, and the options of their queues, are taken as known."""


class Entry(NamedTuple, Generic[S]):
    """One processor."""

    codec: StateCodec[S]
    """How its states are written."""
    queue: QueueOptions
    """How its jobs are queued."""
    assumed: bool = False
    """It is only taken to be served: it was, some time ago."""


class Directory:
    """What this node knows of the processors that it serves, and of those that others do."""

    def __init__(
        self, host: Host, options: RuntimeOptions, registry: Registry, store: Store, *, shared: bool
    ) -> None:
        """`shared`: there may be other nodes, now or later."""
        self._host = host
        self._options = options
        self._registry = registry
        self._store = store
        self._shared = shared
        self._any_codec: StateCodec[Any] = StateCodec(Any, max_bytes=options.max_state_bytes, takes_any=True)
        self._known_elsewhere: dict[str, QueueOptions] = {}
        self._looked_at = -inf
        self._seen_at: dict[str, float] = {}
        self._codecs: dict[str, tuple[Processor[Any], StateCodec[Any]]] = {}
        """By name: of processors that are only called here."""

    async def known_processors(self) -> list[str]:
        """Names of all processors that any node serves, or has served lately."""
        known = [info for info in await self._store.known_queues() if info.known]
        self._known_elsewhere = {info.processor: info.options for info in known}
        self._looked_at = self._host.now()
        return list(dict.fromkeys(info.processor for info in known))

    def forget(self, processor: str) -> None:
        """Look again whether any node has it before the next job of it is submitted."""
        self._known_elsewhere.pop(processor, None)
        self._seen_at.pop(processor, None)

    def at_hand(self, processor: Processor[S] | str, name: str, now: float) -> Entry[Any] | None:
        """One of which nobody has to be asked, or told: this node serves it, or has told of it lately."""
        definition = self._registry.get(name)
        if definition is None:
            if self._shared and isinstance(processor, Processor) and self._is_seen(name, now):
                return Entry(self._codec_of(processor), processor.queue)
        elif self._options.workers or self._is_seen(name, now):
            return Entry(definition.codec, definition.processor.queue)
        return None

    def codec(self, name: str) -> StateCodec[Any] | None:
        """How the states of one are read that is registered here, be it served here or not."""
        definition = self._registry.get(name)
        return None if definition is None else definition.codec

    async def find(
        self, processor: Processor[S] | str, name: str, request: SubmitRequest, began: float
    ) -> Entry[S]:
        """One that others serve, or may come to serve, within the time in which the job is to end. `began`:
        when it was asked for."""
        total = request.total_timeout
        if total is None and isinstance(request.options, JobOptions):
            total = request.options.total_timeout
        if total is None:
            return await self._find(processor, name)
        total = require_seconds("total_timeout", total, zero=False)
        with self._host.cancel_scope(deadline=began + total):
            return await self._find(processor, name)
        raise TotalTimeoutError(
            f"the job of {name!r} could not be submitted within {total:g} s (total_timeout): "
            "the store did not answer",
            context={"processor": name, "seconds": total},
        )

    async def _find(self, processor: Processor[S] | str, name: str) -> Entry[S]:
        definition = self._registry.get(name)
        if definition is not None:
            await self._make_seen(definition.processor)
            return Entry(definition.codec, definition.processor.queue)
        if isinstance(processor, Processor) and self._shared:
            # It needs no worker yet: somebody may come to serve it.
            await self._make_seen(processor)
            assumed = False
        else:
            assumed = await self._require_known(name)
        if isinstance(processor, Processor):
            return Entry(self._codec_of(processor), processor.queue, assumed)
        return Entry(self._any_codec, self._known_elsewhere[name], assumed)

    def _codec_of(self, processor: Processor[S]) -> StateCodec[S]:
        """Made once: to make one takes as long as all else that a job is checked for."""
        made_for, codec = self._codecs.get(processor.name, (None, self._any_codec))
        if made_for is not processor:
            codec = StateCodec(
                processor.state_type, max_bytes=self._options.max_state_bytes, evolution=processor.evolution
            )
            self._codecs[processor.name] = processor, codec
        return codec

    async def _require_known(self, name: str) -> bool:
        """Raise the error of one that nobody serves, nor has lately; returns whether that was not asked
        anew."""
        looked_lately = self._host.now() - self._looked_at < LOOK_AGAIN_AFTER
        if looked_lately and name in self._known_elsewhere:
            return True
        if name not in await self.known_processors():
            raise self.not_found(name)
        return False

    def not_found(self, name: str) -> ProcessorNotFoundError:
        """The error of a name that nobody serves."""
        here = ", ".join(self._registry.names()) or "none"
        return ProcessorNotFoundError(
            f"no node serves a processor named {name!r}, nor has lately (registered here: {here})",
            context={"processor": name},
        )

    async def unknown(self, names: Iterable[str]) -> dict[str, AM2ZError]:
        """Those of them that nobody serves any more, nor has lately, with the error of that."""
        known = set(await self.known_processors())
        return {name: self.not_found(name) for name in names if name not in known}

    def _is_seen(self, name: str, now: float) -> bool:
        """Whether every node sees that there are jobs of it, as this one has told lately."""
        return now - self._seen_at.get(name, -inf) < LOOK_AGAIN_AFTER

    async def _make_seen(self, processor: Processor[Any]) -> None:
        """Have every node see that there are jobs of it, whoever serves it."""
        name, now = processor.name, self._host.now()
        if self._is_seen(name, now):
            return
        info = QueueInfo(queue=queue_name(name), processor=name, options=processor.queue)
        # Before the store has answered: of many that are submitted at once, one tells it.
        self._seen_at[name] = now
        try:
            await self._store.announce([info], serves=False)
        except BaseException:
            if self._seen_at.get(name) == now:
                del self._seen_at[name]
            raise
