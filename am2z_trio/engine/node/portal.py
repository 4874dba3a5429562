"""The way into a node's event loop from any other thread: a call there is a task of the node here."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from contextvars import Context, copy_context
from functools import partial
from inspect import isawaitable
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

import anyio.from_thread
import sniffio

from am2z_trio.concurrency import Host, Nursery, TaskStatus
from am2z_trio.concurrency.groups import leaves, must_propagate
from am2z_trio.model.errors import RuntimeStateError

P = ParamSpec("P")
T = TypeVar("T")

LOOK_EVERY: Final = 0.1
"""Seconds between two looks of a worker thread of AnyIO's at whether its own task was cancelled."""

ENDS_WITHIN: Final = 5.0
"""Seconds for which a thread that gives its call up waits for that to end."""


def _over() -> RuntimeStateError:
    return RuntimeStateError("the runtime was left: nothing can be asked of it from a thread any more")


class Portal:
    """One node's. Made in its loop; its calls are for other threads."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._ask = host.asker()
        self._thread = threading.get_ident()
        self._pid = os.getpid()
        self._nursery: Nursery | None = None

    async def run(self, *, task_status: TaskStatus) -> None:
        """Carry out what threads ask for, until cancelled; then all of it that has not ended is."""
        try:
            async with self._host.open_nursery() as self._nursery:
                task_status.started()
                await self._host.event().wait()
        finally:
            self._nursery = None

    # --- from other threads ---------------------------------------------------------------------

    def start_task_soon(
        self, fn: Callable[P, Awaitable[T] | T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Have a function called in the loop, awaited if it can be. To cancel the future cancels it there."""
        self.require_foreign()
        call = _Call[T](self._host, self._ask, partial(fn, *args, **kwargs))
        self._begin(call)
        return call.future

    @overload
    def call(self, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def call(self, fn: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        """As `start_task_soon`, and wait for what it returns or raises."""
        self.require_foreign()
        call = _Call[Any](self._host, self._ask, partial(fn, *args, **kwargs))
        self._begin(call)
        return call.wait()

    @contextmanager
    def wrap(self, opened: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """An async context manager as a plain one: entered and left in one task of the loop."""
        self.require_foreign()
        leave, entered = self.call(self._host.event), Future[T]()
        raised: BaseException | None = None

        async def hold() -> None:
            async with opened as value:
                entered.set_result(value)
                await leave.wait()
                if raised is not None:
                    raise raised

        call = _Call[None](self._host, self._ask, hold)
        call.future.add_done_callback(lambda _: entered.done() or entered.cancel())
        self._begin(call)
        try:
            value = _result(entered, call.give_up)
        except CancelledError:
            # It has ended before it was entered: what it has raised says why.
            call.wait()
            raise
        try:
            yield value
        except BaseException as error:
            if any(issubclass(type(leaf), KeyboardInterrupt) for leaf in leaves(error)):
                # Of this thread, and no end of the node: there the block is cancelled.
                call.give_up()
                raise
            raised = error
        with suppress(RuntimeError):
            self._ask(leave.set)
        call.wait()

    def require_foreign(self) -> None:
        """Raise `RuntimeStateError` where a call would wait for itself, or for a loop that is not there."""
        if os.getpid() != self._pid:
            raise RuntimeStateError(
                "this process was forked from the one in which the runtime lives, and has none of its "
                "threads: make a runtime of its own here"
            )
        if threading.get_ident() == self._thread:
            raise RuntimeStateError(
                "from_thread is for other threads: this one runs the runtime's event loop, and would wait "
                "for itself; await the runtime's own methods here"
            )
        if self._nursery is None:
            raise _over()

    def _begin(self, call: _Call[Any]) -> None:
        context = copy_context()
        context.run(sniffio.current_async_library_cvar.set, self._host.name)
        try:
            self._ask(partial(self._start, call, context))
        except RuntimeError as error:
            raise _over() from error

    def _start(self, call: _Call[Any], context: Context) -> None:
        if self._nursery is None:
            call.fail(_over())
        else:
            context.run(self._nursery.start_soon, call.run)


class _Call(Generic[T]):
    """One call: a task here, a thread that may wait for it there."""

    def __init__(
        self, host: Host, ask: Callable[[Callable[[], object]], object], fn: Callable[[], Awaitable[T] | T]
    ) -> None:
        self._host = host
        self._ask = ask
        self._fn = fn
        self.future = Future[T]()
        self._ended = threading.Event()

    async def run(self) -> None:
        """In the loop. Whatever the function raises is the thread's affair."""
        scope = self._host.cancel_scope()
        self.future.add_done_callback(lambda _: self._cancel(scope.cancel))
        try:
            with scope:
                returned = self._fn()
                self.tell(await returned if isawaitable(returned) else returned)
        except BaseException as raised:
            if must_propagate(raised, self._host):
                self.fail(_over())
                raise
            self.fail(raised)
        finally:
            self._ended.set()

    def _cancel(self, cancel: Callable[[], object]) -> None:
        if self.future.cancelled():
            with suppress(RuntimeError):
                self._ask(cancel)

    def tell(self, returned: Any) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(returned)

    def fail(self, raised: BaseException) -> None:
        self._ended.set()
        with suppress(InvalidStateError):
            if not self.future.done() and self.future.set_running_or_notify_cancel():
                self.future.set_exception(raised)

    # --- in the thread --------------------------------------------------------------------------

    def wait(self) -> T:
        """What it returns or raises. Interrupted by Ctrl-C, or by the cancellation of the task whose worker
        thread this is, the call is cancelled, and waited for."""
        return _result(self.future, self.give_up)

    def give_up(self) -> None:
        if not self.future.done():
            self.future.cancel()
            self._ended.wait(ENDS_WITHIN)


def _result(future: Future[T], give_up: Callable[[], None]) -> T:
    """What a future comes to. Gives up where this thread is interrupted by Ctrl-C, or is a worker thread
    whose task is cancelled."""
    is_worker = True
    while True:
        try:
            return future.result(LOOK_EVERY if is_worker else None)
        except TimeoutError:
            if future.done():
                # Its own, or it was done at the very end of the wait.
                return future.result()
        except BaseException:
            give_up()
            raise
        try:
            is_worker = _looked()
        except BaseException:
            give_up()
            raise


def _looked() -> bool:
    """Raise the cancellation of the task whose worker thread this is; whether it is one at all."""
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:
        return False
    return True
