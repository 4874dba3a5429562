"""Where each page is; an id is one part of its address (`model.segments`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from am2z_trio.model.segments import segment

PAGES: Final[Mapping[str, str]] = {
    "overview": "/",
    "find": "/find",
    "tree": "/tree",
    "sessions": "/sessions",
    "session": "/sessions/{session}",
    "queues": "/queues",
    "queue": "/queues/{queue}",
    "all-queues": "/all/queues",
    "jobs": "/jobs",
    "job": "/jobs/{job}",
    "why": "/jobs/{job}/why",
    "enqueue": "/enqueue",
    "dead": "/dead",
    "bulks": "/bulks",
    "bulk": "/bulks/{bulk}",
    "schedules": "/schedules",
    "schedule": "/schedules/{schedule}",
    "schedule-new": "/new/schedule",
    "nodes": "/nodes",
    "node": "/nodes/{node}",
    "redis": "/redis",
    "events": "/events",
    "audit": "/audit",
}
"""Pages by name, each at its path. `{job}` stands for an id. What belongs to a page is named after it, with a
dot: `queue.pause` is at `/queues/{queue}/pause`."""

_PART: Final = re.compile(r"\{([a-z_]+)\}")


def path_of(name: str) -> str:
    """The path of a page, or of what belongs to one, with `{...}` for ids. Raises `KeyError`."""
    page, _, rest = name.partition(".")
    base = PAGES[page]
    return f"{base.rstrip('/')}/{rest}" if rest else base


def address(name: str, ids: Mapping[str, str], query: Mapping[str, object] | None = None) -> str:
    """Where a page is, within the console. What is `None` or empty in the query is left out. Raises
    `KeyError` for a page, or an id, that there is not."""
    path = _PART.sub(lambda found: segment(ids[found[1]]), path_of(name))
    asked = [(key, str(value)) for key, value in (query or {}).items() if value not in (None, "")]
    return f"{path}?{urlencode(asked, errors='surrogatepass')}" if asked else path
