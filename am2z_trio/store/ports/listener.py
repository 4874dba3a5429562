"""Who a store speaks to."""

from __future__ import annotations

from typing import Protocol

from am2z_trio.model.events import Event
from am2z_trio.model.records import InboxMessage


class Listener(Protocol):
    """The node a store speaks to. Its methods are called from the store's tasks and never wait."""

    def on_message(self, message: InboxMessage) -> None:
        """An inbox message: an outcome, a wake-up, a request to cancel."""
        ...

    def on_event(self, event: Event) -> None:
        """An event of some node; only while events are watched."""
        ...

    def on_reconnect(self) -> None:
        """The store was out of reach and is back: messages may have been missed."""
        ...
