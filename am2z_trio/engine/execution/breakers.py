"""Circuit breakers around processors, on this node's side."""

from __future__ import annotations

from typing import Any, Final

from am2z_trio.engine.processors.processor import Processor
from am2z_trio.model.errors import AM2ZError, CircuitOpenError
from am2z_trio.model.logs import Log
from am2z_trio.store.ports import Store

logger: Final = Log("am2z_trio.breakers")

NO_REMEDY: Final = ("cancelled", "validation", "configuration")
"""Categories of errors that another processor would meet as well."""

NO_FAULT: Final = (*NO_REMEDY, "business")
"""Categories of errors that say nothing about whether the processor works."""


class Breakers:
    """A node's side of the circuits that all nodes share."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def enter(self, processor: Processor[Any]) -> None:
        """Raise `CircuitOpenError` if the processor is not to be called now. A store that refuses to say is
        logged: that is no failure of a job."""
        if processor.breaker is None:
            return
        try:
            permit = await self._store.breaker(processor.name, "enter", processor.breaker)
        except AM2ZError as refused:
            logger.warning("%r is called, as its circuit could not be asked: %s", processor.name, refused)
            return
        if not permit.allowed:
            raise CircuitOpenError(
                f"{processor.name!r} has failed too often and is not called for {permit.wait:.1f} s more",
                context={"processor": processor.name, "wait": permit.wait},
            )

    async def tell(self, processor: Processor[Any], error: AM2ZError | None) -> None:
        """Say how a call went; an unreachable store is logged and changes nothing."""
        if processor.breaker is None or isinstance(error, CircuitOpenError):
            return
        if error is not None and error.category in NO_FAULT:
            return
        try:
            await self._store.breaker(
                processor.name, "succeed" if error is None else "fail", processor.breaker
            )
        except AM2ZError as lost:
            logger.warning("the circuit of %r was not told: %s", processor.name, lost)
