"""One connection, from the open stream to its loss: pipelining, reply slots, pushes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from am2z_trio.concurrency import Host, Spot

from .resp import INCOMPLETE, Argument, ProtocolError, Push, ReplyError, new_parser, pack
from .stream import ByteStream

RECEIVE: Final = 65536
"""Bytes per read; a busy node's batch of replies fits."""


class ConnectionLostError(Exception):
    """The connection is over. Says why; never leaves this package."""


class Call:
    """A command, and whoever waits for its reply."""

    __slots__ = ("args", "packed", "replay_safe", "replies", "retry", "sent", "spot", "transient")

    def __init__(
        self,
        args: tuple[Argument, ...],
        spot: Spot | None,
        *,
        replay_safe: bool = True,
        replies: bool = True,
        transient: bool = False,
        retry: Callable[[Call, Exception], bool] | None = None,
    ) -> None:
        self.args = args
        self.packed: bytes = pack(args)
        self.spot = spot
        self.replay_safe = replay_safe
        self.replies = replies
        """Whether a reply comes in line; (un)subscribing is confirmed by a push instead."""
        self.transient = transient
        """Belongs to this connection (its greeting): not to be sent again on the next."""
        self.retry = retry
        """Asked on an error reply; `True`: it has taken care of the call, nobody is told."""
        self.sent = False

    def resolve(self, reply: Any) -> None:
        if type(reply) is ReplyError and self.retry is not None and self.retry(self, reply):
            return
        if self.spot is not None:
            self.spot.wake(reply)


class Connection:
    """Commands out, replies in, in order. `run` moves the bytes; everything else is synchronous."""

    def __init__(
        self,
        host: Host,
        stream: ByteStream,
        *,
        on_push: Callable[[list[Any]], None],
        call_timeout: float,
        max_pending_bytes: int,
    ) -> None:
        self._host = host
        self._stream = stream
        self._on_push = on_push
        self._call_timeout = call_timeout
        self._max_pending_bytes = max_pending_bytes
        self._parser = new_parser()
        self._outgoing: list[Call] = []
        self._in_flight: deque[Call] = deque()
        self._pending_bytes = 0
        self._bell = host.spot()
        self._crowd: list[Spot] = []
        self._received = 0

    def send(self, call: Call) -> None:
        """Send soon: with everything else of this pass of the scheduler, in one write."""
        self._outgoing.append(call)
        self._pending_bytes += len(call.packed)
        self._bell.wake()

    async def call(self, *args: Argument) -> Any:
        """For the greeting: send, wait, return the reply as it is."""
        spot = self._host.spot()
        self.send(Call(args, spot, transient=True))
        return await spot.park()

    @property
    def crowded(self) -> bool:
        """More is waiting to be sent than should."""
        return self._pending_bytes > self._max_pending_bytes

    async def wait_room(self) -> None:
        """Wait while the connection is crowded."""
        while self.crowded:
            spot = self._host.spot()
            self._crowd.append(spot)
            await spot.park()

    def take_unanswered(self) -> list[Call]:
        """After the end: what was not answered, in order of sending."""
        calls = [call for call in (*self._in_flight, *self._outgoing) if not call.transient]
        self._in_flight.clear()
        self._outgoing = []
        for spot in self._crowd:
            spot.wake()
        self._crowd = []
        return calls

    async def run(self) -> None:
        """Move bytes until cancelled; raises `ConnectionLostError` when the connection is over."""
        async with self._host.open_nursery() as nursery:
            nursery.start_soon(self._write, name="redis writer")
            nursery.start_soon(self._read, name="redis reader")
            nursery.start_soon(self._watch, name="redis watch")

    async def _write(self) -> None:
        stream, bell, in_flight = self._stream, self._bell, self._in_flight
        while True:
            while not self._outgoing:
                await bell.park()
            calls, self._outgoing = self._outgoing, []
            data = b"".join([call.packed for call in calls])
            for call in calls:
                # From here on the server may see it, whatever becomes of the write.
                call.sent = True
                if call.replies:
                    in_flight.append(call)
            try:
                await stream.send_all(data)
            except OSError as error:
                raise ConnectionLostError(str(error)) from error
            self._pending_bytes -= len(data)
            if self._crowd and not self.crowded:
                crowd, self._crowd = self._crowd, []
                for spot in crowd:
                    spot.wake()

    async def _read(self) -> None:
        receive, in_flight = self._stream.receive_some, self._in_flight
        feed, gets = self._parser.feed, self._parser.gets
        while True:
            try:
                data = await receive(RECEIVE)
            except OSError as error:
                raise ConnectionLostError(str(error)) from error
            if not data:
                raise ConnectionLostError("closed by the server")
            self._received += 1
            feed(data)
            while True:
                try:
                    reply = gets()
                except ProtocolError as error:
                    raise ConnectionLostError(f"not a Redis answer: {error}") from error
                if reply is INCOMPLETE:
                    break
                if type(reply) is Push:
                    self._on_push(reply)
                elif in_flight:
                    in_flight.popleft().resolve(reply)
                else:
                    raise ConnectionLostError("the server answered what nobody had asked")

    async def _watch(self) -> None:
        """Give up on a peer that has gone silent while it owes us an answer."""
        while True:
            before, owed = self._received, bool(self._in_flight)
            await self._host.sleep(self._call_timeout)
            if owed and self._in_flight and self._received == before:
                raise ConnectionLostError(f"no answer for {self._call_timeout:g} s")
