"""Facts about a run, as its context says them."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about this run."""

    attempt: int
    """1 for the first."""
    deliveries: int
    """How often the job was handed to a worker, this time included."""
    started_at: datetime
    """When this attempt began, UTC."""
    node: str
    """The node it runs on."""


class Debug(msgspec.Struct, frozen=True, kw_only=True):
    """What helps to find out how a run came about."""

    call_stack: list[str]
    """Names of the processors whose jobs have called one another, the outermost first and this one last,
    whether by `ctx.call`, as a composition or by `runtime.execute`, and wherever they run. Of more than a
    hundred, or 4 KiB, some in the midst are left out, with a `…` in their place."""
