"""One processor's jobs on one node, counted. What is counted for every job is added to where it happens."""

from __future__ import annotations

from typing import Final

from am2z_trio.model.errors import ProcessorTimeoutError, StateIntegrityError
from am2z_trio.model.records import DEADLINE, SettleAnswer, Settlement
from am2z_trio.model.records.samples import COUNTS, RAN, RUNS, WAITED, WAITS
from am2z_trio.policy.buckets import Histogram

OUTCOMES: Final = ("completed", "failed", "timeout", "cancelled", "deadline", "lost")
"""How a job may have ended here: all the values of the label `outcome`."""


class ProcessorFigures:
    """Counts only grow. Added to by the node's loop, read by any thread."""

    __slots__ = (
        "added_up",
        "cancelled",
        "completed",
        "conflicts",
        "deadline",
        "failed",
        "fenced",
        "integrity",
        "lost",
        "processor",
        "retried",
        "runs",
        "started",
        "timeout",
        "waits",
    )

    def __init__(self, processor: str) -> None:
        self.processor = processor
        self.started = 0
        """Runs that have begun."""
        self.completed = self.failed = self.timeout = self.cancelled = self.deadline = self.lost = 0
        """Jobs that have ended so; `lost`: runs whose claim was gone."""
        self.retried = self.fenced = self.conflicts = self.integrity = 0
        self.waits = Histogram()
        """From when a job was made, which its id says where that is the engine's, to when its code begins;
        of first attempts."""
        self.runs = Histogram()
        """How long its code runs, of each attempt."""
        self.added_up: dict[int, int] = {}
        """What of this is in the samples already."""

    def settled(self, settlement: Settlement, answer: SettleAnswer) -> None:
        """The store has settled a run, or a job that has not begun, and it has not completed: that is
        counted where it is heard, as nearly all do."""
        outcome, reason = settlement.outcome, settlement.reason
        if outcome in ("failed", "retry") and reason.startswith(_INTEGRITY):
            self.integrity += 1
        if answer.status in ("fenced", "gone"):
            if outcome in ("completed", "failed", "retry"):
                self.fenced += 1
        elif answer.outcome == "retry":
            self.retried += 1
        elif answer.outcome == "failed":
            if reason.startswith(_TIMEOUT):
                self.timeout += 1
            else:
                self.failed += 1
        elif answer.outcome == "cancelled":
            if reason == DEADLINE:
                self.deadline += 1
            else:
                self.cancelled += 1

    @property
    def moved(self) -> int:
        """Another number whenever anything was counted."""
        return self.started + self.retried + self.fenced + self.conflicts + self.integrity + self.ended

    @property
    def ended(self) -> int:
        """Jobs that have ended here, however."""
        return self.completed + self.failed + self.timeout + self.cancelled + self.deadline + self.lost

    def by_outcome(self) -> dict[str, int]:
        """Jobs that have ended, by how."""
        return {outcome: getattr(self, outcome) for outcome in OUTCOMES}

    def numbered(self) -> dict[int, int]:
        """All of it, as samples have it; without zeros."""
        found = {number: getattr(self, name) for number, name in enumerate(COUNTS)}
        found[WAITED], found[RAN] = int(self.waits.total * 1e6), int(self.runs.total * 1e6)
        for first, histogram in ((WAITS, self.waits), (RUNS, self.runs)):
            found.update(enumerate(histogram.counts, first))
        return {number: value for number, value in found.items() if value}


_TIMEOUT: Final = f"{ProcessorTimeoutError.code}\n"
_INTEGRITY: Final = f"{StateIntegrityError.code}\n"
