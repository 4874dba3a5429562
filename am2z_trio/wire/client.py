"""A connection that is kept up: reconnect, resubscribe, send again what may be sent again."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec

from am2z_trio.concurrency import Event, Host, TaskStatus, current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.errors import AM2ZError, NetworkError, UnknownOutcomeError, UnsupportedServerError
from am2z_trio.model.redis_options import RedisOptions

from .connection import Call, Connection, ConnectionLostError
from .handshake import greet
from .resp import NOT_APPLIED, Argument, ReplyError, code_of, error_from
from .scripts import Script
from .stream import open_stream

logger: Final = logging.getLogger("am2z_trio.wire")

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
"""Seconds between two attempts to connect: doubling, with jitter so that nodes do not come in step."""

BUSY_PAUSE: Final = 0.05
"""Seconds before a call is sent again that the server has put off (loading, a slow script)."""

State = Literal["ready", "disconnected", "error"]


class ConnectionEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to the connection."""

    name: Literal["connected", "lost", "reconnecting", "ready"]
    attempt: int = 0
    error: str = ""


class RedisClient:
    """One multiplexed connection for a whole node.

    While it is down, calls wait; the caller's cancel scope bounds them. After a reconnect, calls
    whose fate is unknown are sent again byte for byte if they are `replay_safe` (all of our scripts
    are), else they raise `UnknownOutcomeError`. Calls that were never written are sent in any case.
    A cancelled caller's call is not sent again.
    """

    def __init__(
        self,
        options: RedisOptions,
        *,
        name: str = "am2z",
        on_push: Callable[[bytes, bytes], None] | None = None,
        on_event: Callable[[ConnectionEvent], None] | None = None,
    ) -> None:
        self.options = options
        self.state: State = "disconnected"
        self.version = ""
        self.reconnects = 0
        # CLIENT SETNAME takes no spaces or line ends.
        self._name = "".join(c if c.isascii() and (c.isalnum() or c in "_.-:@") else "_" for c in name)
        self._deliver = on_push
        self._tell = on_event
        self._host: Host = current_host()
        self._connection: Connection | None = None
        self._backlog: deque[Call] = deque()
        self._channels: dict[bytes, Event] = {}
        self._postponed: list[Call] = []

    # --- calls ------------------------------------------------------------------------------

    async def call(self, *args: Argument, replay_safe: bool = True) -> Any:
        """Send a command and return its reply.

        Raises `ServerReplyError` (or a nearer error) for an error reply, `UnknownOutcomeError` as
        described above. Cancelled while it waits: the command may or may not take effect.
        """
        return await self._wait(args, replay_safe, self._try_later)

    def send(self, *args: Argument) -> None:
        """Send a command that is safe to repeat, and forget it. Never waits."""
        self._submit(Call(args, None, retry=self._try_later))

    async def eval(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> Any:
        """Run a script by its digest; it is loaded where the server does not know it yet."""
        command = ("EVALSHA", script.sha1, len(keys), *keys, *args)
        return await self._wait(command, True, self._retry_script(script))

    def send_eval(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> None:
        """`eval` without waiting for the answer."""
        command = ("EVALSHA", script.sha1, len(keys), *keys, *args)
        self._submit(Call(command, None, retry=self._retry_script(script)))

    async def _wait(
        self, args: tuple[Argument, ...], replay_safe: bool, retry: Callable[[Call, Exception], bool]
    ) -> Any:
        while self._connection is not None and self._connection.crowded:
            await self._connection.wait_room()
        spot = self._host.spot()
        call = Call(args, spot, replay_safe=replay_safe, retry=retry)
        self._submit(call)
        try:
            reply = await spot.park()
        except BaseException:
            # The slot stays in line and the reply is dropped; after a reconnect it is not resent.
            call.spot = None
            call.transient = True
            raise
        if isinstance(reply, Exception):
            raise error_from(reply) if type(reply) is ReplyError else reply
        return reply

    def _submit(self, call: Call) -> None:
        if self._connection is not None:
            self._connection.send(call)
        else:
            # Grows with the callers that wait, and by a node's farewells to its own callers.
            self._backlog.append(call)

    # --- error replies that are not the end -------------------------------------------------

    def _retry_script(self, script: Script) -> Callable[[Call, Exception], bool]:
        def retry(call: Call, reply: Exception) -> bool:
            if code_of(reply) != "NOSCRIPT":
                return self._try_later(call, reply)
            self._submit(
                Call(
                    ("EVAL", script.source, *call.args[2:]),
                    call.spot,
                    transient=call.transient,
                    retry=self._try_later,
                )
            )
            return True

        return retry

    def _try_later(self, call: Call, reply: Exception) -> bool:
        """Keep a call whose reply says "not now"; the postponed are sent again after a pause."""
        if code_of(reply) not in NOT_APPLIED or call.transient:
            return False
        self._postponed.append(call)
        self._later.wake()
        return True

    async def _send_postponed(self, connection: Connection) -> None:
        while True:
            await self._later.park()
            await self._host.sleep(BUSY_PAUSE)
            calls, self._postponed = self._postponed, []
            for call in calls:
                if not call.transient:
                    connection.send(call)

    # --- channels ---------------------------------------------------------------------------

    async def subscribe(self, channel: str | bytes) -> None:
        """Hear a channel, across reconnects; returns when it is in force."""
        name = channel.encode() if isinstance(channel, str) else channel
        confirmed = self._channels.get(name)
        if confirmed is None:
            confirmed = self._channels[name] = self._host.event()
            if self._connection is not None:
                self._connection.send(Call(("SUBSCRIBE", name), None, replies=False, transient=True))
        await confirmed.wait()

    def unsubscribe(self, channel: str | bytes) -> None:
        """Hear a channel no more."""
        name = channel.encode() if isinstance(channel, str) else channel
        if self._channels.pop(name, None) is not None and self._connection is not None:
            self._connection.send(Call(("UNSUBSCRIBE", name), None, replies=False, transient=True))

    def _on_push(self, push: list[Any]) -> None:
        kind = push[0]
        if kind == b"message":
            if self._deliver is not None:
                self._deliver(push[1], push[2])
        elif kind == b"subscribe":
            confirmed = self._channels.get(push[1])
            if confirmed is not None:
                confirmed.set()

    # --- keeping it up ----------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus) -> None:
        """Serve until cancelled. The first attempt must succeed; later ones are repeated for ever.

        Raises `NetworkError` (and its kinds) or `ConfigurationError` if the first one fails.
        """
        self._later = self._host.spot()
        attempt = 0
        started = False

        def ready() -> None:
            nonlocal attempt, started
            attempt = 0
            if not started:
                started = True
                task_status.started()

        try:
            while True:
                error: Exception
                try:
                    with unwrapped():
                        await self._connect_and_serve(ready, attempt)
                except ConnectionLostError as lost:
                    error = lost
                    self._set("disconnected", "lost", error=str(lost))
                except AM2ZError as refused:
                    error = refused
                    self.state = "error"
                if not started:
                    raise _first_failure(error, self.options)
                attempt += 1
                self.reconnects += 1
                self._set(self.state, "reconnecting", attempt=attempt, error=str(error))
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt - 1, 10))
                await self._host.sleep(pause * (0.5 + random.random() / 2))
        finally:
            self.state = "disconnected"
            self._connection = None

    def _set(self, state: State, name: Any, *, attempt: int = 0, error: str = "") -> None:
        self.state = state
        if self._tell is not None:
            self._tell(ConnectionEvent(name=name, attempt=attempt, error=error))

    async def _connect_and_serve(self, ready: Callable[[], None], attempt: int) -> None:
        host, options = self._host, self.options
        stream = await open_stream(host, options)
        connection = Connection(
            host,
            stream,
            on_push=self._on_push,
            call_timeout=options.call_timeout,
            max_pending_bytes=options.max_pending_bytes,
        )
        try:
            async with host.open_nursery() as nursery:
                nursery.start_soon(connection.run)
                self._set("disconnected", "connected", attempt=attempt)
                await self._greet(connection)
                self._resume(connection)
                nursery.start_soon(self._send_postponed, connection)
                await self._resubscribed()
                self._set("ready", "ready", attempt=attempt)
                ready()
        finally:
            self._connection = None
            self._keep(connection.take_unanswered())
            # Closing must not wait for a peer that is gone: a cancelled scope closes at once.
            with host.cancel_scope(shield=True) as at_once:
                at_once.cancel()
                with suppress(Exception):
                    await stream.aclose()

    async def _greet(self, connection: Connection) -> None:
        patience = self._host.cancel_scope(deadline=self._host.now() + self.options.connect_timeout)
        with patience:
            self.version = await greet(connection, self.options, self._name)
        if patience.cancelled_caught:
            raise NetworkError(
                f"{self.options.display} accepted the connection and did not answer within "
                f"{self.options.connect_timeout:g} s"
            )

    def _resume(self, connection: Connection) -> None:
        """Subscribe again, then send what has waited: an answer's push must find us listening."""
        for channel in self._channels:
            self._channels[channel] = self._host.event()
            connection.send(Call(("SUBSCRIBE", channel), None, replies=False, transient=True))
        backlog, self._backlog = self._backlog, deque()
        for call in backlog:
            if not call.transient:
                connection.send(call)
        self._connection = connection

    async def _resubscribed(self) -> None:
        for confirmed in list(self._channels.values()):
            await confirmed.wait()

    def _keep(self, unanswered: list[Call]) -> None:
        """Sort what the lost connection leaves: sent again later, or of unknown outcome."""
        keep: list[Call] = []
        for call in unanswered:
            if call.replay_safe or not call.sent:
                keep.append(call)
            elif call.spot is not None:
                call.spot.wake(
                    UnknownOutcomeError(
                        f"the connection was lost before {call.args[0]!s} was answered: "
                        "it may have been applied, or not"
                    )
                )
        postponed, self._postponed = self._postponed, []
        self._backlog.extendleft(reversed(keep + postponed))


def _first_failure(error: Exception, options: RedisOptions) -> Exception:
    if not isinstance(error, ConnectionLostError):
        return error
    text = str(error)
    if text.startswith("not a Redis answer"):
        return UnsupportedServerError(
            f"what answers at {options.display} is not Redis; if it speaks TLS, use rediss://"
        )
    return NetworkError(
        f"{options.display} ended the connection during the greeting ({text}). "
        "If it speaks TLS, use rediss://",
        context={"url": options.display},
    )
