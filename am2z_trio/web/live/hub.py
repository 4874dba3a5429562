"""What is looked at, asked again while somebody looks: one poller for all, and none where nobody does.

Nothing is started in the background. Each stream waits for its turn to be the poller; the one that has it
polls for all of them, and when it leaves the next one goes on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal

import anyio

from am2z_trio.model.logs import Log
from am2z_trio.model.telling import trace_of

logger: Final = Log("am2z_trio.web")

MOST_STREAMS: Final = 200
"""That are open at a time."""
AT_ONCE: Final = 4
"""Pages that are asked at a time."""
LOOK_WAIT: Final = 5.0
"""Seconds after which an answer is no longer waited for."""

State = Literal["ok", "away", "trouble"]
"""Whether what was seen last is what is so now; if not, whether Redis is away, or something else is wrong."""

Look = Callable[[], Awaitable[Mapping[str, str]]]
"""Asks a page for its live blocks, by name."""

Judge = Callable[[Exception], tuple[State, str]]
"""What is said of an error, in one sentence."""

_TOLD: Final = re.compile(r'(<time\b[^>]* data-show="(?:ago|lasting)"[^>]*>)[^<]*')


class Watched:
    """One page that is looked at."""

    def __init__(self, look: Look, every: float) -> None:
        self.look: Final = look
        self.every: Final = every
        self.viewers = 0
        self.due = 0.0
        """When it is to be asked next."""
        self.is_asked = False
        self.version = 0
        """Counts what has changed; 0: it was not seen yet."""
        self.state: State = "ok"
        self.text = ""
        self.blocks: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        self.changed = anyio.Event()

    def saw(self, blocks: Mapping[str, str]) -> None:
        """This is so now."""
        digests = {name: digest_of(html) for name, html in blocks.items()}
        if self.version and self.state == "ok" and digests == self.digests:
            return
        self.blocks, self.digests = dict(blocks), digests
        self._say("ok", "")

    def missed(self, state: State, text: str) -> None:
        """It could not be seen; what was seen last is kept."""
        if (state, text) != (self.state, self.text):
            self._say(state, text)

    def _say(self, state: State, text: str) -> None:
        self.state, self.text = state, text
        self.version += 1
        # Whoever waits looks at what is so when it comes to it: one that is slow leaves out what was between.
        self.changed.set()
        self.changed = anyio.Event()


class Hub:
    """All that is looked at in one console."""

    def __init__(self, judge: Judge) -> None:
        self._judge: Final = judge
        self._watched: Final[dict[Hashable, Watched]] = {}
        self._turn: Final = anyio.Lock()
        self._few: Final = anyio.CapacityLimiter(AT_ONCE)
        self._wake = anyio.Event()
        self.streams = 0
        self.pollers = 0
        """One while somebody looks, else none."""
        self.looks = 0
        """How often a page was asked, since the console began."""

    @property
    def is_full(self) -> bool:
        return self.streams >= MOST_STREAMS

    @contextmanager
    def watching(self, key: Hashable, look: Look, every: float) -> Iterator[Watched]:
        """Look at a page within the block; all of one key see the same."""
        watched = self._watched.setdefault(key, Watched(look, every))
        watched.viewers += 1
        self.streams += 1
        self._stir()
        try:
            yield watched
        finally:
            self.streams -= 1
            watched.viewers -= 1
            if not watched.viewers:
                del self._watched[key]

    async def poll(self) -> None:
        """Be the poller, in one's turn, until cancelled."""
        async with self._turn:
            self.pollers += 1
            try:
                async with anyio.create_task_group() as looks:
                    while True:
                        now = anyio.current_time()
                        waiting = [one for one in self._watched.values() if not one.is_asked]
                        for watched in waiting:
                            if watched.due <= now:
                                watched.is_asked = True
                                looks.start_soon(self._ask, watched)
                        await self._until(min((one.due for one in waiting if not one.is_asked), default=None))
            finally:
                self.pollers -= 1

    async def _until(self, due: float | None) -> None:
        """Until then, or until something else is to be done."""
        wake = self._wake = anyio.Event()
        with anyio.move_on_at(float("inf") if due is None else due):
            await wake.wait()

    def _stir(self) -> None:
        self._wake.set()

    async def _ask(self, watched: Watched) -> None:
        begun = anyio.current_time()
        try:
            async with self._few:
                begun = anyio.current_time()
                await self._see(watched)
            took = anyio.current_time() - begun
            # One that is slow is asked less often.
            watched.due = anyio.current_time() + max(watched.every, took)
        finally:
            watched.is_asked = False
            self._stir()

    async def _see(self, watched: Watched) -> None:
        self.looks += 1
        try:
            with anyio.fail_after(LOOK_WAIT):
                blocks = await watched.look()
        except TimeoutError:
            watched.missed("away", f"nothing was answered within {LOOK_WAIT:g} s")
        except Exception as error:
            state, text = self._judge(error)
            if state == "trouble" and watched.state != "trouble":
                logger.error("a page cannot be shown live", trace=trace_of(error))
            watched.missed(state, text)
        else:
            watched.saw(blocks)


def digest_of(html: str) -> str:
    """By which it is known whether a block has changed. How long ago something was is no change: browsers
    count that themselves."""
    return hashlib.sha256(_TOLD.sub(r"\1", html).encode("utf-8", "surrogatepass")).hexdigest()[:12]
