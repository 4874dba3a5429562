"""One who listens on this node: a buffer of its own, read by a handler's task or by a stream's readers."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from am2z_trio.concurrency import CancelScope, Host, Spot
from am2z_trio.engine.here import Here
from am2z_trio.model.errors import RuntimeStateError
from am2z_trio.model.events import Event

from .buffer import Buffer, Losses
from .filters import Filters

Handler = Callable[[Event], Any]


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
        self.log_losses()
        while self._readers:
            self._wake_one()

    def log_losses(self) -> None:
        """Log what was dropped and not yet logged."""
        if self._losses is not None:
            self._losses.log(at_once=True)

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
            self._losses.log()
        return self._buffer.pop()


class Source(Protocol):
    """Where a stream's events come from."""

    @property
    def dropped(self) -> int: ...

    async def next(self, host: Host) -> Event | None: ...


class EventStream:
    """What `async with runtime.events(...)` gives. Any number of tasks may read it: each event goes to one of
    them. When its block is left, iterating ends."""

    def __init__(self, source: Source, host: Host, here: Here) -> None:
        self._source = source
        self._host = host
        self._here = here

    @property
    def dropped(self) -> int:
        """Events lost because this stream was read too slowly. With `since` none are: entries of the history
        that could not be read."""
        return self._source.dropped

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        self._here.require()
        event = await self._source.next(self._host)
        if event is None:
            raise StopAsyncIteration
        return event

    async def next(self) -> Event:
        """Wait for the next event. `RuntimeStateError` once the stream's block was left."""
        self._here.require()
        event = await self._source.next(self._host)
        if event is None:
            raise RuntimeStateError("the block of this stream of events was left: there come no more")
        return event
