"""What all nodes share, as series: from one exporter alone, or it would be added up once per exporter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from am2z_trio.engine.figures.figures import MOST, OTHERS
from am2z_trio.model.checks import require
from am2z_trio.model.logs import Log
from am2z_trio.model.views.findings import Finding
from am2z_trio.model.views.samples import Census, QueueNow

from . import families
from .exposition import Exposition, exposition
from .families import value

logger: Final = Log("am2z_trio.metrics")


class Counted(Protocol):
    """What can be asked how queues, schedules and nodes are."""

    async def census(self) -> Census: ...


class ClusterCollector(Collector):
    """Series of a namespace, as the last `look` has found it, in the runtime's loop; `collect` is for any
    thread.

    Before the first look there are none. Of more than a thousand processors, those that come last by name are
    one, `(others)`; of more than a thousand schedules, those that are due first are shown.

    `findings` is asked at each look for what needs a person, such as `admin.findings.FindingsWatch(runtime)
    .look`; without it there is no series of that. Where it cannot say so, all else is told all the same, and
    `am2z_findings_unread` is 1.
    """

    def __init__(
        self, runtime: Counted, *, findings: Callable[[], Awaitable[Sequence[Finding]]] | None = None
    ) -> None:
        """`runtime`: one that is entered, or an `Admin` of it, which counts what is its principal's."""
        require(findings is None or callable(findings), "findings", findings, "must be a function")
        self._runtime: Final = runtime
        self._findings: Final = findings
        self._seen: Census | None = None
        self._found = Counter[tuple[str, str]]()
        self._unread = False

    async def look(self) -> None:
        """Ask the store. Raises what `runtime.census` does; what was seen before stays."""
        self._seen = await self._runtime.census()
        if self._findings is None:
            return
        try:
            found = await self._findings()
        except Exception as error:
            # Whatever that is, queues are to be seen: it is then that somebody looks at them.
            logger.warning("what needs a person could not be read: %s: %s", type(error).__name__, error)
            self._unread = True
        else:
            self._found = Counter((one.code, one.severity) for one in found)
            self._unread = False

    async def exposition(self, accept: str = "") -> Exposition:
        """Look, and say what was seen: an answer to `/metrics`."""
        await self.look()
        return exposition(self, accept=accept)

    def describe(self) -> Iterable[Metric]:
        """The names that are taken, for a registry."""
        return [family.empty() for family in families.CLUSTER]

    def collect(self) -> Iterable[Metric]:
        """All series as they were seen last. Safe from any thread."""
        seen = self._seen
        made = {family: family.empty() for family in families.CLUSTER}
        if seen is None:
            return made.values()
        for name, now in _bounded(seen.queues).items():
            value(made[families.QUEUE_JOBS], now.waiting, name, "waiting")
            value(made[families.QUEUE_JOBS], now.delayed, name, "delayed")
            value(made[families.QUEUE_JOBS], now.active, name, "active")
            value(made[families.OLDEST], now.oldest, name)
            value(made[families.PAUSED], now.paused, name)
            value(made[families.HELD], now.held, name)
            value(made[families.SERVING], now.workers, name)
            value(made[families.DEAD], now.dead, name)
            value(made[families.BREAKER], now.breaker_open, name)
        value(made[families.SESSIONS], seen.sessions)
        value(made[families.NODES], seen.nodes)
        for name, stands in seen.schedules.items():
            value(made[families.LATE], stands.late, name)
            value(made[families.MISSED], stands.missed, name)
        for (code, severity), count in self._found.items():
            value(made[families.FINDINGS], count, code, severity)
        if self._findings is not None:
            value(made[families.UNREAD], self._unread)
        return made.values()


def _bounded(queues: Mapping[str, QueueNow]) -> Mapping[str, QueueNow]:
    names = sorted(queues)
    found = {name: queues[name] for name in names[:MOST]}
    for name in names[MOST:]:
        one, other = found.get(OTHERS, QueueNow()), queues[name]
        found[OTHERS] = msgspec.structs.replace(
            one,
            waiting=one.waiting + other.waiting,
            delayed=one.delayed + other.delayed,
            active=one.active + other.active,
            dead=one.dead + other.dead,
            oldest=max(one.oldest, other.oldest),
            workers=max(one.workers, other.workers),
            paused=one.paused or other.paused,
            held=one.held or other.held,
            breaker_open=one.breaker_open or other.breaker_open,
        )
    return found
