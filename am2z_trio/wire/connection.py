"""One connection, from the open stream to its loss: pipelining, reply slots, pushes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from am2z_trio.concurrency import Host, Nursery, Spot

from .request import Request
from .resp import INCOMPLETE, Argument, ProtocolError, Push, ReplyError, new_parser, pack
from .stream import ByteStream

RECEIVE: Final = 65536
"""Bytes per read; a busy node's batch of replies fits."""

WRITE: Final = 65536
"""Bytes per write, give or take one command: joining more saves nothing and delays the release of
callers that wait for room."""

SLICE: Final = 4 * WRITE
"""Bytes of a larger write that are handed on at a time: that a peer takes them is a sign of life."""

QUIET: Final = 1 / 3
"""Share of `call_timeout` without a byte from the peer after which it is asked for a sign of life."""

PING: Final = pack(("PING",))


class ConnectionLostError(Exception):
    """The connection is over. Says why; never leaves this package."""


class Connection:
    """Commands out, replies in, in order. Two tasks move the bytes; all else is bookkeeping.

    Every command written holds one slot in a first-in-first-out line; every reply takes the slot at
    its head, whether or not anyone still waits for it. So no cancellation can shift the replies.
    A push has no slot, but for the confirmation of a (un)subscription: Redis sends it where a
    reply would stand, so it takes the slot of the SUBSCRIBE at the head.

    A peer from which nothing has come for a third of `call_timeout` is sent a PING if nothing else is
    due, and is given up after the whole of it: also where nobody asks for anything, a connection of
    which only this end is left is noticed.

    `on_message(channel, payload)` and `on_refusal(request, error)` run in the reader's task and must
    not wait. `on_refusal` answers `True` if it has taken care of the request.
    """

    def __init__(
        self,
        host: Host,
        stream: ByteStream,
        *,
        on_message: Callable[[bytes, bytes], None],
        on_refusal: Callable[[Request, Exception], bool],
        call_timeout: float,
        max_pending_bytes: int,
    ) -> None:
        self.lost: str | None = None
        """Why the connection broke; `None` while it stands, and if its owner ended it."""
        self._host = host
        self._now = now = host.clock()
        self._stream = stream
        self._on_message = on_message
        self._on_refusal = on_refusal
        self._call_timeout = call_timeout
        self._max_pending_bytes = max_pending_bytes
        self._parser = new_parser()
        self._outgoing: deque[Request] = deque()
        self._in_flight: deque[Request] = deque()
        self._pending_bytes = 0
        self._begun: list[Request] = []
        """Those of a write of which the stream has not yet taken all."""
        self._rest = b""
        """What it is to take of them."""
        self._finishing = False
        self._drained = host.spot()
        # Shielded: a write that is cut short cannot be taken up again, so only `finish` ends it.
        self._write_scope = host.cancel_scope(shield=True)
        self._heard_at = now()
        self._bell = host.spot()
        self._crowd: list[Spot] = []

    # --- for callers ------------------------------------------------------------------------

    def send(self, request: Request) -> None:
        """Send: at once where nothing else is on its way; else soon, with everything of this pass of the
        scheduler, in one write."""
        alone = not (self._outgoing or self._in_flight or self._rest)
        self._outgoing.append(request)
        self._pending_bytes += len(request.packed)
        if alone and self.lost is None and not self._finishing:
            self._begin()
        if self._outgoing or self._rest:
            self._bell.wake()

    async def call(self, *args: Argument) -> Any:
        """For the greeting: send, wait, return the reply as it is, errors too."""
        spot = self._host.spot()
        request = Request(pack(args), spot)
        self.send(request)
        request.dropped = True
        return await spot.park()

    @property
    def crowded(self) -> bool:
        """More is waiting to be sent than should."""
        return self._pending_bytes > self._max_pending_bytes

    async def wait_room(self) -> None:
        """Wait while the connection is crowded; returns at once when it is over."""
        while self._pending_bytes > self._max_pending_bytes:
            spot = self._host.spot()
            self._crowd.append(spot)
            await spot.park()

    # --- for the owner ----------------------------------------------------------------------

    def start(self, nursery: Nursery) -> None:
        """Start moving bytes; whoever starts must `finish`. When the connection breaks, `lost` says
        why, and the nursery is cancelled.

        The breach is no exception: reader and writer may both notice it, the owner's body may be
        raising something that tells more, and a nursery would make a group of all that.
        """
        for part in (self._write, self._read, self._watch):
            nursery.start_soon(part, nursery, name=f"redis {part.__name__.strip('_')}")

    @contextmanager
    def _until_lost(self, nursery: Nursery) -> Iterator[None]:
        """Around what moves bytes. No coroutine around it: that would be resumed with each of its steps."""
        try:
            yield
        except ConnectionLostError as error:
            if self.lost is None:
                self.lost = str(error)
            self._drained.wake()
            nursery.cancel_scope.cancel()

    async def drain(self) -> None:
        """Wait until everything sent has been answered. `call_timeout` bounds it."""
        self._finishing = True
        while self._outgoing or self._in_flight:
            await self._drained.park()
        self._finishing = False

    async def finish(self, patience: float) -> None:
        """End writing: what was sent leaves, if the peer takes it within `patience` seconds.

        Not cancellable within that time. Without anything to write it returns at once.
        """
        self._finishing = True
        with self._host.cancel_scope(shield=True, deadline=self._host.now() + patience):
            while self.lost is None and (self._outgoing or self._rest):
                await self._drained.park()
        self._write_scope.cancel()

    def take_unanswered(self) -> list[Request]:
        """After the end: what was not answered and may be wanted again, in order of sending."""
        if self.lost is not None:
            for request in self._in_flight:
                request.breaks += 1
                request.in_doubt = True
        requests = [request for request in (*self._in_flight, *self._outgoing) if not request.dropped]
        self._in_flight.clear()
        self._outgoing.clear()
        self._pending_bytes = 0
        self._make_room()
        return requests

    # --- the tasks --------------------------------------------------------------------------

    def _take(self) -> list[Request]:
        """Move a write's worth of requests from the queue into the line."""
        outgoing = self._outgoing
        requests: list[Request]
        if self._pending_bytes <= WRITE:
            requests = list(outgoing)
            outgoing.clear()
        else:
            requests = []
            size = 0
            while outgoing and size < WRITE:
                request = outgoing.popleft()
                requests.append(request)
                size += len(request.packed)
        now = self._now()
        for request in requests:
            # From here on the server may see it, whatever becomes of the write.
            request.sent_at = now
        self._in_flight.extend(requests)
        return requests

    async def _write(self, nursery: Nursery) -> None:
        with self._until_lost(nursery), self._write_scope:
            await self._write_on()

    def _begin(self) -> None:
        """Move a write's worth of requests into the line, and write what the stream takes at once."""
        requests = self._take()
        data = requests[0].packed if len(requests) == 1 else b"".join([one.packed for one in requests])
        done = self._stream.send_now(data) if len(data) <= SLICE else 0
        if done < len(data):
            self._begun, self._rest = requests, data[done:]
        self._taken(done)

    async def _write_on(self) -> None:
        while True:
            while not (self._outgoing or self._rest):
                await self._bell.park()
            if not self._rest:
                self._begin()
            if self._rest:
                await self._write_rest()
            elif self._outgoing:
                await self._host.checkpoint()

    async def _write_rest(self) -> None:
        """A large command takes as long as it takes, while the peer goes on reading it."""
        data, requests = self._rest, self._begun
        try:
            if len(data) <= SLICE:
                await self._stream.send_all(data)
            else:
                for start in range(0, len(data), SLICE):
                    await self._stream.send_all(data[start : start + SLICE])
                    now = self._now()
                    for request in requests:
                        request.sent_at = now
        except OSError as error:
            raise ConnectionLostError(str(error)) from error
        self._begun, self._rest = [], b""
        self._taken(len(data))

    def _taken(self, size: int) -> None:
        """The stream has taken so many bytes."""
        self._pending_bytes -= size
        if self._crowd and self._pending_bytes <= self._max_pending_bytes:
            self._make_room()
        if self._finishing:
            self._drained.wake()

    def _make_room(self) -> None:
        crowd, self._crowd = self._crowd, []
        for spot in crowd:
            spot.wake()

    async def _read(self, nursery: Nursery) -> None:
        receive, in_flight, now = self._stream.receive_some, self._in_flight, self._now
        feed, gets = self._parser.feed, self._parser.gets
        with self._until_lost(nursery):
            while True:
                try:
                    data = await receive(RECEIVE)
                except OSError as error:
                    raise ConnectionLostError(str(error)) from error
                if not data:
                    raise ConnectionLostError("closed by the server")
                self._heard_at = now()
                feed(data)
                owed = len(in_flight)
                while True:
                    try:
                        reply = gets()
                    except (ProtocolError, TypeError) as error:
                        # A map whose key is a list is a TypeError of the parser's.
                        raise ConnectionLostError(_not_resp(data, error)) from error
                    if reply is INCOMPLETE:
                        break
                    if type(reply) is Push:
                        self._pushed(reply)
                    elif in_flight:
                        request = in_flight.popleft()
                        if type(reply) is ReplyError and self._on_refusal(request, reply):
                            continue
                        spot = request.spot
                        if spot is not None:
                            spot.wake(reply)
                    else:
                        # Such as "max number of clients reached", said before anything was asked.
                        text = reply if type(reply) is ReplyError else "an answer that nobody had asked for"
                        raise ConnectionLostError(f"the server sent: {text}")
                if self._finishing and len(in_flight) != owed:
                    self._drained.wake()

    def _pushed(self, push: list[Any]) -> None:
        kind = push[0] if push else None
        if kind == b"message":
            if len(push) != 3 or type(push[1]) is not bytes or type(push[2]) is not bytes:
                raise ConnectionLostError("not a Redis answer: a message of another shape")
            self._on_message(push[1], push[2])
        elif kind in (b"subscribe", b"unsubscribe") and self._in_flight and self._in_flight[0].by_push:
            spot = self._in_flight.popleft().spot
            if spot is not None:
                spot.wake()
        # Any other kind is to be ignored, says the RESP3 specification.

    async def _watch(self, nursery: Nursery) -> None:
        """Give up on a peer that owes an answer and of which nothing has come for `call_timeout`.

        Not the age of the oldest request alone: of a long pipeline the last ones may well be older, and
        a large answer takes its time.
        """
        timeout, in_flight, host = self._call_timeout, self._in_flight, self._host
        quiet = timeout * QUIET
        ping = Request(PING, None)
        with self._until_lost(nursery):
            while True:
                now = host.now()
                if in_flight:
                    patience = timeout - quiet if in_flight[0] is ping else timeout
                    due = max(in_flight[0].sent_at, self._heard_at) + patience
                    if due <= now:
                        raise ConnectionLostError(f"no answer for {timeout:g} s")
                else:
                    due = self._heard_at + quiet
                    if due <= now:
                        ping = Request(PING, None)
                        ping.dropped = True
                        self.send(ping)
                await host.sleep_until(min(due, now + quiet) if due > now else now + quiet)


def _not_resp(data: bytes, error: Exception) -> str:
    # A TLS server answers plain text with an alert record.
    return "it speaks TLS" if data.startswith(b"\x15\x03") else f"not a Redis answer: {error}"
