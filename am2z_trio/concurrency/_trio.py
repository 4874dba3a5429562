"""The nouns on Trio: Trio's own objects."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Any, Final, Literal, TypeVar, cast

import anyio
import anyio.to_thread
import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from ._nouns import CancelScope, Event, Nursery, Spot, look_at_scopes

T = TypeVar("T")


class TrioSpot:
    """`Spot` on `trio.lowlevel`: waking costs one `reschedule`, where an event costs a set of tasks."""

    __slots__ = ("_full", "_task", "_value")

    def __init__(self) -> None:
        self._full = False
        self._task: Task | None = None
        self._value: Any = None

    def wake(self, value: Any = None) -> None:
        self._full = True
        self._value = value
        task = self._task
        if task is not None:
            self._task = None
            reschedule(task)

    def _abort(self, _raise_cancel: object) -> Abort:
        self._task = None
        return Abort.SUCCEEDED

    async def park(self) -> Any:
        if self._full:
            await trio.lowlevel.checkpoint()
        else:
            self._task = current_task()
            await wait_task_rescheduled(self._abort)
        self._full = False
        value, self._value = self._value, None
        return value


def _sees_scopes() -> bool:
    """Whether Trio has all that `leave_inner` asks.

    It says it nowhere else, and to leave and enter a scope would cost many times as much.
    """
    status = getattr(getattr(getattr(trio, "_core", None), "_run", None), "CancelStatus", None)
    return (
        all(hasattr(kind, "_cancel_status") for kind in (Task, trio.CancelScope))
        and hasattr(Task, "_child_nurseries")
        and hasattr(status, "_scope")
    )


class TrioHost:
    spot: type[Spot] = TrioSpot
    event: type[Event] = trio.Event
    now = staticmethod(trio.current_time)
    current_task = staticmethod(trio.lowlevel.current_task)
    effective_deadline = staticmethod(trio.current_effective_deadline)
    checkpoint = staticmethod(trio.lowlevel.checkpoint)
    sleep_until = staticmethod(trio.sleep_until)
    sleep = staticmethod(trio.sleep)

    @property
    def name(self) -> Literal["trio"]:
        return "trio"

    def clock(self) -> Callable[[], float]:
        return trio.lowlevel.current_clock().current_time

    def current_loop(self) -> object:
        try:
            return trio.lowlevel.current_trio_token()
        except RuntimeError:
            return None

    def coroutine_of(self, task: object) -> object:
        return cast(Task, task).coro

    def is_cancellation(self, error: BaseException) -> bool:
        # One that was kept, and is raised again where no scope is cancelled, would be absorbed by the next
        # nursery on its way, and end its tasks without a word.
        return issubclass(type(error), trio.Cancelled) and trio.current_effective_deadline() == -inf

    def is_stray(self, error: BaseException) -> bool:
        return issubclass(type(error), trio.Cancelled) and not self.is_cancellation(error)

    async def run_in_thread(
        self, fn: Callable[[], T], begin: Callable[[], None], limiter: anyio.CapacityLimiter
    ) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        begin()
        # Trio's threads are daemons. Through AnyIO, so that its `from_thread` works in them, too.
        return await anyio.to_thread.run_sync(fn, abandon_on_cancel=True, limiter=limiter)

    def asker(self) -> Callable[[Callable[[], object]], object]:
        return trio.lowlevel.current_trio_token().run_sync_soon

    def open_nursery(self) -> AbstractAsyncContextManager[Nursery]:
        return cast(AbstractAsyncContextManager[Nursery], trio.open_nursery())

    def cancel_scope(self, *, deadline: float = inf, shield: bool = False) -> CancelScope:
        return cast(CancelScope, trio.CancelScope(deadline=deadline, shield=shield))

    sees_scopes = _sees_scopes()
    look_at = staticmethod(look_at_scopes(trio.CancelScope))

    def leave_inner(self, scope: CancelScope) -> bool:
        # Without `cast`, which is a call: this is done for every job.
        task: Any = current_task()
        asked: Any = scope
        status = asked._cancel_status
        if task._cancel_status is status:
            return False
        nurseries = task._child_nurseries
        while (inner := task._cancel_status) is not status:
            left = inner._scope
            left.cancel()
            left.__exit__(None, None, None)
            # Its tasks are cancelled; while this one was taken for its parent, it could not end.
            nurseries[:] = [nursery for nursery in nurseries if nursery.cancel_scope is not left]
        return True


TRIO: Final = TrioHost()
