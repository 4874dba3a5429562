"""What a job waits for that no other job brings: a time, or a signal.

Such a wait is a step of its job, known by its key and written down with the job, as a call is. Where it takes
long the job is *parked*: its run is stopped as if it had been cancelled, and its claim is given up, with its
place here and in all limits. When what it waits for is there it is run again from its beginning, anywhere,
and its waits and calls answer from what is written down of them.
"""

from __future__ import annotations

from collections.abc import Callable
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


class _Waiting:
    """A run of which some tasks are in waits."""

    __slots__ = ("asking", "change", "keys", "moved_at", "root", "signals", "tasks")

    def __init__(self, host: Host, root: Claim) -> None:
        self.root = root
        self.tasks = 0
        self.keys: set[str] = set()
        """Of the waits that are open."""
        self.asking = 0
        """Tasks that ask the store how their wait stands."""
        self.signals = 0
        """How often the store has said that there is one."""
        self.moved_at = -inf
        """When a call beside the waits, or one of these, was over last: it may be done with the others."""
        self.change = host.event()


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
            waiting = self._waiting[token] = _Waiting(self._host, root)
        waiting.tasks += 1
        try:
            while True:
                signals = waiting.signals
                answer = await self._ask(waiting, wait)
                if answer.status != "open":
                    waiting.moved_at = self._host.now()
                    return answer
                waiting.keys.add(wait.key)
                over = inf if answer.left is None else self._host.now() + answer.left
                while waiting.signals == signals and self._host.now() < over:
                    await self._rest(waiting, over)
        finally:
            waiting.keys.discard(wait.key)
            waiting.tasks -= 1
            if not waiting.tasks:
                del self._waiting[token]

    async def _ask(self, waiting: _Waiting, wait: Wait) -> WaitAnswer:
        root = waiting.root
        id, name = root.grant.spec.id, root.grant.spec.processor
        waiting.asking += 1
        try:
            answer = await self._store.wait(id, root.grant.token, wait)
        finally:
            waiting.asking -= 1
            self._changed(waiting)
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

    async def _rest(self, waiting: _Waiting, over: float) -> None:
        """Until something has happened, or the wait is over; parks the job if it only waits."""
        now, until = self._host.now(), over
        if over - now > IN_PLACE and not waiting.asking and not waiting.root.calls:
            until = min(over, waiting.moved_at + BESIDE)
            if until <= now:
                await self._park(waiting)
        with self._host.cancel_scope(deadline=until):
            await waiting.change.wait()

    async def _park(self, waiting: _Waiting) -> None:
        root = waiting.root
        root.cancel(Stop("parked", "\n".join(sorted(waiting.keys))))
        await self._host.checkpoint()
        # Whoever raises now is stopped all the same.
        raise RuntimeStateError(
            f"{root.grant.spec.processor!r} waits in a shielded scope, in which its job cannot be parked",
            context={"job": root.grant.spec.id},
        )

    def on_signal(self, message: Signalled) -> None:
        """There is a signal that the job waits for."""
        waiting = self._waiting.get(message.token)
        if waiting is not None:
            waiting.signals += 1
            self._changed(waiting)

    def on_reconnect(self) -> None:
        """What the store had to tell may have been missed."""
        for waiting in self._waiting.values():
            waiting.signals += 1
            self._changed(waiting)

    def called(self, claim: Claim) -> None:
        """A call of the job is over."""
        waiting = self._waiting.get(claim.root.grant.token) if self._waiting else None
        if waiting is not None:
            waiting.moved_at = self._host.now()
            self._changed(waiting)

    def _changed(self, waiting: _Waiting) -> None:
        waiting.change.set()
        waiting.change = self._host.event()


def _told(name: str) -> str:
    return f"signal {cut(name, KIB)!r}" if name else "a time"
