"""A claimed job in, a settlement out: attempt, invocation, verdict, settlement. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from functools import partial
from logging import INFO
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
from .run_log import (
    log_asked_again,
    log_cancelled,
    log_completed,
    log_parked,
    log_released,
    log_started,
    runs,
)
from .settlements import Settlements
from .sites import Sites
from .verdict import Cancelled, Failed, Parked, Released, Retried, error_of_run, falls_back, judge

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
        "_now",
        "_own",
        "_states",
        "invoker",
        "settlements",
        "sites",
        "tells",
    )

    def __init__(
        self,
        host: Host,
        own: OwnContext,
        states: NodeStates,
        breakers: Breakers,
        sites: Sites,
        calls: Calls,
        contexts: Contexts,
        settlements: Settlements,
    ) -> None:
        self._host = host
        self._now = host.clock()
        self._own = own
        self._states = states
        self._breakers = breakers
        self._calls = calls
        self._contexts = contexts
        self.invoker = Invoker(host, sites)
        self.sites = sites
        self.settlements = settlements
        self.tells = runs.is_enabled_for(INFO)
        """Whether the log hears of what runs. Who gives us jobs looks again for those that come together."""

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
            run = self._run
            if not definition.processor.in_loop and self.sites.of(definition.processor).waits(claim):
                run = self._run_seated
            return await in_context(self._own.copy(), run(claim, definition, stored), claim.on_wait)
        except BaseException as raised:
            return self._untold(claim, raised)

    async def _run(self, claim: Claim, definition: Definition, stored: JobState | None) -> Settlement | None:
        running.set(claim.root)
        attempt = Attempt(claim, definition, self._now(), claim.started or time.time(), stored)
        if tells := self.tells:
            log_started(claim.grant)
        if stored is None and (claim.grant.spec.session or definition.processor.takes_context):
            attempt.stored = JobState(self._states, claim.grant, definition.codec)
        ending = await self._carry_out(attempt)
        if ending.error is not None and not ending.stopped and falls_back(attempt, ending.error):
            ending = await self._fall_back(attempt, ending.error)
        settlement = self._settle(attempt, ending, tells=tells)
        if settlement is not None and settlement.outcome == "retry":
            # Once the next attempt has ended, the store takes this one's lines no more.
            await self._contexts.keep_logs()
        return settlement

    async def _run_seated(
        self, claim: Claim, definition: Definition, stored: JobState | None
    ) -> Settlement | None:
        """Run a job that needs more than its place where its code runs."""
        async with self.sites.of(definition.processor).seat(claim, definition):
            return await self._run(claim, definition, stored)

    # --- its code ---------------------------------------------------------------------------

    async def _carry_out(self, attempt: Attempt) -> Ending:
        """Call the processor, within its time and if its breaker lets it through."""
        claim, processor = attempt.claim, attempt.processor
        output: Any = None
        error: AM2ZError | None = None
        claim.scope = scope = self._host.cancel_scope(deadline=attempt.ends)
        try:
            if processor.run_in != "process":
                attempt.state = attempt.read_input()
            with scope:
                if claim.stop is not None or attempt.remaining <= 0:
                    # Too late: its code is not begun.
                    scope.cancel()
                    await self._host.checkpoint()
                if processor.breaker is not None:
                    await self._breakers.enter(processor)
                context = self._contexts.of(attempt, scope, self.run) if processor.takes_context else None
                output = await self.invoker.call(attempt, context, scope)
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
            attempt.stored = JobState(self._states, attempt.grant, attempt.definition.codec)
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

    def _settle(self, attempt: Attempt, ending: Ending, *, tells: bool) -> Settlement | None:
        output, error, stopped = ending
        if error is None and not stopped:
            try:
                settlement = self.settlements.completed(attempt, output)
            except AM2ZError as refused:
                error = refused
            else:
                if tells:
                    log_completed(attempt.grant, attempt.taken)
                return settlement
        return self._settle_unfinished(attempt, error, stopped=stopped)

    def _settle_unfinished(
        self, attempt: Attempt, error: AM2ZError | None, *, stopped: bool
    ) -> Settlement | None:
        """A run that ended with this error, or because it was `stopped`."""
        verdict = judge(attempt, error, stopped=stopped, now=self._now())
        if isinstance(verdict, Retried) and not verdict.asked:
            then = f", and is tried again in {verdict.delay:.3g} s"
            log_attempt(attempt.grant, verdict.error, then)
        elif isinstance(verdict, Failed):
            log_attempt(attempt.grant, verdict.error)
        elif isinstance(verdict, Released) and verdict.left is not None:
            attempt.claim.holder.newer.left(verdict.left.message)
        elif self.tells:
            if isinstance(verdict, Cancelled):
                log_cancelled(attempt.grant, verdict.reason)
            elif isinstance(verdict, Retried):
                log_asked_again(attempt.grant, verdict.error.message, verdict.delay)
            elif isinstance(verdict, Parked):
                log_parked(attempt.grant)
            elif verdict is not None:
                log_released(attempt.grant)
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
        return in_context(self._own.copy(), self._run_plain(claim, definition, scope), claim.on_wait)

    async def _run_plain(self, claim: Claim, definition: Definition, scope: CancelScope) -> Settlement | None:
        try:
            running.set(claim)
            attempt = Attempt(claim, definition, self._now(), claim.started or time.time())
            if tells := self.tells:
                log_started(claim.grant)
            if claim.grant.spec.session and claim.grant.spec.commits:
                attempt.stored = JobState(self._states, claim.grant, definition.codec)
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
                    output = await definition.fn(state)
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
                    if tells:
                        log_completed(claim.grant, attempt.taken)
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
