"""A circuit breaker: stops calling what keeps failing, and tries again later with a few calls."""

from __future__ import annotations

from typing import Literal

import msgspec

from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import Permit

State = Literal["closed", "open", "half-open"]


class Breaker(msgspec.Struct, kw_only=True):
    """The state of one circuit. Times are milliseconds, given by the caller."""

    state: State = "closed"
    failures: int = 0
    """In a row, while closed."""
    until: float = 0.0
    """Open: when calls are tried again. Half-open: when the calls under way count as lost."""
    probes: int = 0
    """Half-open: calls let through."""

    def enter(self, policy: CircuitBreaker, now: float) -> Permit:
        """Whether one more call may be made now."""
        if self.state == "closed":
            return Permit(allowed=True, state="closed")
        if now >= self.until:
            self.state, self.probes = "half-open", 0
            self.until = now + policy.recovery * 1000
        if self.state == "half-open" and self.probes < policy.half_open:
            self.probes += 1
            return Permit(allowed=True, state="half-open")
        return Permit(allowed=False, state=self.state, wait=(self.until - now) / 1000)

    def succeed(self) -> Permit:
        """A call succeeded: closed, unless the circuit has opened meanwhile."""
        if self.state != "open":
            self.state, self.failures = "closed", 0
        return Permit(allowed=True, state=self.state)

    def fail(self, policy: CircuitBreaker, now: float) -> Permit:
        """A call failed: open after so many in a row, or at once while half-open."""
        if self.state == "closed":
            self.failures += 1
        if self.state == "half-open" or (self.state == "closed" and self.failures >= policy.failures):
            self.state, self.failures, self.until = "open", 0, now + policy.recovery * 1000
        return Permit(allowed=self.state == "closed", state=self.state)
