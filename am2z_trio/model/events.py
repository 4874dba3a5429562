"""What the engine tells about itself while it runs.

| event | when | data |
|---|---|---|
| `job:enqueued` | a job was accepted | – |
| `job:started` | a worker claimed it | `attempt` |
| `job:progress` | it reported progress | `progress` |
| `job:retrying` | an attempt failed and another follows | `attempt`: the one that failed; `code`, `message` |
| `job:completed` `job:cancelled` | it has ended | `attempt` |
| `job:failed` | it has ended | `attempt`, and its error's `code` and `message` |
| `job:stalled` | its worker was lost; it waits again | – |
| `job:dead` | it has failed for good and is a dead letter; follows `job:failed` | as there |
| `session:opened` `session:closed` | a block has opened it on one node, or was left | – |
| `session:stopped` | all its jobs have ended because somebody stopped it | – |
| `worker:started` `worker:stopped` | on one node, a processor is served, or no longer | – |
| `queue:paused` `queue:resumed` | on all nodes | – |
| `processor:registered` `processor:unregistered` | on one node | – |
| `runtime:started` `runtime:stopped` | on one node | – |
| `connection:…` | `connected`, `lost`, `reconnecting`, `ready`, on one node | `connection`: which |
| anything else | `ctx.emit`, `runtime.emit` | what was given |

What begins as the engine's own names do (`job:`, `session:` …) can be emitted by nobody else: whoever hears
it may act on it.

Job events are published by the same atomic step that changes the job, so an event exists exactly
when its effect does. Delivery is at most once: a node that is cut off misses events, never results.
An error's message is cut at `MAX_REASON_BYTES`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from .checks import require, require_text
from .codec import plain_copy
from .limits import MAX_EVENT_BYTES, MAX_NAME_BYTES

OWN: Final = ("job:", "session:", "worker:", "queue:", "processor:", "runtime:", "connection:")
"""How the names of the engine's own events begin."""


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened."""

    name: str
    at: int
    """Milliseconds since the epoch by the store's clock; 0 in what is yet to be published."""
    node: str = ""
    """Node it happened on; empty where the store itself acted."""
    job: str = ""
    processor: str = ""
    session: str = ""
    data: Any = None

    @classmethod
    def emitted(cls, name: object, data: object, *, node: str, **about: str) -> Event:
        """What a user emits: checked, and with data as it would arrive on another node.

        Raises `ConfigurationError` for the name, which is none of the engine's own, and `ValidationError` for
        data that cannot travel, or is larger than `MAX_EVENT_BYTES` when encoded.
        """
        text = require_text("event", name, most=MAX_NAME_BYTES)
        require(
            not text.startswith(OWN), "event", text, f"must not begin as the engine's own: {', '.join(OWN)}"
        )
        return cls(text, 0, node, data=plain_copy(data, "the event's data", MAX_EVENT_BYTES), **about)

    def matches(self, pattern: str) -> bool:
        """Whether `pattern` (a name, or a glob such as `job:*`) covers this event."""
        return pattern in (self.name, "*") or fnmatchcase(self.name, pattern)
