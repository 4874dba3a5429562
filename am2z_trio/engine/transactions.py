"""Jobs on one session's stored state take turns on a node, each on what the one before has left.

Nothing depends on it but speed: the store compares states when a job settles. Without turns, of n jobs
that were granted with the same state all but one would run in vain, again and again.
"""

from __future__ import annotations

from collections import deque
from math import inf

import msgspec

from am2z_trio.model.records import NO_STATE, SettleAnswer, Settlement, StateRecord

from .claims import Claim


class Transactions:
    """Per session: the one whose turn it is, and those in line."""

    def __init__(self) -> None:
        self._turns: dict[str, Claim] = {}
        self._lines: dict[str, deque[Claim]] = {}

    def may_run(self, claim: Claim) -> bool:
        """Whether the job may run now; otherwise it is in line, and `end` will say when."""
        spec = claim.grant.spec
        if spec.state != NO_STATE or not spec.session or spec.parent:
            # A child must not wait for its parent, which waits for it.
            return True
        holder = self._turns.setdefault(spec.session, claim)
        if holder is claim:
            return True
        self._lines.setdefault(spec.session, deque()).append(claim)
        return False

    def end(self, claim: Claim, settlement: Settlement | None, answer: SettleAnswer | None) -> Claim | None:
        """The job is over here, whatever became of it. Returns the next one, with the newest state."""
        session = claim.grant.spec.session
        if self._turns.get(session) is not claim:
            return None
        del self._turns[session]
        line = self._lines.get(session)
        if not line:
            return None
        following = line.popleft()
        if not line:
            del self._lines[session]
        self._turns[session] = following
        commit = None if settlement is None else settlement.commit
        applied = answer is not None and answer.status == "applied"
        if applied and commit is not None and commit.expected is not None:
            left = StateRecord(version=commit.expected[0] + 1, checksum=commit.checksum, blob=commit.blob)
            following.grant = msgspec.structs.replace(following.grant, stored=left)
        return following

    def leave(self, claim: Claim) -> bool:
        """The job shall not wait any longer. Returns whether it was in line."""
        session = claim.grant.spec.session
        line = self._lines.get(session, ())
        if claim not in line:
            return False
        self._lines[session].remove(claim)
        if not self._lines[session]:
            del self._lines[session]
        return True

    def take(self, queue: str, before: float = inf) -> list[Claim]:
        """Take the jobs of a queue out of line that were claimed before a time."""
        lines = self._lines.values()
        found = [c for line in lines for c in line if c.worker.queue == queue and c.since < before]
        for claim in found:
            self.leave(claim)
        return found
