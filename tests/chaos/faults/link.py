"""One connection through the proxy: two tasks that move bytes, and what may befall them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, Protocol

import anyio
import msgspec

from .frames import FrameScanner, first_words
from .line import PLAIN, Line, Request
from .plan import (
    Blackhole,
    ByteFault,
    CutAfter,
    CutAfterReply,
    Delay,
    Direction,
    DropReply,
    DropRequest,
    Ending,
    Fault,
    Hit,
    HoldRequest,
    Schedule,
    Slice,
)
from .sockets import Address, Socket


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has been taken off its stream."""

    fault: HoldRequest
    connection: int
    """Number of the connection it was taken from."""
    request: bytes
    """All its bytes."""
    identity: tuple[bytes, ...]
    """The HELLO, AUTH and SELECT that its connection had sent before."""


class Owner(Protocol):
    """What a link needs of its proxy."""

    requests: int

    @property
    def schedule(self) -> Schedule: ...

    def hit(self, hit: Hit) -> None: ...

    def keep(self, held: Held) -> None: ...

    def answered(self, count: int) -> None: ...

    def changed(self) -> None: ...

    async def wait_until(self, condition: Callable[[], bool]) -> None: ...


class _OverError(Exception):
    """The connection's life is over, in this way."""

    def __init__(self, ending: Ending, hit: Hit | None = None, held: Held | None = None) -> None:
        super().__init__(ending)
        self.ending: Final = ending
        self.hit: Final = hit
        self.held: Final = held


class Link:
    """A client's connection and the server's that belongs to it. `run` owns and closes both."""

    def __init__(
        self, owner: Owner, number: int, client: Socket, server: Address, greeting: frozenset[bytes]
    ) -> None:
        self.number: Final = number
        self._owner: Final = owner
        self._schedule: Final = owner.schedule
        self._client: Final = client
        self._address: Final = server
        self._to: Final[dict[Direction, Socket]] = {"replies": client}
        self._line: Final = Line(greeting)
        self._requests_in: Final = FrameScanner(typed=True)
        self._replies_in: Final = FrameScanner()
        self._opaque = False
        """Not RESP, or no pairs of requests and replies any more: bytes are passed on as they come."""
        self._dark: dict[Direction, Blackhole] = {}
        """Where this connection alone is dark, since a request met a blackhole."""
        self._silent = False
        """It has ended in silence."""
        self._holed = False
        """Bytes were lost: if it is healed, it can only be cut."""
        self._spent: dict[Direction, tuple[int, int]] = {}
        """Bytes sent on while something lay on them, and since which healing."""
        self._last: _OverError | None = None
        """How it ends when all who are in line have been answered."""
        self._over: _OverError | None = None
        self._scope: Final = anyio.CancelScope()

    async def run(self) -> None:
        """Connect to the server and move bytes, until either side or a fault ends it.

        A server that cannot be reached is a reset. Cancelled: both sockets are closed.
        """
        try:
            with self._scope:
                try:
                    self._to["requests"] = await self._address.connect()
                except OSError:
                    self.end("reset")
                    return
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._until_over, self._move_requests, "requests")
                    tasks.start_soon(self._until_over, self._move_replies, "replies")
        finally:
            self._close()

    @property
    def _server(self) -> Socket:
        return self._to["requests"]

    def end(self, ending: Ending, hit: Hit | None = None) -> None:
        """End it, soon."""
        self._finish(_OverError(ending, hit))

    def healed(self) -> None:
        """The network is whole again: what was kept moves on; a stream with a hole is cut."""
        self._dark.clear()
        if self._silent or self._holed:
            self.end("reset")

    def _finish(self, over: _OverError) -> None:
        if self._over is None:
            self._over = over
            self._scope.cancel()

    def _close(self) -> None:
        over = self._over
        # The server's end always in good order: what was sent to it is to reach it.
        if "requests" in self._to:
            self._server.close()
        if over is not None and over.ending == "reset":
            self._client.reset()
        else:
            self._client.close()
        # A hit is counted when its effect is there to be seen.
        for end in (over, self._last if self._last is not over else None):
            if end is not None:
                self._tell(end)

    def _tell(self, over: _OverError) -> None:
        if over.held is not None:
            self._owner.keep(over.held)
        if over.hit is not None:
            self._owner.hit(over.hit)

    # --- the two tasks ----------------------------------------------------------------------

    async def _until_over(self, part: Callable[[], Awaitable[None]], direction: Direction) -> None:
        try:
            try:
                await part()
            except OSError as error:
                raise _OverError("reset") from error
        except _OverError as over:
            if over.ending != "silence":
                self._finish(over)
                return
            self._silent = True
            self._tell(over)
        else:
            return
        await self._until_over(lambda: self._mute(direction), direction)

    async def _move_requests(self) -> None:
        scanner = self._requests_in
        while True:
            data = await self._client.receive()
            if not data:
                await self._forward("requests", scanner.take_rest())
                self._server.end()
                return
            if self._opaque:
                await self._forward("requests", data)
                continue
            passing: list[bytes] = []
            for frame in scanner.feed(data):
                fault, request = self._enter(frame)
                if fault is None:
                    passing.append(frame)
                    continue
                if passing:
                    await self._forward("requests", b"".join(passing))
                    passing = []
                if await self._befall_request(fault, frame, request):
                    await self._discard(self._client)
                    await self._forward("requests", b"")
                    self._server.end()
                    return
            if scanner.broken or self._opaque:
                self._opaque = True
                passing.append(scanner.take_rest())
            if passing:
                await self._forward("requests", b"".join(passing))

    async def _move_replies(self) -> None:
        scanner, line = self._replies_in, self._line
        while True:
            data = await self._server.receive()
            if not data:
                await self._forward("replies", scanner.take_rest())
                raise _OverError("close")
            if self._opaque:
                await self._forward("replies", scanner.take_rest() + data)
                continue
            passing: list[bytes] = []
            answers = 0
            for frame in scanner.feed(data):
                request, complete = line.answered(frame)
                if request is not None and complete and request.counted:
                    answers += 1
                if request is None or request.fault is None:
                    passing.append(frame)
                else:
                    if passing:
                        await self._forward("replies", b"".join(passing))
                        passing = []
                    await self._befall_reply(request, frame, complete)
            if scanner.broken:
                self._opaque = True
                passing.append(scanner.take_rest())
            if passing:
                await self._forward("replies", b"".join(passing))
            self._owner.answered(answers)
            if self._last is not None and not line.waiting:
                raise self._last

    # --- what befalls -----------------------------------------------------------------------

    def _enter(self, frame: bytes) -> tuple[Fault | None, Request]:
        """Put a request in line, unless a fault is to meet it."""
        request = None if self._opaque else self._line.sort(frame)
        if request is None:
            self._opaque = True
            return None, PLAIN
        if request.left < 0:
            return None, request
        if request.counted:
            self._owner.requests += 1
            self._owner.changed()
            fault = self._schedule.meet(frame)
            if fault is not None:
                return fault, request
        self._line.waiting.append(request)
        return None, request

    async def _befall_request(self, fault: Fault, frame: bytes, request: Request) -> bool:
        """Let a fault meet a request; returns whether nothing that follows is to reach the server."""
        hit = self._hit(fault, frame)
        if isinstance(fault, DropRequest | HoldRequest):
            held = None
            if isinstance(fault, HoldRequest):
                identity = tuple(self._line.identity.values())
                held = Held(fault=fault, connection=self.number, request=frame, identity=identity)
            self._last = _OverError(fault.ending, hit, held)
            if not self._line.waiting:
                raise self._last
            return True
        request = Request(counted=True, confirms=request.confirms, left=request.left)
        self._line.waiting.append(request)
        own: ByteFault | None = None
        if isinstance(fault, ByteFault):
            # A blackhole that is to swallow both swallows both from now on.
            if fault.direction == "replies" or (
                fault.direction == "both" and not isinstance(fault, Blackhole)
            ):
                request.fault = fault
            if fault.direction != "replies":
                own = fault
        else:
            request.fault = fault
        request.hit, request.heals = hit, self._schedule.heals
        if isinstance(own, Blackhole):
            self._dark["requests"] = own
            if own.direction == "both":
                self._dark["replies"] = own
        await self._forward("requests", frame, own, hit)
        return isinstance(fault, DropReply | CutAfterReply | CutAfter)

    async def _befall_reply(self, request: Request, frame: bytes, complete: bool) -> None:
        """Let a fault meet a message that answers the request it had met."""
        fault, hit = request.fault, request.hit
        if isinstance(fault, DropReply):
            pass
        elif isinstance(fault, Blackhole | Delay | Slice) and request.heals != self._schedule.heals:
            # Healed before the reply came.
            await self._forward("replies", frame)
        elif isinstance(fault, Blackhole):
            self._dark["replies"] = fault
            await self._forward("replies", frame)
        elif isinstance(fault, ByteFault):
            await self._forward("replies", frame, fault, hit)
        else:
            await self._forward("replies", frame)
        if complete and isinstance(fault, DropReply | CutAfterReply):
            raise _OverError(fault.ending, hit)

    def _hit(self, fault: Fault, frame: bytes = b"") -> Hit:
        words = first_words(frame, 1)
        command = words[0].decode(errors="replace") if words else ""
        return Hit(name=fault.name, fault=fault, connection=self.number, command=command)

    # --- bytes ------------------------------------------------------------------------------

    async def _forward(
        self, direction: Direction, data: bytes, own: ByteFault | None = None, hit: Hit | None = None
    ) -> None:
        """Send bytes on, through whatever lies on their way. Empty: the end of a stream."""
        if self._schedule.on_bytes[direction] or own is not None or self._dark or self._silent:
            await self._detain(direction, data, own, hit)
        elif data:
            await self._to[direction].send(data)

    async def _detain(
        self, direction: Direction, data: bytes, own: ByteFault | None, hit: Hit | None
    ) -> None:
        await self._wait_light(direction)
        for fault in self._lying(direction, own):
            if isinstance(fault, Delay) and data:
                await self._pause(fault.seconds)
                self._owner.hit(hit if hit is not None and fault is own else self._hit(fault))
        # It may have fallen dark meanwhile.
        await self._wait_light(direction)
        # The narrowest limit cuts; what comes after the cut is nobody's.
        room, cut = len(data), None
        for fault in self._lying(direction, own):
            if isinstance(fault, CutAfter) and data:
                left = fault.size if fault is own else self._budget(direction, fault)
                # A request of its own is cut even if it is shorter than that.
                if left <= room or fault is own:
                    room, cut = min(room, left), fault
        data = data[:room]
        slicing = next((f for f in self._lying(direction, own) if isinstance(f, Slice)), None)
        if slicing is not None and len(data) > slicing.size:
            await self._send_sliced(direction, data, slicing)
            self._owner.hit(hit if hit is not None and slicing is own else self._hit(slicing))
        elif data:
            await self._send(direction, data)
        if cut is not None:
            raise _OverError(cut.ending, hit if hit is not None and cut is own else self._hit(cut))

    def _lying(self, direction: Direction, own: ByteFault | None) -> tuple[ByteFault, ...]:
        standing = self._schedule.on_bytes[direction]
        return standing if own is None else (own, *standing)

    def _budget(self, direction: Direction, fault: CutAfter) -> int:
        heals, spent = self._spent.get(direction, (-1, 0))
        return max(fault.size - (spent if heals == self._schedule.heals else 0), 0)

    async def _send(self, direction: Direction, data: bytes) -> None:
        await self._to[direction].send(data)
        heals, spent = self._spent.get(direction, (-1, 0))
        now = self._schedule.heals
        self._spent[direction] = (now, len(data) + (spent if heals == now else 0))

    async def _send_sliced(self, direction: Direction, data: bytes, fault: Slice) -> None:
        heals = self._schedule.heals
        for at in range(0, len(data), fault.size):
            if self._schedule.heals != heals:
                await self._send(direction, data[at:])
                return
            await self._send(direction, data[at : at + fault.size])
            # The receiver is to see the pieces, not one heap of them.
            await (self._pause(fault.pause) if fault.pause else anyio.lowlevel.checkpoint())

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until healed."""
        with anyio.move_on_after(seconds):
            await self._wait_healed(self._schedule.heals)

    async def _wait_healed(self, heals: int) -> None:
        await self._owner.wait_until(lambda: self._schedule.heals != heals)

    async def _wait_light(self, direction: Direction) -> None:
        """Return when no blackhole lies on this direction."""
        while True:
            if self._silent:
                await self._mute(direction)
            fault = self._dark.get(direction)
            for standing in self._schedule.on_bytes[direction]:
                if isinstance(standing, Blackhole):
                    fault = fault or standing
            if fault is None:
                return
            heals = self._schedule.heals
            if fault.then == "cut":
                self._holed = True
            self._owner.hit(self._hit(fault))
            if fault.then == "cut":
                await self._mute(direction)
            await self._wait_healed(heals)

    async def _mute(self, direction: Direction) -> NoReturn:
        """Accept bytes and lose them. The end of the client's stream ends the connection; the server's
        is kept from the client.
        """
        if direction == "requests":
            await self._discard(self._client)
            raise _OverError("close")
        await self._discard(self._server)
        await anyio.sleep_forever()
        raise AssertionError("for ever is over")

    async def _discard(self, stream: Socket) -> None:
        while await stream.receive():
            pass
