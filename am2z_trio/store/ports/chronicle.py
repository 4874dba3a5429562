"""What the engine asks of a store that writes down what happened, in order: streams that only grow, up to a
number of entries."""

from __future__ import annotations

from typing import Protocol

from am2z_trio.model.records import EventPage
from am2z_trio.model.views.audit import AuditEntry, AuditPage


class Chronicle(Protocol):
    """The history of events, and what operators have done: the last `AUDIT_KEPT` entries, and
    beside them the last `REFUSALS_KEPT` of what they were refused.

    Where there is a history (`StoreSettings.event_history`), each step of the store that changes jobs writes
    their events down with the change itself: an entry for each name, node and processor. What is published by
    hand is written down as it is told, but for data of more than `MAX_KEPT_EVENT_BYTES`.
    """

    async def events(self, place: str = "", limit: int = 1_000, *, backwards: bool = False) -> EventPage:
        """At most so many events behind that place, or from the oldest on; backwards those before it, or the
        newest. Fewer where they have many bytes. In the order in which they happened, either way.

        Raises `ConfigurationError` for a place that is none."""
        ...

    async def newest(self) -> str:
        """The place of what was written last: what is read from there on is yet to happen. Empty: nothing has
        been written yet."""
        ...

    async def append_audit(self, entry: AuditEntry) -> None:
        """Write an entry down, with the store's time; once, however often it is sent. Raises if it cannot be
        known to be written.

        Linearization point: it is in the stream.
        """
        ...

    async def audit_page(self, before: str = "", limit: int = 100) -> AuditPage:
        """At most so many entries, the newest first, or from where the page before has ended."""
        ...
