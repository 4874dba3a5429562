"""A claimed job in, a settlement out: attempt, invocation, verdict, settlement. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from functools import partial
from math import inf
from typing import Any, Final, NamedTuple

from am2z_trio.concurrency import CancelScope, Host
from am2z_trio.concurrency.contexts import OwnContext, in_context
from am2z_trio.concurrency.groups import must_propagate
from am2z_trio.engine.claim import Claim, running
from am2z_trio.engine.processors.context import CallRequest
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.engine.states.access import NodeStates
from am2z_trio.engine.states.job_state import JobState
from am2z_trio.model.error_records import indescribable, record_of, sound
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.limits import KIB
from am2z_trio.model.logs import Log
from am2z_trio.model.records import Settlement
from am2z_trio.model.telling import class_of, cut, trace_of

from .attempt import Attempt
from .breakers import Breakers
from .calls import Calls
from .contexts import Contexts
from .failures import as_error, left_open, log_attempt, moved_too_often
from .invoke import Invoker
from .settlements import Settlements
from .threads import Threads
from .verdict import Failed, Retried, error_of_run, falls_back, judge

logger: Final = Log("am2z_trio.jobs")


class Ending(NamedTuple):
    """How the code of a run has ended."""

    output: Any
    error: AM2ZError | None
    stopped: bool
    """By whoever may stop a job; its error is not what counts then."""


class Executor:
    """Runs claimed jobs of one node."""

    __slots__ = (
        "_breakers",
        "_calls",
        "_contexts",
        "_host",
        "_invoker",
        "_now",
        "_own",
        "_states",
        "settlements",
        "threads",
    )

    def __init__(
        self,
        host: Host,
        own: OwnContext,
        states: NodeStates,
        breakers: Breakers,
        threads: Threads,
        calls: Calls,
        contexts: Contexts,
        settlements: Settlements,
    ) -> None:
        self._host = host
        self._now = host.now
        self._own = own
        self._states = states
        self._breakers = breakers
        self._calls = calls
        self._contexts = contexts
        self._invoker = Invoker(host, threads)
        self.threads = threads
        self.settlements = settlements

    async def run(
        self, claim: Claim, definition: Definition, *, stored: JobState | None = None
    ) -> Settlement | None:
        """Run the job once and return how to settle it; `None` if the claim is lost.

        Cancellation from above passes through: the caller hands the job back then. So does
        `KeyboardInterrupt`, which ends the node; nothing else that a user's code, values, types or hooks
        raise does, whatever they raise and wherever. `stored`: the session's state as an enclosing job
        sees it, for one that is run inline.
        """
        try:
            # Whatever runs a user's code, its types and hooks included, runs in there.
            plain_within = claim.root is not claim and not definition.processor.is_async
            run = self._run_in_line if plain_within else self._run
            return await in_context(self._own.copy(), run(claim, definition, stored))
        except BaseException as raised:
            return self._untold(claim, raised)

    async def _run(self, claim: Claim, definition: Definition, stored: JobState | None) -> Settlement | None:
        running.set(claim.root)
        attempt = Attempt(claim, definition, self._now(), time.time(), stored)
        if stored is None and (claim.grant.spec.session or definition.processor.takes_context):
            attempt.stored = JobState(self._states, claim.grant, definition.processor.state_type)
        ending = await self._carry_out(attempt)
        if ending.error is not None and not ending.stopped and falls_back(attempt, ending.error):
            ending = await self._fall_back(attempt, ending.error)
        return self._settle(attempt, ending)

    async def _run_in_line(
        self, claim: Claim, definition: Definition, stored: JobState | None
    ) -> Settlement | None:
        """Run a plain function within another job, when there is a thread for it: to wait is no run."""
        room, grant = self.threads.room(definition), claim.grant
        deadline = inf if grant.remaining is None else claim.since + grant.remaining
        taken = False
        claim.scope = scope = self._host.cancel_scope(deadline=deadline)
        try:
            with scope:
                if claim.stop is None:
                    await room.acquire()
                    taken = True
            claim.scope = None
            return await self._run(claim, definition, stored)
        finally:
            if taken:
                room.release()

    # --- its code ---------------------------------------------------------------------------

    async def _carry_out(self, attempt: Attempt) -> Ending:
        """Call the processor, within its time and if its breaker lets it through."""
        claim, processor = attempt.claim, attempt.processor
        output: Any = None
        error: AM2ZError | None = None
        claim.scope = scope = self._host.cancel_scope(deadline=attempt.ends)
        try:
            attempt.state = attempt.read_input()
            with scope:
                if claim.stop is not None or attempt.remaining <= 0:
                    # Too late: its code is not begun.
                    scope.cancel()
                    await self._host.checkpoint()
                if processor.breaker is not None:
                    await self._breakers.enter(processor)
                context = self._contexts.of(attempt, scope, self.run) if processor.takes_context else None
                output = await self._invoker.call(attempt, context, scope)
        except BaseException as raised:
            if must_propagate(raised, self._host):
                raise
            error = as_error(raised, attempt.grant)
        finally:
            claim.scope = None
        claim.ended = self._now()
        caught = scope.cancelled_caught
        if claim.stop is not None and (caught or error is not None):
            return Ending(None, error, stopped=True)
        if caught or error is not None:
            error = error_of_run(attempt, error, caught=caught, now=self._now())
        if processor.breaker is not None:
            await self._breakers.tell(processor, error)
        return Ending(output, error, stopped=False)

    async def _fall_back(self, attempt: Attempt, error: AM2ZError) -> Ending:
        """Run the fallback, within the time the job has left. Stopped meanwhile, the error stays."""
        claim, processor = attempt.claim, attempt.processor
        fallback = processor.fallback
        assert fallback is not None
        if attempt.stored is None:
            attempt.stored = JobState(self._states, attempt.grant, processor.state_type)
        scope = self._host.cancel_scope(deadline=attempt.deadline)
        context = self._contexts.of(attempt, scope, self.run)
        logger.warning("%r falls back to %r: %s", processor.name, fallback.name, cut(error.message, KIB))
        claim.scope = scope
        try:
            # The state anew: the processor may have changed what it was given before it failed.
            attempt.state = attempt.read_input()
            request = CallRequest(fallback, attempt.state, "fallback", None, None, None, inline=True)
            with scope:
                if claim.stop is not None:
                    scope.cancel()
                output = await self._calls.call(self.run, claim, request, context)
                return Ending(output, None, stopped=False)
        except AM2ZError as raised:
            # Both are told: why it fell back, and why that did not help.
            worse = sound(raised)
            worse.causes = (*worse.causes, error)
            error = worse
        finally:
            claim.scope = None
        error = error_of_run(attempt, error, caught=False, now=self._now())
        return Ending(None, error, stopped=claim.stop is not None)

    # --- its end ----------------------------------------------------------------------------

    def _settle(self, attempt: Attempt, ending: Ending) -> Settlement | None:
        output, error, stopped = ending
        if error is None and not stopped:
            try:
                return self.settlements.completed(attempt, output)
            except AM2ZError as refused:
                error = refused
        return self._settle_unfinished(attempt, error, stopped=stopped)

    def _settle_unfinished(
        self, attempt: Attempt, error: AM2ZError | None, *, stopped: bool
    ) -> Settlement | None:
        """A run that ended with this error, or because it was `stopped`."""
        verdict = judge(attempt, error, stopped=stopped, now=self._now())
        if isinstance(verdict, Retried):
            then = f", and is tried again in {verdict.delay:.3g} s"
            log_attempt(attempt.grant, verdict.error, then)
        elif isinstance(verdict, Failed):
            log_attempt(attempt.grant, verdict.error)
        return self.settlements.of(attempt, verdict)

    def conflict_exhausted(self, claim: Claim) -> Settlement:
        """The state moved once too often: fail the job."""
        verdict = Failed(record_of(moved_too_often(claim.grant)))
        log_attempt(claim.grant, verdict.error)
        return self.settlements.unrun(claim, verdict)

    def _untold(self, claim: Claim, raised: BaseException) -> Settlement:
        """Whatever else comes out of running a job: a failure of the job that says no more than its class."""
        claim.scope = None
        if must_propagate(raised, self._host):
            raise raised
        claim.ended = self._now()
        name = claim.grant.spec.processor
        logger.error("a job of %r cannot be told how it ended", name, trace=trace_of(raised))
        return self.settlements.indescribable(claim, indescribable(class_of(raised)))

    # --- plain jobs, under a scope that others share -------------------------------------------

    def run_plain(
        self, claim: Claim, definition: Definition, scope: CancelScope
    ) -> Awaitable[Settlement | None]:
        """`run` for a job of a plain processor, under a scope that other jobs share.

        What the scope raises where it is cancelled passes through: who has entered the scope leaves it
        then, and asks `cut_short`.
        """
        return in_context(self._own.copy(), self._run_plain(claim, definition, scope))

    async def _run_plain(self, claim: Claim, definition: Definition, scope: CancelScope) -> Settlement | None:
        try:
            running.set(claim)
            attempt = Attempt(claim, definition, self._now(), time.time())
            if claim.grant.spec.session:
                attempt.stored = JobState(self._states, claim.grant, definition.processor.state_type)
            remaining = attempt.remaining
            claim.is_limited = is_limited = attempt.ends < inf
            output: Any = None
            error: AM2ZError | None = None
            try:
                attempt.state = state = attempt.read_input()
                if remaining > 0:
                    claim.scope = scope
                    if is_limited:
                        scope.deadline = attempt.ends
                    output = await definition.processor.fn(state)
            except BaseException as raised:
                inner = self._host.leave_inner(scope)
                if must_propagate(raised, self._host):
                    raise
                error = left_open(claim.grant, raised) if inner else as_error(raised, claim.grant)
            finally:
                # Whatever is meant for this job and comes later must not reach the next one.
                claim.scope = None
                if is_limited:
                    scope.deadline = inf
                claim.ended = self._now()
            if error is None and remaining > 0:
                settlement: Settlement | None = None
                try:
                    settlement = self.settlements.completed(attempt, output)
                except AM2ZError as refused:
                    error = refused
                if self._host.leave_inner(scope):
                    error = left_open(claim.grant, error)
                elif error is None:
                    return settlement
                else:
                    return self._settle_unfinished(attempt, error, stopped=False)
            return self._plainly_failed(attempt, error, caught=False)
        except BaseException as raised:
            return self._untold(claim, raised)

    def cut_short(
        self, claim: Claim, definition: Definition, raised: BaseException | None, *, caught: bool
    ) -> Settlement | None:
        """How to settle a plain job when the scope it ran under was left, `raised` came out of that, and
        whether the scope has caught its own cancellation."""
        try:
            error = None if raised is None else as_error(raised, claim.grant)
            started = time.time() - (claim.ended - claim.began)
            attempt = Attempt(claim, definition, claim.began, started)
            return self._own.copy().run(partial(self._plainly_failed, attempt, error, caught=caught))
        except BaseException as worse:
            return self._untold(claim, worse)

    def _plainly_failed(
        self, attempt: Attempt, error: AM2ZError | None, *, caught: bool
    ) -> Settlement | None:
        """A plain job has ended with this error; without one, it was cancelled."""
        stopped = attempt.claim.stop is not None
        if not stopped:
            error = error_of_run(attempt, error, caught=caught, now=self._now())
        return self._settle_unfinished(attempt, error, stopped=stopped)
