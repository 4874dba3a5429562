"""What has yet to be said to whom: messages to nodes, and events to those who watch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from am2z_trio.model.events import Event
from am2z_trio.model.records import InboxMessage
from am2z_trio.store.ports import Listener

from .job import JobRecord


class Outbox:
    """Gathers while an operation works, and is sent at its end."""

    def __init__(self) -> None:
        self._inboxes: dict[str, Listener] = {}
        self._watchers: dict[str, Listener] = {}
        self._messages: list[tuple[str, InboxMessage]] = []
        self._events: list[Event] = []

    @property
    def nodes(self) -> list[str]:
        """Those that listen."""
        return list(self._inboxes)

    def connect(self, node: str, listener: Listener) -> None:
        self._inboxes[node] = listener

    def disconnect(self, node: str) -> None:
        self._inboxes.pop(node, None)
        self._watchers.pop(node, None)

    def is_connected(self, node: str) -> bool:
        return node in self._inboxes

    def watch_events(self, node: str, on: bool) -> None:
        if on:
            self._watchers[node] = self._inboxes[node]
        else:
            self._watchers.pop(node, None)

    def post(self, node: str, message: InboxMessage) -> None:
        self._messages.append((node, message))

    def publish(self, events: Sequence[Event]) -> None:
        self._events.extend(events)

    def tell(self, name: str, job: JobRecord, now: float, node: str = "", data: Any = None) -> None:
        """The event of a job, if anybody hears it."""
        if self._watchers:
            spec = job.spec
            self._events.append(Event(name, int(now), node, spec.id, spec.processor, spec.session, data))
            if name == "job:failed" and not spec.parent:
                self.tell("job:dead", job, now, node, data)

    def send(self) -> None:
        messages, self._messages = self._messages, []
        for node, message in messages:
            listener = self._inboxes.get(node)
            if listener is not None:
                listener.on_message(message)
        events, self._events = self._events, []
        for event in events:
            for listener in list(self._watchers.values()):
                listener.on_event(event)
