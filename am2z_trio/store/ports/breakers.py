"""What the engine asks of a store about circuits."""

from __future__ import annotations

from typing import Literal, Protocol

from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import Permit

BreakerStep = Literal["enter", "succeed", "fail"]


class Breakers(Protocol):
    """Circuits, which all nodes share."""

    async def breaker(self, processor: str, step: BreakerStep, policy: CircuitBreaker) -> Permit:
        """One step of the processor's circuit breaker, as `policy.breaker` says."""
        ...
