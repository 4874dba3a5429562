"""What needs a person, and how a server is fit for its work."""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]
CheckState = Literal["ok", "warn", "bad"]


About = Literal["server", "queue", "node", "schedule", "session"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a person should know of."""

    code: str
    """A stable word, such as `unserved`."""
    severity: Severity
    text: str
    """A sentence with the figures."""
    target: str = ""
    """What it is about, by name; a queue by its processor's, empty for the server."""
    about: About = "queue"
    queue: str = ""
    """Whose jobs a schedule makes: the processor, and"""
    session: str = ""
    """the session. Empty for none."""
    since: int | None = None
    """Since when, in ms since the epoch, where that is known."""
    action: str = ""
    """What to do: a command, or advice in a few words."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at, and how it is."""

    name: str
    state: CheckState
    text: str
    remedy: str = ""
    """What to do about it; empty where it is as it should be."""
