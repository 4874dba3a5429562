"""The shapes both hosts fill: what the engine may ask of a nursery, a scope, an event, a spot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from operator import attrgetter
from types import TracebackType
from typing import Any, Final, Literal, Protocol, TypeVar, TypeVarTuple, Unpack

from anyio import CapacityLimiter

T = TypeVar("T")

UNTOUCHED: Final = (False, inf)
"""What `Host.look_at` says of a scope that cannot be cancelled by now."""


def look_at_scopes(kind: type) -> Callable[[CancelScope], object]:
    """What reads a host's scopes without a function of Python's, if they have what it reads."""
    names = "_cancel_called", "_deadline"
    if not all(hasattr(kind, name) for name in names):
        names = "cancel_called", "deadline"
    return attrgetter(*names)


Args = TypeVarTuple("Args")


class TaskStatus(Protocol):
    """Given to a task started with `Nursery.start`; `started()` lets the starter go on."""

    def started(self, value: Any = None) -> None: ...


class CancelScope(Protocol):
    """A region of code that can be cancelled, or that cancels itself at `deadline`."""

    deadline: float
    shield: bool

    @property
    def cancel_called(self) -> bool: ...

    @property
    def cancelled_caught(self) -> bool: ...

    def cancel(self, reason: str | None = None) -> None: ...

    def __enter__(self) -> Any: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None: ...


class Nursery(Protocol):
    """Owns tasks: its block is left only when every task it started has ended."""

    @property
    def cancel_scope(self) -> CancelScope: ...

    def start_soon(
        self,
        async_fn: Callable[[Unpack[Args]], Awaitable[Any]],
        /,
        *args: *Args,
        name: object = None,
    ) -> object: ...

    async def start(
        self,
        async_fn: Callable[..., Awaitable[Any]],
        /,
        *args: Any,
        name: object = None,
    ) -> Any: ...


class Event(Protocol):
    """Set once; any number of tasks wait for it."""

    def set(self) -> object: ...

    def is_set(self) -> bool: ...

    async def wait(self) -> object: ...


class Spot(Protocol):
    """A parking spot for one task, and a letter box for one value.

    Cheaper than an event (one reschedule, nothing allocated per wait), and reusable: `park`
    empties the box. `wake` before `park` is remembered, so a waiter registered before sending
    misses nothing. A second `wake` before the task has run replaces the value.
    """

    def wake(self, value: Any = None) -> None:
        """Leave `value` and let the parked task go on. Synchronous; safe from any task."""
        ...

    async def park(self) -> Any:
        """Wait for a value, take it and return it. Always a checkpoint.

        If cancelled while waiting, nothing is taken: a value left later stays in the box.
        """
        ...


class Host(Protocol):
    """One async library's nouns and clock."""

    @property
    def name(self) -> Literal["trio", "asyncio"]: ...

    def open_nursery(self) -> AbstractAsyncContextManager[Nursery]: ...

    def cancel_scope(self, *, deadline: float = ..., shield: bool = ...) -> CancelScope: ...

    @property
    def sees_scopes(self) -> bool:
        """Whether `leave_inner` can be called: then what knows nothing of each other may share a scope."""
        ...

    @property
    def look_at(self) -> Callable[[CancelScope], object]:
        """`UNTOUCHED` of a scope that nobody has cancelled, and that has no deadline; of any other, its
        `cancel_called` says. That looks at the clock, which is too much for who asks before every job."""
        ...

    def leave_inner(self, scope: CancelScope) -> bool:
        """Cancel and leave whatever scopes the current task has left open inside this one, which it has
        entered; returns whether there were any.

        A request to cancel the task past its scopes counts as met then.
        """
        ...

    def event(self) -> Event: ...

    def spot(self) -> Spot: ...

    def now(self) -> float:
        """Seconds on the host's monotonic clock (virtual under a test clock)."""
        ...

    def clock(self) -> Callable[[], float]:
        """`now` without its look-ups, for who asks it for every job: it holds for the run that calls."""
        ...

    def current_loop(self) -> object:
        """Stands for the event loop that runs in this thread; `None` if none of this library does."""
        ...

    def current_task(self) -> object:
        """Stands for the task that calls, and no other."""
        ...

    def coroutine_of(self, task: object) -> object:
        """What a task that `current_task` has named runs."""
        ...

    def effective_deadline(self) -> float:
        """When the current task's enclosing scopes will cancel it; `inf` for never."""
        ...

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether a scope around the current task has raised this to be left; not what merely looks so.

        A `Cancelled` that was kept and is raised again is none, nor is a task that was cancelled past its
        scopes; such a request counts as met then.
        """
        ...

    def is_stray(self, error: BaseException) -> bool:
        """Whether this is what cancellation raises, and nothing around the current task is cancelled: it
        was kept and raised again, or is another task's. A nursery would swallow it."""
        ...

    async def run_in_thread(
        self, fn: Callable[[], T], begin: Callable[[], None], limiter: CapacityLimiter
    ) -> T:
        """Call a plain function in a thread that the end of the process does not wait for.

        `begin` is called just before; cancelled earlier, nothing is. Cancelled later, this ends at once and
        the thread goes on. `anyio.from_thread` works in it. `limiter`: for hosts that insist on one.
        """
        ...

    def asker(self) -> Callable[[Callable[[], object]], object]:
        """What has the loop call a function soon, from any thread; a `RuntimeError` when the loop is over."""
        ...

    async def checkpoint(self) -> None: ...

    async def sleep_until(self, deadline: float, /) -> None: ...

    async def sleep(self, seconds: float, /) -> None: ...
