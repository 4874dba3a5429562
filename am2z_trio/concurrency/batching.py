"""What gathers while a call is under way goes with the next; one refusal harms no neighbour."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

from am2z_trio.concurrency import Host

T = TypeVar("T")

E = TypeVar("E", bound=Exception)

AGAIN_AFTER: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds before what was put off is sent again: doubling as long as some of it is put off again."""

Verdict = Literal["over", "each", "later"]
"""What is to become of items whose call was refused.

`over`: nothing more, they have been dealt with. `each`: one of them may be at fault, so each is sent and
judged alone; for one that was alone the same as `over`. `later`: none is taken for now, so they are kept and
sent again after a pause; what comes meanwhile passes them."""


class Line(Protocol[T]):
    """What waits to be sent. Whoever adds to it calls `Batching.ring`."""

    def __len__(self) -> int: ...

    def take(self, most: int) -> list[T]:
        """Take the next ones out, at most so many; none only where none is left."""
        ...


class Fifo(deque[T]):
    """A line in the order of coming."""

    def take(self, most: int) -> list[T]:
        if len(self) <= most:
            batch = list(self)
            self.clear()
            return batch
        return [self.popleft() for _ in range(most)]


class Batching(Generic[T]):
    """Sends what stands in a line: one call at a time, of as much as has gathered.

    So what comes alone is sent at once, and what comes in masses goes with few calls.
    """

    def __init__(
        self,
        host: Host,
        line: Line[T],
        send: Callable[[list[T]], Awaitable[object]],
        refused: Callable[[Sequence[T], E], Awaitable[Verdict]],
        *,
        refusal: type[E],
        most: int,
        again_after: float = AGAIN_AFTER,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        """`send` makes one call of at most `most` items, and raises a `refusal` if it does not take them;
        `refused` is asked then what is to become of them. Whatever else they raise ends `run`.
        """
        self._host = host
        self._line = line
        self._send = send
        self._refused = refused
        self._refusal = refusal
        self._most = most
        self._again_after = again_after
        self._longest_pause = longest_pause
        self._put_off: deque[T] = deque()
        self._again_at = inf
        """When those are due."""
        self._rounds = 0
        """How often in a row some were put off."""
        self._due: deque[T] = deque()
        """Those that go before the line."""
        self._under_way = False
        self._bell = host.spot()
        self._idle = host.event()
        self._idle.set()

    def ring(self) -> None:
        """Say that there is something in line. Synchronous; safe from any task of the host."""
        if self._idle.is_set():
            self._idle = self._host.event()
        self._bell.wake()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in line, under way, or put off."""
        return not (self._line or self._under_way or self._put_off or self._due)

    async def wait_idle(self) -> None:
        """Wait until everything that was in line has been taken, or is over."""
        while not self.is_idle:
            await self._idle.wait()

    async def run(self) -> Any:
        """Send until cancelled; what is under way then may have been taken, or not."""
        while True:
            batch = self._take()
            if batch:
                self._under_way = True
                await self._deliver(batch)
                self._under_way = False
            else:
                await self._wait()

    def _take(self) -> list[T]:
        """The next batch; none where there is nothing to send now."""
        if self._put_off and self._host.now() >= self._again_at:
            self._due.extend(self._put_off)
            self._put_off.clear()
            self._again_at = inf
        due, most = self._due, self._most
        if not due:
            return self._line.take(most)
        batch = [due.popleft() for _ in range(min(len(due), most))]
        return batch + self._line.take(most - len(batch)) if len(batch) < most else batch

    async def _deliver(self, batch: list[T]) -> None:
        try:
            await self._send(batch)
        except self._refusal as error:
            verdict = await self._refused(batch, error)
            if verdict == "later":
                self._keep(batch)
            elif verdict == "each" and len(batch) > 1:
                for item in batch:
                    await self._deliver([item])

    def _keep(self, batch: list[T]) -> None:
        self._put_off.extend(batch)
        if self._again_at == inf:
            pause = self._again_after * 2 ** min(self._rounds, 20)
            self._again_at = self._host.now() + min(self._longest_pause, pause)
            self._rounds += 1

    async def _wait(self) -> None:
        """Wait for something in line, or until what was put off is due."""
        if self._put_off:
            with self._host.cancel_scope(deadline=self._again_at):
                await self._bell.park()
        else:
            self._rounds = 0
            self._idle.set()
            await self._bell.park()
