"""Rights that the store takes away while a node runs: whoever waits is told.

A node without them goes on trying, and gets on by itself once it has them again. But who waits for a job is
not to wait for that: nobody may ever claim the job, or settle it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.pauses import Pauses
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.model.errors import AM2ZError, AuthenticationError
from am2z_trio.model.logs import Log
from am2z_trio.store.ports import Store

logger: Final = Log("am2z_trio.node")

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at what this node may do, while somebody waits or something was refused."""

PATIENCE: Final = 5.0
"""Seconds for which a right may be missing before callers hear of it: rules are changed in several steps."""

ANSWER_WITHIN: Final = 5.0
"""Seconds an answer may take: a store that is away is not one that refuses."""

ANEW_AFTER: Final = 60.0
"""Seconds between two calls of `on_back` for refusals alone, of rights of which none is missing."""

ANEW_AT_MOST: Final = 3600.0
"""What that doubles up to, while such refusals go on."""


class Access:
    """What one node may do. `lost` is the error that says what it may not do any more."""

    def __init__(
        self,
        host: Host,
        store: Store,
        in_flight: InFlight,
        *,
        suspected: Callable[[], bool],
        on_back: Callable[[], None],
    ) -> None:
        """`suspected`: whether the store refuses anything now. `on_back` is called when this node may do all
        again: what was refused in its midst may have taken it off a queue, or its wake-up away."""
        self._host = host
        self._store = store
        self._in_flight = in_flight
        self._suspected = suspected
        self._on_back = on_back
        self._since = inf
        self._not_before = -inf
        """When `on_back` may be called again for refusals alone."""
        self._pause = ANEW_AFTER
        self._is_owed = False
        """Whether something was refused before that."""
        self.lost: AM2ZError | None = None
        self.pauses = Pauses(host)
        """The node's."""

    async def run(self) -> None:
        """Look after who waits, until cancelled."""
        while True:
            with self.pauses.of(LOOK_EVERY if self.lost is None else min(LOOK_EVERY, PATIENCE)):
                await self._host.sleep(inf)
            if self.lost is not None or self._is_owed or len(self._in_flight) or self._suspected():
                await self._look()

    async def _look(self) -> None:
        host, lost, denied = self._host, None, self._store.was_denied
        with host.cancel_scope(deadline=host.now() + ANSWER_WITHIN) as patience:
            try:
                lost = await self._store.lacking()
            except AuthenticationError as error:
                lost = error
            except AM2ZError:
                return
        if patience.cancelled_caught:
            return
        if lost is None:
            if self.lost is not None:
                logger.warning("this node has all rights again")
                self._since, self.lost, self._is_owed = inf, None, False
                self._on_back()
            elif denied or self._is_owed:
                # It has been so short a time that nobody has seen it.
                self._look_anew()
            return
        if self.lost is None:
            self._since = host.now()
            logger.error("%s", lost)
        self.lost = lost
        if host.now() - self._since >= PATIENCE or isinstance(lost, AuthenticationError):
            self._in_flight.leaving.give_all_up(lost)

    def _look_anew(self) -> None:
        """To look at everything anew may be refused itself, by rules that the trial does not know of."""
        now = self._host.now()
        if now < self._not_before:
            self._is_owed = True
            return
        self._pause = min(2 * self._pause, ANEW_AT_MOST) if self._is_owed else ANEW_AFTER
        self._not_before, self._is_owed = now + self._pause, False
        self._on_back()
