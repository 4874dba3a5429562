"""The nouns on asyncio: AnyIO lends nursery, scope and event with Trio's methods and meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import copy_context
from math import inf
from typing import Any, Final, Literal, TypeVar, cast

import anyio
import anyio.lowlevel
import sniffio
from anyio._backends import _asyncio as _backend
from anyio._core._eventloop import threadlocals
from outcome import Outcome
from trio.lowlevel import start_thread_soon

from ._nouns import CancelScope, Event, Nursery, Spot, look_at_scopes

T = TypeVar("T")


class AsyncioSpot:
    """`Spot` on a bare future, which is what asyncio parks every task on in the end."""

    __slots__ = ("_full", "_future", "_value")

    def __init__(self) -> None:
        self._full = False
        self._future: asyncio.Future[None] | None = None
        self._value: Any = None

    def wake(self, value: Any = None) -> None:
        self._full = True
        self._value = value
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)

    async def park(self) -> Any:
        if self._full:
            await anyio.lowlevel.checkpoint()
        else:
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None
        self._full = False
        value, self._value = self._value, None
        return value


def _now() -> float:
    """AnyIO's `current_time`, which first looks up which library runs: that takes three times as long."""
    return asyncio.get_running_loop().time()


def _sees_scopes() -> bool:
    """Whether AnyIO has all that `leave_inner` asks: it says it nowhere else."""
    state = getattr(_backend, "TaskState", None)
    return (
        hasattr(_backend, "_task_states")
        and hasattr(state, "cancel_scope")
        and hasattr(_backend.CancelScope, "_child_scopes")
    )


class AsyncioHost:
    spot: type[Spot] = AsyncioSpot
    event: type[Event] = anyio.Event
    now = staticmethod(_now)
    current_task = staticmethod(asyncio.current_task)
    effective_deadline = staticmethod(anyio.current_effective_deadline)
    checkpoint = staticmethod(anyio.lowlevel.checkpoint)
    sleep_until = staticmethod(anyio.sleep_until)
    sleep = staticmethod(anyio.sleep)

    @property
    def name(self) -> Literal["asyncio"]:
        return "asyncio"

    def clock(self) -> Callable[[], float]:
        return asyncio.get_running_loop().time

    def current_loop(self) -> object:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            return None

    def coroutine_of(self, task: object) -> object:
        return cast("asyncio.Task[Any]", task).get_coro()

    def is_cancellation(self, error: BaseException) -> bool:
        # Anybody may raise `CancelledError`, and cancel a task past its scopes.
        if not issubclass(type(error), asyncio.CancelledError):
            return False
        if anyio.current_effective_deadline() == -inf:
            return True
        task = asyncio.current_task()
        while task is not None and task.cancelling():
            # What is left of it would keep later scopes from ending their own cancellation.
            task.uncancel()
        return False

    def is_stray(self, error: BaseException) -> bool:
        return issubclass(type(error), asyncio.CancelledError) and not self.is_cancellation(error)

    async def run_in_thread(
        self, fn: Callable[[], T], begin: Callable[[], None], limiter: anyio.CapacityLimiter
    ) -> T:
        await anyio.lowlevel.checkpoint_if_cancelled()
        begin()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome[T]] = loop.create_future()
        context, token, scope = copy_context(), anyio.lowlevel.current_token(), anyio.CancelScope()
        context.run(sniffio.current_async_library_cvar.set, None)

        def call() -> T:
            threadlocals.current_token, threadlocals.current_cancel_scope = token, scope
            try:
                return context.run(fn)
            finally:
                del threadlocals.current_token, threadlocals.current_cancel_scope

        def report(result: Outcome[T]) -> None:
            if not future.done():
                future.set_result(result)

        def deliver(result: Outcome[T]) -> None:
            # The loop may be closed by now: nobody waits then.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(report, result)

        # AnyIO's own threads on asyncio hold the process at its end. Trio's are daemons, and need no Trio.
        start_thread_soon(call, deliver)
        result: Outcome[T] | None = None
        with scope:
            result = await future
        assert result is not None
        return result.unwrap()

    def asker(self) -> Callable[[Callable[[], object]], object]:
        return asyncio.get_running_loop().call_soon_threadsafe

    def open_nursery(self) -> AbstractAsyncContextManager[Nursery]:
        return cast(AbstractAsyncContextManager[Nursery], anyio.create_task_group())

    def cancel_scope(self, *, deadline: float = inf, shield: bool = False) -> CancelScope:
        return cast(CancelScope, anyio.CancelScope(deadline=deadline, shield=shield))

    sees_scopes = _sees_scopes()
    look_at = staticmethod(look_at_scopes(_backend.CancelScope))

    def leave_inner(self, scope: CancelScope) -> bool:
        task, asked = asyncio.current_task(), cast(Any, scope)
        assert task is not None
        if not asked.cancel_called:
            while task.cancelling():
                # What is left of it would keep the scope from ending its own cancellation.
                task.uncancel()
        if not asked._child_scopes:
            return False
        # Of a nursery, scopes of its tasks are inside, too.
        there_were_any = False
        while (inner := cast(Any, _backend)._task_states[task].cancel_scope) is not scope:
            there_were_any = True
            inner.cancel()
            inner.__exit__(None, None, None)
        return there_were_any


ASYNCIO: Final = AsyncioHost()
