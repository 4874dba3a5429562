"""The metrics of one node. What tells jobs or sessions apart is in none of them: their number is that of the
queues."""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import MeterProvider, get_meter

from . import names
from .versions import own_version

Attributes = dict[str, str | int]


class Meters:
    """Instruments, and the attributes that they are given."""

    def __init__(self, provider: MeterProvider | None, server: tuple[str, int | None] | None) -> None:
        meter = get_meter("am2z_trio", own_version(), provider, names.SCHEMA)
        self._operations: Final = meter.create_histogram(
            names.OPERATION_DURATION,
            unit="s",
            description="Duration of messaging operation initiated by a producer or consumer client.",
            explicit_bucket_boundaries_advisory=names.BOUNDARIES,
        )
        self._processes: Final = meter.create_histogram(
            names.PROCESS_DURATION,
            unit="s",
            description="Duration of processing operation.",
            explicit_bucket_boundaries_advisory=names.BOUNDARIES,
        )
        self._sent: Final = meter.create_counter(
            names.SENT_MESSAGES,
            unit="{message}",
            description="Number of messages producer attempted to send to the broker.",
        )
        self._consumed: Final = meter.create_counter(
            names.CONSUMED_MESSAGES,
            unit="{message}",
            description="Number of messages that were delivered to the application.",
        )
        self._server = server_attributes(server)
        self._known: dict[tuple[str, str], Attributes] = {}

    def sent(self, queue: str, many: int, seconds: float, error: str) -> None:
        """Jobs were sent to a queue, or could not be."""
        about = self._about(names.SEND, queue, error)
        self._sent.add(many, about)
        self._operations.record(seconds, about)

    def settled(self, queue: str, seconds: float, error: str) -> None:
        """A call has settled jobs; `queue` is empty where they are of several."""
        self._operations.record(seconds, self._about(names.SETTLE, queue, error))

    def consumed(self, queue: str) -> None:
        """A job is given to its code."""
        self._consumed.add(1, self._about(names.PROCESS, queue, ""))

    def processed(self, queue: str, seconds: float, error: str) -> None:
        """Its code has run."""
        self._processes.record(seconds, self._about(names.PROCESS, queue, error))

    def _about(self, operation: str, queue: str, error: str) -> Attributes:
        about = self._known.get((operation, queue))
        if about is None:
            about = {
                names.SYSTEM: names.AM2Z,
                names.OPERATION_NAME: operation,
                names.OPERATION_TYPE: operation,
                **self._server,
            }
            if queue:
                about[names.DESTINATION] = queue
            self._known[operation, queue] = about
        return {**about, names.ERROR_TYPE: error} if error else about


def server_attributes(server: tuple[str, int | None] | None) -> Attributes:
    """Where the store's server is; none for a store without one."""
    if server is None:
        return {}
    address, port = server
    where: Attributes = {names.SERVER_ADDRESS: address}
    return where if port is None else {**where, names.SERVER_PORT: port}
