"""What a person may wish by a key, and how the terminal asks whether it is meant."""

from __future__ import annotations

import msgspec


class Pausing(msgspec.Struct, frozen=True):
    """A queue is to be paused, or else resumed."""

    queue: str
    on: bool

    @property
    def question(self) -> tuple[str, str, str]:
        """What stands before the name, the name, and what stands behind it."""
        return "pause" if self.on else "resume", self.queue, "on all nodes"


class Cancelling(msgspec.Struct, frozen=True):
    """A job is to be cancelled."""

    job: str
    calls: int = 0
    """How many jobs it waits for, which end with it."""

    @property
    def question(self) -> tuple[str, str, str]:
        calls = (
            "and the job that it waits for" if self.calls == 1 else f"and {self.calls:,} that it waits for"
        )
        return "cancel", self.job, calls if self.calls else ""


class Redriving(msgspec.Struct, frozen=True):
    """A queue's dead letters are to be run again."""

    queue: str
    dead: int
    """How many there were when it was asked: no more are run again."""

    @property
    def question(self) -> tuple[str, str, str]:
        letters = "the dead letter" if self.dead == 1 else f"{self.dead:,} dead letters"
        return f"run again {letters} of", self.queue, ""


class Explaining(msgspec.Struct, frozen=True):
    """It is to be said why a job does not run, or runs so long; without one, that of a queue which waits for
    longest."""

    queue: str = ""
    job: str = ""


class Looking(msgspec.Struct, frozen=True):
    """What runs is to be shown: of a queue, or of all."""

    queue: str = ""


Asked = Pausing | Cancelling | Redriving
"""What is done only when it was said yes."""

Wish = Asked | Explaining | Looking
