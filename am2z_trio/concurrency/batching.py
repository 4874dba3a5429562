"""What gathers while a call is under way goes with the next; one refusal harms no neighbour."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Final, Generic, Literal, NoReturn, Protocol, TypeVar

from am2z_trio.concurrency import Host

T = TypeVar("T")

R = TypeVar("R")

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
        """Take the next ones out, at most so many; perhaps none, but then none is left."""
        ...


class Fifo(deque[T]):
    """A line in the order of coming."""

    def take(self, most: int) -> list[T]:
        if len(self) > most:
            return [self.popleft() for _ in range(most)]
        batch = list(self)
        self.clear()
        return batch


class Batching(Generic[T]):
    """Sends what stands in a line: one call at a time, of as much as has gathered.

    So what comes alone is sent at once, and what comes in masses goes with few calls.
    """

    def __init__(
        self,
        host: Host,
        line: Line[T],
        send: Callable[[list[T]], Awaitable[R]],
        refused: Callable[[Sequence[T], E], Awaitable[Verdict]],
        taken: Callable[[Sequence[T], R], None] | None = None,
        *,
        refusal: type[E],
        most: int,
        pauses: tuple[float, float] = (AGAIN_AFTER, LONGEST_PAUSE),
    ) -> None:
        """`send` makes one call of at most `most` items. What it returns goes to `taken`; if it raises a
        `refusal`, `refused` is asked what is to become of them. Whatever else these raise ends `run`.

        `pauses`: the first and the longest, in seconds, before what was put off is sent again.
        """
        self._host = host
        self._line = line
        self._send = send
        self._refused = refused
        self._taken = taken
        self._refusal = refusal
        self._most = most
        self._first_pause, self._longest_pause = pauses
        self._alone: deque[T] = deque()
        """Of a call that was refused: each is sent alone, before all others."""
        self._put_off: deque[T] = deque()
        self._again_at = inf
        """When those are due."""
        self._rounds = 0
        """How often in a row some were put off."""
        self._due: deque[T] = deque()
        """Those that were put off, and go before the line."""
        self._under_way = False
        self._bell = host.spot()
        self._idle = host.event()
        self._idle.set()

    def ring(self) -> None:
        """Say that there is something in line. Synchronous; safe from any task of the host."""
        self._bell.wake()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in line, under way, or to be sent again."""
        return not (self._line or self._under_way or self._alone or self._put_off or self._due)

    async def wait_idle(self) -> None:
        """Wait until everything that was in line has been taken, or is over."""
        while not self.is_idle:
            if self._idle.is_set():
                self._idle = self._host.event()
            await self._idle.wait()

    async def run(self) -> NoReturn:
        """Send until cancelled; what is under way then may have been taken, or not."""
        line, most, park, send, taken = self._line, self._most, self._bell.park, self._send, self._taken
        while True:
            if self._alone or self._put_off or self._due:
                batch = self._take_again()
                if not batch:
                    with self._host.cancel_scope(deadline=self._again_at):
                        await park()
                    continue
            elif line:
                batch = line.take(most)
                if not batch:
                    continue
            else:
                self._rounds = 0
                self._idle.set()
                await park()
                continue
            self._under_way = True
            try:
                answer = await send(batch)
            except self._refusal as error:
                self._judge(batch, await self._refused(batch, error))
            else:
                if taken is not None:
                    taken(batch, answer)
            self._under_way = False

    def _take_again(self) -> list[T]:
        """The next batch where some is to be sent again; empty where it is to wait for that."""
        if self._alone:
            return [self._alone.popleft()]
        due, most = self._due, self._most
        if self._put_off and self._host.now() >= self._again_at:
            due.extend(self._put_off)
            self._put_off.clear()
            self._again_at = inf
        batch = [due.popleft() for _ in range(min(len(due), most))]
        return batch + self._line.take(most - len(batch)) if len(batch) < most else batch

    def _judge(self, batch: list[T], verdict: Verdict) -> None:
        if verdict == "each" and len(batch) > 1:
            self._alone.extend(batch)
        elif verdict == "later":
            self._put_off.extend(batch)
            if self._again_at == inf:
                pause = self._first_pause * 2 ** min(self._rounds, 20)
                self._again_at = self._host.now() + min(self._longest_pause, pause)
                self._rounds += 1
