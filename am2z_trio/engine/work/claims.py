"""The jobs this node holds: from the grant to the settled answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from am2z_trio.engine.claim import Claim, Stop
from am2z_trio.model.records import CancelRequest, MayGoOn


class Claims:
    """Every claim of the node by job id, and what has to be known to let go of strays."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is the host's clock."""
        self._now = now
        self._by_id: dict[str, Claim] = {}
        self._early: dict[str, str] = {}
        self._under_way: dict[int, None] = {}
        self._seq = 0
        self._given_up: list[tuple[str, str]] = []
        self._strays: dict[tuple[str, str], int] = {}
        """Grants we do not know, and the number of the last call that could still bring them."""
        self._fewer = False
        """Fewer were known here than the store said, when it said so last."""
        self.has_strays = False
        """The store was out of reach, or some claim's answer was never read: it may know it otherwise."""
        self.on_hold = False
        """The lease is gone: nothing is claimed until we know what we still hold."""
        self.failing = False
        """The node ends by an error of its own: what runs is not handed back, but lost with the node, so
        that a job which is to blame cannot end one node after another."""
        self.forsaken = False
        """Some claim is left to be lost: the node does not sign off, and is found dead."""

    def __len__(self) -> int:
        return len(self._by_id)

    def all(self) -> list[Claim]:
        return list(self._by_id.values())

    def get(self, job: str) -> Claim | None:
        return self._by_id.get(job)

    def knows(self, claim: Claim) -> bool:
        """Whether it is ours still, as far as we know."""
        return self._by_id.get(claim.grant.spec.id) is claim

    def begin(self) -> int:
        """A call that may bring claims is about to be sent; returns its number, which only grows here."""
        self._seq += 1
        self._under_way[self._seq] = None
        return self._seq

    def end(self, seq: int) -> None:
        """The call is over, whichever way."""
        del self._under_way[seq]
        if not self._under_way:
            self._early.clear()

    def add(self, claim: Claim) -> None:
        grant = claim.grant
        older = self._by_id.get(grant.spec.id)
        self._by_id[grant.spec.id] = claim
        if older is not None:
            # It was taken away without our hearing of it, or the server has lost the end of its history.
            older.cancel(Stop("lost", "the job was granted to this node anew"))
        reason = self._early.pop(grant.token, None) if self._early else None
        if reason is not None:
            claim.cancel(Stop("cancelled", reason, self._now()))

    def remove(self, claim: Claim) -> None:
        # A stray may have come back to us under a new token: only this very claim is removed.
        if self._by_id.get(claim.grant.spec.id) is claim:
            del self._by_id[claim.grant.spec.id]

    def cancel(self, request: CancelRequest) -> None:
        """Stop the job if it still runs under that token."""
        claim = self._by_id.get(request.id)
        if claim is not None and claim.grant.token == request.token:
            claim.cancel(Stop("cancelled", request.reason, self._now()))
        elif self._under_way:
            # The push overtakes the claim's answer inside this process: the task that waits for
            # the answer has not run yet.
            self._early[request.token] = request.reason

    def let_go_on(self, message: MayGoOn) -> None:
        """A job that had stepped aside counts again."""
        claim = self._by_id.get(message.id)
        if claim is not None and claim.grant.token == message.token and claim.may_go_on is not None:
            claim.may_go_on.set()

    def cancel_all(self, session: str, queue: str, stop: Stop) -> None:
        """Stop every job of a session that this node holds of a queue."""
        for claim in list(self._by_id.values()):
            if claim.grant.spec.session == session and claim.holder.queue == queue:
                claim.cancel(stop)

    def give_up(self, reason: str) -> int:
        """Stop the jobs that must not go on while others may be given them; returns how many."""
        some = [
            claim for claim in self._by_id.values() if claim.stop is None and claim.holder.stops_when_cut_off
        ]
        for claim in some:
            self._given_up.append((claim.grant.spec.id, claim.grant.token))
            self.has_strays = True
            claim.cancel(Stop("lost", reason))
        return len(some)

    def given_up(self) -> list[tuple[str, str]]:
        """Claims that were given up, the first ones first, before the store could hear of it."""
        return list(self._given_up)

    def forget_given_up(self, count: int) -> None:
        """The store has heard of so many of them, the first ones."""
        del self._given_up[:count]

    def compare(self, held: int) -> None:
        """The store says how many claims this node holds. More than are known here may be on their way, or
        one was given to it that it has not heard of."""
        fewer = held > len(self._by_id)
        if fewer and (self._fewer or not self._under_way):
            self.has_strays = True
        self._fewer = fewer

    def note_holdings(self, pairs: Iterable[tuple[str, str]]) -> bool:
        """What the store says we hold, by id and token: what we do not know of it may still be on its way.
        Returns whether there is any such."""
        self._strays = {pair: self._seq for pair in pairs if not self.has(*pair)}
        return bool(self._strays)

    def take_strays(self) -> list[tuple[str, str]]:
        """Grants that we do not know and that no call will bring any more."""
        oldest = next(iter(self._under_way), inf)
        sure = [pair for pair, seq in self._strays.items() if seq < oldest]
        for pair in sure:
            del self._strays[pair]
        return [pair for pair in sure if not self.has(*pair)]

    def has(self, job: str, token: str) -> bool:
        """Whether this very claim is known."""
        claim = self._by_id.get(job)
        return claim is not None and claim.grant.token == token
