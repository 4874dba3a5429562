"""What a job waits for that no other job brings: a time, or a signal.

Such a wait is a step of its job, known by its key and written down with the job, as a call is. Where it takes
long the job is *parked*: its run is stopped as if it had been cancelled, and its claim is given up, with its
place here and in all limits. When what it waits for is there it is run again from its beginning, anywhere,
and its waits and calls answer from what is written down of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any, Final

from am2z_trio.concurrency import Host
from am2z_trio.engine.claim import Claim, Stop
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import ConfigurationError, ResourceError, RuntimeStateError
from am2z_trio.model.limits import KIB
from am2z_trio.model.records import MOST_WAITS, Signalled, Wait, WaitAnswer
from am2z_trio.model.telling import cut
from am2z_trio.store.ports import WaitStore

IN_PLACE: Final = 1.0
"""Seconds that are waited for without parking the job: to run it again costs more."""

BESIDE: Final = 1.0
"""Seconds that a job of which a call or a wait is over has to end its other waits, before it is parked."""


class _Rest:
    """A wait that is open."""

    __slots__ = ("asks", "bell", "is_over", "key", "name", "over")

    def __init__(self, host: Host, wait: Wait) -> None:
        self.key = wait.key
        self.name = wait.name
        self.over = inf
        """When it is over by itself."""
        self.is_over = False
        self.asks = True
        """Whether it is to ask the store how it stands."""
        self.bell = host.event()
        """Rings when there is something for it to do."""


class _Waiting:
    """A run of which some tasks are in waits.

    Of many waits an event rings one: of a signal the first that is for its name; of all else that which rests
    longest, and parks the job. So what an event costs does not grow with them.
    """

    __slots__ = (
        "_longest",
        "asking",
        "heard",
        "many",
        "moved_at",
        "named",
        "packed",
        "resting",
        "root",
        "tasks",
    )

    def __init__(self, root: Claim) -> None:
        self.root = root
        self.tasks = 0
        self.resting: dict[_Rest, None] = {}
        self.named: dict[str, dict[_Rest, None]] = {}
        """Those that rest for signals, by their name, as they came."""
        self._longest: list[tuple[float, int, _Rest]] = []
        """A heap of them, and of such that rest no more."""
        self.asking = 0
        """Tasks that ask the store how their wait stands, or have it pack them."""
        self.heard = Counter[str]()
        """How often the store has said that there is a signal, by its name."""
        self.many = self.packed = False
        """Whether they are to be packed before the job is parked, and are."""
        self.moved_at = -inf
        """When a call beside the waits, or one of these, was over last: it may be done with the others."""

    def begin(self, rest: _Rest) -> None:
        if rest in self.resting:
            return
        self.resting[rest] = None
        heappush(self._longest, (-rest.over, id(rest), rest))
        if rest.name:
            self.named.setdefault(rest.name, {})[rest] = None

    def end(self, rest: _Rest) -> None:
        """It rests no more. It may have taken one of several signals, or have been the one to ask for one."""
        rest.is_over = True
        self.resting.pop(rest, None)
        of_name = self.named.get(rest.name, {})
        of_name.pop(rest, None)
        if of_name:
            self.ask(rest.name)
        else:
            self.named.pop(rest.name, None)

    def longest(self) -> _Rest | None:
        """That which is over last."""
        while self._longest and self._longest[0][2].is_over:
            heappop(self._longest)
        return self._longest[0][2] if self._longest else None

    def look(self) -> None:
        """Something has changed but the signals."""
        rest = None if self.asking else self.longest()
        if rest is not None:
            rest.bell.set()

    def hear(self, name: str) -> None:
        """There may be a signal of this name."""
        self.heard[name] += 1
        self.ask(name)

    def ask(self, name: str) -> None:
        """Who waits first for signals of this name is to ask for one."""
        for rest in self.named.get(name, ()):
            rest.asks = True
            rest.bell.set()
            return


class Waits:
    """The waits of this node's running jobs."""

    def __init__(self, host: Host, store: WaitStore, codec: Callable[[Any], StateCodec[Any]]) -> None:
        """`codec`: of values of a type."""
        self.codec = codec
        self._host = host
        self._store = store
        self._waiting: dict[str, _Waiting] = {}
        """By token."""

    async def wait(self, claim: Claim, wait: Wait) -> WaitAnswer:
        """What has become of a wait, when it is over. Where that takes long the run ends in here: it is
        cancelled, and so is everything else that the job does."""
        root = claim.root
        token = root.grant.token
        waiting = self._waiting.get(token)
        if waiting is None:
            waiting = self._waiting[token] = _Waiting(root)
        waiting.tasks += 1
        rest = _Rest(self._host, wait)
        try:
            while True:
                heard = waiting.heard[wait.name]
                answer = await self._ask(waiting, wait)
                if answer.status != "open":
                    waiting.moved_at = self._host.now()
                    return answer
                rest.over = inf if answer.left is None else self._host.now() + answer.left
                rest.asks = waiting.heard[wait.name] != heard
                waiting.begin(rest)
                while not rest.asks and self._host.now() < rest.over:
                    await self._rest(waiting, rest)
        finally:
            waiting.end(rest)
            waiting.look()
            waiting.tasks -= 1
            if not waiting.tasks:
                del self._waiting[token]

    async def _ask(self, waiting: _Waiting, wait: Wait) -> WaitAnswer:
        root = waiting.root
        id, name = root.grant.spec.id, root.grant.spec.processor
        waiting.asking += 1
        waiting.packed = False
        try:
            answer = await self._store.wait(id, root.grant.token, wait)
        finally:
            waiting.asking -= 1
            waiting.look()
        waiting.many = waiting.many or answer.many
        if answer.status == "fenced":
            root.cancel(Stop("lost", "it was taken away while it waited"))
            await self._host.checkpoint()
            raise RuntimeStateError(f"job {id} was taken away from this node", context={"job": id})
        if answer.status == "full":
            many = f"{MOST_WAITS:,} times in job {id}"
            raise ResourceError(
                f"{name!r} has waited {many}, which is the limit: go on in another job",
                context={"job": id, "limit": MOST_WAITS},
                retryable=False,
            )
        if answer.status == "other":
            before = f"job {id} has waited for {_told(answer.name)} before"
            raise ConfigurationError(
                f"{name!r} waits for {_told(wait.name)} where {before} "
                f"(wait {wait.key!r}): give waits a key of their own where their order may change",
                context={"job": id, "wait": wait.key},
            )
        return answer

    async def _rest(self, waiting: _Waiting, rest: _Rest) -> None:
        """Until something has happened, or the wait is over; parks the job if it only waits."""
        now, until = self._host.now(), rest.over
        is_idle = rest is waiting.longest() and not waiting.asking and not waiting.root.calls
        if is_idle and rest.over - now > IN_PLACE:
            until = min(rest.over, waiting.moved_at + BESIDE)
            if until <= now:
                await self._park(waiting)
                return
        with self._host.cancel_scope(deadline=until):
            await rest.bell.wait()
        rest.bell = self._host.event()

    async def _park(self, waiting: _Waiting) -> None:
        root, keys = waiting.root, sorted({rest.key for rest in waiting.resting})
        if waiting.many and not waiting.packed:
            # Another wait may begin meanwhile, and does away with that.
            waiting.packed, is_done = True, False
            waiting.asking += 1
            try:
                await self._store.pack(root.grant.spec.id, root.grant.token, keys)
                is_done = True
            finally:
                waiting.asking -= 1
                waiting.packed = waiting.packed and is_done
                # That one may rest longest, and have left it to this to park the job.
                waiting.look()
            return
        root.cancel(Stop("parked", "\n".join(keys)))
        await self._host.checkpoint()
        # Whoever raises now is stopped all the same.
        raise RuntimeStateError(
            f"{root.grant.spec.processor!r} waits in a shielded scope, in which its job cannot be parked",
            context={"job": root.grant.spec.id},
        )

    def on_signal(self, message: Signalled) -> None:
        """There is a signal that the job waits for."""
        waiting = self._waiting.get(message.token)
        if waiting is None:
            return
        for name in [message.name] if message.name else list(waiting.named):
            waiting.hear(name)

    def on_reconnect(self) -> None:
        """What the store had to tell may have been missed."""
        for waiting in self._waiting.values():
            for name in list(waiting.named):
                waiting.hear(name)

    def called(self, claim: Claim) -> None:
        """A call of the job is over."""
        waiting = self._waiting.get(claim.root.grant.token) if self._waiting else None
        if waiting is not None:
            waiting.moved_at = self._host.now()
            waiting.look()


def _told(name: str) -> str:
    return f"signal {cut(name, KIB)!r}" if name else "a time"
