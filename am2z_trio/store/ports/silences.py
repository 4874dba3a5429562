"""What the operator's service asks of a store about findings that are silenced."""

from __future__ import annotations

from typing import Protocol

from am2z_trio.model.records import Silence


class SilenceStore(Protocol):
    """Silences of one namespace, for all who look."""

    async def put(self, code: str, target: str, seconds: float, *, by: str, reason: str) -> Silence | None:
        """Silence a finding for so many seconds from now, in place of an earlier silence of the same code and
        target. `None`, and nothing is kept, where `MOST_SILENCES` others are in force.

        Linearization point: it is among them.
        """
        ...

    async def lift(self, code: str, target: str) -> bool:
        """End a silence; returns whether there was one in force."""
        ...

    async def all(self) -> list[Silence]:
        """Those in force, by code and target."""
        ...
