"""Events: out to every node, and in to this node's handlers and streams.

Each subscription has a buffer and, for a handler, a task of its own: a slow or failing handler
hurts nobody else. Buffers are bounded; what does not fit is dropped, oldest first, counted, and logged at
most once a second.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from typing import Any, Final

from am2z_trio.concurrency import Host, Nursery, TaskStatus
from am2z_trio.concurrency.batching import Batching, Verdict
from am2z_trio.concurrency.contexts import OwnContext, in_context
from am2z_trio.concurrency.groups import must_propagate
from am2z_trio.model.errors import AM2ZError, ValidationError
from am2z_trio.model.events import Event
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import trace_of
from am2z_trio.store.ports import BATCH, Store

from .buffer import Buffer, Losses, size_of
from .filters import Filters
from .subscription import Handler, Subscription
from .subscriptions import Subscriptions

logger: Final = Log("am2z_trio.events")

calling: Final[ContextVar[Subscription | None]] = ContextVar("am2z event handler", default=None)
"""Whose handler we are in."""


class Bus:
    """One node's subscriptions. They may be made before the runtime is entered and outlive it."""

    def __init__(self) -> None:
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

    def is_watched(self) -> bool:
        """Whether what happens from now on is heard, if anybody here listens."""
        return self._watched or not self._subscriptions or self._store is None

    async def watch(self) -> None:
        """Make sure of that."""
        if not self.is_watched():
            assert self._store is not None
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
            self._unsent.log(at_once=True)
            for subscription in self._subscriptions:
                subscription.log_losses()
            self._host = self._store = self._nursery = self._publishing = None
            self._watched = False

    async def flush(self) -> None:
        """Wait until what was emitted so far has been published, or given up."""
        if self._publishing is not None:
            await self._publishing.wait_idle()

    async def _publish(self, events: list[Event]) -> None:
        assert self._store is not None
        self._unsent.log()
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
                    if must_propagate(raised, host):
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
