"""One run of a claimed job: what it is given, what bounds it, and when it began."""

from __future__ import annotations

from math import inf
from typing import Any, Final

import msgspec

from am2z_trio.engine.claim import Claim
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.engine.states.job_state import JobState
from am2z_trio.model.errors import AM2ZError, ValidationError
from am2z_trio.model.integrity import verified
from am2z_trio.model.options import RetryPolicy
from am2z_trio.model.records import NO_STATE
from am2z_trio.model.retry import Retry

USUAL: Final = RetryPolicy()
ONE_ATTEMPT: Final = RetryPolicy(max_attempts=1)


class Attempt:
    """One run of one claim, which is told when it began. Times are the host's, but for `started`."""

    __slots__ = (
        "claim",
        "definition",
        "ends",
        "grant",
        "processor",
        "remaining",
        "started",
        "state",
        "stored",
        "timeout",
    )

    def __init__(
        self,
        claim: Claim,
        definition: Definition,
        began: float,
        started: float,
        stored: JobState | None = None,
    ) -> None:
        self.claim = claim
        self.grant = grant = claim.grant
        self.definition = definition
        self.processor = processor = definition.processor
        self.stored = stored
        """The session's state as this run sees it, if it may read or write it."""
        self.state: Any = None
        """What its code is given, once it is decoded."""
        self.started = started
        """When it began, by the clock on the wall."""
        claim.began = began
        claim.called = 0
        timeout = grant.spec.timeout
        self.timeout = processor.timeout if timeout is None else timeout
        self.remaining = inf if grant.remaining is None else claim.since + grant.remaining - began
        """Seconds that the deadline of its caller leaves it from its beginning on."""
        self.ends = began + (self.remaining if self.timeout is None else min(self.timeout, self.remaining))
        """When its code is cancelled; `inf` for never."""

    @property
    def deadline(self) -> float:
        """When nobody waits for it any more."""
        return self.claim.began + self.remaining

    @property
    def taken(self) -> float:
        """Seconds that its code ran."""
        return self.claim.ended - self.claim.began

    def read_input(self) -> Any:
        """The state it works on: what its caller gave, or what its session has stored."""
        grant, codec = self.grant, self.definition.codec
        if grant.spec.state != NO_STATE:
            return codec.decode(grant.spec.state)
        session = grant.spec.session
        if grant.stored is None or not grant.stored.exists:
            raise ValidationError(
                f"session {session!r} has no stored state yet; give one to the first execute",
                context={"session": session},
            )
        blob = verified(grant.stored, session).blob
        state = codec.decode(blob)
        if grant.spec.commits:
            codec.require_whole(blob, state, session)
        return state

    def unchanged(self) -> Any:
        """The state of a job that has returned `None`: what it was given, which it must have left alone."""
        given, codec = self.read_input(), self.definition.codec
        if codec.encode(self.state) != codec.encode(given):
            processor = self.grant.spec.processor
            raise ValidationError(
                f"{processor!r} has changed its state in place and returned None, which says that nothing "
                "changes: return the state, or leave it as it is",
                context={"processor": processor, "job": self.grant.spec.id},
            )
        return given

    def policy_for(self, error: AM2ZError) -> RetryPolicy:
        """What is to be done about this error. Code that asks to be run again is, where nobody has said that
        it may not."""
        policy = self.retry_policy
        if isinstance(error, Retry) and self.processor.retry is None and self.grant.spec.attempts is None:
            return msgspec.structs.replace(policy, max_attempts=USUAL.max_attempts)
        return policy

    @property
    def retry_policy(self) -> RetryPolicy:
        """The processor's policy with the job's own numbers in it."""
        spec = self.grant.spec
        policy = self.processor.retry
        if spec.attempts is None and spec.backoff is None:
            return policy or ONE_ATTEMPT
        # When to try again says nothing of how often.
        base = policy or msgspec.structs.replace(RetryPolicy(), max_attempts=1)
        backoff = base.backoff if spec.backoff is None else spec.backoff
        return msgspec.structs.replace(
            base,
            max_attempts=base.max_attempts if spec.attempts is None else spec.attempts,
            backoff=backoff,
            max_backoff=max(base.max_backoff, backoff),
            backoff_multiplier=base.backoff_multiplier if spec.multiplier is None else spec.multiplier,
        )
