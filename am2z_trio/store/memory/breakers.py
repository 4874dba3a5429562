"""Circuit breakers, which all nodes share."""

from __future__ import annotations

from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import Permit
from am2z_trio.policy.breaker import Breaker
from am2z_trio.store.ports import BreakerStep


class Breakers:
    def __init__(self) -> None:
        self._breakers: dict[str, Breaker] = {}

    def step(self, processor: str, step: BreakerStep, policy: CircuitBreaker, now: float) -> Permit:
        circuit = self._breakers.setdefault(processor, Breaker())
        if step == "enter":
            return circuit.enter(policy, now)
        return circuit.succeed() if step == "succeed" else circuit.fail(policy, now)
