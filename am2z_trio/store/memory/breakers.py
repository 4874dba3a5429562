"""Circuit breakers, which all nodes share."""

from __future__ import annotations

from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import Permit
from am2z_trio.policy.breaker import Breaker
from am2z_trio.store.ports import BreakerStep


class Breakers:
    def __init__(self) -> None:
        self._breakers: dict[str, Breaker] = {}

    def known(self, processor: str) -> Breaker | None:
        """Its circuit, if anybody has asked for it."""
        return self._breakers.get(processor)

    def is_open(self, processor: str, now: float) -> bool:
        circuit = self._breakers.get(processor)
        return circuit is not None and circuit.state == "open" and circuit.until > now

    def step(self, processor: str, step: BreakerStep, policy: CircuitBreaker, now: float) -> Permit:
        circuit = self._breakers.setdefault(processor, Breaker())
        if step == "enter":
            return circuit.enter(policy, now)
        return circuit.succeed() if step == "succeed" else circuit.fail(policy, now)
