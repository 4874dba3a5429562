"""Events: handlers and streams on this node, and the way out to the others.

Each subscription has a buffer and, for a handler, a task of its own: a slow or failing handler
hurts nobody else. Buffers are bounded; what does not fit is dropped, oldest first, and counted.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from am2z_trio.concurrency import CancelScope, Host, Nursery, TaskStatus
from am2z_trio.concurrency.groups import is_not_the_codes_own
from am2z_trio.model.codec import encode_record
from am2z_trio.model.errors import AM2ZError, ValidationError
from am2z_trio.model.events import Event
from am2z_trio.model.limits import KIB, MAX_BUFFER_BYTES
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import attempt, trace_of
from am2z_trio.store.ports import Store

from .contexts import OwnContext, in_context

logger: Final = Log("am2z_trio.events")

Handler = Callable[[Event], Any]

BUFFER: Final = 10_000
"""Events a subscription may be behind, of `MAX_BUFFER_BYTES` together."""

BATCH: Final = 100
"""Events per publish call, of `BATCH_BYTES` together."""

BATCH_BYTES: Final = 256 * KIB
"""Redis holds what it publishes for every listener, and closes one for which that is too much."""


class Buffer:
    """Events in line, bounded in number and in bytes: beyond that the oldest are dropped."""

    __slots__ = ("_bytes", "_events", "dropped")

    def __init__(self) -> None:
        self._events: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self.dropped = 0
        """How many were."""

    def __len__(self) -> int:
        return len(self._events)

    def push(self, event: Event, size: int) -> None:
        self._events.append((event, size))
        self._bytes += size
        while len(self._events) > BUFFER or (self._bytes > MAX_BUFFER_BYTES and len(self._events) > 1):
            self.pop()
            self.dropped += 1

    def pop(self) -> Event:
        event, size = self._events.popleft()
        self._bytes -= size
        return event

    def pop_batch(self) -> list[Event]:
        """The first ones: at least one, if there is one."""
        batch: list[Event] = []
        size = 0
        while self._events and len(batch) < BATCH:
            size += self._events[0][1]
            if batch and size > BATCH_BYTES:
                break
            batch.append(self.pop())
        return batch


def size_of(event: Event) -> int:
    """About how many bytes it takes on the wire; some hundred where its data cannot travel."""
    data = attempt(lambda: encode_record(event.data), b"") if event.data is not None else b""
    return 100 + len(event.name) + len(event.session) + len(event.job) + len(data)


class Subscription:
    """Events that match a pattern, in order. Iterate over it: `async for event in stream`."""

    def __init__(self, pattern: str, handler: Handler | None = None) -> None:
        self.pattern = pattern
        self.handler = handler
        self.scope: CancelScope | None = None
        self._buffer = Buffer()
        self._wake: Callable[[], None] | None = None

    @property
    def dropped(self) -> int:
        """Events lost because the reader was too far behind."""
        return self._buffer.dropped

    def push(self, event: Event, size: int) -> None:
        self._buffer.push(event, size)
        if self._wake is not None:
            self._wake()

    async def next(self, host: Host) -> Event:
        while not self._buffer:
            spot = host.spot()
            self._wake = spot.wake
            try:
                await spot.park()
            finally:
                self._wake = None
        return self._buffer.pop()


class EventStream:
    """What `async with runtime.events(...)` gives."""

    def __init__(self, subscription: Subscription, host: Host) -> None:
        self._subscription = subscription
        self._host = host

    @property
    def dropped(self) -> int:
        """Events lost because this stream was read too slowly."""
        return self._subscription.dropped

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self._subscription.next(self._host)

    async def next(self) -> Event:
        """Wait for the next event."""
        return await self._subscription.next(self._host)


class Bus:
    """One node's subscriptions. They may be made before the runtime is entered and outlive it."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._subscriptions: list[Subscription] = []
        self._outgoing = Buffer()
        self._host: Host | None = None
        self._own = OwnContext()
        self._store: Store | None = None
        self._nursery: Nursery | None = None
        self._ring: Callable[[], None] | None = None
        self._watched = False
        self._refusal = ""

    # --- subscriptions ----------------------------------------------------------------------

    def on(self, pattern: str, handler: Handler) -> Subscription:
        subscription = Subscription(pattern, handler)
        self.add(subscription)
        return subscription

    def add(self, subscription: Subscription) -> None:
        self._subscriptions.append(subscription)
        if subscription.handler is not None and self._nursery is not None:
            self._nursery.start_soon(self._handle, subscription)

    def off(self, pattern: str, handler: Handler | None) -> int:
        """Drop the subscriptions of this pattern and handler; how many there were."""
        gone = [
            s
            for s in self._subscriptions
            if s.pattern == pattern and s.handler is not None and (handler is None or s.handler == handler)
        ]
        for subscription in gone:
            self.remove(subscription)
        return len(gone)

    def remove(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        if subscription.scope is not None:
            subscription.scope.cancel()

    def deliver(self, event: Event) -> None:
        """Give an event to this node's subscribers only."""
        size = 0
        for subscription in self._subscriptions:
            if event.matches(subscription.pattern):
                size = size or size_of(event)
                subscription.push(event, size)

    # --- publishing -------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Publish soon, to every node. Synchronous; beyond the buffer the oldest is dropped."""
        dropped = self._outgoing.dropped
        self._outgoing.push(event, size_of(event))
        if self._outgoing.dropped > dropped:
            logger.warning("events are emitted faster than they can be published: the oldest were dropped")
        if self._ring is not None:
            self._ring()

    async def watch(self) -> None:
        """Make sure that what happens from now on is heard, if anybody here listens."""
        if self._subscriptions and not self._watched and self._store is not None:
            await self._store.watch_events(True)
            self._watched = True

    async def watch_if_allowed(self) -> None:
        """`watch`, for those who have other things to do; refused, it is tried again next time."""
        try:
            await self.watch()
        except AM2ZError as error:
            if error.message != self._refusal:
                self._refusal = error.message
                logger.warning("events cannot be heard here: %s", error)

    async def run(self, host: Host, store: Store, own: OwnContext, *, task_status: TaskStatus) -> None:
        """Publish and dispatch until cancelled; each handler is called in a copy of `own`."""
        self._own = own
        bell = host.spot()
        try:
            async with host.open_nursery() as nursery:
                self._host, self._store, self._nursery, self._ring = (
                    host,
                    store,
                    nursery,
                    bell.wake,
                )
                await self.watch()
                for subscription in self._subscriptions:
                    if subscription.handler is not None:
                        nursery.start_soon(self._handle, subscription)
                task_status.started()
                while True:
                    while not self._outgoing:
                        await bell.park()
                    await self.watch_if_allowed()
                    await self._publish(store)
        finally:
            self._host = self._store = self._nursery = self._ring = None
            self._watched = False

    async def flush(self) -> None:
        """Publish what is still waiting."""
        if self._store is not None:
            while self._outgoing:
                await self._publish(self._store)

    async def _publish(self, store: Store) -> None:
        batch = self._outgoing.pop_batch()
        try:
            await store.publish(batch)
        except ValidationError as error:
            if len(batch) > 1:
                for event in batch:
                    await self._publish_one(store, event)
            else:
                logger.error("event %s cannot be published: %s", batch[0].name, error)
        except AM2ZError as error:
            logger.warning("%d events could not be published: %s", len(batch), error)

    async def _publish_one(self, store: Store, event: Event) -> None:
        try:
            await store.publish([event])
        except AM2ZError as error:
            logger.error("event %s cannot be published: %s", event.name, error)

    async def _handle(self, subscription: Subscription) -> None:
        host, handler = self._host, subscription.handler
        assert host is not None
        assert handler is not None
        with host.cancel_scope() as subscription.scope:
            while True:
                event = await subscription.next(host)
                try:
                    await in_context(self._own.copy(), _call(handler, event))
                except BaseException as raised:
                    if is_not_the_codes_own(raised, host):
                        raise
                    logger.error(
                        "a handler of %r raised on %s",
                        subscription.pattern,
                        event.name,
                        trace=trace_of(raised),
                    )


async def _call(handler: Handler, event: Event) -> None:
    answer: Awaitable[Any] | Any = handler(event)
    if inspect.isawaitable(answer):
        await answer
