"""A store whose calls wait until somebody lets them through, in whatever order and condition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from am2z_trio.concurrency import current_host
from am2z_trio.engine.states.access import NodeStates
from am2z_trio.engine.states.locks import Locks
from am2z_trio.engine.states.manager import StateManager
from am2z_trio.model.records import InboxMessage, LockGranted
from am2z_trio.store.memory.server import MemoryServer


class Parked:
    """A request or a reply that is under way. `go()` lets it arrive."""

    def __init__(self, name: str, go: Callable[[], None], lose: Callable[[], None] | None = None) -> None:
        self.name = name
        self.go = go
        self.lose = lose
        """For a reply: it never arrives, and the request is sent again, the same bytes."""


class Gate:
    """Everything that is under way between nodes and store."""

    def __init__(self) -> None:
        self.parked: list[Parked] = []
        self.late: list[tuple[str, Callable[[], Any]]] = []
        """Requests that have arrived, any of which may arrive again."""

    async def call(self, name: str, apply: Callable[[], Any]) -> Any:
        """Send a request, have it applied when it arrives, and wait for the reply."""
        while True:
            await self._wait(f"{name} arrives", apply)
            self.late.append((name, apply))
            answer = apply()
            lost = False

            def lose() -> None:
                nonlocal lost
                lost = True

            await self._wait(f"{name} is answered", None, lose)
            if not lost:
                return answer

    async def _wait(self, name: str, apply: Any, lose: Callable[[], None] | None = None) -> None:
        event = trio.Event()

        def lost() -> None:
            assert lose is not None
            lose()
            event.set()

        parked = Parked(name, event.set, lost if lose is not None else None)
        self.parked.append(parked)
        try:
            await event.wait()
        except trio.Cancelled:
            if apply is not None:
                # It is on its way all the same.
                self.late.append((name, apply))
            raise
        finally:
            self.parked.remove(parked)

    def push(self, name: str, deliver: Callable[[], object]) -> None:
        """A message of the store's own accord."""

        def go() -> None:
            self.parked.remove(parked)
            deliver()

        def lose() -> None:
            self.parked.remove(parked)

        parked = Parked(name, go, lose)
        self.parked.append(parked)


class GatedNode:
    """A node's way to the states of a memory server, through the gate. What `StateManager` runs on."""

    def __init__(self, name: str, server: MemoryServer, gate: Gate) -> None:
        self.name = name
        self._server = server
        self._gate = gate
        host = current_host()
        self.states = NodeStates(host, self, max_bytes=10_000)
        self.locks = Locks(host, self.states)
        self.manager = StateManager(lambda: self)
        server.outbox.connect(name, self)

    # --- Listener ---------------------------------------------------------------------------

    def on_message(self, message: InboxMessage) -> None:
        assert isinstance(message, LockGranted)
        self._gate.push(f"{self.name} hears of its lock", lambda: self.locks.on_granted(message))

    def on_event(self, event: object) -> None: ...

    def on_reconnect(self) -> None: ...

    # --- StateStore -------------------------------------------------------------------------

    def now(self) -> float:
        return trio.current_time() * 1000

    def _call(self, what: str, apply: Callable[[], Any]) -> Awaitable[Any]:
        return self._gate.call(f"{self.name} {what}", apply)

    async def read(self, session: str) -> Any:
        return await self._call("read", lambda: self._server.states.read(session, self.now()))

    async def write(self, write: Any) -> Any:
        text = f"write #{write.seq} {write.blob!r} expecting {write.expected and write.expected[0]}"
        return await self._call(text, lambda: self._server.states.write(self.name, write, self.now()))

    async def acquire(self, session: str, token: str, lease: float) -> Any:
        return await self._call(
            "acquire", lambda: self._server.locks.acquire(self.name, session, token, lease, self.now())
        )

    async def renew(self, session: str, token: str, lease: float) -> bool:
        answer = await self._call(
            "renew", lambda: self._server.locks.renew(session, token, lease, self.now())
        )
        assert isinstance(answer, bool)
        return answer

    async def release(self, session: str, token: str, lease: float) -> bool:
        raise NotImplementedError

    def release_nowait(self, session: str, token: str, lease: float) -> None:
        self._gate.push(
            f"{self.name} release arrives", lambda: self._server.locks.release(session, token, self.now())
        )

    async def lock_standing(self, session: str) -> Any:
        raise NotImplementedError

    async def history(self, session: str, *, spoilt: bool = False) -> Any:
        raise NotImplementedError

    async def set_ttl(self, session: str, ttl: float) -> None:
        raise NotImplementedError
