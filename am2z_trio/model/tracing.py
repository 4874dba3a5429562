"""What the engine tells a tracer, if it was given one: shapes, and nothing of any tracing library.

Nothing here may wait. What a tracer raises is logged once and harms no job.
"""

from __future__ import annotations

from typing import Protocol

from .errors import AM2ZError
from .records import Bulk, Enqueue, Grant, SettleAnswer, Settlement


class Operation(Protocol):
    """A call of the store that is under way."""

    def ended(self, error: AM2ZError | None) -> None:
        """The store has answered, or it is not asked any more."""
        ...


class Sending(Operation, Protocol):
    """A job on its way into the store, or several of them that go as one."""

    @property
    def trace(self) -> str:
        """`JobSpec.trace` of what is sent; empty for none."""
        ...


class Group(Protocol):
    """Jobs that one caller sends together and waits for together."""

    def ended(self) -> None:
        """No more of them are sent."""
        ...


class Run(Protocol):
    """One run of a claimed job."""

    def enter(self) -> None:
        """Its code is about to be called: in the very context (`contextvars`) in which this is called, which
        is the run's own."""
        ...

    def ran(self) -> None:
        """Its code has ended, or was broken off."""
        ...

    def ended(self, settlement: Settlement | None, answer: SettleAnswer | None) -> None:
        """How it is settled, `None` where its claim was lost; and what the store says to that, `None` for a
        run within another one, which no store knows."""
        ...


class Tracer(Protocol):
    """What one node tells. Called in its event loop alone."""

    def together(self) -> Group | None:
        """The caller whose context this is begins to send several jobs."""
        ...

    def send(self, job: Enqueue, group: Group | None) -> Sending | None:
        """The caller whose context this is sends a job."""
        ...

    def send_bulk(self, bulk: Bulk) -> Sending | None:
        """The caller whose context this is sends jobs that are alike, which carry one trace."""
        ...

    def process(self, grant: Grant, waited: float, *, within: bool) -> Run | None:
        """A job that was claimed some seconds ago is about to be run. `within`: in another one, in whose
        context this is called."""
        ...

    def settle(self, queue: str, jobs: list[str]) -> Operation | None:
        """The ends of these jobs are on their way into the store; `queue` is empty where they are of
        several."""
        ...

    def close(self) -> None:
        """The node has ended: nothing more will be told."""
        ...


class Tracing(Protocol):
    """What a runtime is given: it makes a tracer each time that the runtime is entered."""

    def tracer(self, node: str, server: tuple[str, int | None] | None) -> Tracer:
        """`server`: address and port of the store's server, or path of its socket; `None` where it has
        none."""
        ...
