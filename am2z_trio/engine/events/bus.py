"""Events: handlers and streams on this node, and the way out to the others.

Each subscription has a buffer and, for a handler, a task of its own: a slow or failing handler
hurts nobody else. Buffers are bounded; what does not fit is dropped, oldest first, counted, and told of at
most once a second.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from math import inf
from time import monotonic
from typing import Any, Final

from am2z_trio.concurrency import CancelScope, Host, Nursery, Spot, TaskStatus
from am2z_trio.concurrency.batching import Batching, Verdict
from am2z_trio.concurrency.contexts import OwnContext, in_context
from am2z_trio.concurrency.groups import is_not_the_codes_own
from am2z_trio.engine.here import Here
from am2z_trio.model.codec import encode_record
from am2z_trio.model.errors import AM2ZError, RuntimeStateError, ValidationError
from am2z_trio.model.events import Event
from am2z_trio.model.limits import KIB, MAX_BUFFER_BYTES
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import attempt, trace_of
from am2z_trio.store.ports import Store

from .filters import Filters
from .subscriptions import Subscriptions

logger: Final = Log("am2z_trio.events")

Handler = Callable[[Event], Any]

BUFFER: Final = 10_000
"""Events a subscription may be behind, of `MAX_BUFFER_BYTES` together."""

BATCH: Final = 100
"""Events per publish call, of `BATCH_BYTES` together."""

BATCH_BYTES: Final = 256 * KIB
"""Redis holds what it publishes for every listener, and closes one for which that is too much."""

TELL_EVERY: Final = 1.0
"""Seconds between two lines about dropped events."""


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

    def take(self, most: int) -> list[Event]:
        """The first ones, of `BATCH_BYTES` together, but at least one, if there is one."""
        batch: list[Event] = []
        size = 0
        while self._events and len(batch) < most:
            size += self._events[0][1]
            if batch and size > BATCH_BYTES:
                break
            batch.append(self.pop())
        return batch


def size_of(event: Event) -> int:
    """About how many bytes it takes on the wire; some hundred where its data cannot travel."""
    data = attempt(lambda: encode_record(event.data), b"") if event.data is not None else b""
    return 100 + len(event.name) + len(event.session) + len(event.job) + len(data)


class Losses:
    """Says that events were dropped: at most once a second, and of all of them."""

    __slots__ = ("_about", "_again_at", "_template", "_untold")

    def __init__(self, template: str, *about: object) -> None:
        """The template takes how many, then `about`."""
        self._template = template
        self._about = about
        self._untold = 0
        self._again_at = -inf

    def add(self, many: int) -> None:
        self._untold += many
        self.tell(monotonic())

    def tell(self, now: float) -> None:
        """Say what has not been said, if it is time; `inf` for at once.

        By a clock that goes on where a subscription outlives its host's.
        """
        if self._untold and now >= self._again_at:
            logger.warning(self._template, self._untold, *self._about)
            self._untold, self._again_at = 0, -inf if now == inf else now + TELL_EVERY


class Subscription:
    """Events that match a pattern, of one session or job if it asks for one, in order."""

    def __init__(self, filters: Filters, handler: Handler | None = None) -> None:
        self.pattern, self.session, self.job = filters
        self.handler = handler
        self.scope: CancelScope | None = None
        self.closed = False
        """Nobody is to hear of anything any more, but for what is there already."""
        self._buffer = Buffer()
        self._readers: deque[Spot] = deque()
        self._losses: Losses | None = None

    @property
    def dropped(self) -> int:
        """Events lost because the reader was too far behind."""
        return self._buffer.dropped

    def push(self, event: Event, size: int) -> None:
        dropped = self._buffer.dropped
        self._buffer.push(event, size)
        if self._buffer.dropped > dropped:
            if self._losses is None:
                who = "stream" if self.handler is None else "handler"
                self._losses = Losses(f"%d events of %r were dropped: a {who} is too slow", self.pattern)
            self._losses.add(self._buffer.dropped - dropped)
        self._wake_one()

    def close(self) -> None:
        self.closed = True
        self.tell_losses()
        while self._readers:
            self._wake_one()

    def tell_losses(self) -> None:
        """Say what was dropped and not yet said."""
        if self._losses is not None:
            self._losses.tell(inf)

    def _wake_one(self) -> None:
        if self._readers:
            self._readers.popleft().wake()

    async def next(self, host: Host) -> Event | None:
        """Wait for the next event, which no other reader gets; `None` when it is closed and none is left."""
        while not self._buffer:
            if self.closed:
                return None
            spot = host.spot()
            self._readers.append(spot)
            try:
                await spot.park()
            except BaseException:
                if spot in self._readers:
                    self._readers.remove(spot)
                else:
                    # It had been woken: somebody else may take what that was for.
                    self._wake_one()
                raise
        if self._losses is not None:
            self._losses.tell(monotonic())
        return self._buffer.pop()


calling: Final[ContextVar[Subscription | None]] = ContextVar("am2z event handler", default=None)
"""Whose handler we are in."""


class EventStream:
    """What `async with runtime.events(...)` gives. Any number of tasks may read it: each event goes to one of
    them. When its block is left, iterating ends."""

    def __init__(self, subscription: Subscription, host: Host, here: Here) -> None:
        self._subscription = subscription
        self._host = host
        self._here = here

    @property
    def dropped(self) -> int:
        """Events lost because this stream was read too slowly."""
        return self._subscription.dropped

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        self._here.require()
        event = await self._subscription.next(self._host)
        if event is None:
            raise StopAsyncIteration
        return event

    async def next(self) -> Event:
        """Wait for the next event. `RuntimeStateError` once the stream's block was left."""
        self._here.require()
        event = await self._subscription.next(self._host)
        if event is None:
            raise RuntimeStateError("the block of this stream of events was left: there come no more")
        return event


class Bus:
    """One node's subscriptions. They may be made before the runtime is entered and outlive it."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._subscriptions = Subscriptions[Subscription]()
        self._outgoing = Buffer()
        self._unsent = Losses("%d events were dropped: they are emitted faster than they can be published")
        self._host: Host | None = None
        self._own = OwnContext()
        self._store: Store | None = None
        self._nursery: Nursery | None = None
        self._publishing: Batching[Event] | None = None
        self._watched = False
        self._refusal = ""

    # --- subscriptions ----------------------------------------------------------------------

    def add(self, subscription: Subscription) -> None:
        self._subscriptions.add(subscription)
        if subscription.handler is not None and self._nursery is not None:
            self._nursery.start_soon(self._handle, subscription)

    def off(self, filters: Filters, handler: Handler | None) -> int:
        """Drop the handlers of this pattern, all of them or those that fit; how many there were."""
        pattern, session, job = filters
        gone = [
            one
            for one in self._subscriptions.of_pattern(pattern)
            if one.handler is not None
            and (handler is None or one.handler == handler)
            and (session is None or one.session == session)
            and (job is None or one.job == job)
        ]
        for subscription in gone:
            self.remove(subscription)
        return len(gone)

    def remove(self, subscription: Subscription) -> None:
        """Nothing more is heard. A handler's call is cancelled, unless it is the one that asks for this."""
        self._subscriptions.remove(subscription)
        subscription.close()
        if subscription.scope is not None and calling.get() is not subscription:
            subscription.scope.cancel()

    def deliver(self, event: Event) -> None:
        """Give an event to this node's subscribers only."""
        size = 0
        for subscription in self._subscriptions.find(event):
            size = size or size_of(event)
            subscription.push(event, size)

    # --- publishing -------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Publish soon, to every node. Synchronous; beyond the buffer the oldest is dropped."""
        dropped = self._outgoing.dropped
        self._outgoing.push(event, size_of(event))
        if self._outgoing.dropped > dropped:
            self._unsent.add(self._outgoing.dropped - dropped)
        if self._publishing is not None:
            self._publishing.ring()

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
        publishing = Batching(
            host, self._outgoing, self._publish, self._give_up, refusal=AM2ZError, most=BATCH
        )
        try:
            async with host.open_nursery() as nursery:
                self._host, self._store, self._nursery, self._publishing = host, store, nursery, publishing
                await self.watch()
                for subscription in self._subscriptions:
                    if subscription.handler is not None:
                        nursery.start_soon(self._handle, subscription)
                task_status.started()
                await publishing.run()
        finally:
            self._unsent.tell(inf)
            for subscription in self._subscriptions:
                subscription.tell_losses()
            self._host = self._store = self._nursery = self._publishing = None
            self._watched = False

    async def flush(self) -> None:
        """Wait until what was emitted so far has been published, or given up."""
        if self._publishing is not None:
            await self._publishing.wait_idle()

    async def _publish(self, events: list[Event]) -> None:
        assert self._store is not None
        self._unsent.tell(monotonic())
        await self.watch_if_allowed()
        await self._store.publish(events)

    async def _give_up(self, events: Sequence[Event], error: AM2ZError) -> Verdict:
        """An event is of the moment: those that the store refuses for now are not said later."""
        if not isinstance(error, ValidationError):
            logger.warning("%d events could not be published: %s", len(events), error)
            return "over"
        if len(events) == 1:
            logger.error("event %s cannot be published: %s", events[0].name, error)
        return "each"

    async def _handle(self, subscription: Subscription) -> None:
        host, handler = self._host, subscription.handler
        assert host is not None
        assert handler is not None
        with host.cancel_scope() as subscription.scope:
            served = 0
            while not subscription.closed and (event := await subscription.next(host)) is not None:
                served += 1
                if served % BATCH == 0:
                    # Whoever has much to catch up with leaves others a turn.
                    await host.checkpoint()
                context = self._own.copy()
                context.run(calling.set, subscription)
                try:
                    await in_context(context, _call(handler, event))
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
