"""How late the event loop is, and what keeps it: asked from a thread, a few times a second.

The loop is asked for a sign of life. Where that is late, the thread looks at what the loop's own one is at,
and counts the innermost line of a user's code. A loop that is stuck can be told of, too; a job costs nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Final

import anyio

from am2z_trio.concurrency import Host
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import attempt, is_of_users, place_of
from am2z_trio.model.views.health import Place
from am2z_trio.policy.buckets import Histogram

logger: Final = Log("am2z_trio.node")

ASK_EVERY: Final = 0.25
"""Seconds between an answer and the next question."""

LATE: Final = 0.05
"""Seconds after which it is looked what the loop is at,"""

LOOK_EVERY: Final = 0.1
"""and seconds after which it is looked again."""

REMEMBERED: Final = 240
"""Answers of which it is remembered how late they were: those of a minute."""

MOST_PLACES: Final = 100
"""Lines that are counted; of more, the rarest is forgotten."""

MOST_SHOWN: Final = 10

_RUNS_TASKS: Final = ("unrolled_run", "_run", "_run_once", "run_forever")
"""What a host calls the functions from which it runs tasks: what has called these is no task's doing."""

Spot = tuple[str, int, str]


class Pulse:
    """The pulse of one node's event loop. Written by its thread, read by any."""

    def __init__(self, host: Host, lags: Histogram | None = None) -> None:
        """`lags`: where it is counted how late each answer was."""
        self._host = host
        self._lags = lags if lags is not None else Histogram()
        self._ring: list[float] = []
        self._next = 0
        self._asked: float | None = None
        """When the question was put that is not answered yet, by the monotonic clock."""
        self._seen: dict[Spot, int] = {}

    @property
    def silent(self) -> float:
        """Seconds for which the loop has owed a sign of life."""
        asked = self._asked
        return 0.0 if asked is None else time.monotonic() - asked

    def lag(self, share: float) -> float:
        """Of the last minute's answers, this share came within so many seconds; 0 where there were none."""
        last = sorted(self._ring[:])
        return last[min(len(last) - 1, int(share * len(last)))] if last else 0.0

    def kept_by(self) -> list[Place]:
        """What the loop was at when it was late, the most frequent first."""
        found = sorted(self._seen.items(), key=lambda item: (-item[1], item[0]))[:MOST_SHOWN]
        return [Place(file=file, line=line, function=name, seen=n) for (file, line, name), n in found]

    async def run(self) -> None:
        """Feel it until cancelled. Whatever goes wrong with that, the node goes on."""
        over, loop, ask = threading.Event(), threading.get_ident(), self._host.asker()

        def feel() -> None:
            self._feel(over, loop, ask)

        try:
            await self._host.run_in_thread(feel, lambda: None, anyio.CapacityLimiter(1))
        except RuntimeError as error:
            logger.warning("how late the event loop is cannot be told on this node: %s", error)
        finally:
            over.set()
        await self._host.event().wait()

    def _feel(self, over: threading.Event, loop: int, ask: Callable[[Callable[[], object]], object]) -> None:
        while not over.wait(ASK_EVERY):
            answered = threading.Event()
            self._asked = asked = time.monotonic()
            try:
                ask(answered.set)
            except RuntimeError:
                # The loop has ended.
                self._asked = None
                return
            patience = LATE
            while not answered.wait(patience):
                if over.is_set():
                    return
                patience = LOOK_EVERY
                attempt(partial(self._look, loop), None)
            self._asked = None
            self._note(time.monotonic() - asked)

    def _note(self, late: float) -> None:
        """An answer has come so late. Those to questions that would have been put meanwhile count, too: else
        a loop that is stuck for a minute would have been late once."""
        for _ in range(REMEMBERED):
            self._lags.add(late)
            if len(self._ring) < REMEMBERED:
                self._ring.append(late)
            else:
                self._ring[self._next] = late
                self._next = (self._next + 1) % REMEMBERED
            late -= ASK_EVERY
            if late <= 0:
                return

    def _look(self, loop: int) -> None:
        # As faulthandler and profilers do; it is documented.
        frame = sys._current_frames().get(loop)  # pyright: ignore[reportPrivateUsage]
        if frame is None:
            return
        spot = _spot_of(frame)
        if spot not in self._seen and len(self._seen) >= MOST_PLACES:
            del self._seen[min(self._seen, key=self._seen.__getitem__)]
        self._seen[spot] = self._seen.get(spot, 0) + 1


def _spot_of(frame: FrameType) -> Spot:
    """The innermost line of a user's code that is part of a task; without one, the innermost of all."""
    one: FrameType | None = frame
    while one is not None and one.f_code.co_name not in _RUNS_TASKS:
        if is_of_users(one.f_code.co_filename):
            frame = one
            break
        one = one.f_back
    return place_of(frame)
