"""What the engine is to reach, as ratios within one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .contenders import am2z
from .contenders.field import BASE, OURS
from .results import Results

Found = Callable[[Results], float | None]


@dataclass(frozen=True)
class Target:
    """One ratio, or one figure, and its bound."""

    says: str
    found: Found
    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        """Whether that is good enough."""
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    @property
    def bound(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


def over(other: str, measure: str, figure: str) -> Found:
    """Ours over that contender's."""
    return lambda results: results.ratio(measure, figure, other)


def over_python(measure: str, figure: str) -> Found:
    """Ours over the fastest Python peer's."""

    def found(results: Results) -> float | None:
        peer = results.best_of_python(measure, figure, more_is_better=True)
        return None if peer is None else results.ratio(measure, figure, peer)

    return found


def of_ours(other: str, measure: str, figure: str) -> Found:
    """That contender's over ours."""

    def found(results: Results) -> float | None:
        ratio = results.ratio(measure, figure, other)
        return 1 / ratio if ratio else None

    return found


def alone(measure: str, figure: str) -> Found:
    """Our figure itself."""

    def found(results: Results) -> float | None:
        spread = results.spread(measure, OURS.name, figure)
        return None if spread is None else spread.median

    return found


def in_sessions(results: Results) -> float | None:
    """The drain in sessions over the one without, at the number of sessions at which it is slowest."""
    without = alone("noop", "jobs/s")(results)
    within = [alone(f"sessions-{number}", "jobs/s")(results) for number in (1, 100, 10_000)]
    found = [value for value in within if value is not None]
    return min(found) / without if found and without else None


TARGETS: Final = (
    Target("noop drain, to BullMQ", over(BASE.name, "noop", "jobs/s"), at_least=2.2),
    Target("noop drain, to the fastest Python peer", over_python("noop", "jobs/s"), at_least=15),
    Target("noop drain, to the floor", over(am2z.FLOOR.name, "noop", "jobs/s"), at_least=0.6),
    Target("drain of jobs that sleep 10 ms, to BullMQ", over(BASE.name, "sleep", "jobs/s"), at_least=1.5),
    Target("100 callers, to BullMQ", over(BASE.name, "calls", "100 callers/s"), at_least=4),
    Target("noop drain on asyncio, to Trio", of_ours(am2z.ASYNCIO.name, "noop", "jobs/s"), at_least=0.9),
    Target("round trip p50, to BullMQ", over(BASE.name, "calls", "p50 ms"), at_most=0.4),
    Target("round trip p99, to BullMQ", over(BASE.name, "calls", "p99 ms"), at_most=0.5),
    Target("chain of 3, to one round trip", alone("compositions", "chain of 3 / round trip"), at_most=2),
    Target(
        "parallel of 3, to one round trip", alone("compositions", "parallel of 3 / round trip"), at_most=2
    ),
    Target("noop drain in sessions, to without", in_sessions, at_least=0.9),
    Target("commands a second at rest", alone("idle", "commands/s"), at_most=2),
    Target(
        "enqueue one by one (one caller), to BullMQ",
        over(BASE.name, "enqueue", "one caller/s"),
        at_least=1.4,
    ),
    Target(
        "enqueue one by one (100 callers), to BullMQ",
        over(BASE.name, "enqueue", "100 callers/s"),
        at_least=1.4,
    ),
    Target("enqueue in bulk, to BullMQ", over(BASE.name, "bulk", "jobs/s"), at_least=3),
)
