"""What one node tells all others: of itself, of its jobs, and what its users emit."""

from __future__ import annotations

from typing import Any

from am2z_trio.model.events import Event
from am2z_trio.model.records import JobSpec

from .bus import Bus


class Emitter:
    """Emits in the name of one node. Synchronous: what is emitted is published soon."""

    def __init__(self, bus: Bus, node: str) -> None:
        self.bus = bus
        self.node = node

    def emit(self, name: str, *, processor: str = "", session: str = "") -> None:
        """An event of the node."""
        self.bus.emit(Event(name, 0, self.node, processor=processor, session=session))

    def emit_of_job(self, name: str, data: Any, spec: JobSpec) -> None:
        """An event of a job that the store knows nothing of."""
        self.bus.emit(Event(name, 0, self.node, spec.id, spec.processor, spec.session, data))

    def emit_for_user(self, name: str, data: Any, spec: JobSpec | None = None) -> None:
        """What a user emits, in a job or outside of any: checked first (`Event.emitted`)."""
        about = {} if spec is None else {"job": spec.id, "processor": spec.processor, "session": spec.session}
        self.bus.emit(Event.emitted(name, data, node=self.node, **about))
