"""One node's figures, as series. Read in any thread, while the node counts on."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from am2z_trio.engine.figures.figures import Figures
from am2z_trio.engine.runtime.runtime import Runtime

from . import families
from .families import Family, durations, value

STALE: Final = 10.0
"""Seconds after which a reading says nothing any more: the loop, which takes one a second, is stuck."""


class PrometheusCollector(Collector):
    """Series of one runtime, for `prometheus_client.REGISTRY.register`, or another registry.

    Entered or not: the counts go on where it is entered again. One runtime per registry; the series do not
    say of which node they are, as who scrapes them knows.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._figures: Final[Figures] = runtime.figures

    def describe(self) -> Iterable[Metric]:
        """The names that are taken, for a registry."""
        return [family.empty() for family in families.NODE]

    def collect(self) -> Iterable[Metric]:
        """All series as they are now. Safe from any thread."""
        made = {family: family.empty() for family in families.NODE}
        self._jobs(made)
        self._node(made)
        return made.values()

    def _jobs(self, made: dict[Family, Metric]) -> None:
        for one in self._figures.all():
            name = one.processor
            value(made[families.STARTED], one.started, name)
            for outcome, count in one.by_outcome().items():
                value(made[families.FINISHED], count, name, outcome)
            durations(made[families.WAIT], one.waits, name)
            durations(made[families.DURATION], one.runs, name)
            value(made[families.RETRIES], one.retried, name)
            value(made[families.FENCED], one.fenced, name)
            value(made[families.CONFLICTS], one.conflicts, name)
            value(made[families.INTEGRITY], one.integrity, name)

    def _node(self, made: dict[Family, Metric]) -> None:
        figures, reading, now = self._figures, self._figures.reading, time.monotonic()
        durations(made[families.CANCEL_LATENCY], figures.cancel_latency)
        durations(made[families.LOOP_LAG], figures.loop_lag)
        value(made[families.RECONNECTS], figures.reconnects)
        if figures.round_trip is not None:
            value(made[families.ROUND_TRIP], figures.round_trip)
        host = ""
        is_ready = False
        if reading is not None:
            host = reading.host
            is_ready = reading.is_ready and now - reading.at < STALE
            for slots in reading.slots:
                value(made[families.SLOTS], slots.slots, slots.processor)
                value(made[families.SLOTS_BUSY], slots.busy, slots.processor)
            if reading.lease_until is not None:
                value(made[families.LEASE], max(0.0, reading.lease_until - now))
        value(made[families.READY], is_ready)
        value(made[families.BUILD], 1, _version(), platform.python_version(), host)


def _version() -> str:
    try:
        return version("am2z-trio")
    except PackageNotFoundError:
        return "unknown"
