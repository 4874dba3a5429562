"""Values that the scripts and this side must agree on: declared once, in Python, and spelled out in the
scripts where their names stand. In Lua each has the name that it has here; but seconds are milliseconds
there, and say so: `KEPT` is `KEPT_MS`. `BOUNDS.looks` is `LOOKS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from am2z_trio.model.options import MAX_PRIORITY, QueueOptions
from am2z_trio.model.records import agreed as records
from am2z_trio.model.views.jobs import MOST_TEXT, MOST_TRAIL
from am2z_trio.store import agreed as stores
from am2z_trio.store.ports import BATCH

__all__ = [
    "BATCH",
    "MAX_PRIORITY",
    "MAX_STALLED",
    "MOST_ORIGINS",
    "MOST_TEXT",
    "MOST_TRAIL",
    "POSTED_BYTES",
    "PUSHED_BYTES",
    "REPLY_BYTES",
    "rendered",
]

REPLY_BYTES: Final = 4 * 1024 * 1024
"""Bytes of payloads after which a script stops and answers; its caller asks for the rest. One payload more
may come: a script always gets on."""

PUSHED_BYTES: Final = 32 * 1024
"""Largest outcome that is sent to who waits for it; larger ones are fetched. Redis closes a subscriber that
is behind by 32 MB, or by 8 MB for a minute (`client-output-buffer-limit pubsub`)."""

POSTED_BYTES: Final = 256 * 1024
"""Bytes of messages to one node in one script after which outcomes are not sent but fetched, and bytes of one
PUBLISH."""

NOTED_FOR: Final = 3600.0
"""Seconds for which what is written down is known when it is sent again."""

REFUSAL_NOTED_FOR: Final = 60.0
"""The same of a refusal, of which somebody without rights can have as many as he likes written down."""

GROUPED_BYTES: Final = 32 * 1024
"""Bytes of ids, and of what is told of some of them alone, after which events that are alike begin another
group."""

MOST_ORIGINS: Final = 4096
"""Bytes of names of nodes that wait for a job, where it is shown."""

MAX_STALLED: Final = QueueOptions().max_stalled_count
"""How often a plain job may be lost with its worker: its record does not say so."""


def rendered() -> dict[str, str]:
    """Every value as Lua writes it, by its name there."""
    return dict(_as_lua(name, value) for name, value in _all())


def _all() -> Iterator[tuple[str, object]]:
    for values in (vars(records), vars(stores), globals()):
        for name, value in values.items():
            if name.isupper() and isinstance(value, str | int | float):
                yield name, value
    for name, value in dataclasses.asdict(stores.BOUNDS).items():
        yield name.upper(), value


def _as_lua(name: str, value: object) -> tuple[str, str]:
    if isinstance(value, float):
        return f"{name}_MS", str(round(value * 1000))
    if isinstance(value, str):
        quoted = value.replace("\\", r"\\").replace("'", r"\'").replace("\n", r"\n")
        return name, f"'{quoted}'"
    return name, str(value)
