"""Calls the code of a job: here, in a nursery of its own, or in a thread."""

from __future__ import annotations

from functools import partial
from inspect import isawaitable
from typing import Any

from am2z_trio.concurrency import CancelScope, Host
from am2z_trio.concurrency.groups import is_presentable, must_propagate, unwrapped
from am2z_trio.engine.processors.context import Context
from am2z_trio.model.records import Grant

from .attempt import Attempt
from .failures import as_error, cut_off, left_open
from .job_nursery import JobNursery
from .threads import Threads


class Invoker:
    """Calls the code of one node's jobs, and closes what it has left open."""

    __slots__ = ("_host", "_threads")

    def __init__(self, host: Host, threads: Threads) -> None:
        self._host = host
        self._threads = threads

    async def call(self, attempt: Attempt, context: Context | None, scope: CancelScope) -> Any:
        """What the processor makes of the attempt's state, within `scope`; `context` if it takes one."""
        processor = attempt.processor
        try:
            if context is not None and processor.is_composed:
                output = await processor.fn(attempt.state, context)
            elif context is not None:
                output = await self._call_in_nursery(attempt, context)
            elif processor.is_async:
                output = await processor.fn(attempt.state)
            else:
                output = await self._call_in_thread(attempt, attempt.state)
                if isawaitable(output):
                    output = await output
        except BaseException as raised:
            self._close_what_is_left(scope, attempt.grant, raised)
            raise
        self._close_what_is_left(scope, attempt.grant, None)
        return output

    async def _call_in_thread(self, attempt: Attempt, *arguments: Any) -> Any:
        """What a plain function returns; what that is of an async one is still to be awaited, here."""
        # Abandoning the thread is the only way to answer on time; its result is dropped.
        processor = attempt.processor
        return await self._threads.run(processor.name, partial(processor.fn, *arguments))

    async def _call_in_nursery(self, attempt: Attempt, context: Context) -> Any:
        processor, state = attempt.processor, attempt.state
        returned: Any = None
        if not processor.is_async:
            returned = await self._call_in_thread(attempt, state, context)
            if not isawaitable(returned):
                return returned
        output, ended = None, False
        with unwrapped():
            async with self._host.open_nursery() as nursery:
                context.own(JobNursery(self._host, nursery))
                try:
                    output = await (processor.fn(state, context) if processor.is_async else returned)
                except BaseException as raised:
                    self._close_what_is_left(nursery.cancel_scope, attempt.grant, raised)
                    if self._host.is_stray(raised) or not is_presentable(raised):
                        # The nursery would take it for its own, or fall over it.
                        raise as_error(raised, attempt.grant)  # noqa: B904
                    raise
                self._close_what_is_left(nursery.cancel_scope, attempt.grant, None)
                ended = True
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
