"""Which processors this node knows, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakValueDictionary

from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.options import QueueOptions, RateLimit
from am2z_trio.model.records import QueueLimits, queue_name

from .dependencies import with_dependencies
from .processor import Processor, unfit

USUAL: Final = QueueOptions()


class Definition:
    """A processor as this node runs it, from when it was registered to when another one took its name."""

    __slots__ = ("__weakref__", "codec", "limits", "processor", "queue")

    def __init__(self, processor: Processor[Any], max_state_bytes: int) -> None:
        self.processor = processor
        self.queue = queue_name(processor.name)
        self.limits = _limits(processor.queue)
        try:
            self.codec: StateCodec[Any] = StateCodec(processor.state_type, max_bytes=max_state_bytes)
        except ValidationError as error:
            raise unfit(processor.name, error) from error


def _limits(options: QueueOptions) -> QueueLimits:
    limiter = options.limiter
    if options.rate_limit_rpm is not None:
        limiter = RateLimit(max=options.rate_limit_rpm, duration=60)
    return QueueLimits(
        starts=0 if limiter is None else limiter.max,
        per=0 if limiter is None else limiter.duration,
        delays_excess=limiter is not None and not limiter.bounce_back,
        most_active=options.global_concurrency or 0,
        per_session=options.session_concurrency or 0,
    )


class Registration:
    """What a name stands for on this node, as it changes. Who serves it keeps this, and looks nothing up."""

    __slots__ = ("__weakref__", "current")

    def __init__(self) -> None:
        self.current: Definition | None = None
        """How its jobs are run from now on; `None` while the name is not registered."""


class Registry:
    """Processors by name. Registering a name again replaces it from the next job on."""

    def __init__(self, max_state_bytes: int) -> None:
        self._max_state_bytes = max_state_bytes
        self._by_name: dict[str, Definition] = {}
        self._removed = dict[str, None]()
        self._registrations = WeakValueDictionary[str, Registration]()

    def add(self, processors: Iterable[Processor[Any]]) -> list[Definition]:
        """Add processors and their dependencies; all of them or, on an error, none."""
        added = [
            Definition(processor, self._max_state_bytes)
            for processor in with_dependencies(processors).values()
        ]
        for definition in added:
            name = definition.processor.name
            self._by_name[name] = definition
            self._removed.pop(name, None)
            self.registration(name).current = definition
        return added

    def remove(self, name: str) -> Definition | None:
        self.registration(name).current = None
        removed = self._by_name.pop(name, None)
        if removed is not None:
            self._removed[name] = None
        return removed

    def take_removed(self) -> list[str]:
        """Those that were removed since somebody asked, and not added again."""
        removed, self._removed = self._removed, {}
        return list(removed)

    def get(self, name: str) -> Definition | None:
        return self._by_name.get(name)

    def registration(self, name: str) -> Registration:
        """The one of this name, for as long as anybody keeps it."""
        found = self._registrations.get(name)
        if found is None:
            found = self._registrations[name] = Registration()
            found.current = self._by_name.get(name)
        return found

    @property
    def stalled_interval(self) -> float:
        """The shortest of its processors'."""
        intervals = (one.processor.queue.stalled_interval for one in self._by_name.values())
        return min(intervals, default=USUAL.stalled_interval)

    def names(self) -> list[str]:
        return list(self._by_name)

    def all(self) -> list[Definition]:
        return list(self._by_name.values())
