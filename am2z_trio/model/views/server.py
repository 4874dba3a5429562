"""The server that holds the namespace, as it is shown."""

from __future__ import annotations

import msgspec

from ..records.server import ScriptFigures, ServerFigures


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What of the namespace takes memory."""

    what: str
    number: int
    bytes: int | None = None
    """About; `None`: nobody knows without looking at all of it."""
    kept: str
    """For how long."""


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What the records of ended jobs come to, if it goes on as it does."""

    rate: float
    """Jobs that end in a second."""
    count: int
    """Records then."""
    bytes: int
    """Of all of them."""


class ServerShown(msgspec.Struct, frozen=True, kw_only=True):
    """A server, and what it holds."""

    figures: ServerFigures
    scripts: ScriptFigures
    holds: list[Holding]
    outlook: Outlook | None = None
    """`None`: none has ended lately."""
