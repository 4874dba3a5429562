"""What gathers while a call is under way goes with the next; one refusal harms no neighbour."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Final, Generic, Literal, NoReturn, Protocol, TypeVar

from am2z_trio.concurrency import Event, Host

from .told import GiveUp, Told

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


Begin = Callable[[list[T], Told], GiveUp | None]
"""Begins a call with these items without waiting for it. What it returns, or the exception it ends with, is
told later, from another task. `None`, and nothing is done, where that cannot be: it is to be waited for."""


class Batching(Generic[T]):
    """Sends what stands in a line: one call at a time, of as much as has gathered.

    So what comes alone is sent at once, and what comes in masses goes with few calls. Where a call can be
    begun without waiting, what comes alone is sent in the very task that adds it.
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
        self.begin: Begin[T] | None = None
        """As `send`, where that can be done without waiting."""
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
        self._unsent: list[T] | None = None
        """Of a call that is under way: what could not be begun, and is sent by the task."""
        self._give_up: GiveUp | None = None
        """Of a call that was begun, and has not been answered."""
        self._failed: tuple[list[T], Exception] | None = None
        """What has come of such a call instead of an answer; without items, of what has heard the answer."""
        self._comes_alone = False
        """The last call was begun, and was of one item: the next one is likely to be, too."""
        self._is_running = False
        self._bell = host.spot()
        self._idle: Event | None = None

    def ring(self, *, alone: bool = False) -> None:
        """Say that there is something in line. Synchronous; safe from any task of the host.

        `alone`: as far as its sender knows, nothing else comes in this pass of the scheduler. It is sent at
        once then, unless the last call has shown otherwise.
        """
        if self._under_way or not self._is_running:
            # Whoever ends the call, or begins to run, looks at the line.
            return
        if not (alone and self._comes_alone) or self._has_more:
            self._bell.wake()
            return
        batch = self._line.take(self._most)
        if batch:
            self._start_here(batch)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in line, under way, or to be sent again."""
        return not (self._line or self._under_way or self._has_more)

    @property
    def _has_more(self) -> bool:
        """Whether some are to be sent again."""
        return bool(self._alone or self._put_off or self._due)

    async def wait_idle(self) -> None:
        """Wait until everything that was in line has been taken, or is over."""
        while not self.is_idle:
            if self._idle is None:
                self._idle = self._host.event()
            await self._idle.wait()

    async def run(self) -> NoReturn:
        """Send until cancelled; what is under way then may have been taken, or not."""
        line, most, park = self._line, self._most, self._bell.park
        self._is_running = True
        try:
            while True:
                if self._under_way:
                    if not await self._get_on():
                        await park()
                elif self._has_more:
                    batch = self._take_again()
                    if batch:
                        self._start(batch)
                    else:
                        with self._host.cancel_scope(deadline=self._again_at):
                            await park()
                elif line:
                    batch = line.take(most)
                    if batch:
                        self._start(batch)
                else:
                    self._rest()
                    await park()
        finally:
            self._is_running = False
            if self._give_up is not None:
                self._give_up()

    # --- one call ---------------------------------------------------------------------------

    def _start(self, batch: list[T]) -> None:
        """Begin a call, or leave it to the task."""
        self._under_way, self._unsent = True, batch
        try:
            if self.begin is not None:
                self._give_up = self.begin(batch, partial(self._answered, batch))
        except Exception:
            # It is raised again where the task sends it.
            self._give_up = None
        if self._give_up is None:
            self._comes_alone = False
        else:
            self._comes_alone, self._unsent = len(batch) == 1, None

    def _start_here(self, batch: list[T]) -> None:
        """The same in another task than that of `run`."""
        try:
            self._start(batch)
        finally:
            if self._unsent is not None:
                self._bell.wake()

    def _answered(self, batch: list[T], answer: Any) -> None:
        """A call that was begun has ended: what has come meanwhile goes with the next one."""
        self._give_up = None
        try:
            if isinstance(answer, Exception):
                self._failed = batch, answer
            else:
                self._is_taken(batch, answer)
        except Exception as error:
            self._failed, self._under_way = ([], error), True
        if self._under_way or self._has_more or (self._line and not self._comes_alone):
            # Of masses, more gathers until the task has its turn.
            self._bell.wake()
        elif following := self._line.take(self._most):
            self._start_here(following)
        else:
            self._rest()

    def _is_taken(self, batch: list[T], answer: Any) -> None:
        if self._taken is not None:
            self._taken(batch, answer)
        self._under_way = False

    async def _get_on(self) -> bool:
        """Whether there was anything to do for the call that is under way."""
        if self._failed is not None:
            (batch, error), self._failed = self._failed, None
            if not batch or not isinstance(error, self._refusal):
                raise error
            self._judge(batch, await self._refused(batch, error))
            self._under_way = False
            return True
        if self._unsent is None:
            return False
        batch, self._unsent = self._unsent, None
        try:
            answer = await self._send(batch)
        except self._refusal as error:
            self._judge(batch, await self._refused(batch, error))
            self._under_way = False
        else:
            self._is_taken(batch, answer)
        return True

    def _rest(self) -> None:
        """There is nothing to do."""
        self._rounds = 0
        if self._idle is not None:
            self._idle.set()
            self._idle = None

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
