"""What has yet to be said to whom: messages to nodes, and events to those who watch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from am2z_trio.model.events import Event, EventGroup
from am2z_trio.model.records import InboxMessage
from am2z_trio.store.ports import Listener

from .chronicle import Chronicles
from .job import JobRecord


class Outbox:
    """Gathers while an operation works, and is sent at its end."""

    def __init__(self, chronicles: Chronicles) -> None:
        self._chronicles = chronicles
        self._inboxes: dict[str, Listener] = {}
        self._watchers: dict[str, Listener] = {}
        self._messages: list[tuple[str, InboxMessage]] = []
        self._groups: list[EventGroup] = []
        self._open: dict[tuple[str, str], EventGroup] = {}
        """Those of this operation that one more may join: by name and processor."""

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

    def publish(self, events: Sequence[Event], now: float) -> None:
        for event in events:
            group = EventGroup.of(event)
            self._groups.append(group if group.at else msgspec.structs.replace(group, at=int(now)))

    def tell(self, name: str, job: JobRecord, now: float, node: str = "", data: Any = None) -> None:
        """The event of a job, if anybody hears it, or it is written down."""
        if self._watchers or self._chronicles.keeps_events:
            spec = job.spec
            group = self._group_of(name, spec.processor, node, int(now))
            if data is not None:
                group.data.extend((len(group.jobs), data))
            group.jobs.append(spec.id)
            cast("list[str]", group.sessions).append(spec.session)
            if name == "job:failed" and not spec.parent:
                self.tell("job:dead", job, now, node, data)

    def _group_of(self, name: str, processor: str, node: str, now: int) -> EventGroup:
        """Which one an event joins. Where it cannot, all so far are closed, and so they are by a
        cancellation, which may be that of a job told of before: each job's are in order."""
        group = self._open.get((name, processor))
        is_behind = name == "job:cancelled" and bool(self._groups) and group is not self._groups[-1]
        if is_behind or (group is not None and group.node != node):
            self._open.clear()
            group = None
        if group is None:
            group = EventGroup(name, now, node, processor, [], [], [])
            self._open[name, processor] = group
            self._groups.append(group)
        return group

    def send(self) -> None:
        messages, self._messages = self._messages, []
        for node, message in messages:
            listener = self._inboxes.get(node)
            if listener is not None:
                listener.on_message(message)
        groups, self._groups = self._groups, []
        self._open.clear()
        for group in groups:
            self._chronicles.write(group)
            for event in group.events():
                for listener in list(self._watchers.values()):
                    listener.on_event(event)
