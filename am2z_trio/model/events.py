"""What the engine tells about itself while it runs.

| event | when | data |
|---|---|---|
| `job:enqueued` | a job was accepted | – |
| `job:started` | a worker claimed it | `attempt` |
| `job:progress` | it reported progress | `progress` |
| `job:retrying` | another attempt follows: this one failed, or asked for it | `attempt`, `code`, `message` |
| `job:parked` | it waits, without a worker (`ctx.sleep`, `ctx.wait_for`) | `until`: ms, where that is known |
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
| `schedule:fired` | a time of a schedule has got its job | `schedule`; `at` (ms), `late` (s), `missed` |
| `schedule:skipped` | times that are passed by | `schedule`, `times`, `why` |
| `schedule:missed` | times for which it was too late | `schedule`, `count` |
| `schedule:paused` | by somebody, or by a failure | `schedule`, `reason` |
| `schedule:changed` | `what`: `created`, `changed`, `removed`, `resumed`, `time zones` | `schedule`, `what` |
| anything else | `ctx.emit`, `runtime.emit` | what was given |

What begins as the engine's own names do (`job:`, `session:` …) can be emitted by nobody else: whoever hears
it may act on it.

Job events are published by the same atomic step that changes the job, so an event exists exactly
when its effect does. Delivery is at most once: a node that is cut off misses events, never results.
An error's message is cut at `MAX_REASON_BYTES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import repeat
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from .checks import require, require_text
from .codec import encode_record, plain_copy
from .errors import ValidationError
from .limits import MAX_EVENT_BYTES, MAX_KEPT_EVENT_BYTES, MAX_NAME_BYTES

OWN: Final = ("job:", "session:", "worker:", "queue:", "processor:", "runtime:", "connection:", "schedule:")
"""How the names of the engine's own events begin."""

FIRST_ATTEMPTS: Final = frozenset({"job:started", "job:completed", "job:cancelled"})
"""Events whose data says which attempt it was, and nothing else: the first, where a group says nothing."""


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
    id: str = ""
    """Its place in the history of events, where it was read there: `history` and `events` go on from it."""

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


class EventGroup(msgspec.Struct, frozen=True, array_like=True):
    """Events that have all in common but their jobs: so they travel, and so they are kept.

    A store makes one for each name, node and processor of what it does in one step; a job's own order is that
    of the groups in which it is.
    """

    name: Annotated[str, Meta(max_length=MAX_NAME_BYTES)]
    at: Annotated[int, Meta(ge=0, le=2**53)]
    node: str
    processor: str
    jobs: list[str]
    """Their ids; an empty one is of no job."""
    sessions: str | list[str] = ""
    """The session of all of them, or that of each."""
    data: list[Any] = []
    """Of those that have any: place in `jobs` and data, by turns."""

    @classmethod
    def of(cls, event: Event) -> EventGroup:
        """A group of one."""
        data = [] if event.data is None else [0, event.data]
        return cls(event.name, event.at, event.node, event.processor, [event.job], event.session, data)

    def in_short(self) -> EventGroup:
        """As it is written down: without data of more than `MAX_KEPT_EVENT_BYTES`."""
        if all(len(encode_record(about)) <= MAX_KEPT_EVENT_BYTES for about in self.data[1::2]):
            return self
        pairs = zip(self.data[::2], self.data[1::2], strict=True)
        short = (pair for pair in pairs if len(encode_record(pair[1])) <= MAX_KEPT_EVENT_BYTES)
        return msgspec.structs.replace(self, data=[part for pair in short for part in pair])

    def events(self) -> Iterator[Event]:
        """Each of them. Raises `ValidationError`, before any, where the parts do not fit together."""
        many, sessions = len(self.jobs), self.sessions
        if not isinstance(sessions, str) and len(sessions) != many:
            raise ValidationError(f"a group of {many} events has {len(sessions)} sessions")
        places, told = self.data[::2], self.data[1::2]
        if len(places) != len(told) or any(type(n) is not int or not 0 <= n < many for n in places):
            raise ValidationError(f"a group of {many} events has data of others")
        data: dict[int, Any] = dict(zip(places, told, strict=True))
        return self._events(repeat(sessions, many) if isinstance(sessions, str) else iter(sessions), data)

    def _events(self, sessions: Iterator[str], data: dict[int, Any]) -> Iterator[Event]:
        is_attempt = self.name in FIRST_ATTEMPTS
        for n, (job, session) in enumerate(zip(self.jobs, sessions, strict=True)):
            about = data.get(n, {"attempt": 1} if is_attempt else None)
            yield Event(self.name, self.at, self.node, job, self.processor, session, about)
