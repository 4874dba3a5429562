"""Signals that nobody has taken yet, and the waits of one job."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from am2z_trio.model.records import KNOWN_SIGNALS, MOST_SIGNAL_BYTES, MOST_SIGNALS, Signal, WaitAnswer


@dataclass(slots=True)
class Mailbox:
    """Signals by name, as they came."""

    signals: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])
    held: int = 0
    size: int = 0
    """Of those that are held, in bytes."""

    def keep(self, signal: Signal, known: list[str]) -> bool:
        """Whether there was room. `known`: which calls were the last ones."""
        if self.held >= MOST_SIGNALS or self.size + len(signal.value) > MOST_SIGNAL_BYTES:
            return False
        known.append(signal.op)
        del known[:-KNOWN_SIGNALS]
        self.signals.setdefault(signal.name, []).append(signal.value)
        self.held += 1
        self.size += len(signal.value)
        return True

    def many(self, name: str) -> int:
        return len(self.signals.get(name, ()))

    def take(self, name: str) -> bytes:
        value = self.signals[name].pop(0)
        if not self.signals[name]:
            del self.signals[name]
        self.held -= 1
        self.size -= len(value)
        return value


@dataclass(slots=True)
class OpenWait:
    name: str
    since: float
    until: float


@dataclass(slots=True)
class JobWaits:
    """Of one job."""

    mail: Mailbox = field(default_factory=Mailbox)
    begun: int = 0
    open: dict[str, OpenWait] = field(default_factory=dict[str, OpenWait])
    over: dict[str, tuple[str, WaitAnswer]] = field(default_factory=dict[str, tuple[str, WaitAnswer]])
    """By key: what it waited for, and what became of it."""
    named: Counter[str] = field(default_factory=Counter[str])
    """How many of the open ones are for a name."""

    def begin(self, key: str, wait: OpenWait) -> OpenWait:
        self.open[key] = wait
        self.named[wait.name] += 1
        self.begun += 1
        return wait

    def drop(self, key: str) -> str:
        """It goes on no more; returns what it was for."""
        name = self.open.pop(key).name
        self.named[name] -= 1
        if not self.named[name]:
            del self.named[name]
        return name
