"""Calls the code of a job: here, in a nursery of its own, or where its site is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import isawaitable
from typing import Any

from am2z_trio.concurrency import CancelScope, Host
from am2z_trio.concurrency.groups import is_presentable, must_propagate, unwrapped
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.processors.context import Context
from am2z_trio.engine.processors.injection import Injection
from am2z_trio.model.records import Grant

from .attempt import Attempt
from .failures import as_error, cut_off, left_open
from .job_nursery import JobNursery
from .sites import Sites


class Invoker:
    """Calls the code of one node's jobs, and closes what it has left open."""

    __slots__ = ("_host", "_sites", "nurseries")

    def __init__(self, host: Host, sites: Sites) -> None:
        self._host = host
        self._sites = sites
        self.nurseries: dict[Claim, JobNursery] = {}
        """Of the runs that have one: those of async functions which take a context."""

    async def call(self, attempt: Attempt, context: Context | None, scope: CancelScope) -> Any:
        """What the processor makes of the attempt's state, within `scope`; `context` if it takes one."""
        processor, fn = attempt.processor, attempt.definition.fn
        try:
            if processor.run_in == "process":
                output = await self._sites.processes.call(attempt, context)
            elif attempt.definition.injection is not None:
                output = await self._call_with_resources(attempt, attempt.definition.injection, context)
            elif context is not None and processor.is_composed:
                output = await fn(attempt.state, context)
            elif context is not None:
                output = await self._call_in_nursery(attempt, fn, context)
            elif processor.is_async:
                output = await fn(attempt.state)
            else:
                output = await self._call_in_thread(attempt, fn, attempt.state)
                if isawaitable(output):
                    output = await output
        except BaseException as raised:
            self._close_what_is_left(scope, attempt.grant, raised)
            raise
        self._close_what_is_left(scope, attempt.grant, None)
        return output

    async def _call_with_resources(
        self, attempt: Attempt, injection: Injection, context: Context | None
    ) -> Any:
        """With what is made for this run, closed when the code has ended, and the tasks of its nursery."""
        processor = attempt.processor
        async with injection.entered(context) as fn:
            if context is not None and processor.passes_context:
                return await self._call_in_nursery(attempt, fn, context)
            if not processor.is_async:
                output = await self._call_in_thread(attempt, fn, attempt.state)
                return await output if isawaitable(output) else output
            scope = self._host.cancel_scope()
            with scope:
                try:
                    output = await fn(attempt.state)
                except BaseException as raised:
                    self._close_what_is_left(scope, attempt.grant, raised)
                    raise
                self._close_what_is_left(scope, attempt.grant, None)
                return output

    async def _call_in_thread(self, attempt: Attempt, fn: Callable[..., Any], *arguments: Any) -> Any:
        """What a plain function returns; what that is of an async one is still to be awaited, here."""
        # Abandoning the thread is the only way to answer on time; its result is dropped.
        name, sites = attempt.processor.name, self._sites
        if attempt.processor.run_in == "interpreter":
            fn = sites.interpreters.calling(name, fn)
        return await sites.threads.run(name, partial(fn, *arguments))

    async def _call_in_nursery(self, attempt: Attempt, fn: Callable[..., Any], context: Context) -> Any:
        processor, state = attempt.processor, attempt.state
        returned: Any = None
        if not processor.is_async:
            returned = await self._call_in_thread(attempt, fn, state, context)
            if not isawaitable(returned):
                return returned
        output, ended = None, False
        try:
            with unwrapped():
                async with self._host.open_nursery() as nursery:
                    self.nurseries[attempt.claim] = tasks = JobNursery(self._host, nursery)
                    context.own(tasks)
                    try:
                        output = await (fn(state, context) if processor.is_async else returned)
                    except BaseException as raised:
                        self._close_what_is_left(nursery.cancel_scope, attempt.grant, raised)
                        if self._host.is_stray(raised) or not is_presentable(raised):
                            # The nursery would take it for its own, or fall over it.
                            raise as_error(raised, attempt.grant)  # noqa: B904
                        raise
                    self._close_what_is_left(nursery.cancel_scope, attempt.grant, None)
                    ended = True
        finally:
            self.nurseries.pop(attempt.claim, None)
        if not ended:
            raise cut_off(attempt.grant)
        return output

    def _close_what_is_left(self, scope: CancelScope, grant: Grant, raised: BaseException | None) -> None:
        """Close what a job has left open inside this scope, and fail it for that; one that is cancelled
        ends as every other one does."""
        if not self._host.sees_scopes or not self._host.leave_inner(scope):
            return
        if raised is None or not must_propagate(raised, self._host):
            raise left_open(grant, raised)
