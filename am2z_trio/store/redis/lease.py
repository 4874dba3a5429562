"""Keeps a node's lease from a thread, for as long as the event loop gives a sign of life.

A job that hogs the loop for longer than a lease must not lose its claims, and a loop that is dead
must. So a thread with a blocking connection of its own renews the lease where the loop has not for a third of
it, and looks at a beat that the loop's tick and every job that ends update: without a beat for the budget,
which is that of one job, it stops. This is redis-py's job: it needs no event loop.
"""

from __future__ import annotations

import threading
import time
from math import inf
from typing import TYPE_CHECKING, Any, Final

import anyio

from am2z_trio.concurrency import current_host
from am2z_trio.model.errors import ResourceError, RuntimeStateError
from am2z_trio.model.logs import Log
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.model.telling import described

from .keys import script_keys
from .scripts import RENEW

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

logger: Final = Log("am2z_trio.lease")

BUDGET: Final = 6.0
"""Leases the loop may be silent for: so long may one job keep it to itself. Then it counts as dead."""

LOOKS: Final = 6
"""Looks per lease at whether the loop has renewed it: between two, half of one is over at most."""

PATIENCE: Final = 1 / LOOKS
"""Of a lease: for so long is the server waited for at a time. A look connects, says hello and asks once, and
what has failed is tried again by the next one: half a lease is over by then, and there is time for it."""


class LeaseKeeper:
    """Renews one node's lease. `run` blocks: give it a thread; `stop` ends it from any thread."""

    def __init__(
        self,
        options: RedisOptions,
        *,
        prefix: str,
        node: str,
        lease: float,
        clock: Callable[[], int | str] | None = None,
    ) -> None:
        self._options = options
        self._keys = script_keys(prefix)
        self._node = node
        self._lease = lease
        self._clock = clock
        self._stopped = threading.Event()
        self._last_beat = time.monotonic()
        self._renewed_at = self._used_at = -inf
        self._is_told = False
        """It was said that there is no connection."""
        self._has_begun = False
        """The thread has started."""

    def renewed(self, asked_at: float) -> None:
        """The loop has renewed the lease itself, and asked for that then (`time.monotonic`)."""
        self._renewed_at = asked_at

    def beat(self) -> None:
        """The event loop is alive, and gets on. Called from the loop."""
        self._last_beat = time.monotonic()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    async def run_in_thread(self) -> None:
        """Lend a thread to `run`, until cancelled."""
        try:
            # The thread is let go at cancellation: it ends at its next look, and writes nothing that
            # a node which has left could notice. The process does not wait for that.
            await current_host().run_in_thread(self.run, lambda: None, anyio.CapacityLimiter(1))
            if not self.stopped:
                raise RuntimeStateError("the thread that keeps this node's lease has ended by itself")
        except RuntimeError as error:
            if self._has_begun:
                raise
            raise ResourceError(
                f"the thread that keeps the lease of node {self._node} cannot be started ({error}), and a "
                "job that keeps the event loop to itself would lose its claim without it: let this process "
                "have more threads (`ulimit -u`, TasksMax, pids.max), or run fewer in it",
                context={"threads": threading.active_count()},
            ) from error
        finally:
            self.stop()

    def run(self) -> None:
        """Renew what the loop does not until stopped, or until the beat has been away too long."""
        self._has_begun = True
        if self._stopped.wait(self._lease / LOOKS):
            return
        connection: redis.Redis | None = None
        try:
            while not self.stopped:
                connection = connection or self._connected()
                if connection is not None:
                    self._look(connection)
                self._stopped.wait(self._lease / LOOKS)
        finally:
            if connection is not None:
                connection.close()

    def _connected(self) -> redis.Redis | None:
        """redis-py, which is read by this thread, as it takes longer than the rest of a program's start, and
        not before the first look, as it would have the interpreter meanwhile instead of the first jobs.

        `None` where it cannot be read now, as no descriptor is left, say: the loop keeps the lease, and the
        next look tries again."""
        try:
            return _connect(self._options, patience=self._lease * PATIENCE)
        except Exception as error:
            if not self._is_told:
                self._is_told = True
                logger.error(
                    "the lease of %s is kept by its event loop alone for now: redis-py cannot be read: %s",
                    self._node,
                    described(error),
                )
            return None

    def _look(self, connection: redis.Redis) -> None:
        """Renew the lease if the loop has not, and is alive."""
        import redis

        now = time.monotonic()
        # Once per lease in any case: a connection that nobody uses may have been cut unnoticed.
        if now - self._renewed_at < self._lease / 3 and now - self._used_at < self._lease:
            return
        if now - self._last_beat > BUDGET * self._lease:
            logger.error("the event loop of %s is silent: its lease is no longer renewed", self._node)
            return
        self._used_at = now
        try:
            connection.eval(
                RENEW.source,
                len(self._keys),
                *self._keys,
                str(0 if self._clock is None else self._clock()),
                self._node,
                str(int(self._lease * 1000)),
                "",
                "",
            )
            self._renewed_at = now
        except (redis.RedisError, OSError) as error:
            # The next round tries again, and where the name leads then: a primary may have become a
            # replica. The lease is what bounds how long that may go on.
            logger.debug("the lease of %s was not renewed: %s", self._node, error)
            connection.connection_pool.disconnect()


def _connect(options: RedisOptions, *, patience: float) -> redis.Redis:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    common: dict[str, Any] = {
        # redis-py would try ten times over, each of them for as long as it has patience: the next look does.
        "retry": Retry(NoBackoff(), 0),
        "db": options.db,
        "username": options.username or None,
        "password": options.password or None,
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
    }
    if options.path:
        return redis.Redis(unix_socket_path=options.path, **common)
    if options.tls:
        common |= {
            "ssl": True,
            "ssl_ca_certs": options.ca_file or None,
            "ssl_certfile": options.cert_file or None,
            "ssl_keyfile": options.key_file or None,
            "ssl_cert_reqs": "required" if options.tls_verify else "none",
            "ssl_check_hostname": options.tls_verify,
        }
    return redis.Redis(host=options.host, port=options.port, **common)
