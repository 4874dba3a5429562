"""A connection that is kept up: reconnect, resubscribe, send again what may be sent again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final, Literal

import msgspec

from am2z_trio.concurrency import Host, TaskStatus, current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.errors import (
    AccessDeniedError,
    AM2ZError,
    AuthenticationError,
    NetworkError,
    ServerReplyError,
    UnsupportedServerError,
)
from am2z_trio.model.redis_options import RedisOptions

from .backlog import Backlog
from .connection import Connection, ConnectionLostError
from .handshake import greet
from .programs import Programs
from .refusals import Refusals, pause_before
from .request import Request, sent_once
from .resp import Argument, error_from, pack
from .scripts import Script
from .stream import open_stream

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts to connect: doubling, with jitter so that nodes do not come in step.
At most one second, because a job must run within a second of Redis's return."""

REFUSED_PATIENCE: Final = 10.0
"""Seconds for which calls wait where the server does not let this user in any more: a password may be changed
here and there at different times, but nobody waits for ever."""

FLUSH_TIMEOUT: Final = 0.5
"""Seconds that closing waits for the last bytes to leave: a cancel sent on the way out, say. A local
write takes microseconds; only a peer that has stopped reading can use this up."""

State = Literal["ready", "disconnected", "error"]


class ConnectionEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to the connection."""

    name: Literal["connected", "lost", "reconnecting", "ready"]
    """`connected`: the stream is open, the greeting follows; `reconnecting`: an attempt comes soon."""
    attempt: int = 0
    """0 for the first connection, then the number of the attempt to get it back."""
    error: str = ""
    """Why: for `lost` and `reconnecting`."""


class RedisClient:
    """One multiplexed connection that is kept up. Construct it within an async function.

    A node has two of them, one for commands and one that subscribes: Redis allows a connection that has
    subscribed only so many bytes of output (32 MB, `client-output-buffer-limit pubsub`), its replies
    included.

    While it is down (or `run` is yet to come), calls wait; the caller's cancel scope bounds them.
    After a reconnect, calls whose fate is unknown are sent again byte for byte if they are
    `replay_safe` (all of our scripts are), else they raise `UnknownOutcomeError`. Calls that were
    never written are sent in any case. A cancelled caller's call is not sent again.

    Where the server refuses the user (it was deleted, say) for `REFUSED_PATIENCE` seconds, calls raise
    `AuthenticationError` or `AccessDeniedError`, those of unknown outcome, too; attempts go on.

    An error that is told of a call which was in flight before, when a connection broke, has
    `context["in_doubt"]`: what was sent then may have been applied all the same, or may be yet. Not where its
    content is at fault, which was the same then.

    When `run` has ended, calls raise: `UnknownOutcomeError` if they were written, `NetworkError`
    if they were not, whichever way they may be replayed.
    """

    def __init__(
        self,
        options: RedisOptions,
        *,
        on_push: Callable[[bytes, bytes], None] | None = None,
        on_event: Callable[[ConnectionEvent], None] | None = None,
        name: str | None = None,
    ) -> None:
        """`on_push` gets channel and payload of every message, `on_event` what happens to the
        connection; both run in the client's own tasks, must not wait and must not raise.
        `name` is what `CLIENT LIST` shows, instead of `options.client_name`.
        """
        self.options: Final = options
        self.state: State = "disconnected"
        """`error`: the server was reached and refused us; attempts go on."""
        self.version = ""
        """The server's, once ready."""
        self.server = ""
        """What the server calls its present life (`run_id`), once ready; empty if it does not tell."""
        self.in_cluster = False
        """Whether the server is a node of a Redis Cluster."""
        self.history = ""
        """What the server calls its data set's history (`master_replid`), once ready."""
        self.holes = ""
        """What is known against the server, once ready; empty for nothing."""
        self.reconnects = 0
        """How often a lost connection was made good."""
        self._name = options.client_name if name is None else name
        self._on_push = on_push or _ignore
        self._tell = on_event
        self._host: Host = current_host()
        self._spot = self._host.spot
        self._connection: Connection | None = None
        self._backlog = Backlog(options.display)
        self._channels: dict[bytes, None] = {}
        self.programs: Final = Programs(self._teach, self._host.now)
        self._refusals = Refusals(
            self._host,
            self.programs,
            self._backlog,
            call_timeout=options.call_timeout,
            submit=self.submit,
            renew=self.renew,
        )
        self._pausing = self._host.spot()

    # --- calls ------------------------------------------------------------------------------

    async def call(self, *args: Argument, replay_safe: bool = True) -> Any:
        """Send a command and return its reply.

        Raises `ServerReplyError` (or a nearer error) for an error reply, `UnknownOutcomeError` and
        `NetworkError` as the class says. Cancelled while it waits: the command may or may not take
        effect. A reply that says "not now" is not returned: the call is sent again, later. One that
        says "not here" (MOVED, ASK) is returned if that is still so after `call_timeout`.
        """
        return await self._call(Request(pack(args), self._spot(), replay_safe))

    def send(self, *args: Argument) -> None:
        """Send a command that is safe to repeat, and forget it. Never waits."""
        self.submit(Request(pack(args), None))

    async def eval(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> Any:
        """Run a replay-safe script; the server is taught it where it does not know it."""
        return await self._call(
            Request(self.programs.call_of(script, keys, args), self._spot(), True, script)
        )

    @property
    def has_room(self) -> bool:
        """Whether what is sent now need not wait, neither for a connection nor for room in it."""
        return self._connection is not None and not self._connection.crowded

    def send_eval(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> None:
        """`eval` without waiting for the answer."""
        self.submit(Request(self.programs.call_of(script, keys, args), None, True, script))

    async def subscribe(self, channel: str | bytes) -> None:
        """Hear a channel, across reconnects; returns when it is in force. Refused, it is not asked for again.

        Cancelled while it waits: it may be in force, now or after a reconnect; `unsubscribe` ends it.
        """
        name = _bytes(channel)
        self._channels[name] = None
        try:
            await self._call(Request(pack(("SUBSCRIBE", name)), self._spot(), by_push=True))
        except ServerReplyError:
            # A reconnect that asked for it would be refused as a whole.
            self._channels.pop(name, None)
            raise

    async def unsubscribe(self, channel: str | bytes) -> None:
        """Hear a channel no more; returns when that is so. Cancelled while it waits: it will be so."""
        name = _bytes(channel)
        self._channels.pop(name, None)
        request = Request(pack(("UNSUBSCRIBE", name)), self._spot(), by_push=True)
        self.submit(request)
        await self._answer(request)

    def hurry(self) -> None:
        """If it waits to try again, try now: the server is known to be back."""
        self._pausing.wake()

    def doom(self, error: AM2ZError) -> None:
        """The server is gone for good: what has no answer when `run` ends fails with this error."""
        self._backlog.doom = error

    def renew(self, why: str) -> None:
        """Connect anew, since the name may lead elsewhere by now; not before what is in flight has been
        answered: its outcome would be unknown. Nothing, if there is no connection."""
        if self._connection is not None:
            self._connection = None
            self._refusals.leave(why)

    async def _call(self, request: Request) -> Any:
        # While cut off there is nothing to wait for here: a caller that waits adds one call.
        while (connection := self._connection) is not None and connection.crowded:
            await connection.wait_room()
        self.submit(request)
        return await self._answer(request)

    async def _answer(self, request: Request) -> Any:
        spot = request.spot
        assert spot is not None
        try:
            reply = request.answer_of(await spot.park())
        except BaseException:
            request.drop()
            raise
        if isinstance(reply, Exception):
            raise reply
        return reply

    def submit(self, request: Request) -> None:
        """Send it, with the next connection if there is none now."""
        if self._connection is not None:
            self._connection.send(request)
        else:
            self._backlog.append(request)

    def _teach(self, packed: bytes) -> None:
        if self._connection is not None:
            self._connection.send(sent_once(packed))

    # --- keeping it up ----------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus) -> None:
        """Serve until cancelled; calls `started()` when ready. To be run once.

        The first attempt must succeed, or its one error is raised: `NetworkError` (and its kinds),
        `ConfigurationError`, `ServerReplyError`. After that attempts are repeated for ever.
        """
        attempt = 0
        started = False
        ready_at = 0.0
        refused_at = inf

        def ready() -> None:
            nonlocal started, ready_at, refused_at
            ready_at = self._host.now()
            refused_at = inf
            if started:
                self.reconnects += 1
            self._set("ready", "ready", attempt)
            if not started:
                started = True
                task_status.started()

        try:
            while True:
                text = ""
                try:
                    await self._connect_and_serve(ready, attempt)
                except ConnectionLostError as lost:
                    text = str(lost)
                    if not started:
                        raise _first_failure(text, self.options) from None
                    self._set("disconnected", "lost", attempt, text)
                except AM2ZError as refused:
                    if not started:
                        raise
                    self.state = "disconnected" if refused.retryable else "error"
                    text = refused.message
                    if isinstance(refused, AuthenticationError | AccessDeniedError):
                        refused_at = min(refused_at, self._host.now())
                        if self._host.now() - refused_at >= REFUSED_PATIENCE:
                            self._backlog.refuse(refused)
                # A connection that breaks as soon as it stands must not be renewed at full speed.
                attempt = 1 if ready_at and self._host.now() - ready_at > LONGEST_PAUSE else attempt + 1
                ready_at = 0.0
                await self._wait_to_try(attempt, text)
        finally:
            self.state = "disconnected"
            self._backlog.close()

    async def _wait_to_try(self, attempt: int, error: str) -> None:
        self._pausing = self._host.spot()
        self._set(self.state, "reconnecting", attempt, error)
        pause = pause_before(attempt, FIRST_PAUSE, LONGEST_PAUSE)
        with self._host.cancel_scope(deadline=self._host.now() + pause):
            await self._pausing.park()

    def _set(self, state: State, name: Any, attempt: int, error: str = "") -> None:
        self.state = state
        if self._tell is not None:
            self._tell(ConnectionEvent(name=name, attempt=attempt, error=error))

    async def _connect_and_serve(self, ready: Callable[[], None], attempt: int) -> None:
        host, options = self._host, self.options
        stream = await open_stream(host, options)
        connection = Connection(
            host,
            stream,
            on_message=self._on_push,
            on_refusal=self._refusals.take,
            call_timeout=options.call_timeout,
            max_pending_bytes=options.max_pending_bytes,
        )
        try:
            with unwrapped():
                async with host.open_nursery() as nursery:
                    connection.start(nursery)
                    try:
                        self._set("disconnected", "connected", attempt)
                        await self._greet(connection)
                        subscriptions = self._resume(connection)
                        await self._backlog.send(connection)
                        # Without a checkpoint between, so that no call can slip in.
                        self._connection = connection
                        self._refusals.leaving = ""
                        for subscribed in subscriptions:
                            reply = await subscribed.park()
                            if isinstance(reply, Exception):
                                raise error_from(reply)
                        ready()
                        await self._refusals.send_again(connection)
                    finally:
                        await connection.finish(FLUSH_TIMEOUT)
            raise ConnectionLostError(connection.lost)
        finally:
            # A cancelled scope closes at once, without waiting for a peer that may be gone.
            with host.cancel_scope(shield=True) as at_once:
                at_once.cancel()
                with suppress(OSError):
                    await stream.aclose()
            self._connection = None
            self._backlog.keep(self._refusals.remove_all(), connection.take_unanswered())

    async def _greet(self, connection: Connection) -> None:
        patience = self._host.cancel_scope(deadline=self._host.now() + self.options.connect_timeout)
        with patience:
            greeting = await greet(connection, self.options, self._name)
            restarted = self.server and greeting.run_id and self.server != greeting.run_id
            self.version, self.server, self.in_cluster, self.history, self.holes = greeting
            self._backlog.judge(restarted=bool(restarted))
        if patience.cancelled_caught:
            raise NetworkError(
                f"{self.options.display} accepted the connection and did not answer within "
                f"{self.options.connect_timeout:g} s",
                context={"url": self.options.display},
            )

    def _resume(self, connection: Connection) -> list[Any]:
        """Subscribe again and load the scripts, before anything is sent that has waited: a push that
        answers it must find us listening.
        """
        subscriptions: list[Any] = []
        for channel in self._channels:
            subscribed = self._spot()
            subscribe = Request(pack(("SUBSCRIBE", channel)), subscribed, by_push=True)
            connection.send(subscribe)
            subscribe.dropped = True
            subscriptions.append(subscribed)
        for program in self.programs.greeted(self.version):
            connection.send(sent_once(program))
        return subscriptions


def _ignore(_channel: bytes, _payload: bytes) -> None:
    pass


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _first_failure(lost: str, options: RedisOptions) -> NetworkError:
    context = {"url": options.display}
    if lost == "it speaks TLS":
        return NetworkError(
            f"the server at {options.display} speaks TLS: use rediss://", context=context, retryable=False
        )
    if lost.startswith("not a Redis answer"):
        return UnsupportedServerError(f"what answers at {options.display} is not Redis", context=context)
    hint = "" if options.tls or options.path else ". If it speaks TLS, use rediss://"
    return NetworkError(
        f"{options.display} ended the connection during the greeting ({lost}){hint}", context=context
    )
