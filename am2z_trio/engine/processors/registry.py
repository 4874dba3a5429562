"""Which processors this node knows, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final
from weakref import WeakValueDictionary

from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import ConfigurationError, ValidationError
from am2z_trio.model.options import QueueOptions
from am2z_trio.model.records import limits_of, queue_name

from .dependencies import with_dependencies
from .imported import Place, place_of
from .injection import Injection, Provided
from .processor import Processor, unfit

NOTHING: Final = b"\x80"
"""An empty map, encoded."""

USUAL: Final = QueueOptions()


class Definition:
    """A processor as this node runs it, from when it was registered to when another one took its name."""

    __slots__ = ("__weakref__", "codec", "fn", "injection", "limits", "place", "processor", "queue")

    def __init__(self, processor: Processor[Any], max_state_bytes: int) -> None:
        self.processor = processor
        self.fn: Callable[..., Any] = processor.fn
        """What is called: with the resources that are the same for every run."""
        self.injection: Injection | None = None
        """Where others are made for each run."""
        self.queue = queue_name(processor.name)
        self.limits = limits_of(processor.queue)
        try:
            self.codec: StateCodec[Any] = StateCodec(
                processor.state_type, max_bytes=max_state_bytes, evolution=processor.evolution
            )
        except ValidationError as error:
            raise unfit(processor.name, error) from error
        self.place: Place | None = (
            place_of(processor) if processor.run_in in ("process", "interpreter") else None
        )
        """Where other processes find it."""
        if processor.schedule is not None:
            self.scheduled_state()

    def inject(self, injection: Injection | None) -> None:
        """Give it what it asks for; `None`: nothing any more."""
        self.fn = self.processor.fn if injection is None else injection.fn
        self.injection = injection if injection is not None and injection.makes else None

    def scheduled_state(self) -> Any:
        """What its schedule gives it."""
        try:
            return self.codec.read(NOTHING)
        except ValidationError as error:
            name = self.processor.name
            raise ConfigurationError(
                f"processor {name!r} has a schedule, and its state cannot be made of {{}}: use "
                "runtime.schedules.upsert, which takes a state",
                context={"processor": name},
            ) from error


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
        self._provided: Provided | None = None

    def add(self, processors: Iterable[Processor[Any]]) -> list[Definition]:
        """Add processors and their dependencies; all of them or, on an error, none."""
        added = [
            Definition(processor, self._max_state_bytes)
            for processor in with_dependencies(processors).values()
        ]
        if self._provided is not None:
            _inject(added, self._provided)
        for definition in added:
            name = definition.processor.name
            self._by_name[name] = definition
            self._removed.pop(name, None)
            self.registration(name).current = definition
        return added

    def provide(self, provided: Provided | None) -> None:
        """From now on its processors are given these resources; `None`: none of them runs any more. Raises
        `ConfigurationError` where one asks for something that is not there."""
        if provided is not None:
            _inject(self.all(), provided)
        else:
            for definition in self.all():
                definition.inject(None)
        self._provided = provided

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


def _inject(definitions: Iterable[Definition], provided: Provided) -> None:
    """All of them or, on an error, none."""
    asking = [one for one in definitions if one.processor.asked is not None]
    injections = [Injection(one.processor, provided) for one in asking]
    for definition, injection in zip(asking, injections, strict=True):
        definition.inject(injection)
