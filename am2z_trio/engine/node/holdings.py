"""What this node holds, compared with what the store says it holds.

The store tells a node of cancellations and of claims that were taken away, but what it tells while nobody
listens is lost. So the node asks: for everything once it is back, and now and then for what it has held for
long. Only what was given to others is stopped here; what nobody took goes on, however long that took.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.engine.claim import Claim, Stop
from am2z_trio.engine.work.claims import Claims
from am2z_trio.model.logs import Log
from am2z_trio.model.records import CancelRequest, Settlement
from am2z_trio.store.ports import BATCH, Store

logger: Final = Log("am2z_trio.node")

LONG: Final = 1.0
"""Seconds after its grant from which a claim is asked for; most jobs have ended before."""

MOST: Final = 200
"""Claims that one look asks for; with more of them they take turns. What is lost with a connection is found
as soon as the next one stands: this is for what shows nowhere else."""

EVERY: Final = 30.0
"""Most seconds between two comparisons of everything: a request that came after its node had given up on it
may have had an effect that nobody knows of."""

HEARD_WITHIN: Final = 0.5
"""Seconds within which a node hears what it was told before; else the next look tries again."""


class Holdings:
    """Keeps the claims of one node as the store sees them."""

    def __init__(self, host: Host, store: Store, claims: Claims) -> None:
        self._host = host
        self._store = store
        self._claims = claims
        self._asked = 0
        self._compared = host.now()

    async def look(self) -> None:
        """Ask for everything where something may have been missed, else for some of what is held for long.

        Cancelled or refused by the store, the next look makes up for it.
        """
        claims = self._claims
        now = self._host.now()
        everything = claims.has_strays or now - self._compared >= EVERY
        claims.has_strays = False
        try:
            if everything:
                await self._ask(claims.all())
                # Such a claim is a stray where it stands or is given back; else its stall is taken back.
                given_up = claims.given_up()
                if given_up:
                    await self._store.reconcile(given_up)
                claims.forget_given_up(len(given_up))
                if claims.note_holdings(await self._store.holdings()):
                    await self._hear()
                self._compared = now
            else:
                due = [claim for claim in claims.all() if claim.since <= now - LONG]
                first = self._asked if self._asked < len(due) else 0
                await self._ask(due[first : first + MOST])
                self._asked = first + MOST
            await self._hand_back(claims.take_strays())
        except BaseException:
            claims.has_strays = True
            raise

    async def _hear(self) -> None:
        """Of what this node was handed, it is to have heard before it takes any for a stray."""
        with self._host.cancel_scope(deadline=self._host.now() + HEARD_WITHIN) as patience:
            await self._store.ping()
        if patience.cancelled_caught:
            self._claims.note_holdings(())
            self._claims.has_strays = True

    async def _hand_back(self, strays: list[tuple[str, str]]) -> None:
        for start in range(0, len(strays), BATCH):
            batch = strays[start : start + BATCH]
            await self._store.settle(
                [Settlement(id=job, token=token, outcome="released") for job, token in batch]
            )

    async def _ask(self, claims: Sequence[Claim]) -> None:
        if not claims:
            return
        pairs = [(claim.grant.spec.id, claim.grant.token) for claim in claims]
        for claim, pair, standing in zip(claims, pairs, await self._store.reconcile(pairs), strict=True):
            if not self._claims.knows(claim):
                continue
            if standing.cancel is not None:
                self._claims.cancel(CancelRequest(*pair, standing.cancel))
            elif standing.status == "lost" and claim.stop is None:
                logger.warning("job %s is not this node's any more: it is stopped here", pair[0])
                claim.cancel(Stop("lost", "the job was taken away from this node"))
            elif claim.calls and claim.stop is None:
                # Given back after it was taken away, it would count in the limits that its calls may need.
                await claim.holder.stay_aside(claim)
