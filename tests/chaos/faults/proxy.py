"""The proxy: listens, connects, counts, and does what the test says."""

from __future__ import annotations

import socket
import tempfile
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final, Literal
from urllib.parse import quote, urlsplit

import anyio
from anyio.abc import TaskGroup

from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.checks import require
from am2z_trio.model.errors import NetworkError
from am2z_trio.model.redis_options import RedisOptions

from .frames import FrameScanner
from .line import GREETING, PLAIN, Line
from .link import Held, Link
from .plan import Fault, Hit, Name, Schedule
from .sockets import Address, accept

LOGGED: Final = 10_000
"""Hits that `FaultProxy.log` remembers: a soak's last seconds, and no leak over its hours."""


class FaultProxy:
    """A proxy that runs. Made by `open_fault_proxy`; to be used in its event loop only.

    Methods that are not async act at once. A request whose connection is to end with it has met its
    fate: healing before the reply has come does not save it.
    """

    def __init__(self, url: str, server: Address, greeting: frozenset[bytes], tasks: TaskGroup) -> None:
        self.url: Final = url
        """Where clients connect, of this process and others: the server's URL with the proxy's
        address in it. User, password, database and parameters are the server's."""
        self.hits: Final = Counter[Name]()
        """How often each fault has had its effect. A delay counts batches of bytes; a blackhole, each
        connection and direction that it swallowed something of; all others, requests or connections."""
        self.log: Final = deque[Hit](maxlen=LOGGED)
        """The last hits, oldest first: what to print when a soak fails."""
        self.requests = 0
        """Requests that have come in, greetings not counted."""
        self.accepted = 0
        """Connections that have come in, refused ones not counted."""
        self.schedule: Final = Schedule()
        self._server = server
        self._greeting = greeting
        self._tasks = tasks
        self._links: dict[int, Link] = {}
        # Grows with requests held and not delivered.
        self._held: deque[Held] = deque()
        self._due: list[tuple[int, Held]] = []
        self._answered = 0
        self._changed = anyio.Event()
        self._watchers = 0

    # --- faults -----------------------------------------------------------------------------

    def next(self, *faults: Fault) -> None:
        """Arm faults, each for one request: the first for the next request that it matches; the
        others in turn, each when the one before it has met its own. Each call is a plan of its own,
        and plans run side by side: a request goes to the oldest plan that wants it.
        """
        self.schedule.next(*faults)

    def set(self, *faults: Fault) -> None:
        """Let faults stand, on connections there are and to come, until healed. What stood before is
        healed; plans and chance go on. `Delay`, `Slice`, `Blackhole` and `CutAfter` without a
        `match` lie on all bytes, greetings too; anything else meets every request that it matches.
        """
        self.schedule.set(*faults)
        self._healed()

    def chance(self, probability: float, faults: Sequence[Fault], random: Random) -> None:
        """Let each request meet one of `faults`, drawn from `random`, with this probability: for
        soaks. If the one drawn does not match the request, none. A seed repeats the draws, as far as
        the order of requests repeats.
        """
        self.schedule.chance(probability, faults, random)

    def heal(self) -> None:
        """End all faults, standing, armed and by chance. What a blackhole kept moves on; requests that
        are held stay so, and `hits` remembers.
        """
        self.schedule.heal()
        self._healed()

    @property
    def armed(self) -> list[Fault]:
        """What was armed with `next` and has met no request yet."""
        return self.schedule.armed

    def lead_to(self, server: str) -> None:
        """Lead to another server, by its URL, from the next connection on. Those that stand stay."""
        options = RedisOptions.from_url(server)
        self._server = Address(path=options.path, host=options.host, port=options.port)

    async def reset_all(self) -> None:
        """Reset all connections; returns when they are closed. Each counts as a hit of `reset`."""
        await self._end_all("reset")

    async def close_all(self) -> None:
        """End all connections in good order; returns when they are closed. Hits of `close`."""
        await self._end_all("close")

    async def _end_all(self, ending: Literal["reset", "close"]) -> None:
        links = list(self._links.values())
        for link in links:
            link.end(ending, Hit(name=ending, connection=link.number))
        await self.wait_until(lambda: all(link.number not in self._links for link in links))

    # --- held requests ----------------------------------------------------------------------

    @property
    def held(self) -> list[bytes]:
        """The requests that wait for `deliver_held`, oldest first."""
        return [held.request for held in self._held]

    async def deliver_held(self) -> list[bytes]:
        """Deliver what is held, oldest first, one after the other, each on a connection of its own.

        Returns the server's answers as they came, error replies too. Raises `NetworkError` when the
        server cannot be reached or hangs up. Cancelled, or failed: the request in question may have
        been applied and is held no more; those behind it still are.
        """
        answers: list[bytes] = []
        while self._held:
            answers.append(await self._deliver(self._held.popleft()))
        return answers

    async def _deliver(self, held: Held) -> bytes:
        try:
            return await self._exchange(held)
        except (OSError, anyio.EndOfStream) as error:
            raise NetworkError("a held request was not answered by the server", cause=error) from error

    async def _exchange(self, held: Held) -> bytes:
        line, scanner = Line(), FrameScanner()
        server = await self._server.connect()
        try:
            for frame in (*held.identity, held.request):
                line.waiting.append(line.sort(frame) or PLAIN)
            await server.send(b"".join((*held.identity, held.request)))
            while True:
                data = await server.receive()
                if not data:
                    raise anyio.EndOfStream
                for frame in scanner.feed(data):
                    line.answered(frame)
                    if not line.waiting:
                        self.hit(Hit(name="deliver late", fault=held.fault, connection=held.connection))
                        return frame
        finally:
            server.close()

    async def _deliver_unheard(self, held: Held) -> None:
        # With the server gone, it is as lost as any packet would be; no hit says so.
        try:
            await self._deliver(held)
        except NetworkError:
            return

    # --- waiting ----------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Connections that stand."""
        return len(self._links)

    async def wait_hits(self, name: Name, count: int = 1) -> None:
        """Wait until there have been so many hits, since the proxy was opened."""
        await self.wait_until(lambda: self.hits[name] >= count)

    async def wait_connections(self, count: int) -> None:
        """Wait until exactly so many connections stand."""
        await self.wait_until(lambda: len(self._links) == count)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition()` holds; it is asked now, and again when anything here has changed:
        hits, connections, requests, what is held.
        """
        self._watchers += 1
        try:
            while not condition():
                await self._changed.wait()
        finally:
            self._watchers -= 1

    # --- for its connections ----------------------------------------------------------------

    def hit(self, hit: Hit) -> None:
        """Count, and tell who waits."""
        self.hits[hit.name] += 1
        self.log.append(hit)
        self.changed()

    def keep(self, held: Held) -> None:
        """Keep a request for later."""
        if held.fault.after is None:
            self._held.append(held)
        else:
            self._due.append((self._answered + held.fault.after, held))
            self.answered(0)

    def answered(self, count: int) -> None:
        """So many requests were answered; deliver what is due."""
        self._answered += count
        if self._due:
            due = [held for at, held in self._due if at <= self._answered]
            self._due = [item for item in self._due if item[0] > self._answered]
            for held in due:
                self._tasks.start_soon(self._deliver_unheard, held, name="late request")
        self.changed()

    def changed(self) -> None:
        """Tell who waits."""
        if self._watchers:
            self._changed.set()
            self._changed = anyio.Event()

    def _healed(self) -> None:
        for link in self._links.values():
            link.healed()
        self.changed()

    # --- tasks ------------------------------------------------------------------------------

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections until cancelled."""
        while True:
            client = await accept(listener)
            refusal = self.schedule.refusing
            if refusal is not None:
                client.reset()
                self.hit(Hit(name=refusal.name, fault=refusal))
                continue
            self.accepted += 1
            link = Link(self, self.accepted, client, self._server, self._greeting)
            self._links[link.number] = link
            self._tasks.start_soon(self._run, link, name=f"proxied connection {link.number}")
            self.changed()

    async def _run(self, link: Link) -> None:
        try:
            await link.run()
        finally:
            del self._links[link.number]
            self.changed()


@asynccontextmanager
async def open_fault_proxy(
    server: str | Path,
    *,
    listen: Literal["unix", "tcp"] | None = None,
    greeting: frozenset[bytes] = GREETING,
) -> AsyncIterator[FaultProxy]:
    """Stand between clients and a server for the length of a block; pass everything, at first.

    `server` is its URL, or the path of its socket. The proxy listens on a Unix socket of its own or
    on a port of 127.0.0.1 (`listen`; by default what the server does). The commands in `greeting`
    are spared from faults until a connection sends another one; an empty set spares none. Bytes that
    are not RESP (TLS) are passed on, and only faults of bytes can befall them.

    When the block ends or is cancelled, every connection is closed, whatever is in flight: a request
    that is held and was not delivered never is. `OSError` if it cannot listen.
    """
    url = f"unix://{quote(str(server))}" if isinstance(server, Path) or server[:1] == "/" else server
    options = RedisOptions.from_url(url)
    upstream = Address(path=options.path, host=options.host, port=options.port)
    kind = listen or ("unix" if options.path else "tcp")
    require(kind in ("unix", "tcp"), "listen", kind, "must be unix or tcp")
    require(not (options.tls and kind == "unix"), "listen", kind, "a Unix socket speaks no TLS")
    if kind == "unix":
        # Short, as the path of a socket has to be.
        here = Address(path=str(Path(tempfile.mkdtemp(prefix="am2z-faults-")) / "proxy.sock"))
    else:
        here = Address(host="127.0.0.1")
    try:
        with here.listen() as listener, unwrapped():
            async with anyio.create_task_group() as tasks:
                proxy = FaultProxy(_url_of(url, options, here), upstream, greeting, tasks)
                tasks.start_soon(proxy.serve, listener, name="fault proxy")
                try:
                    yield proxy
                finally:
                    tasks.cancel_scope.cancel()
    finally:
        here.remove()


def _url_of(url: str, options: RedisOptions, here: Address) -> str:
    """The server's URL, with the proxy's address in it."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    query = parts.query
    if options.db and "db=" not in query:
        query = f"db={options.db}" + ("&" if query else "") + query
    asked = f"?{query}" if query else ""
    if here.path:
        return f"unix://{user}{at}{quote(here.path)}{asked}"
    scheme = "rediss" if options.tls else "redis"
    return f"{scheme}://{user}{at}127.0.0.1:{here.port}{asked}"
