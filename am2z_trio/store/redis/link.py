"""One node's way to Redis: two connections, what arrives, and the thread that keeps its lease."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, Literal

import msgspec

from am2z_trio.concurrency import Nursery, TaskStatus, current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.model.codec import encode_record
from am2z_trio.model.errors import AccessDeniedError, AM2ZError, RuntimeStateError
from am2z_trio.model.events import Event
from am2z_trio.model.logs import Log
from am2z_trio.model.records import SessionStopped
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.lasting import lasting
from am2z_trio.store.ports import Listener
from am2z_trio.wire.client import ConnectionEvent, RedisClient
from am2z_trio.wire.resp import Argument
from am2z_trio.wire.scripts import Script

from . import messages, scripts
from .access import Probe
from .agreed import POSTED_BYTES
from .begun import Begun, Read, Records
from .checks import forget_libraries, missing_rights, require_slot
from .keys import script_keys, spell
from .lease import LeaseKeeper

logger: Final = Log("am2z_trio.store")
connections: Final = Log("am2z_trio.store.connections")

RECORDS: Final = 200
"""Most records of one call; more are several calls."""

PAGE: Final = 1000
"""How many of something one call goes through."""

REQUEST_BYTES: Final = 1024 * 1024
"""Bytes of payloads in one call, and at most one payload more: some milliseconds of a script."""


class RedisLink:
    """Commands go out on one connection, and what the node hears comes in on the other.

    What it hears (outcomes, wake-ups, requests to cancel, events) has no order with the answers to what it
    asks: a push may come before the answer of the very call that has caused it, or after it.
    """

    def __init__(
        self,
        node: str,
        options: RedisOptions,
        *,
        prefix: str,
        clock: Callable[[], int] | None,
        server_clock: bool,
        death: Callable[[], Awaitable[AM2ZError]] | None,
    ) -> None:
        """As `RedisStore` takes them; with `server_clock`, `clock` stands for the server's."""
        scripts.library()
        self.node = node
        self.keys = script_keys(prefix)
        self.commands: RedisClient | None = None
        self.pushes: RedisClient | None = None
        self.was_denied = False
        self._options = options
        self._prefix = prefix
        self._probe = Probe(prefix)
        self._inbox = spell(prefix, "inbox", node).encode()
        self._stops = spell(prefix, "stops").encode()
        self._events = spell(prefix, "events").encode()
        self.said_events: int | None = None
        """Entries that the history of events is to have, as this node says; `None`: it says nothing."""
        self.kept_events = 0
        """Entries that it has, as is said in the namespace; 0: none are written."""
        self._given_clock = clock
        self._server_clock = server_clock
        self._death = death
        self._dead: AM2ZError | None = None
        self._listener: Listener | None = None
        self._nursery: Nursery | None = None
        self._keeper: LeaseKeeper | None = None
        self._refusals: dict[str, str] = {}
        """Why the server refuses a connection again, as it was told last."""

    async def run(self, listener: Listener, *, task_status: TaskStatus) -> None:
        host = current_host()
        commands = RedisClient(
            self._options,
            name=f"am2z:{self.node}",
            on_event=lambda event: self._on_connection("commands", event),
        )
        pushes = RedisClient(
            self._options,
            name=f"am2z:{self.node}:pushes",
            on_push=self._on_push,
            on_event=lambda event: self._on_connection("pushes", event),
        )
        self._listener = listener
        try:
            with unwrapped():
                async with host.open_nursery() as nursery:
                    if self._death is not None:
                        nursery.start_soon(self._watch_server, self._death, commands, pushes)
                    await nursery.start(lasting, host, "the connection for commands", commands.run)
                    if commands.holes:
                        logger.warning("%s: %s", self._options.display, commands.holes)
                    if commands.in_cluster:
                        await require_slot(commands, self._options, self._prefix)
                    missing = await missing_rights(commands, self._probe)
                    await forget_libraries(commands)
                    await nursery.start(lasting, host, "the connection that hears", pushes.run)
                    self.commands, self.pushes, self._nursery = commands, pushes, nursery
                    self._keep_together("pushes")
                    for channel in (self._stops, self._inbox):
                        try:
                            await pushes.subscribe(channel)
                        except AccessDeniedError as error:
                            missing += self._probe.named(error.message, "+subscribe")
                    if missing:
                        raise self._probe.error(list(dict.fromkeys(missing)), self._options)
                    said = "" if self.said_events is None else self.said_events
                    self.kept_events = await self.eval(scripts.AGREE, said)
                    task_status.started()
        finally:
            self.commands = self.pushes = self._listener = self._nursery = None

    async def _watch_server(self, death: Callable[[], Awaitable[AM2ZError]], *clients: RedisClient) -> None:
        self._dead = await death()
        for client in clients:
            client.doom(self._dead)
        raise self._dead

    async def lacking(self) -> AM2ZError | None:
        if self.commands is None:
            raise self.not_running()
        try:
            answers = await self.commands.eval(scripts.PROBE, (), self._probe.arguments)
            missing: Sequence[str] = self._probe.missing(answers)
        except AccessDeniedError as error:
            missing = self._probe.named(error.message, "+evalsha")
        self.was_denied = bool(missing)
        return self._probe.error(missing, self._options, lost=True) if missing else None

    def not_running(self) -> AM2ZError:
        return self._dead or RuntimeStateError("the Redis store is not running")

    def start_soon(self, run: Callable[[], Awaitable[None]]) -> bool:
        """Run a task that ends with the link, if that is open."""
        if self._nursery is None:
            return False
        self._nursery.start_soon(run)
        return True

    # --- the lease ----------------------------------------------------------------------------

    def beat(self) -> None:
        """The event loop gets on."""
        if self._keeper is not None:
            self._keeper.beat()

    def renewed(self, began: float) -> None:
        """A call that began then, by the monotonic clock, has renewed the lease."""
        if self._keeper is not None:
            self._keeper.renewed(began)

    def keep_lease(self, lease: float) -> None:
        """From now on a thread keeps the lease; one is enough, however often the node joins."""
        if self._keeper is not None or self._nursery is None:
            return
        self._keeper = LeaseKeeper(
            self._options,
            prefix=self._prefix,
            node=self.node,
            lease=lease,
            clock=lambda: self.clock,
        )
        self._nursery.start_soon(self._lend_thread, self._keeper)

    async def _lend_thread(self, keeper: LeaseKeeper) -> None:
        try:
            await keeper.run_in_thread()
        finally:
            self._keeper = None

    # --- what arrives -------------------------------------------------------------------------

    def _on_push(self, channel: bytes, payload: bytes) -> None:
        listener = self._listener
        if listener is None:
            return
        if channel in (self._inbox, self._stops):
            for message in messages.inbox(payload):
                if not isinstance(message, SessionStopped) or message.by != self.node:
                    listener.on_message(message)
        elif channel == self._events:
            for event in messages.events(payload):
                listener.on_event(event)

    def _on_connection(self, which: Literal["commands", "pushes"], event: ConnectionEvent) -> None:
        listener = self._listener
        if listener is None:
            return
        listener.on_event(
            Event(
                f"connection:{event.name}",
                int(time.time() * 1000),
                self.node,
                data={"connection": which, "attempt": event.attempt, "error": event.error},
            )
        )
        if event.name == "lost":
            connections.warning(
                "the connection to Redis for %s is lost, and is being made anew: %s", which, event.error
            )
        if event.name == "reconnecting" and event.error != self._refusals.get(which):
            client = self.commands if which == "commands" else self.pushes
            if client is not None and client.state == "error":
                self._refusals[which] = event.error
                connections.error(
                    "the server refuses the connection for %s, which is tried again: %s", which, event.error
                )
        if event.name == "ready":
            self._refusals.pop(which, None)
            self._keep_together(which)
            if event.attempt:
                connections.warning("the connection to Redis for %s is back", which)
                if which == "pushes":
                    listener.on_reconnect()

    def _keep_together(self, which: Literal["commands", "pushes"]) -> None:
        """One connection stands anew, so it is where the name leads now: the other one is to be there, too.

        A node whose commands go to a new primary while it listens at the old one would count as dead.
        """
        if self.commands is None or self.pushes is None:
            return
        pair = (self.commands, self.pushes)
        this, other = pair if which == "commands" else pair[::-1]
        other.hurry()
        if this.server != other.server and this.server and other.server:
            other.renew("the node's other connection leads to another server now")

    # --- calls --------------------------------------------------------------------------------

    async def eval(self, script: Script, *args: Argument) -> Any:
        if self.commands is None:
            raise self.not_running()
        try:
            return await self.commands.eval(script, self.keys, args)
        except AccessDeniedError:
            self.was_denied = True
            raise

    async def eval_records(
        self,
        script: Script,
        first: tuple[Argument, ...],
        records: Sequence[tuple[Argument, ...]],
        sizes: Sequence[int] = (),
    ) -> list[Any]:
        """Run a script that works record by record, as often as it takes: with no more than `RECORDS` at a
        time, or `REQUEST_BYTES` hold, and the rest again where it has answered the first ones only.

        `sizes` are the bytes of each record's payloads; without them, all are small."""
        answers = list[Any]()
        while len(answers) < len(records):
            start = len(answers)
            end = min(len(records), start + RECORDS)
            if sum(sizes[start:end]) > REQUEST_BYTES:
                size, most = 0, end
                end = start
                while end < most and size < REQUEST_BYTES:
                    size += sizes[end]
                    end += 1
            answers += await self.eval(script, *first, *chain.from_iterable(records[start:end]))
        return answers

    def begin_records(self, call: Records, read: Read, told: Told) -> GiveUp | None:
        """`eval_records` for somebody who does not wait: `told` is called with what `read` makes of the
        answers. `None`, and nothing is sent, where one call is too small, or would have to wait."""
        commands = self.commands
        if commands is None or not commands.has_room or len(call.records) > RECORDS:
            return None
        if sum(call.sizes) > REQUEST_BYTES:
            return None
        return Begun(commands, self.keys, call, read, partial(self._tell, told)).send()

    def _tell(self, told: Told, answer: Any) -> None:
        self.was_denied = self.was_denied or isinstance(answer, AccessDeniedError)
        told(answer)

    async def eval_pages(self, script: Script, *first: Argument) -> list[list[Any]]:
        """Run a script that goes through something a page at a time, to the end of it."""
        pages, cursor = list[list[Any]](), b"0"
        while True:
            cursor, *page = await self.eval(script, *first, cursor, PAGE)
            pages.append(page)
            if cursor == b"0":
                return pages

    def send(self, script: Script, args: Sequence[Argument]) -> None:
        if self.commands is not None:
            self.commands.send_eval(script, self.keys, args)

    @property
    def clock(self) -> int | str:
        """As scripts take it; and behind it, how many entries the history of events is to have, if any."""
        clock: int | str = 0
        if self._given_clock is not None:
            clock = f"t{self._given_clock()}" if self._server_clock else self._given_clock()
        return f"{clock} {self.kept_events}" if self.kept_events else clock

    # --- events and health --------------------------------------------------------------------

    async def publish(self, encoded: list[bytes]) -> None:
        """Tell these events, in as many messages as their bytes need."""
        if self.commands is None:
            raise self.not_running()
        while encoded:
            end, size = 1, len(encoded[0])
            while end < len(encoded) and size + len(encoded[end]) <= POSTED_BYTES:
                size += len(encoded[end])
                end += 1
            payload = encode_record([msgspec.Raw(event) for event in encoded[:end]])
            await self.commands.call("PUBLISH", self._events, payload)
            del encoded[:end]

    async def watch_events(self, on: bool) -> None:
        if self.pushes is None:
            raise self.not_running()
        if on:
            await self.pushes.subscribe(self._events)
        else:
            await self.pushes.unsubscribe(self._events)

    @property
    def connections(self) -> dict[str, str]:
        return {
            name: "disconnected" if client is None else client.state
            for name, client in (("commands", self.commands), ("pushes", self.pushes))
        }

    async def ping(self) -> None:
        if self.commands is None or self.pushes is None:
            raise self.not_running()
        await self.commands.call("PING")
        await self.pushes.call("PING")
