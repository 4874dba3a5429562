"""All that a runtime counts."""

from __future__ import annotations

from typing import Final

from am2z_trio.policy.buckets import Histogram

from .counting import ProcessorFigures
from .reading import Reading

MOST: Final = 1_000
"""Processors that have figures of their own; of those that come later all are counted together."""

OTHERS: Final = "(others)"
"""By this name, which no queue has."""


class Figures:
    """Lives as long as the runtime's object, so counts go on where that is entered again."""

    def __init__(self) -> None:
        self._by_processor: dict[str, ProcessorFigures] = {}
        self._others: ProcessorFigures | None = None
        self.cancel_latency = Histogram()
        """From when a node hears that a job is to stop to when its code has."""
        self.loop_lag = Histogram()
        """By how much the event loop was late, each time it was looked at."""
        self.round_trip: float | None = None
        """Seconds that the store took to answer last, when the lease was renewed."""
        self.reconnects = 0
        """Connections to the store that were lost and are back."""
        self.reading: Reading | None = None
        """The last one; `None` while the runtime is not entered."""

    def of(self, processor: str) -> ProcessorFigures:
        """The figures of a processor that is registered here."""
        found = self._by_processor.get(processor)
        if found is None:
            if len(self._by_processor) >= MOST:
                found = self._others = self._others or ProcessorFigures(OTHERS)
            else:
                found = self._by_processor[processor] = ProcessorFigures(processor)
        return found

    def all(self) -> list[ProcessorFigures]:
        """Of all processors that this runtime has served. Safe from any thread."""
        others = self._others
        return [*self._by_processor.copy().values(), *([others] if others else [])]
