"""Leases, and claims as the store has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from am2z_trio.model.records import RenewAnswer, Standing, TickAnswer


class Nodes(Protocol):
    """Leases, and claims as the store has them."""

    async def join(self) -> None:
        """Take a lease, so as to claim. What it holds it keeps; `reconcile` says what that is."""
        ...

    async def leave(self) -> None:
        """Give the lease back; jobs it still holds go back to their queues, no budget used."""
        ...

    def beat(self) -> None:
        """The event loop gets on: a job has ended. What keeps the lease beside it may go on. Never waits."""
        ...

    async def renew(self, *, look_every: float) -> RenewAnswer:
        """Renew the lease, if this node has one, keep the time by which everything is due, and look where it
        is this node's turn (`tick`).

        All nodes together look once in `look_every` seconds, the shortest that any of them says, and when a
        node that seems dead has had its grace; 0: this node does not look. One beside which no other holds a
        claim asks and looks every 0.75 s at most, if there are few.
        """
        ...

    def rest(self, wake: Callable[[], object]) -> float:
        """Seconds for which nothing needs the beats of this node, which has just renewed its lease, and for
        which that is longer: no other node is there, nothing falls due, and nothing was asked of the store
        since then. `wake` is called when that is over sooner. 0: beat as usual, as always
        where other processes may come.
        """
        ...

    async def tick(self, *, reap: bool = True) -> TickAnswer:
        """Renew the lease, and look now: give dead nodes' jobs back (if `reap`), wake stuck queues.

        A node is dead when its lease has passed, or when nobody has listened to its inbox for its
        `disconnect_grace`; but nobody is for a while after a node was heard whose own lease was in its last
        third: store or network may have been away for all.
        A job that comes back from a dead node has `stalls` + 1; beyond its `max_stalled` it fails, and the
        answer names it: no other node will. For
        the second time and further ones, jobs come back one by one. A call that completes takes its
        parent's `stalls` away; a node that is not dead after all (`reconcile`, `settle`) takes away the
        one that was counted for it.
        Bounded work per call: where dead nodes have more jobs than one call takes, the answer says so, and
        any number of nodes may go on at once.
        """
        ...

    async def reconcile(self, claims: Sequence[tuple[str, str]]) -> list[Standing]:
        """How the claims stand, by job id and token, that this node believes to hold.

        One that was taken away since the node seemed dead is given back if nobody else was granted the job:
        it is `held`, under the same token. If somebody was, it is `lost`. Its stall is taken back either
        way, unless it has made a dead letter. Bounded steps, each replay-safe.

        Linearization point of giving back: the token is in the job's record again.
        """
        ...

    async def holdings(self) -> list[tuple[str, str]]:
        """Every claim that this node holds as the store has it, by job id and token.

        What is granted or settled while this is read may be told or not. One that the node does not know,
        with no claim call under way that could bring it, is handed back by settling it as `released`.
        """
        ...
